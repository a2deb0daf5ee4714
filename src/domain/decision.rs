//! One-shot classification: from scored examples to ranked labels.

use super::{ItemId, Label};
use std::collections::HashMap;

/// An enrolled example and how near the probe is to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The example.
    pub id: ItemId,
    /// Its label.
    pub label: Label,
    /// Distance to the probe, smaller is nearer.
    pub distance: f32,
}

/// How examples of a label become its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The nearest example decides (one-shot).
    Nearest,
    /// The k nearest vote, each with weight `1 / (1 + rank)`; ties go to the nearer example.
    Vote,
}

/// A label, how strong its claim is, and the example nearest to the probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The label.
    pub label: Label,
    /// The nearest example of the label.
    pub best: ItemId,
    /// Its distance.
    pub distance: f32,
    /// The label's share of the votes, in 0..=1; for [`Rule::Nearest`] 1 for the first, else 0.
    pub share: f32,
}

/// Ranks labels, strongest first. `examples` are sorted by distance, nearest first.
#[must_use]
pub fn rank(rule: Rule, examples: &[Example]) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = Vec::new();
    let mut place: HashMap<&Label, usize> = HashMap::new();
    let mut total = 0.0;
    for (nth, example) in examples.iter().enumerate() {
        let at = *place.entry(&example.label).or_insert_with(|| {
            ranked.push(Ranked {
                label: example.label.clone(),
                best: example.id.clone(),
                distance: example.distance,
                share: 0.0,
            });
            ranked.len() - 1
        });
        let weight = match rule {
            Rule::Nearest if nth > 0 => 0.0,
            Rule::Nearest => 1.0,
            #[expect(clippy::cast_precision_loss, reason = "at most 10,000 votes")]
            Rule::Vote => 1.0 / (1.0 + nth as f32),
        };
        ranked[at].share += weight;
        total += weight;
    }
    for label in &mut ranked {
        label.share /= total;
    }
    // Stable: among equals the one with the nearer example stays first.
    ranked.sort_by(|a, b| b.share.total_cmp(&a.share));
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(label: &str, distance: f32) -> Example {
        Example {
            id: ItemId::new(format!("{label}{distance}")).unwrap(),
            label: Label::new(label).unwrap(),
            distance,
        }
    }

    #[test]
    fn nearest_and_vote_can_differ() {
        let examples = [
            example("a", 0.1),
            example("b", 0.2),
            example("b", 0.3),
            example("b", 0.4),
        ];
        assert_eq!(rank(Rule::Nearest, &examples)[0].label.as_str(), "a");
        let votes = rank(Rule::Vote, &examples);
        assert_eq!(votes[0].label.as_str(), "b");
        assert_eq!(votes[0].best.as_str(), "b0.2");
        assert!((votes.iter().map(|r| r.share).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(rank(Rule::Vote, &[]).is_empty());
    }
}
