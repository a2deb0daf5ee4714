//! Classifying a batch: each probe by itself, or all together where each label is there once.

use super::Engine;
use super::classify::{Answer, Ask, Classify, LabelScore, Method, checked};
use super::decide::Judge;
use super::error::Error;
use super::probe::{Probe, Resolved};
use super::state::State;
use crate::domain::{CollectionName, Filter, Invalid, Label, assign};
use crate::engine::collection::Collection;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, HashMap};

/// Probes in one batch; labels too where they are assigned: the time grows with their cube.
const MAX_BATCH: usize = 1_000;
/// Probes embedded or classified at once.
const AT_ONCE: usize = 16;

/// Probes to classify, all in one way.
#[derive(Debug, Clone)]
pub struct ClassifyBatch {
    /// The probes, 1 to 1,000.
    pub probes: Vec<Probe>,
    /// How.
    pub how: Classify,
    /// Each label belongs to at most one probe, and each probe to a label: the assignment of
    /// least total distance, by nearest examples.
    pub one_to_one: bool,
}

impl Engine {
    /// Names the labels of probes, in their order.
    ///
    /// # Errors
    /// As [`Engine::classify`]; no probe or too many; more probes than labels to assign.
    pub async fn classify_batch(
        &self,
        collection: &CollectionName,
        batch: ClassifyBatch,
    ) -> Result<Vec<Answer>, Error> {
        let collection = self.inner.collection(collection)?;
        let n = batch.probes.len();
        if !(1..=MAX_BATCH).contains(&n) {
            let allowed = format!("1 to {MAX_BATCH} are allowed");
            return Err(Invalid::new("probes", n.to_string(), allowed).into());
        }
        let (how, judge) = checked(&collection, &batch.how)?;
        let resolved = batch.probes.into_iter().enumerate().map(|(nth, probe)| {
            let field = format!("probes[{nth}]");
            let collection = &collection;
            async move { self.resolve_patiently(collection, &field, probe).await }
        });
        let probes: Vec<Resolved> = stream::iter(resolved.collect::<Vec<_>>())
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        if !batch.one_to_one {
            let each = probes
                .into_iter()
                .map(|probe| self.classified(&collection, how.clone(), judge.clone(), probe));
            return stream::iter(each.collect::<Vec<_>>())
                .buffered(AT_ONCE)
                .try_collect()
                .await;
        }
        assignable(&collection, n, &batch.how)?;
        let model = collection.record().model.clone();
        let filter = batch.how.filter;
        let cost = n * collection.snapshot().len();
        let assigned = self
            .read(collection, cost, move |state| {
                together(state, &probes, filter.as_ref(), &judge)
            })
            .await?;
        let answer = |score: Option<LabelScore>| Answer {
            unknown: score.is_none(),
            labels: score.into_iter().collect(),
            point: None,
            model: model.clone(),
        };
        Ok(assigned.into_iter().map(answer).collect())
    }
}

fn assignable(collection: &Collection, probes: usize, how: &Classify) -> Result<(), Error> {
    let labels = collection.label_count();
    let refuse = |was: String, allowed: &str| Err(Invalid::new("one_to_one", was, allowed).into());
    if how.method != Method::Nearest {
        return refuse(
            "true".into(),
            "only the nearest example decides in an assignment",
        );
    }
    if how.decide.min_similarity.is_some() || how.decide.target.is_some() {
        return refuse(
            "true".into(),
            "in an assignment nothing is unknown, so no threshold is allowed",
        );
    }
    if labels > MAX_BATCH {
        return refuse(format!("{labels} labels"), "at most 1000 are allowed");
    }
    if probes > labels {
        let allowed = format!("at most {labels}, as many as there are labels, are allowed");
        return Err(Invalid::new("probes", probes.to_string(), allowed).into());
    }
    Ok(())
}

/// The label of each probe; `None` for one that is left no label with an example.
fn together(
    state: &State<'_>,
    probes: &[Resolved],
    filter: Option<&Filter>,
    judge: &Judge,
) -> Result<Vec<Option<LabelScore>>, Error> {
    let mut columns: BTreeMap<Label, usize> = BTreeMap::new();
    let mut rows: Vec<HashMap<usize, LabelScore>> = Vec::with_capacity(probes.len());
    for probe in probes {
        if state.is_given_up() {
            return Err(Error::Closed);
        }
        let ask = Ask::all_labels(probe.clone(), filter.cloned());
        let scores = ask.nearest_of_all(state, judge).into_iter().map(|score| {
            let next = columns.len();
            let column = *columns.entry(score.label.clone()).or_insert(next);
            (column, score)
        });
        rows.push(scores.collect());
    }
    if columns.len() < probes.len() {
        let allowed = format!(
            "at most {}, as many as match the filter, are allowed",
            columns.len()
        );
        return Err(Invalid::new("probes", probes.len().to_string(), allowed).into());
    }
    let distance = |score: &LabelScore| f64::from(score.distance);
    let all = || rows.iter().flat_map(HashMap::values).map(distance);
    let (least, most) = (
        all().fold(f64::MAX, f64::min),
        all().fold(f64::MIN, f64::max),
    );
    // Dearer than any assignment without it.
    #[expect(clippy::cast_precision_loss, reason = "at most 1,000 rows")]
    let never = most + (most - least + 1.0) * rows.len() as f64;
    let cost = |row: usize, column: usize| rows[row].get(&column).map_or(never, distance);
    let found = assign(rows.len(), columns.len(), cost);
    let each = rows.iter_mut().zip(found);
    Ok(each.map(|(row, column)| row.remove(&column)).collect())
}
