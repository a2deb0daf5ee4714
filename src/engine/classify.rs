//! One-shot classification.

use super::collection::{Collection, RowTag};
use super::decide::{Against, Decide, Judge, OperatingPoint};
use super::error::Error;
use super::matching::Matching;
use super::probe::{Probe, Resolved};
use super::search::filter_cost;
use super::state::State;
use super::{Engine, count};
use crate::domain::{
    CollectionName, Embedding, Example, Filter, ItemId, Label, Recall, Rule, rank,
};
use crate::index::{Hit, Query};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How examples decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The nearest example's label.
    Nearest,
    /// The k nearest vote.
    Vote,
    /// The nearest mean of a label's examples (Snell et al. 2017, prototypical networks).
    Prototype,
}

/// How to classify.
#[derive(Debug, Clone)]
pub struct Classify {
    /// How examples decide.
    pub method: Method,
    /// Examples that vote; 0 takes 5.
    pub k: usize,
    /// Labels answered; 0 takes 5.
    pub max_labels: usize,
    /// From which similarity of the best label on the answer is not unknown.
    pub decide: Decide,
    /// Only examples that match.
    pub filter: Option<Filter>,
}

/// A label and its claim.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelScore {
    /// The label.
    pub label: Label,
    /// The probe's nearest example of it.
    pub example: ItemId,
    /// Distance to that example, or to the mean with [`Method::Prototype`].
    pub distance: f32,
    /// The similarity belonging to the distance.
    pub similarity: f32,
    /// Share of the vote; 0 except with [`Method::Vote`].
    pub vote_share: f32,
    /// The probability that the probe is of this label, where the collection is calibrated.
    pub probability: Option<f64>,
}

/// A classification.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Strongest claim first.
    pub labels: Vec<LabelScore>,
    /// Whether no label is near enough, or none is enrolled.
    pub unknown: bool,
    /// Where that was decided; none where any label is near enough.
    pub point: Option<OperatingPoint>,
    /// The model version that made the vectors.
    pub model: Option<String>,
}

const MAX_VOTES: usize = 1_000;
const MAX_LABELS: usize = 100;

impl Engine {
    /// Names the label of a probe. A stored item is not compared with itself.
    ///
    /// # Errors
    /// No such collection or stored probe; a bad probe or parameter.
    pub async fn classify(
        &self,
        collection: &CollectionName,
        probe: Probe,
        classify: Classify,
    ) -> Result<Answer, Error> {
        let collection = self.inner.collection(collection)?;
        let (how, judge) = checked(&collection, &classify)?;
        let probe = self.resolve(&collection, "probe", probe).await?;
        self.classified(&collection, how, judge, probe).await
    }

    pub(super) async fn classified(
        &self,
        collection: &Arc<Collection>,
        how: How,
        judge: Judge,
        probe: Resolved,
    ) -> Result<Answer, Error> {
        let model = collection.record().model.clone();
        // At worst every row is looked at: once, or for its mean and for its distance.
        let passes = if how.method == Method::Prototype {
            2
        } else {
            1
        };
        let each = passes * filter_cost(how.filter.as_ref());
        let cost = each * collection.snapshot().len();
        if probe.itself.is_none() {
            collection.remember_query(&probe.vector);
        }
        let ask = Ask { probe, how };
        let mut labels = self
            .read(
                Arc::clone(collection),
                cost,
                move |state| Ok(ask.run(state)),
            )
            .await?;
        for label in &mut labels {
            label.probability = judge.probability(label.similarity);
        }
        let best = labels.first();
        Ok(Answer {
            unknown: best.is_none_or(|best| judge.accepts(best.similarity) == Some(false)),
            labels,
            point: judge.point,
            model,
        })
    }
}

/// Everything but the probe, checked.
pub(super) fn checked(collection: &Collection, classify: &Classify) -> Result<(How, Judge), Error> {
    let against = Against::Gallery {
        prototype: classify.method == Method::Prototype,
    };
    let how = How {
        filter: classify.filter.clone(),
        method: classify.method,
        votes: count("k", classify.k, 5, MAX_VOTES)?,
        labels: count("max_labels", classify.max_labels, 5, MAX_LABELS)?,
    };
    Ok((how, Judge::new(collection, &classify.decide, against)?))
}

pub(super) fn exact(vector: &Embedding, k: usize) -> Query<'_> {
    Query {
        vector,
        k,
        recall: Recall::ALL,
        ef: None,
        exact: true,
        max_distance: None,
        filter: None,
    }
}

/// A checked classification, but for its probe.
#[derive(Debug, Clone)]
pub(super) struct How {
    filter: Option<Filter>,
    method: Method,
    votes: usize,
    labels: usize,
}

/// A probe, and how it is classified.
pub(super) struct Ask {
    probe: Resolved,
    how: How,
}

impl Ask {
    /// For [`Ask::nearest_of_all`].
    pub(super) fn all_labels(probe: Resolved, filter: Option<Filter>) -> Self {
        let how = How {
            filter,
            method: Method::Nearest,
            votes: 0,
            labels: usize::MAX,
        };
        Self { probe, how }
    }

    /// Every label by its nearest example, nearest first.
    pub(super) fn nearest_of_all(&self, state: &State<'_>, judge: &Judge) -> Vec<LabelScore> {
        let rows = &self.matching(state);
        let examples = self.nearest_of_each(rows, |_| true);
        let mut scores = self.scores(rows, Rule::Nearest, &examples);
        for score in &mut scores {
            score.probability = judge.probability(score.similarity);
        }
        scores
    }

    /// Whether a row is an example that counts.
    fn counts(&self, rows: &Matching<'_>, seq: u64, tag: &RowTag) -> bool {
        tag.label.is_some() && self.probe.itself.as_ref() != Some(&tag.id) && rows.holds(seq, tag)
    }

    fn matching<'a>(&'a self, state: &'a State<'a>) -> Matching<'a> {
        Matching::new(state, self.how.filter.as_ref())
    }

    fn run(&self, state: &State<'_>) -> Vec<LabelScore> {
        let rows = &self.matching(state);
        match self.how.method {
            Method::Nearest => self.nearest(rows),
            Method::Vote => {
                let examples = self.examples(rows, self.how.votes);
                self.scores(rows, Rule::Vote, &examples)
            }
            Method::Prototype => self.prototypes(rows),
        }
    }

    /// The n nearest examples.
    fn examples(&self, rows: &Matching<'_>, n: usize) -> Vec<Example> {
        let keep = |seq: u64, tag: &RowTag| self.counts(rows, seq, tag);
        let mut filter = vec![Filter::HasLabel];
        filter.extend(self.how.filter.clone());
        let query = Query {
            exact: false,
            filter: Some(&Filter::And(filter)),
            // One more, since the probe may find itself.
            ..exact(&self.probe.vector, n + 1)
        };
        let found = rows.state.snapshot().search(&query, Some(&keep));
        let itself = |hit: &Hit<RowTag>| self.probe.itself.as_ref() == Some(&hit.tag.id);
        let others = found.into_iter().filter(|hit| !itself(hit)).take(n);
        let labelled = others.filter_map(|hit| {
            Some(Example {
                id: hit.tag.id.clone(),
                label: hit.tag.label.clone()?,
                distance: hit.distance,
            })
        });
        labelled.collect()
    }

    /// Few examples usually tell enough labels; where they do not, every row is asked once.
    fn nearest(&self, rows: &Matching<'_>) -> Vec<LabelScore> {
        let n = 4 * self.how.labels;
        let mut examples = self.examples(rows, n);
        let labels: HashSet<&Label> = examples.iter().map(|e| &e.label).collect();
        let wanted = self.how.labels.min(rows.state.collection().label_count());
        if labels.len() < wanted && examples.len() == n {
            examples = self.nearest_of_each(rows, |_| true);
        }
        self.scores(rows, Rule::Nearest, &examples)
    }

    /// The nearest example of each label that is wanted, nearest first.
    fn nearest_of_each<'s>(
        &self,
        rows: &Matching<'s>,
        wanted: impl Fn(&Label) -> bool,
    ) -> Vec<Example> {
        let group = |seq: u64, tag: &'s RowTag| {
            let label = tag.label.as_ref().filter(|label| wanted(label))?;
            self.counts(rows, seq, tag).then_some(label)
        };
        let nearest = rows
            .state
            .snapshot()
            .nearest_of_each(&self.probe.vector, 1, group);
        let example = |(label, hits): (&Label, Vec<Hit<RowTag>>)| {
            let hit = hits.into_iter().next()?;
            Some(Example {
                id: hit.tag.id.clone(),
                label: label.clone(),
                distance: hit.distance,
            })
        };
        nearest.into_iter().filter_map(example).collect()
    }

    fn scores(&self, rows: &Matching<'_>, rule: Rule, examples: &[Example]) -> Vec<LabelScore> {
        let metric = rows.state.collection().record().metric;
        let ranked = rank(rule, examples).into_iter().take(self.how.labels);
        let scores = ranked.map(|r| LabelScore {
            label: r.label,
            example: r.best,
            distance: r.distance,
            similarity: metric.similarity(r.distance),
            vote_share: if rule == Rule::Vote { r.share } else { 0.0 },
            probability: None,
        });
        scores.collect()
    }

    /// One pass for the means; another for the leading labels' examples nearest to the probe.
    fn prototypes(&self, rows: &Matching<'_>) -> Vec<LabelScore> {
        let metric = rows.state.collection().record().metric;
        let mut sums: HashMap<&Label, (Vec<f32>, usize)> = HashMap::new();
        for (seq, tag, vector) in rows.state.snapshot().iter() {
            let Some(label) = &tag.label else { continue };
            if !self.counts(rows, seq, tag) {
                continue;
            }
            let (sum, n) = sums
                .entry(label)
                .or_insert_with(|| (vec![0.0; vector.len()], 0));
            sum.iter_mut().zip(vector).for_each(|(s, v)| *s += v);
            *n += 1;
        }
        let dim = self.probe.vector.as_slice().len();
        let means = sums.into_iter().filter_map(|(label, (mut sum, n))| {
            for s in &mut sum {
                #[expect(clippy::cast_precision_loss, reason = "a count of examples")]
                let mean = *s / n as f32;
                *s = mean;
            }
            // Examples that cancel out have no mean direction, and so no prototype.
            let mean = Embedding::new(sum, dim, metric).ok()?;
            Some((label.clone(), metric.between(&self.probe.vector, &mean)))
        });
        let mut ranked: Vec<(Label, f32)> = means.collect();
        ranked.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        ranked.truncate(self.how.labels);
        let leaders: HashSet<&Label> = ranked.iter().map(|(label, _)| label).collect();
        let examples = self.nearest_of_each(rows, |label| leaders.contains(label));
        let mut examples: HashMap<Label, ItemId> =
            examples.into_iter().map(|e| (e.label, e.id)).collect();
        let scores = ranked.iter().filter_map(|(label, distance)| {
            Some(LabelScore {
                example: examples.remove(label)?,
                label: label.clone(),
                distance: *distance,
                similarity: metric.similarity(*distance),
                vote_share: 0.0,
                probability: None,
            })
        });
        scores.collect()
    }
}
