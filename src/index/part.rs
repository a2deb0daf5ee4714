//! Rows that belong together: immutable, but for the moment of each one's death, and for columns
//! that come and go.

use super::annex::Annex;
use super::codes::Codes;
use super::columns::Columns;
use super::graph::{Graph, NONE};
use super::inverted::{Coded, Inverted, Space};
use super::often::Often;
use super::plan::{Plan, Way};
use super::{Options, Row};
use crate::domain::{Facets, Recall};
use crate::simd::AlignedRows;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The death of a row that lives.
const ALIVE: u64 = u64::MAX;

/// Parts of the tail with so many rows have codes: in a space of others, and of their own.
const JOINED_AT: usize = 64;
const CODED_AT: usize = 256;

/// Aligned rows in the order of their sequence numbers, with a graph once sealed.
#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) rows: AlignedRows,
    pub(super) seqs: Vec<u64>,
    /// `None` for a row that was dead when the part was loaded.
    tags: Vec<Option<T>>,
    died: Vec<AtomicU64>,
    dead: AtomicU64,
    /// A sealed part's number, and its graph unless it is small.
    pub(super) sealed: Option<(u64, Option<Graph>)>,
    /// What a part that is not small is searched by beside a graph: its own codes, and lists; of a tail,
    /// in the space of a sealed part.
    codes: Option<Codes>,
    inverted: Option<Inverted>,
    sealed_plan: Plan,
    /// Rows that came or died while it was mended, since it was made from nothing.
    pub(super) changed: usize,
    /// The same, or what was learnt since by what is asked of it.
    plan: ArcSwap<Plan>,
    /// The number of the annex that its rows are kept in; 0 if in none.
    kept_in: AtomicU64,
    /// What filters are answered from.
    columns: ArcSwap<Columns>,
    often: Often,
}

impl<T> Part<T> {
    pub(super) fn with_capacity(dim: usize, capacity: usize) -> Self {
        Self {
            rows: AlignedRows::with_capacity(dim, capacity),
            seqs: Vec::with_capacity(capacity),
            tags: Vec::with_capacity(capacity),
            died: Vec::with_capacity(capacity),
            dead: AtomicU64::new(0),
            sealed: None,
            codes: None,
            inverted: None,
            sealed_plan: Plan::default(),
            changed: 0,
            plan: ArcSwap::default(),
            kept_in: AtomicU64::new(0),
            columns: ArcSwap::default(),
            often: Often::default(),
        }
    }

    pub(super) fn of_rows(dim: usize, rows: Vec<Row<T>>) -> Self {
        let mut part = Self::with_capacity(dim, rows.len());
        let mut facets = Vec::with_capacity(rows.len());
        for row in rows {
            part.push(row.seq, row.vector.as_slice(), Some(row.tag));
            facets.push(Some(row.facets));
        }
        part.tabulate(&facets);
        part
    }

    /// Appends a row; one without a tag is dead.
    pub(super) fn push(&mut self, seq: u64, vector: &[f32], tag: Option<T>) {
        self.rows.push(vector);
        self.seqs.push(seq);
        self.died
            .push(AtomicU64::new(if tag.is_some() { ALIVE } else { 0 }));
        *self.dead.get_mut() += u64::from(tag.is_none());
        self.tags.push(tag);
    }

    pub(super) fn len(&self) -> usize {
        self.seqs.len()
    }

    /// Rows that are dead by now.
    pub(super) fn dead(&self) -> usize {
        usize::try_from(self.dead.load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    pub(super) fn live(&self) -> usize {
        self.len() - self.dead()
    }

    /// Gives the rows columns, from what is known of each that lives.
    pub(super) fn tabulate(&mut self, facets: &[Option<Facets>]) {
        self.columns = ArcSwap::from_pointee(Columns::of(facets));
    }

    pub(super) fn columns(&self) -> Arc<Columns> {
        self.columns.load_full()
    }

    /// Puts other columns in the place of those there are.
    pub(super) fn set_columns(&self, columns: Columns) {
        self.columns.store(Arc::new(columns));
    }

    /// Gives the rows codes.
    pub(super) fn encode(&mut self, options: &Options) {
        self.codes = Codes::of(options.metric, &self.rows);
    }

    /// Gives the rows of a tail codes, if they are many enough: those of a space that others are in
    /// already, if they suit it. What they had in their sources they keep.
    pub(super) fn encode_fresh(
        &mut self,
        options: &Options,
        space: Option<&Arc<Space>>,
        sources: &[Arc<Self>],
    ) {
        if self.len() < JOINED_AT {
            return;
        }
        let mut filed = sources.iter().filter_map(|source| source.inverted.as_ref());
        let space = filed.next().map(Inverted::space).or(space);
        self.inverted = space.and_then(|space| self.joined(space, sources));
        if self.inverted.is_some() || self.len() >= CODED_AT {
            self.encode(options);
        }
    }

    /// The rows in a space that others are in already, if they suit it, with the codes that some had
    /// there in their sources.
    pub(super) fn joined(&self, space: &Arc<Space>, sources: &[Arc<Self>]) -> Option<Inverted> {
        let mut known: Vec<Option<Coded>> = (0..self.len()).map(|_| None).collect();
        for source in sources {
            let lists = source.inverted.as_ref();
            let lists = lists.filter(|lists| Arc::ptr_eq(lists.space(), space));
            for (row, coded) in lists.into_iter().flat_map(Inverted::known) {
                if let Some(place) = self.place(source.seqs[row as usize]) {
                    known[place] = Some(coded);
                }
            }
        }
        Inverted::joined(space, &self.rows, known)
    }

    /// A sealed part's number.
    pub(super) fn number(&self) -> Option<u64> {
        self.sealed.as_ref().map(|(number, _)| *number)
    }

    /// Its living rows are kept in an annex.
    pub(super) fn set_kept_in(&self, annex: &Annex) {
        self.kept_in.store(annex.id(), Ordering::Release);
    }

    pub(super) fn is_kept_in(&self, annex: &Annex) -> bool {
        self.kept_in.load(Ordering::Acquire) == annex.id()
    }

    /// Of each row of another part, which row it is here; [`NONE`] if it is not.
    pub(super) fn now(&self, other: &Self) -> Vec<u32> {
        let mut here = self.seqs.iter().zip(0..).peekable();
        let now = other.seqs.iter().map(|seq| {
            while here.next_if(|(here, _)| *here < seq).is_some() {}
            here.next_if(|(here, _)| *here == seq)
                .map_or(NONE, |(_, row)| row)
        });
        now.collect()
    }

    /// Puts the rows in lists, if that was done.
    pub(super) fn file(&mut self, inverted: Option<Inverted>) {
        self.inverted = inverted;
    }

    /// Puts the rows into a file, if they are to be in one. Where that fails they stay in memory.
    pub(super) fn file_rows(&mut self, options: &Options) {
        let Some(dir) = &options.rows_in else { return };
        match self.rows.filed(dir) {
            Ok(rows) => self.rows = rows,
            Err(error) => tracing::warn!(%error, dir = %dir.display(),
                "the rows of a segment cannot be put into a file: they stay in memory"),
        }
    }

    /// Gives a sealed part a graph.
    pub(super) fn lead(&mut self, graph: Option<Graph>) {
        if let Some((_, place)) = &mut self.sealed {
            *place = graph;
        }
    }

    /// Knows how it is best searched.
    pub(super) fn follow(&mut self, plan: Plan) {
        self.change_plan(plan.clone());
        self.sealed_plan = plan;
    }

    /// Is searched by another plan than was learnt when it was sealed.
    pub(super) fn change_plan(&self, plan: Plan) {
        self.plan.store(Arc::new(plan));
    }

    pub(super) fn codes(&self) -> Option<&Codes> {
        self.codes.as_ref()
    }

    /// The lists of a sealed part.
    pub(super) fn inverted(&self) -> Option<&Inverted> {
        self.inverted.as_ref().filter(|_| self.sealed.is_some())
    }

    /// The rows of a tail in the space of a sealed part, if they have codes there.
    pub(super) fn fresh(&self) -> Option<&Inverted> {
        self.inverted.as_ref().filter(|_| self.sealed.is_none())
    }

    /// The filters that are asked of it often.
    pub(super) fn often(&self) -> &Often {
        &self.often
    }

    /// What was learnt when it was sealed.
    pub(super) fn sealed_plan(&self) -> &Plan {
        &self.sealed_plan
    }

    /// How it is searched now.
    pub(super) fn plan(&self) -> Guard<Arc<Plan>> {
        self.plan.load()
    }

    /// The best way to a recall.
    pub(super) fn way(&self, recall: Recall) -> Way {
        self.plan().way(recall)
    }

    /// Memory of vectors, codes and graph, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let codes = self.codes().map_or(0, Codes::bytes);
        let lists = self.inverted().map_or(0, Inverted::bytes);
        let fresh = self.fresh().map_or(0, Inverted::own_bytes);
        let filters = self.columns.load().bytes() + self.often.bytes();
        self.rows.bytes() + codes + lists + fresh + filters + self.graph().map_or(0, Graph::bytes)
    }

    pub(super) fn graph(&self) -> Option<&Graph> {
        self.sealed.as_ref()?.1.as_ref()
    }

    /// Where the row with this sequence number is.
    pub(super) fn place(&self, seq: u64) -> Option<usize> {
        // Sequence numbers are dense: it is hardly ever far from where it would be if none were missing.
        let (first, last) = (*self.seqs.first()?, *self.seqs.last()?);
        let span = u128::from(last.checked_sub(first)?).max(1);
        let ahead = u128::from(seq.checked_sub(first)?) * (self.len() as u128 - 1) / span;
        let guess = usize::try_from(ahead)
            .ok()
            .filter(|guess| *guess < self.len())?;
        let (mut from, mut to, mut step) = (guess, guess + 1, 4);
        while from > 0 && self.seqs[from] > seq {
            from = from.saturating_sub(step);
            step *= 4;
        }
        while to < self.len() && self.seqs[to - 1] < seq {
            to = (to + step).min(self.len());
            step *= 4;
        }
        let place = self.seqs[from..to].binary_search(&seq).ok()?;
        Some(from + place)
    }

    /// A row dies once: later deaths change nothing.
    pub(super) fn kill(&self, row: usize, at: u64) {
        let died = &self.died[row];
        let first = died.compare_exchange(ALIVE, at, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.dead.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn death(&self, row: usize) -> Option<u64> {
        Some(self.died[row].load(Ordering::Acquire)).filter(|at| *at != ALIVE)
    }

    /// Whether all rows are visible at a sequence number.
    pub(super) fn all_visible(&self, at: u64) -> bool {
        self.dead() == 0 && self.seqs.last().is_none_or(|last| *last <= at)
    }

    /// The tag of a row that is visible at a sequence number.
    pub(super) fn visible(&self, row: usize, at: u64) -> Option<&T> {
        let lives = self.seqs[row] <= at && self.died[row].load(Ordering::Acquire) > at;
        if lives { self.tags[row].as_ref() } else { None }
    }
}

impl<T: Clone> Part<T> {
    /// The living rows of several parts as one, by sequence number, and the rows left out.
    pub(super) fn merged(dim: usize, sources: &[Arc<Self>]) -> (Self, Vec<u64>) {
        let mut order: Vec<(u64, usize, usize)> = Vec::new();
        let mut dead = Vec::new();
        for (which, source) in sources.iter().enumerate() {
            for (row, seq) in source.seqs.iter().enumerate() {
                if source.death(row).is_none() {
                    order.push((*seq, which, row));
                } else {
                    dead.push(*seq);
                }
            }
        }
        order.sort_unstable();
        let mut part = Self::with_capacity(dim, order.len());
        for (seq, which, row) in order {
            let source = &sources[which];
            part.push(seq, source.rows.row(row), source.tags[row].clone());
        }
        part.set_columns(part.columns_of(sources));
        (part, dead)
    }

    /// Columns of these rows, from those of the parts that they come from.
    pub(super) fn columns_of(&self, sources: &[Arc<Self>]) -> Columns {
        let columns: Vec<_> = sources.iter().map(|source| source.columns()).collect();
        let facets = |seq: &u64| {
            let mut places = sources.iter().zip(&columns);
            places.find_map(|(source, columns)| {
                // A row's number fits: a part has fewer than 2^31.
                let row = u32::try_from(source.place(*seq)?).unwrap_or(u32::MAX);
                Some(columns.facets(row))
            })
        };
        Columns::of(&self.seqs.iter().map(facets).collect::<Vec<_>>())
    }
}
