//! k-nearest-neighbour search.

use super::collection::{Collection, RowTag};
use super::error::Error;
use super::matching::Matching;
use super::probe::{Probe, Resolved};
use super::size::encoded_bytes;
use super::state::{State, consistently};
use super::{Engine, Inner, count};
use crate::domain::{CollectionName, Filter, Invalid, ItemId, Label, Payload, Recall};
use crate::index::{self, Query};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How to search.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the request"
)]
pub struct Search {
    /// How many; 0 takes 10.
    pub k: usize,
    /// Only items that match.
    pub filter: Option<Filter>,
    /// Only items at least so similar.
    pub min_similarity: Option<f32>,
    /// Compare with every item.
    pub exact: bool,
    /// The recall to aim at; the collection's if not given.
    pub recall: Option<Recall>,
    /// Instead, candidates that a walk keeps; 0 aims at a recall.
    pub ef: usize,
    /// Answer payloads.
    pub with_payload: bool,
    /// Answer vectors.
    pub with_vector: bool,
    /// Answer source images.
    pub with_image: bool,
}

/// An item found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: ItemId,
    /// Its label.
    pub label: Option<Label>,
    /// Distance to the probe.
    pub distance: f32,
    /// Similarity to the probe.
    pub similarity: f32,
    /// Its payload, where asked for.
    pub payload: Option<Payload>,
    /// Its vector, where asked for.
    pub vector: Option<Vec<f32>>,
    /// Its source image, where asked for and kept.
    pub image: Option<Vec<u8>>,
}

/// What a search found, nearest first: items or groups of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest<T> {
    /// The items or groups.
    pub found: Vec<T>,
    /// The model version that made the vectors.
    pub model: Option<String>,
    /// How long the index took.
    pub index_time: Duration,
}

/// Distance evaluations that reading and parsing one record is worth.
const RECORD_COST: usize = 100;

impl Engine {
    /// The k nearest items.
    ///
    /// # Errors
    /// No such collection or stored probe; a bad probe, `k`, `ef` or threshold; an answer
    /// larger than [`super::Limits::max_answer_bytes`].
    pub async fn search(
        &self,
        collection: &CollectionName,
        probe: Probe,
        search: Search,
    ) -> Result<Nearest<Hit>, Error> {
        let collection = self.inner.collection(collection)?;
        let ask = self.ask(&collection, probe, search).await?;
        let cost = ask.cost(&collection, self.limits().max_inline_cost);
        self.read(collection, cost, move |state| ask.run(state))
            .await
    }

    /// Checks a search and finds its probe's vector.
    pub(super) async fn ask(
        &self,
        collection: &Collection,
        probe: Probe,
        search: Search,
    ) -> Result<Ask, Error> {
        let k = count("k", search.k, 10, self.limits().max_k)?;
        let ef = count("ef", search.ef, 0, self.limits().max_ef)?;
        one_way(search.recall, search.exact, search.ef)?;
        let recall = search.recall.unwrap_or(collection.record().recall);
        let bound = collection.max_distance(search.min_similarity)?;
        let probe = self.resolve(collection, "probe", probe).await?;
        if probe.itself.is_none() {
            collection.remember_query(&probe.vector);
        }
        Ok(Ask {
            probe,
            search,
            k,
            recall,
            ef: (ef > 0).then_some(ef),
            bound,
        })
    }

    /// Runs a query on one state of the collection: at once if it is short, else off the
    /// async threads. `cost` estimates its distance evaluations.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        collection: Arc<Collection>,
        cost: usize,
        read: impl Fn(&State<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if cost <= self.limits().max_inline_cost {
            let never = AtomicBool::new(false);
            return consistently(&self.inner, &collection, &never, read);
        }
        let inner: Arc<Inner> = Arc::clone(&self.inner);
        self.off_thread(move |given_up| consistently(&inner, &collection, given_up, read))
            .await
    }
}

/// Distance evaluations that looking at one row through a filter is worth.
pub(super) fn filter_cost(filter: Option<&Filter>) -> usize {
    match filter {
        None => 1,
        Some(f) if f.is_label_only() => f.conditions(),
        Some(f) => RECORD_COST + f.conditions(),
    }
}

/// Only one of exact, `ef` and a recall says how to search.
pub(super) fn one_way(recall: Option<Recall>, exact: bool, ef: usize) -> Result<(), Invalid> {
    let Some(recall) = recall else {
        return Ok(());
    };
    let field = match (exact, ef) {
        (true, _) => "exact",
        (false, 0) => return Ok(()),
        (false, _) => "ef",
    };
    let rule = format!("it cannot be aimed at where {field} is given");
    Err(Invalid::new(
        "recall_target",
        recall.get().to_string(),
        rule,
    ))
}

/// A checked search.
pub(super) struct Ask {
    pub(super) probe: Resolved,
    pub(super) search: Search,
    pub(super) k: usize,
    recall: Recall,
    ef: Option<usize>,
    bound: Option<f32>,
}

impl Ask {
    pub(super) fn query(&self, k: usize) -> Query<'_> {
        Query {
            vector: &self.probe.vector,
            k,
            recall: self.recall,
            ef: self.ef,
            exact: self.search.exact,
            max_distance: self.bound,
            filter: self.search.filter.as_ref(),
        }
    }

    /// About how many distance evaluations the answer takes; past `most` no more are counted.
    fn cost(&self, collection: &Collection, most: usize) -> usize {
        let record = filter_cost(self.search.filter.as_ref());
        let query = self.query(self.k);
        self.records_cost(self.k) + collection.snapshot().cost(&query, record, most)
    }

    /// Distance evaluations that reading so many hits' records is worth, where that is asked for.
    pub(super) fn records_cost(&self, hits: usize) -> usize {
        if self.search.with_payload || self.search.with_image {
            hits * RECORD_COST
        } else {
            0
        }
    }

    /// The `k` nearest rows that match, perhaps the probe itself among them.
    pub(super) fn nearest(&self, rows: &Matching<'_>, k: usize) -> Vec<index::Hit<RowTag>> {
        let keep = |seq: u64, tag: &RowTag| rows.holds(seq, tag);
        let filtered = self.search.filter.as_ref().map(|_| &keep as _);
        rows.state
            .timed(|snapshot| snapshot.search(&self.query(k), filtered))
    }

    /// A state as this search's filter shows it.
    pub(super) fn matching<'a>(&'a self, state: &'a State<'a>) -> Matching<'a> {
        Matching::new(state, self.search.filter.as_ref())
    }

    fn run(&self, state: &State<'_>) -> Result<Nearest<Hit>, Error> {
        // One more where the probe may find itself.
        let k = self.k + usize::from(self.probe.itself.is_some());
        let mut found = self.nearest(&self.matching(state), k);
        if let Some(itself) = &self.probe.itself {
            found.retain(|hit| hit.tag.id != *itself);
        }
        found.truncate(self.k);
        let hits = self.hits(state, &found, &mut 0)?;
        Ok(state.nearest(hits))
    }

    /// Rows, nearest first, as hits, down to the threshold. `bytes` is what the answer takes so
    /// far.
    pub(super) fn hits(
        &self,
        state: &State<'_>,
        found: &[index::Hit<RowTag>],
        bytes: &mut usize,
    ) -> Result<Vec<Hit>, Error> {
        let mut hits = Vec::with_capacity(found.len());
        for hit in found {
            let Some(hit) = self.hit(state, hit)? else {
                break;
            };
            let is_first = *bytes == 0;
            *bytes += hit.bytes();
            let limit = state.limits().max_answer_bytes;
            if *bytes > limit && !is_first {
                return Err(Error::TooLarge { limit });
            }
            hits.push(hit);
        }
        Ok(hits)
    }

    /// A hit with what was asked for; `None` past the threshold, or when the state has moved.
    fn hit(&self, state: &State<'_>, hit: &index::Hit<RowTag>) -> Result<Option<Hit>, Error> {
        let search = &self.search;
        let similarity = state.collection().record().metric.similarity(hit.distance);
        if search.min_similarity.is_some_and(|min| similarity < min) {
            return Ok(None);
        }
        let mut out = Hit {
            id: hit.tag.id.clone(),
            label: hit.tag.label.clone(),
            distance: hit.distance,
            similarity,
            payload: None,
            vector: None,
            image: None,
        };
        if search.with_vector {
            out.vector = state.snapshot().vector(hit.seq);
        }
        if search.with_payload || search.with_image {
            let Some(record) = state.record(hit.seq, &hit.tag)? else {
                return Ok(None);
            };
            if search.with_image {
                out.image = state.image(&record)?;
            }
            out.payload = search.with_payload.then_some(record.payload);
        }
        Ok(Some(out))
    }
}

impl Hit {
    /// About what it takes in a message.
    fn bytes(&self) -> usize {
        64 + self.id.as_str().len()
            + self.label.as_ref().map_or(0, |l| l.as_str().len())
            + self.vector.as_ref().map_or(0, |v| v.len() * 4)
            + self.image.as_ref().map_or(0, Vec::len)
            + self
                .payload
                .as_ref()
                .map_or(0, |p| encoded_bytes(p.fields()))
    }
}
