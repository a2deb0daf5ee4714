//! What a training is asked to do, what it reports, what it gives.

use super::TrainError;
use super::compute::Compute;
use super::recipe::Recipe;
use crate::encoder::{Encoder, ImageLimits, Weights};
use std::path::PathBuf;
use std::time::Duration;

/// Options of [`super::train`]. Only `data` and `out` have no default.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// Folder of classes: every folder below it that holds images is one.
    pub data: PathBuf,
    /// The weights file to write, not `.json`: its card goes beside it under that name.
    pub out: PathBuf,
    /// How long to train, in minutes, above 0 up to a week. The learning rate follows the
    /// clock: two runs of one seed see the same batches, but on machines of different speed
    /// not the same number of them.
    pub minutes: f64,
    /// How many steps to train instead: the same weights on every run. 0 writes the tower
    /// untrained.
    pub steps: Option<u64>,
    /// How often to see as many pictures as there are instead, 0 to 1,000,000; counted in
    /// steps, as above.
    pub epochs: Option<f64>,
    /// Seed of initial weights, samples and augmentation.
    pub seed: u64,
    /// Threads of the training; one more makes the batches. By default one a core.
    pub threads: usize,
    /// What computes. The same weights on every run are promised of the CPU only.
    pub device: Compute,
    /// How to train for what kind of pictures.
    pub recipe: Recipe,
    /// A weights file to go on from; its plan holds, not the recipe's.
    pub start: Option<PathBuf>,
    /// Share of the classes kept aside to see how the training does, in 0..=0.5.
    pub held_out: f64,
    /// Ends the training when the classes held out have not done better so many times in a
    /// row, of 40 in all, and writes the weights that did best; 0: never.
    pub patience: u32,
    /// Bytes of pictures kept in memory; others are read whenever they are needed.
    pub memory: usize,
    /// Folder of classes to measure the finished encoder on, for its card.
    pub measure: Option<PathBuf>,
    /// Whether to go on from a checkpoint beside `out`; otherwise it is overwritten.
    pub resume: bool,
    /// How often a checkpoint is written and held-out classes are tried.
    pub checkpoint_every: Duration,
    /// Name in the card; by default the file name of `out`.
    pub name: Option<String>,
    /// What the card says of the data beside their name and number.
    pub data_note: String,
    /// The data's licence and source, for the card.
    pub licence: String,
    /// The command that trains the same again, for the card.
    pub reproduce: String,
    /// Limits on the images.
    pub limits: ImageLimits,
}

impl TrainOptions {
    /// The defaults.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            out: out.into(),
            minutes: 12.0,
            steps: None,
            seed: 7,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            epochs: None,
            device: Compute::default(),
            recipe: Recipe::default(),
            start: None,
            held_out: 0.0,
            patience: 0,
            memory: 1 << 30,
            measure: None,
            resume: true,
            checkpoint_every: Duration::from_secs(30),
            name: None,
            data_note: String::new(),
            licence: String::new(),
            reproduce: String::new(),
            limits: ImageLimits::default(),
        }
    }

    /// The weights to go on from, where there are any.
    pub(super) fn start_weights(&self) -> Result<Option<Weights>, TrainError> {
        let Some(path) = &self.start else {
            return Ok(None);
        };
        let bytes = std::fs::read(path).map_err(|e| TrainError::io(path, e))?;
        let weights = Weights::parse(&bytes)?.0;
        if weights.plan.backbone.is_some() {
            return Err(TrainError::Option {
                field: "start",
                was: format!("{}: a head on a backbone", path.display()),
                allowed: "a tower is needed: a head is learnt anew in a minute".into(),
            });
        }
        Ok(Some(weights))
    }

    /// Checks the ranges.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let refuse = |field, was: String, allowed: &str| {
            Err(TrainError::Option {
                field,
                was,
                allowed: allowed.into(),
            })
        };
        let extension = self.out.extension().unwrap_or_default();
        if extension.eq_ignore_ascii_case("json") {
            let was = self.out.display().to_string();
            return refuse(
                "out",
                was,
                "the card goes there: name the weights otherwise",
            );
        }
        if !(self.minutes > 0.0 && self.minutes <= 7.0 * 24.0 * 60.0) {
            let was = self.minutes.to_string();
            return refuse("minutes", was, "above 0 up to 10080 are allowed");
        }
        if let Some(epochs) = self.epochs {
            if !(0.0..=1e6).contains(&epochs) {
                let was = epochs.to_string();
                return refuse("epochs", was, "0 to 1000000 are allowed");
            }
            if self.steps.is_some() {
                let was = epochs.to_string();
                return refuse("epochs", was, "steps are given, too: one of them is enough");
            }
        }
        if self.patience > 0 && self.held_out == 0.0 {
            let was = self.patience.to_string();
            let allowed = "held_out must be above 0: nothing else tells when to stop";
            return refuse("patience", was, allowed);
        }
        if !(1..=256).contains(&self.threads) {
            let was = self.threads.to_string();
            return refuse("threads", was, "1 to 256 are allowed");
        }
        if !(0.0..=0.5).contains(&self.held_out) {
            let was = self.held_out.to_string();
            return refuse("held_out", was, "0 to 0.5 is allowed");
        }
        self.device.check()?;
        self.recipe.check()
    }

    /// How many steps the training takes on so many pictures, where that is known beforehand.
    pub(super) fn steps(&self, pictures: usize) -> Option<u64> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts"
        )]
        let of = |epochs: f64| {
            let batch = self.recipe.classes * self.recipe.images;
            (epochs * pictures as f64 / batch as f64).ceil() as u64
        };
        self.steps.or_else(|| self.epochs.map(of))
    }

    /// The learning rate at a share of the training: 5 % warm-up, then half a cosine
    /// (Loshchilov and Hutter 2017).
    #[must_use]
    pub fn rate_at(&self, fraction: f64) -> f32 {
        let fraction = fraction.clamp(0.0, 1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * fraction).cos());
        #[expect(clippy::cast_possible_truncation, reason = "within 0..=1")]
        let factor = ((fraction + 1e-3) / 0.05).min(1.0) as f32 * cosine as f32;
        self.recipe.rate * factor
    }
}

/// How a training is going; told after every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// Share of the training done, in 0..=1.
    pub fraction: f64,
    /// Mean loss of about the last 50 steps.
    pub loss: f32,
    /// Augmented images learnt from, a second, since the start or resumption.
    pub images_per_second: f64,
    /// Estimate of the time left.
    pub left: Duration,
    /// 20-way one-shot error on the classes held out, in 0..=1, as last tried.
    pub held_out: Option<f64>,
}

/// What a training made.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The encoder, as written to `out`.
    pub encoder: Encoder,
    /// Steps taken.
    pub steps: u64,
    /// Augmented images learnt from.
    pub images: u64,
    /// Minutes of training, earlier runs included.
    pub minutes: f64,
    /// Mean loss at the end.
    pub loss: f32,
    /// 20-way one-shot error on the classes held out, in 0..=1.
    pub held_out: Option<f64>,
}
