//! The batches of a training, made ahead by a thread of their own. Each follows from the seed
//! and the number of its step.

use super::TrainError;
use super::corpus::{Corpus, Drawing};
use super::random::Random;
use super::recipe::Recipe;
use super::sampler::{Class, Pick, Sampler, TURNS};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::mpsc;

/// Batches that are ready before they are needed.
pub const AHEAD: usize = 4;

/// A batch, ready to learn from.
#[derive(Debug)]
pub struct Batch {
    /// What the tower sees.
    pub images: Vec<Vec<f32>>,
    /// The same for two images of the batch that belong together.
    pub labels: Vec<u32>,
    /// The class of each among all: class and turn.
    pub classes: Vec<u32>,
}

/// What makes the batches.
#[derive(Debug)]
pub struct Batches<'a> {
    corpus: &'a Corpus,
    recipe: &'a Recipe,
    seed: u64,
    known: Vec<Class>,
    sampler: Sampler,
}

impl<'a> Batches<'a> {
    /// Batches of a corpus, by a recipe.
    #[must_use]
    pub fn new(corpus: &'a Corpus, recipe: &'a Recipe, seed: u64) -> Self {
        let mut groups = HashMap::new();
        let known = corpus.classes.iter().map(|class| {
            let next = groups.len();
            Class {
                images: class.pictures.len(),
                group: *groups.entry(class.parent()).or_insert(next),
            }
        });
        Self {
            known: known.collect(),
            corpus,
            recipe,
            seed,
            sampler: recipe.sampler(),
        }
    }

    /// The batch of a step.
    ///
    /// # Errors
    /// A file that can no longer be read.
    pub fn make(&self, step: u64) -> Result<Batch, TrainError> {
        let mut random = Random::new(self.seed, step);
        let picks = self.sampler.batch(&self.known, &mut random);
        let picture = |pick: &Pick| {
            let class = &self.corpus.classes[pick.class];
            self.corpus.drawing(&class.pictures[pick.image])
        };
        // Those still in their files are decoded side by side.
        let drawings = picks.par_iter().map(picture);
        let drawings = drawings.collect::<Result<Vec<Drawing>, _>>()?;
        let (plan, augmentation) = (&self.corpus.plan, &self.recipe.augmentation);
        let images = picks
            .iter()
            .zip(&drawings)
            .map(|(pick, drawing)| augmentation.vary(drawing, plan, pick.turn, &mut random));
        let images = images.collect();
        let class = |pick: &Pick| pick.class * self.sampler.turns + pick.turn;
        let classes = picks.iter().map(|pick| u32::try_from(class(pick)));
        let classes = classes.collect::<Result<_, _>>();
        Ok(Batch {
            images,
            labels: picks.iter().map(|pick| pick.label).collect(),
            classes: classes.map_err(|e| TrainError::Data(format!("classes: {e}")))?,
        })
    }

    /// Sends batches from `first` on until nobody takes them, or one fails.
    pub fn send(&self, first: u64, to: &mpsc::SyncSender<Result<Batch, TrainError>>) {
        for step in first.. {
            let batch = self.make(step);
            let failed = batch.is_err();
            if to.send(batch).is_err() || failed {
                return;
            }
        }
    }
}

impl Recipe {
    /// Its sampler.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        Sampler {
            classes: self.classes,
            images: self.images,
            turns: self.turns(),
            sampling: self.sampling,
        }
    }

    /// How many turned copies of a class count as classes.
    #[must_use]
    pub fn turns(&self) -> usize {
        if self.turns { TURNS } else { 1 }
    }
}
