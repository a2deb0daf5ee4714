//! The model card: what a weights file is, how it was made, what it was measured to do.

use super::{Architecture, Error, Plan};
use serde::{Deserialize, Serialize};

/// An error that was measured, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The task (`20-way one-shot, characters at random`).
    pub task: String,
    /// The data (`images_validation: 10 alphabets that the training never saw`).
    pub data: String,
    /// Share of trials that failed, in 0..=1.
    pub error: f64,
    /// Lower end of its 95 % interval (Wilson 1927), for classes such as these.
    #[serde(default)]
    pub low: f64,
    /// Upper end.
    #[serde(default)]
    pub high: f64,
    /// How many trials.
    pub trials: u64,
    /// The seed of what they draw.
    #[serde(default)]
    pub seed: u64,
}

/// How a training stood at one of forty times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Steps taken.
    pub step: u64,
    /// Mean loss of about the last 50 steps.
    pub loss: f32,
    /// One-shot error on the classes held out, in 0..=1, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
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
    /// A hash of labels and pictures.
    pub fingerprint: String,
    /// The recipe, as its file would have it.
    pub recipe: serde_json::Value,
    /// The curve.
    pub curve: Vec<Standing>,
    /// The program that trained it.
    pub program: String,
}

/// What travels in a weights file's metadata under the key `card`, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Name and edition (`omniglot-1`); 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    pub name: String,
    /// The name of the plan's architecture.
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
            architecture: plan.architecture.to_string(),
            plan,
            input: super::input::description(plan),
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
        let architecture: Architecture = card
            .architecture
            .parse()
            .map_err(|e| Error::Card(format!("architecture: {e}")))?;
        if architecture != card.plan.architecture {
            return Err(Error::Card(format!(
                "architecture: {architecture}; the plan is of {}",
                card.plan.architecture
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
