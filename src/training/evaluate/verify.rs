//! Verification: genuine pairs are of one class, impostor pairs of two.
//!
//! A pair is accepted if its similarity is at least a threshold. FAR is the share of impostor
//! pairs accepted, FRR the share of genuine pairs refused (ISO/IEC 19795-1).

use super::{Embedded, EvalError, cosine, parameter};
use crate::training::random::Random;

/// The figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// Area under the ROC curve: how often a genuine pair is more alike than an impostor pair.
    pub auc: f64,
    /// Error rate at the threshold where FAR and FRR are equal.
    pub eer: f64,
    /// FAR asked for, and the FRR at the lowest threshold that keeps it.
    pub frr_at_far: Vec<(f64, f64)>,
    /// Pairs, half of them genuine.
    pub pairs: usize,
}

/// FARs at which the FRR is told.
pub const FARS: [f64; 2] = [0.01, 0.001];

/// Draws `pairs` pairs, half genuine, and tells how well similarity keeps them apart.
///
/// # Errors
/// Fewer than 2 pairs, fewer than 2 classes, or no class of 2 images.
pub fn run(classes: &[Embedded], pairs: usize, seed: u64) -> Result<Verification, EvalError> {
    if !(2..=50_000_000).contains(&pairs) {
        return Err(parameter(
            "pairs",
            pairs.to_string(),
            "2 to 50000000 are allowed",
        ));
    }
    let several: Vec<&Embedded> = classes.iter().filter(|c| c.vectors.len() > 1).collect();
    if several.is_empty() || classes.len() < 2 {
        let was = format!("{} classes", classes.len());
        return Err(parameter(
            "data",
            was,
            "2 classes, one of them of 2 images, are needed",
        ));
    }
    let mut random = Random::new(seed, 0);
    let genuine = (0..pairs / 2).map(|_| {
        let class = &several[random.below(several.len())].vectors;
        let pair = random.distinct(class.len(), 2);
        cosine(&class[pair[0]], &class[pair[1]])
    });
    let genuine: Vec<f32> = genuine.collect();
    let impostor = (0..pairs - pairs / 2).map(|_| {
        let pair = random.distinct(classes.len(), 2);
        let (a, b) = (&classes[pair[0]].vectors, &classes[pair[1]].vectors);
        cosine(&a[random.below(a.len())], &b[random.below(b.len())])
    });
    let impostor: Vec<f32> = impostor.collect();
    Ok(Verification {
        pairs,
        ..of_scores(&genuine, &impostor)
    })
}

/// The figures of two sets of similarities, neither empty.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of pairs")]
pub fn of_scores(genuine: &[f32], impostor: &[f32]) -> Verification {
    let mut all: Vec<(f32, bool)> = Vec::with_capacity(genuine.len() + impostor.len());
    all.extend(genuine.iter().map(|s| (*s, true)));
    all.extend(impostor.iter().map(|s| (*s, false)));
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (g, i) = (genuine.len() as f64, impostor.len() as f64);
    // The ROC curve, from the strictest threshold on; equal scores are accepted together.
    let (mut accepted, mut wrong, mut area) = (0.0, 0.0, 0.0);
    let mut curve = vec![(0.0, 1.0)];
    for same in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let right = same.iter().filter(|(_, genuine)| *genuine).count() as f64;
        let more = same.len() as f64 - right;
        area += more * (accepted + right / 2.0);
        accepted += right;
        wrong += more;
        curve.push((wrong / i, 1.0 - accepted / g));
    }
    let frr_at = |far: f64| {
        let kept = curve.iter().take_while(|(f, _)| *f <= far);
        kept.last().map_or(1.0, |(_, frr)| *frr)
    };
    // Where FAR rises above FRR, between the two points around it.
    let crossing = curve.windows(2).find(|w| w[1].0 >= w[1].1);
    let eer = crossing.map_or(0.5, |w| {
        let (before, after) = (w[0].1 - w[0].0, w[1].0 - w[1].1);
        let share = if before + after > 0.0 {
            before / (before + after)
        } else {
            0.0
        };
        w[0].0 + share * (w[1].0 - w[0].0)
    });
    Verification {
        auc: area / (g * i),
        eer,
        frr_at_far: FARS.iter().map(|far| (*far, frr_at(*far))).collect(),
        pairs: all.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_hand() {
        let apart = of_scores(&[0.9, 0.8], &[0.1, 0.2]);
        assert!((apart.auc - 1.0).abs() < 1e-12 && apart.eer.abs() < 1e-12);
        assert!(apart.frr_at_far.iter().all(|(_, frr)| frr.abs() < 1e-12));
        let tied = of_scores(&[0.5; 4], &[0.5; 4]);
        assert!((tied.auc - 0.5).abs() < 1e-12 && (tied.eer - 0.5).abs() < 1e-12);
        // One of four genuine pairs is below one of four impostor pairs.
        let mixed = of_scores(&[0.9, 0.8, 0.7, 0.3], &[0.4, 0.2, 0.1, 0.0]);
        assert!((mixed.auc - 15.0 / 16.0).abs() < 1e-12);
        assert!((mixed.eer - 0.25).abs() < 1e-12, "{}", mixed.eer);
        assert!((mixed.frr_at_far[0].1 - 0.25).abs() < 1e-12);
    }
}
