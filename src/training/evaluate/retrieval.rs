//! Retrieval: each image in turn is the probe, all others the gallery.

use super::{Embedded, EvalError, parameter};
use crate::simd::{AlignedRows, dot};
use rayon::prelude::*;

/// Ks at which recall is told.
pub const KS: [usize; 3] = [1, 5, 10];
/// Most images: the time grows with their square.
const MAX_IMAGES: usize = 100_000;

/// The figures, over all images whose class has another.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    /// k, and the share of probes with an image of their class among the k nearest.
    pub recall_at: Vec<(usize, f64)>,
    /// Mean average precision over the whole ranking.
    pub map: f64,
    /// Probes.
    pub probes: usize,
}

/// Ranks the gallery for every image.
///
/// # Errors
/// No class of two images, or more than 100,000 images.
#[expect(clippy::cast_precision_loss, reason = "counts of images")]
pub fn run(
    classes: &[Embedded],
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
    let mut class_of = Vec::with_capacity(images);
    for (class, embedded) in classes.iter().enumerate() {
        for vector in &embedded.vectors {
            rows.push(vector.as_slice());
            class_of.push(class);
        }
    }
    let probes: Vec<usize> = (0..images)
        .filter(|i| classes[class_of[*i]].vectors.len() > 1)
        .collect();
    if probes.is_empty() {
        return Err(parameter(
            "data",
            format!("{images} images"),
            "a class of 2 images is needed",
        ));
    }
    let each: Vec<(usize, f64)> = probes
        .par_iter()
        .map(|probe| {
            progress(1);
            rank(&rows, &class_of, *probe)
        })
        .collect();
    let n = probes.len() as f64;
    let recall = |k: usize| each.iter().filter(|(first, _)| *first <= k).count() as f64 / n;
    Ok(Retrieval {
        recall_at: KS.iter().map(|k| (*k, recall(*k))).collect(),
        map: each.iter().map(|(_, precision)| precision).sum::<f64>() / n,
        probes: probes.len(),
    })
}

/// The place of the first image of the probe's class, and the average precision.
#[expect(clippy::cast_precision_loss, reason = "counts of images")]
fn rank(rows: &AlignedRows, class_of: &[usize], probe: usize) -> (usize, f64) {
    let own = class_of[probe];
    let query = rows.padded(probe);
    let others = (0..rows.len()).filter(|i| *i != probe);
    // Among equals those of another class come first: no luck from the order of files.
    let mut all: Vec<(f32, bool)> = others
        .map(|i| (dot(query, rows.padded(i)), class_of[i] == own))
        .collect();
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let places: Vec<usize> = all
        .iter()
        .zip(1..)
        .filter(|((_, same), _)| *same)
        .map(|(_, place)| place)
        .collect();
    let precision = places
        .iter()
        .zip(1..)
        .map(|(place, found)| f64::from(found) / *place as f64);
    let average = precision.sum::<f64>() / places.len().max(1) as f64;
    (places.first().copied().unwrap_or(usize::MAX), average)
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
        let found = run(&[class(&[0.0, 10.0]), class(&[15.0])], &|_| {}).unwrap();
        assert_eq!(found.probes, 2);
        assert_eq!(found.recall_at, [(1, 0.5), (5, 1.0), (10, 1.0)]);
        assert!((found.map - 0.75).abs() < 1e-12);
        assert!(run(&[class(&[0.0])], &|_| {}).is_err());
    }
}
