//! From stored rows and segments back to an index, without rebuilding a graph.

use super::inverted::Inverted;
use super::part::Part;
use super::{Index, Options, codec};
use crate::domain::{Embedding, Facets};
use std::sync::Arc;

/// A row that is stored: its sequence number and vector, and if it lives its tag and facets.
pub type Stored<T> = (u64, Embedding, Option<(T, Facets)>);

/// An index read back.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The index.
    pub index: Index<T>,
    /// Segments that could not be used, and why; their rows are in the tail.
    pub broken: Vec<(u64, String)>,
    /// Dead rows whose stored vectors nothing needs.
    pub dropped: Vec<u64>,
}

impl<T: Clone + Send + Sync + 'static> Index<T> {
    /// Reads an index back from rows, ascending, and from the bytes of its segments.
    #[must_use]
    pub fn load(
        options: Options,
        segments: Vec<(u64, Vec<u8>)>,
        rows: Vec<Stored<T>>,
    ) -> Loaded<T> {
        let at = rows.last().map_or(0, |(seq, ..)| *seq);
        let mut used = vec![false; rows.len()];
        let mut sealed = Vec::new();
        let mut broken = Vec::new();
        for (id, bytes) in segments {
            match segment(&options, id, &bytes, &rows, &mut used) {
                Ok(part) => sealed.push(Arc::new(part)),
                Err(why) => broken.push((id, why)),
            }
        }
        let mut tail = Part::with_capacity(options.dim, 0);
        let (mut facets, mut dropped) = (Vec::new(), Vec::new());
        for ((seq, vector, live), used) in rows.into_iter().zip(used) {
            match live {
                _ if used => {}
                None => dropped.push(seq),
                Some((tag, known)) => {
                    tail.push(seq, vector.as_slice(), Some(tag));
                    facets.push(Some(known));
                }
            }
        }
        tail.tabulate(&facets);
        let largest = sealed.iter().max_by_key(|part| part.len());
        let space = largest
            .and_then(|part| part.inverted())
            .map(Inverted::space);
        tail.encode_fresh(&options, space, &[]);
        let tail = if tail.len() == 0 {
            vec![]
        } else {
            vec![Arc::new(tail)]
        };
        Loaded {
            index: Self::of(options, at, sealed, tail),
            broken,
            dropped,
        }
    }
}

fn segment<T: Clone>(
    options: &Options,
    id: u64,
    bytes: &[u8],
    rows: &[Stored<T>],
    used: &mut [bool],
) -> Result<Part<T>, String> {
    let codec::Read {
        seqs,
        graph,
        plan,
        changed,
        inverted,
    } = codec::decode(options, bytes)?;
    let mut part = Part::with_capacity(options.dim, seqs.len());
    let mut places = Vec::with_capacity(seqs.len());
    let mut facets = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let place = rows.binary_search_by_key(&seq, |(s, ..)| *s);
        let place = place.map_err(|_| format!("row {seq} is not there"))?;
        if used[place] {
            return Err(format!("row {seq} is in two segments"));
        }
        let (_, vector, live) = &rows[place];
        let (tag, known) = live.clone().unzip();
        part.push(seq, vector.as_slice(), tag);
        facets.push(known);
        places.push(place);
    }
    part.tabulate(&facets);
    for place in places {
        used[place] = true;
    }
    if graph.is_some() || inverted.is_some() {
        part.encode(options);
    }
    part.file(inverted);
    part.follow(plan);
    part.changed = changed;
    part.file_rows(options);
    part.sealed = Some((id, graph));
    Ok(part)
}
