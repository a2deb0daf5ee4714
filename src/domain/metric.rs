//! How far apart two embeddings are.

use super::Embedding;
use serde::{Deserialize, Serialize};

/// A collection's notion of nearness. A *distance* is always "smaller is nearer".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// `1 - cos(a, b)`, in 0..=2. Vectors are stored normalised; zero vectors are refused.
    Cosine,
    /// `‖a - b‖`, at least 0.
    Euclidean,
    /// `-a·b`, any real number: the larger the inner product, the nearer.
    Dot,
}

impl Metric {
    /// The distance between two embeddings of this metric and of one dimension.
    #[must_use]
    pub fn between(self, a: &Embedding, b: &Embedding) -> f32 {
        let pairs = || a.as_slice().iter().zip(b.as_slice());
        let dot = || pairs().map(|(x, y)| x * y).sum::<f32>();
        match self {
            Self::Cosine => (1.0 - dot()).max(0.0),
            Self::Euclidean => pairs().map(|(x, y)| (x - y) * (x - y)).sum::<f32>().sqrt(),
            Self::Dot => -dot(),
        }
    }

    /// The similarity belonging to a distance: larger is more alike.
    ///
    /// Cosine: the cosine, in -1..=1. Euclidean: `1 / (1 + distance)`, in 0..=1.
    /// Dot: the inner product.
    #[must_use]
    pub fn similarity(self, distance: f32) -> f32 {
        match self {
            Self::Cosine => (1.0 - distance).clamp(-1.0, 1.0),
            Self::Euclidean => 1.0 / (1.0 + distance),
            Self::Dot => -distance,
        }
    }

    /// The distance belonging to a similarity: the inverse of [`Metric::similarity`].
    #[must_use]
    pub fn distance(self, similarity: f32) -> f32 {
        match self {
            Self::Cosine => 1.0 - similarity,
            Self::Euclidean => 1.0 / similarity - 1.0,
            Self::Dot => -similarity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_and_distance_are_inverse() {
        for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
            for d in [0.0, 0.25, 1.0, 1.5] {
                let back = metric.distance(metric.similarity(d));
                assert!((back - d).abs() < 1e-6, "{metric:?} {d} {back}");
            }
        }
    }
}
