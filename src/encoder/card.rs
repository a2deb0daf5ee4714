//! The model card: what a weights file is, how it was made, what it was measured to do.

use super::Error;
use serde::{Deserialize, Serialize};

/// The one family of towers there is: see [`super::tower`].
pub const FAMILY: &str = "s2d-s";

/// The shape of a tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Channels of the three stages, each of two 3x3 convolutions and a pooling.
    pub widths: [usize; 3],
    /// Dimensions of the embedding.
    pub dim: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            widths: [64, 96, 128],
            dim: 64,
        }
    }
}

impl Plan {
    /// Most channels of a stage.
    pub const MAX_WIDTH: usize = 512;
    /// Most dimensions of an embedding.
    pub const MAX_DIM: usize = 1024;

    /// Checks the sizes.
    ///
    /// # Errors
    /// A width or dimension that is zero or beyond the limit.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, was, limit| {
            Err(Error::Card(format!(
                "plan.{field}: {was}; 1 to {limit} are allowed"
            )))
        };
        for width in self.widths {
            if !(1..=Self::MAX_WIDTH).contains(&width) {
                return refuse("widths", width, Self::MAX_WIDTH);
            }
        }
        if !(1..=Self::MAX_DIM).contains(&self.dim) {
            return refuse("dim", self.dim, Self::MAX_DIM);
        }
        Ok(())
    }

    /// Channels into and out of each of the six convolutions.
    #[must_use]
    pub fn channels(&self) -> [(usize, usize); 6] {
        let [a, b, c] = self.widths;
        [(4, a), (a, a), (a, b), (b, b), (b, c), (c, c)]
    }

    /// Numbers that enter the last, fully connected layer: 2 x 2 places of the last stage.
    #[must_use]
    pub fn features(&self) -> usize {
        4 * self.widths[2]
    }
}

/// An error that was measured, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The task (`20-way one-shot, characters at random`).
    pub task: String,
    /// The data (`images_validation: 10 alphabets that the training never saw`).
    pub data: String,
    /// Share of trials that failed, in 0..=1.
    pub error: f64,
    /// How many trials.
    pub trials: u64,
    /// The seed of what they draw.
    #[serde(default)]
    pub seed: u64,
}

/// How a model was trained.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Training {
    /// The loss's name.
    pub loss: String,
    /// The seed of initial weights, samples and augmentation.
    pub seed: u64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Augmented images seen.
    pub images_seen: u64,
    /// Minutes of training.
    pub minutes: f64,
    /// Threads used.
    pub threads: usize,
    /// How the learning rate was scheduled.
    pub schedule: String,
    /// Classes trained on.
    pub classes: usize,
    /// Images trained on.
    pub images: usize,
}

/// What travels in a weights file's metadata under the key `card`, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Name and edition (`omniglot-1`); 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    pub name: String,
    /// The family of towers; only [`FAMILY`] is known.
    pub architecture: String,
    /// The tower's shape.
    pub plan: Plan,
    /// How pixels become the tower's input.
    #[serde(default)]
    pub input: String,
    /// What it was trained on.
    #[serde(default)]
    pub data: String,
    /// The data's licence and source.
    #[serde(default)]
    pub licence: String,
    /// How it was trained.
    #[serde(default)]
    pub training: Training,
    /// The command that makes it again: the same weights if it counts steps, weights of like
    /// quality if it goes by the clock.
    #[serde(default)]
    pub reproduce: String,
    /// Measured errors.
    #[serde(default)]
    pub measured: Vec<Measured>,
}

impl Card {
    /// A card that says no more than it must.
    #[must_use]
    pub fn new(name: impl Into<String>, plan: Plan) -> Self {
        Self {
            name: name.into(),
            architecture: FAMILY.into(),
            plan,
            input: "32 x 32 grey; background (median of the border) 0, ink positive, largest \
                    1; not square: centred on a square; area-averaged"
                .into(),
            data: String::new(),
            licence: String::new(),
            training: Training::default(),
            reproduce: String::new(),
            measured: Vec::new(),
        }
    }

    /// Parses a card and checks it.
    ///
    /// # Errors
    /// Not the JSON of a card, an unknown architecture, an impossible name or plan.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let card: Self = serde_json::from_str(json).map_err(|e| Error::Card(e.to_string()))?;
        if card.architecture != FAMILY {
            return Err(Error::Card(format!(
                "architecture: {:?}; only {FAMILY:?} is known",
                card.architecture
            )));
        }
        let plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        if !(1..=64).contains(&card.name.len()) || !card.name.chars().all(plain) {
            return Err(Error::Card(format!(
                "name: {:?}; 1 to 64 of a-z, 0-9, -, _ and . are allowed",
                card.name
            )));
        }
        card.plan.check()?;
        Ok(card)
    }

    /// The JSON text, indented for people.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}
