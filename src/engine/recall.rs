//! How well a collection is searched: recall, measured against exact search.

use super::error::Error;
use super::questions::{mean, spread};
use super::search::one_way;
use super::state::State;
use super::{Engine, count};
use crate::domain::{CollectionName, Embedding, Recall};
use crate::index::Query;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeasureRecall {
    /// Questions to ask; 0 takes 200.
    pub questions: usize,
    /// Answers wanted of each; 0 takes 10.
    pub k: usize,
    /// The recall that searches aim at; the collection's if not given.
    pub recall: Option<Recall>,
    /// Instead, candidates that a walk keeps; 0 aims at a recall.
    pub ef: usize,
}

/// A recall measured.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredRecall {
    /// Mean share of the true k nearest that a search found; 1 without a question.
    pub recall: f64,
    /// Its 95 % interval.
    pub interval: (f64, f64),
    /// Answers wanted of each question.
    pub k: usize,
    /// Questions that were recent queries.
    pub recent: usize,
    /// Questions that were stored rows.
    pub stored: usize,
    /// Rows searched.
    pub items: usize,
    /// The recall aimed at; none with an `ef`.
    pub target: Option<Recall>,
    /// How long a search took, in the median.
    pub search: Duration,
    /// How long an exact one took, in the median.
    pub exact: Duration,
    /// The model version that made the vectors.
    pub model: Option<String>,
}

const QUESTIONS: usize = 200;
const MAX_QUESTIONS: usize = 2_000;
/// What all questions find is held at once.
const MAX_K: usize = 1_000;

impl Engine {
    /// Asks a collection questions, each as a search would and exactly: recent queries, and
    /// stored rows where those are too few. A row does not find itself.
    ///
    /// # Errors
    /// No such collection; a bad number of questions, `k` or `ef`; nobody waits any more.
    pub async fn measure_recall(
        &self,
        collection: &CollectionName,
        measure: MeasureRecall,
    ) -> Result<MeasuredRecall, Error> {
        let collection = self.inner.collection(collection)?;
        one_way(measure.recall, false, measure.ef)?;
        let ef = count("ef", measure.ef, 0, self.limits().max_ef)?;
        let trial = Trial {
            questions: count("questions", measure.questions, QUESTIONS, MAX_QUESTIONS)?,
            k: count("k", measure.k, 10, MAX_K.min(self.limits().max_k))?,
            recall: measure.recall.unwrap_or(collection.record().recall),
            ef: (ef > 0).then_some(ef),
        };
        let questions = trial.questions;
        let cost = 2 * questions * collection.snapshot().len();
        self.read(collection, cost, move |state| trial.run(state))
            .await
    }
}

/// A vector to ask with, and the row it is, if it is one.
struct Question {
    vector: Embedding,
    itself: Option<u64>,
}

/// Recent queries, and stored rows where those are too few.
fn questions(state: &State<'_>, wanted: usize) -> Result<Vec<Question>, Error> {
    let recent = state.collection().recent_queries();
    let chosen = spread(recent.len(), wanted).into_iter();
    let mut questions: Vec<Question> = chosen
        .map(|place| Question {
            vector: recent[place].clone(),
            itself: None,
        })
        .collect();
    let missing = wanted - questions.len();
    let mut places = spread(state.snapshot().iter().count(), missing)
        .into_iter()
        .peekable();
    for (place, (seq, _, vector)) in state.snapshot().iter().enumerate() {
        if places.next_if_eq(&place).is_some() {
            questions.push(Question {
                vector: state.collection().embedding("vector", vector.to_vec())?,
                itself: Some(seq),
            });
        }
    }
    Ok(questions)
}

/// Rows found, by distance and sequence number, nearest first.
type Near = Vec<(f32, u64)>;

/// A checked measurement.
#[derive(Clone, Copy)]
struct Trial {
    questions: usize,
    k: usize,
    recall: Recall,
    ef: Option<usize>,
}

impl Trial {
    fn run(&self, state: &State<'_>) -> Result<MeasuredRecall, Error> {
        let mut questions = questions(state, self.questions)?;
        // In turns, the scans would take from the searches what lies in the caches.
        let (found, search) = self.ask(state, &questions, false)?;
        let (truth, exact) = self.ask(state, &questions, true)?;
        // Where there is nothing to find, nothing is asked.
        let mut asked = truth.iter().map(|truth| !truth.is_empty());
        questions.retain(|_| asked.next().unwrap_or(false));
        let pairs = found.iter().zip(&truth);
        let shares: Vec<f64> = pairs.filter_map(|(f, t)| share(f, t)).collect();
        let (recall, interval) = mean(&shares);
        let recent = questions.iter().filter(|q| q.itself.is_none()).count();
        Ok(MeasuredRecall {
            recall,
            interval,
            k: self.k,
            recent,
            stored: questions.len() - recent,
            items: state.snapshot().len(),
            target: self.ef.is_none().then_some(self.recall),
            search: median(search),
            exact: median(exact),
            model: state.collection().record().model.clone(),
        })
    }

    /// What each question finds, and how long that took.
    fn ask(
        &self,
        state: &State<'_>,
        questions: &[Question],
        exact: bool,
    ) -> Result<(Vec<Near>, Vec<Duration>), Error> {
        let mut found = Vec::with_capacity(questions.len());
        let mut took = Vec::with_capacity(questions.len());
        for question in questions {
            if state.is_given_up() {
                return Err(Error::Closed);
            }
            let query = Query {
                vector: &question.vector,
                k: self.k + usize::from(question.itself.is_some()),
                recall: self.recall,
                ef: self.ef,
                exact,
                max_distance: None,
                filter: None,
            };
            let begun = Instant::now();
            let hits = state.snapshot().search(&query, None);
            took.push(begun.elapsed());
            let near = hits.iter().map(|hit| (hit.distance, hit.seq));
            let others = near.filter(|(_, seq)| Some(*seq) != question.itself);
            found.push(others.take(self.k).collect());
        }
        Ok((found, took))
    }
}

/// The share of the true nearest that were found. A row as far as the last of them is as good;
/// `None` where there are none.
#[expect(clippy::cast_precision_loss, reason = "at most k")]
fn share(found: &Near, truth: &Near) -> Option<f64> {
    let farthest = truth.last()?.0;
    let among: HashSet<u64> = truth.iter().map(|(_, seq)| *seq).collect();
    let right = |(distance, seq): &&(f32, u64)| *distance <= farthest || among.contains(seq);
    let right = found.iter().filter(right).count();
    Some(right as f64 / truth.len() as f64)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_of_the_last_count_as_found() {
        let truth = vec![(0.1, 1), (0.2, 2), (0.2, 3)];
        let of = |found: Near| share(&found, &truth).unwrap();
        assert!((of(truth.clone()) - 1.0).abs() < 1e-9);
        assert!((of(vec![(0.1, 1), (0.2, 8), (0.2, 9)]) - 1.0).abs() < 1e-9);
        assert!((of(vec![(0.1, 1), (0.2, 2), (0.3, 9)]) - 2.0 / 3.0).abs() < 1e-9);
        assert!(of(vec![]).abs() < 1e-9);
        assert_eq!(share(&truth, &vec![]), None);
    }

    #[test]
    fn a_median_is_of_the_middle() {
        let ms = Duration::from_millis;
        assert_eq!(median(vec![ms(9), ms(1), ms(2)]), ms(2));
        assert_eq!(median(vec![]), ms(0));
    }
}
