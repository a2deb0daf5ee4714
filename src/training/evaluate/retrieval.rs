//! Retrieval: each image in turn is the probe, all others the gallery.

use super::pairs::Place;
use super::stats::Figure;
use super::tally::{NOBODY, Outcome, Tally};
use super::{Embedded, EvalError, bootstrap, parameter};
use crate::simd::{AlignedRows, dot};
use rayon::prelude::*;

/// Ks at which recall is told.
pub const KS: [usize; 3] = [1, 5, 10];
/// Most images: the time grows with their square.
const MAX_IMAGES: usize = 100_000;

/// The figures, over all images whose class has another. Intervals: a bootstrap over the
/// classes of the probes; the gallery stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    /// k, and the share of probes with an image of their class among the k nearest.
    pub recall_at: Vec<(usize, Figure)>,
    /// Mean average precision over the whole ranking.
    pub map: Figure,
    /// Probes.
    pub probes: usize,
    /// Probes whose nearest image is of another class.
    pub tally: Tally,
    /// For every class the sum of its probes' average precisions.
    pub precision: Vec<f64>,
}

/// Ranks the gallery for every image.
///
/// # Errors
/// No class of two images, or more than 100,000 images.
#[expect(clippy::cast_precision_loss, reason = "counts of images")]
pub fn run(
    classes: &[Embedded],
    seed: u64,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Retrieval, EvalError> {
    let images: usize = classes.iter().map(|c| c.vectors.len()).sum();
    let dim = classes
        .iter()
        .find_map(|c| c.vectors.first())
        .map_or(1, |v| v.as_slice().len());
    if images > MAX_IMAGES {
        let allowed = format!("at most {MAX_IMAGES} are allowed");
        return Err(parameter("data", format!("{images} images"), allowed));
    }
    let mut rows = AlignedRows::with_capacity(dim, images);
    let mut places = Vec::with_capacity(images);
    for (class, embedded) in classes.iter().enumerate() {
        for (image, vector) in embedded.vectors.iter().enumerate() {
            rows.push(vector.as_slice());
            places.push(Place::new(class, image));
        }
    }
    let probes: Vec<usize> = (0..images)
        .filter(|i| classes[places[*i].class as usize].vectors.len() > 1)
        .collect();
    if probes.is_empty() {
        return Err(parameter(
            "data",
            format!("{images} images"),
            "a class of 2 images is needed",
        ));
    }
    let each: Vec<Ranking> = probes
        .par_iter()
        .map(|probe| {
            let ranking = rank(&rows, &places, *probe);
            progress(1);
            ranking
        })
        .collect();
    let mut tally = Tally::new(classes.len());
    let mut precision = vec![0.0; classes.len()];
    for ranking in &each {
        tally.add(&ranking.outcome);
        precision[ranking.outcome.probe.class as usize] += ranking.precision;
    }
    let over_probes = |sums: &[f64]| {
        let trials = tally.classes.iter().map(|c| c.trials as f64);
        let classes: Vec<_> = sums.iter().copied().zip(trials).collect();
        bootstrap::ratio(&classes, seed)
    };
    let recall = |k: usize| {
        let mut found = vec![0.0; classes.len()];
        for ranking in each.iter().filter(|r| r.first <= k) {
            found[ranking.outcome.probe.class as usize] += 1.0;
        }
        (k, over_probes(&found))
    };
    Ok(Retrieval {
        recall_at: KS.into_iter().map(recall).collect(),
        map: over_probes(&precision),
        probes: probes.len(),
        tally,
        precision,
    })
}

/// What the gallery is to one probe.
struct Ranking {
    /// The place of the first image of the probe's class, from 1 on.
    first: usize,
    /// The average precision.
    precision: f64,
    outcome: Outcome,
}

#[expect(clippy::cast_precision_loss, reason = "counts of images")]
fn rank(rows: &AlignedRows, places: &[Place], probe: usize) -> Ranking {
    let own = places[probe].class;
    let query = rows.padded(probe);
    let others = (0..rows.len()).filter(|i| *i != probe);
    // Among equals those of another class come first: no luck from the order of files.
    let mut all: Vec<(f32, bool, usize)> = others
        .map(|i| (dot(query, rows.padded(i)), places[i].class == own, i))
        .collect();
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let ranks: Vec<usize> = all
        .iter()
        .zip(1..)
        .filter(|((_, same, _), _)| *same)
        .map(|(_, place)| place)
        .collect();
    let precision = ranks
        .iter()
        .zip(1..)
        .map(|(place, found)| f64::from(found) / *place as f64);
    let first = |same: bool| {
        let found = all.iter().find(|one| one.1 == same);
        found.map_or(NOBODY, |(score, _, i)| (places[*i], *score))
    };
    Ranking {
        precision: precision.sum::<f64>() / ranks.len().max(1) as f64,
        first: ranks.first().copied().unwrap_or(usize::MAX),
        outcome: Outcome {
            probe: places[probe],
            right: first(true),
            rival: first(false),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Embedding, Metric};

    #[test]
    fn figures_by_hand() {
        let at = |degrees: f32| {
            let (y, x) = degrees.to_radians().sin_cos();
            Embedding::new(vec![x, y], 2, Metric::Cosine).unwrap()
        };
        let class = |degrees: &[f32]| Embedded {
            parent: String::new(),
            vectors: degrees.iter().map(|d| at(*d)).collect(),
        };
        // 0 finds 10 first; 10 finds 15 first, then 0; 15 is alone in its class.
        let found = run(&[class(&[0.0, 10.0]), class(&[15.0])], 0, &|_| {}).unwrap();
        assert_eq!(found.probes, 2);
        let recall = found.recall_at.iter().map(|(k, r)| (*k, r.value));
        assert!(recall.eq([(1, 0.5), (5, 1.0), (10, 1.0)]));
        assert!((found.map.value - 0.75).abs() < 1e-12);
        assert_eq!(found.map.ci95, None, "two classes tell nothing of others");
        // 10 finds 15, which is of the other class, before 0.
        let ((a, b), confusion) = found.tally.worst()[0];
        assert_eq!(
            (a, b, confusion.times, confusion.worst.probe.image),
            (0, 1, 1, 1)
        );
        assert!(run(&[class(&[0.0])], 0, &|_| {}).is_err());
    }
}
