//! Recall asked for: the part of the true nearest that a search finds on average.

use super::Invalid;
use serde::{Deserialize, Serialize};

/// A recall to aim at: 0.5..=1, where 1 finds all.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f32", into = "f32")]
pub struct Recall(f32);

impl Recall {
    /// All of them.
    pub const ALL: Self = Self(1.0);

    /// Checks a recall.
    ///
    /// # Errors
    /// Not in range, or no number; `field` is where it stood.
    pub fn new(field: &str, recall: f32) -> Result<Self, Invalid> {
        if (0.5..=1.0).contains(&recall) {
            Ok(Self(recall))
        } else {
            Err(Invalid::new(
                field,
                recall.to_string(),
                "0.5 to 1 are allowed",
            ))
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f32 {
        self.0
    }
}

impl Default for Recall {
    fn default() -> Self {
        Self(0.98)
    }
}

impl TryFrom<f32> for Recall {
    type Error = Invalid;

    fn try_from(recall: f32) -> Result<Self, Invalid> {
        Self::new("recall_target", recall)
    }
}

impl From<Recall> for f32 {
    fn from(recall: Recall) -> Self {
        recall.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_aimed_at_is_taken() {
        for good in [0.5, 0.98, 1.0] {
            assert_eq!(
                Recall::new("recall_target", good).map(Recall::get),
                Ok(good)
            );
        }
        for bad in [0.49, 1.01, -1.0, f32::NAN, f32::INFINITY] {
            let refused = Recall::new("recall_target", bad).unwrap_err().to_string();
            assert!(refused.contains("recall_target"), "{refused}");
        }
        assert_eq!(Recall::new("recall_target", 0.98), Ok(Recall::default()));
    }
}
