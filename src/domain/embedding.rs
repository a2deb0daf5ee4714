//! A vector that is fit to be indexed.

use super::{Invalid, Metric};

/// The largest dimension accepted anywhere.
pub const MAX_DIM: usize = 4096;

/// A vector of 1 to [`MAX_DIM`] finite numbers; of unit length where the metric is cosine.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// Checks `values` against a collection's dimension and metric, and normalises for cosine.
    ///
    /// # Errors
    /// A dimension other than `dim`, a NaN or infinity, a zero vector under cosine, or a
    /// vector whose squared length overflows an `f32`.
    pub fn new(mut values: Vec<f32>, dim: usize, metric: Metric) -> Result<Self, Invalid> {
        if values.len() != dim {
            return Err(Invalid::new(
                "vector",
                format!("{} dimensions", values.len()),
                format!("the collection holds vectors of {dim} dimensions"),
            ));
        }
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(Invalid::new(
                format!("vector[{i}]"),
                values[i].to_string(),
                "every component must be a finite number",
            ));
        }
        let norm = values
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt();
        // Distances are sums of up to four times the squared length, in f32.
        if norm > 1e18 {
            return Err(Invalid::new(
                "vector",
                format!("length {norm:e}"),
                "the length may be at most 1e18",
            ));
        }
        if metric == Metric::Cosine {
            if norm < 1e-30 {
                return Err(Invalid::new(
                    "vector",
                    "all zeros",
                    "a zero vector has no direction, so it has no cosine",
                ));
            }
            for v in &mut values {
                // Rounding to f32 is the point: the product is within -1..=1.
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "unit components fit an f32"
                )]
                let unit = (f64::from(*v) / norm) as f32;
                *v = unit;
            }
        }
        Ok(Self(values.into_boxed_slice()))
    }

    /// The components.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The components, without a copy.
    #[must_use]
    pub fn into_vec(self) -> Vec<f32> {
        self.0.into_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_indexed() {
        let refuse = |v: Vec<f32>, metric| Embedding::new(v, 2, metric).unwrap_err().field;
        assert_eq!(refuse(vec![1.0], Metric::Dot), "vector");
        assert_eq!(refuse(vec![1.0, f32::NAN], Metric::Dot), "vector[1]");
        assert_eq!(
            refuse(vec![f32::INFINITY, 0.0], Metric::Euclidean),
            "vector[0]"
        );
        assert_eq!(refuse(vec![0.0, 0.0], Metric::Cosine), "vector");
        assert_eq!(refuse(vec![3e38, 3e38], Metric::Euclidean), "vector");
    }

    #[test]
    fn cosine_vectors_have_unit_length() {
        let e = Embedding::new(vec![3e-20, 4e-20], 2, Metric::Cosine).unwrap();
        assert!((e.as_slice()[0] - 0.6).abs() < 1e-6);
        assert!((e.as_slice()[1] - 0.8).abs() < 1e-6);
    }
}
