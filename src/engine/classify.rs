//! One-shot classification, and verification of a claimed label.

use super::collection::{Collection, RowTag};
use super::compare::Compared;
use super::error::{Error, Resource};
use super::probe::{Probe, Resolved};
use super::search::filter_cost;
use super::state::State;
use super::{Engine, count};
use crate::domain::{CollectionName, Embedding, Example, Filter, ItemId, Label, Rule, rank};
use crate::index::{Hit, Query};
use std::collections::{HashMap, HashSet};

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

/// What to classify.
#[derive(Debug, Clone)]
pub struct Classify {
    /// The probe; a stored item is not compared with itself.
    pub probe: Probe,
    /// How examples decide.
    pub method: Method,
    /// Examples that vote; 0 takes 5.
    pub k: usize,
    /// Labels answered; 0 takes 5.
    pub max_labels: usize,
    /// Below this similarity of the best label the answer is unknown.
    pub min_similarity: Option<f32>,
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
}

/// A classification.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Strongest claim first.
    pub labels: Vec<LabelScore>,
    /// Whether no label is near enough, or none is enrolled.
    pub unknown: bool,
    /// The model version that made the vectors.
    pub model: Option<String>,
}

const MAX_VOTES: usize = 1_000;
const MAX_LABELS: usize = 100;

impl Engine {
    /// Names the label of a probe.
    ///
    /// # Errors
    /// No such collection or stored probe; a bad probe or parameter.
    pub async fn classify(
        &self,
        collection: &CollectionName,
        classify: Classify,
    ) -> Result<Answer, Error> {
        let collection = self.inner.collection(collection)?;
        let votes = count("k", classify.k, 5, MAX_VOTES)?;
        let labels = count("max_labels", classify.max_labels, 5, MAX_LABELS)?;
        // Only its check: the threshold is compared with the best label below.
        collection.max_distance(classify.min_similarity)?;
        let model = collection.record().model.clone();
        let probe = self.resolve(&collection, "probe", classify.probe).await?;
        let min_similarity = classify.min_similarity;
        let ask = Ask {
            probe,
            filter: classify.filter,
            method: classify.method,
            votes,
            labels,
        };
        // At worst every row is looked at: once, or for its mean and for its distance.
        let passes = if ask.method == Method::Prototype {
            2
        } else {
            1
        };
        let each = passes * filter_cost(ask.filter.as_ref());
        let cost = move |c: &Collection| each * c.snapshot().len();
        let ranked = self
            .read(collection, cost, move |state| Ok(ask.run(state)))
            .await?;
        let unknown = match ranked.first() {
            None => true,
            Some(best) => min_similarity.is_some_and(|min| best.similarity < min),
        };
        Ok(Answer {
            labels: ranked,
            unknown,
            model,
        })
    }

    /// Compares a probe with the examples of the label it claims: the nearest decides.
    ///
    /// # Errors
    /// The label has no example; no threshold; otherwise as [`Engine::classify`].
    pub async fn verify(
        &self,
        collection: &CollectionName,
        probe: Probe,
        label: Label,
        min_similarity: f32,
    ) -> Result<(ItemId, Compared), Error> {
        let collection = self.inner.collection(collection)?;
        collection.max_distance(Some(min_similarity))?;
        let model = collection.record().model.clone();
        let probe = self.resolve(&collection, "probe", probe).await?;
        let cost = |c: &Collection| c.snapshot().len();
        let name = label.clone();
        let best = self
            .read(collection, cost, move |state| {
                let mine = |_: u64, tag: &RowTag| {
                    tag.label.as_ref() == Some(&label) && probe.itself.as_ref() != Some(&tag.id)
                };
                let nearest = state
                    .snapshot()
                    .search(&exact(&probe.vector, 1), Some(&mine));
                let metric = state.collection().record().metric;
                Ok(nearest.into_iter().next().map(|hit| {
                    let similarity = metric.similarity(hit.distance);
                    (hit.tag.id.clone(), hit.distance, similarity)
                }))
            })
            .await?;
        let (id, distance, similarity) =
            best.ok_or_else(|| Error::not_found(Resource::Label, name.as_str()))?;
        let compared = Compared {
            distance,
            similarity,
            same: Some(similarity >= min_similarity),
            model,
        };
        Ok((id, compared))
    }
}

fn exact(vector: &Embedding, k: usize) -> Query<'_> {
    Query {
        vector,
        k,
        ef: None,
        exact: true,
        max_distance: None,
    }
}

/// A checked classification.
struct Ask {
    probe: Resolved,
    filter: Option<Filter>,
    method: Method,
    votes: usize,
    labels: usize,
}

impl Ask {
    /// Whether a row is an example that counts.
    fn counts(&self, state: &State<'_>, seq: u64, tag: &RowTag) -> bool {
        tag.label.is_some()
            && self.probe.itself.as_ref() != Some(&tag.id)
            && self
                .filter
                .as_ref()
                .is_none_or(|f| state.matches(f, seq, tag))
    }

    fn run(&self, state: &State<'_>) -> Vec<LabelScore> {
        match self.method {
            Method::Nearest => self.nearest(state),
            Method::Vote => {
                let examples = self.examples(state, self.votes);
                self.scores(state, Rule::Vote, &examples)
            }
            Method::Prototype => self.prototypes(state),
        }
    }

    /// The n nearest examples.
    fn examples(&self, state: &State<'_>, n: usize) -> Vec<Example> {
        let keep = |seq: u64, tag: &RowTag| self.counts(state, seq, tag);
        let query = Query {
            exact: false,
            ..exact(&self.probe.vector, n)
        };
        let found = state.snapshot().search(&query, Some(&keep));
        let labelled = found.into_iter().filter_map(|hit| {
            Some(Example {
                id: hit.tag.id.clone(),
                label: hit.tag.label.clone()?,
                distance: hit.distance,
            })
        });
        labelled.collect()
    }

    /// Few examples usually tell enough labels; where they do not, every row is asked once.
    fn nearest(&self, state: &State<'_>) -> Vec<LabelScore> {
        let n = 4 * self.labels;
        let mut examples = self.examples(state, n);
        let labels: HashSet<&Label> = examples.iter().map(|e| &e.label).collect();
        let wanted = self.labels.min(state.collection().label_count());
        if labels.len() < wanted && examples.len() == n {
            examples = self.nearest_of_each(state, |_| true);
        }
        self.scores(state, Rule::Nearest, &examples)
    }

    /// The nearest example of each label that is wanted, nearest first.
    fn nearest_of_each<'s>(
        &self,
        state: &'s State<'_>,
        wanted: impl Fn(&Label) -> bool,
    ) -> Vec<Example> {
        let group = |seq: u64, tag: &'s RowTag| {
            let label = tag.label.as_ref().filter(|label| wanted(label))?;
            self.counts(state, seq, tag).then_some(label)
        };
        let nearest = state.snapshot().nearest_of_each(&self.probe.vector, group);
        let example = |(label, hit): (&Label, Hit<RowTag>)| Example {
            id: hit.tag.id.clone(),
            label: label.clone(),
            distance: hit.distance,
        };
        nearest.into_iter().map(example).collect()
    }

    fn scores(&self, state: &State<'_>, rule: Rule, examples: &[Example]) -> Vec<LabelScore> {
        let metric = state.collection().record().metric;
        let ranked = rank(rule, examples).into_iter().take(self.labels);
        let scores = ranked.map(|r| LabelScore {
            label: r.label,
            example: r.best,
            distance: r.distance,
            similarity: metric.similarity(r.distance),
            vote_share: if rule == Rule::Vote { r.share } else { 0.0 },
        });
        scores.collect()
    }

    /// One pass for the means; another for the leading labels' examples nearest to the probe.
    fn prototypes(&self, state: &State<'_>) -> Vec<LabelScore> {
        let metric = state.collection().record().metric;
        let mut sums: HashMap<&Label, (Vec<f32>, usize)> = HashMap::new();
        for (seq, tag, vector) in state.snapshot().iter() {
            let Some(label) = &tag.label else { continue };
            if !self.counts(state, seq, tag) {
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
        ranked.truncate(self.labels);
        let leaders: HashSet<&Label> = ranked.iter().map(|(label, _)| label).collect();
        let examples = self.nearest_of_each(state, |label| leaders.contains(label));
        let mut examples: HashMap<Label, ItemId> =
            examples.into_iter().map(|e| (e.label, e.id)).collect();
        let scores = ranked.iter().filter_map(|(label, distance)| {
            Some(LabelScore {
                example: examples.remove(label)?,
                label: label.clone(),
                distance: *distance,
                similarity: metric.similarity(*distance),
                vote_share: 0.0,
            })
        });
        scores.collect()
    }
}
