//! A training under way: step after step until its time is over.

use super::batches::{AHEAD, Batch, Batches};
use super::checkpoint::{self, Kept, Position};
use super::compute::Compute;
use super::corpus::Corpus;
use super::learner::Learner;
use super::optim::Optimiser;
use super::{Progress, TrainError, TrainOptions, init, oneshot};
use crate::encoder::{Card, Encoder, Standing, Weights};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Trials of a try on classes held out.
const TRIALS: u64 = 2_000;
/// How often a training looks how it stands.
const TIMES: f64 = 40.0;

/// Where the time of a training is.
#[derive(Debug, Clone, Copy)]
enum Budget {
    Steps(u64),
    Seconds(f64),
}

impl Budget {
    /// What share of the training is done.
    #[expect(clippy::cast_precision_loss, reason = "counts of steps")]
    fn fraction(self, at: &Position) -> f64 {
        match self {
            Self::Steps(0) => 1.0,
            Self::Steps(steps) => at.step as f64 / steps as f64,
            Self::Seconds(seconds) => at.seconds / seconds,
        }
    }
}

/// A training under way.
pub(super) struct Run<'a> {
    options: &'a TrainOptions,
    budget: Budget,
    learnt: &'a Corpus,
    held_out: &'a Corpus,
    learner: Learner,
    optimiser: Optimiser,
    average: Weights,
    best: Option<Weights>,
    position: Position,
}

impl<'a> Run<'a> {
    /// From the beginning, or from the checkpoint beside the output.
    pub fn start(
        options: &'a TrainOptions,
        start: Option<Weights>,
        learnt: &'a Corpus,
        held_out: &'a Corpus,
    ) -> Result<Self, TrainError> {
        let initial = start.unwrap_or_else(|| init::initial(learnt.plan, options.seed));
        let recipe = &options.recipe;
        let budget = match options.steps(learnt.images()) {
            Some(steps) => Budget::Steps(steps),
            None => Budget::Seconds(60.0 * options.minutes),
        };
        let training = format!(
            "{}, {}, seed {}, start {}, data {}, held out {} with patience {}",
            serde_json::to_string(recipe).unwrap_or_default(),
            match budget {
                Budget::Steps(steps) => format!("{steps} steps"),
                Budget::Seconds(_) => format!("{} minutes", options.minutes),
            },
            options.seed,
            initial.hash(),
            learnt.fingerprint(),
            options.held_out,
            options.patience,
        );
        let training = match options.device {
            Compute::Cpu => training,
            gpu => format!("{training}, on {gpu}"),
        };
        let classes = learnt.classes.len() * recipe.turns();
        let learner = Learner::new(
            recipe,
            &initial,
            classes,
            options.seed,
            &options.device.device()?,
        )?;
        let optimiser = Optimiser::new(recipe.optimiser, recipe.clip, learner.parameters());
        let mut run = Self {
            options,
            budget,
            learnt,
            held_out,
            learner,
            optimiser,
            average: initial,
            best: None,
            position: Position {
                training,
                ..Position::default()
            },
        };
        if options.resume {
            let path = checkpoint::path_for(&options.out);
            let training = run.position.training.clone();
            if let Some(position) = checkpoint::read(&path, &training, &mut run.kept())? {
                run.position = position;
            }
        }
        Ok(run)
    }

    fn kept(&mut self) -> Kept<'_> {
        Kept {
            learner: &mut self.learner,
            optimiser: &mut self.optimiser,
            average: &mut self.average,
            best: &mut self.best,
        }
    }

    /// Where it stands.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The weights to write: the best on classes held out, where these decide, else the
    /// average.
    pub fn weights(&self) -> Result<Weights, TrainError> {
        if let (Some(best), true) = (&self.best, self.options.patience > 0) {
            return Ok(best.clone());
        }
        if self.options.recipe.average > 0.0 && self.position.step > 0 {
            return Ok(self.average.clone());
        }
        Ok(self.learner.net.weights()?)
    }

    /// Steps until the training is done. A thread of its own makes the batches ahead.
    pub fn learn(
        &mut self,
        threads: &rayon::ThreadPool,
        progress: &dyn Fn(&Progress),
        cancel: &AtomicBool,
    ) -> Result<(), TrainError> {
        let batches = Batches::new(self.learnt, &self.options.recipe, self.options.seed);
        let first = self.position.step;
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(AHEAD);
            let batches = &batches;
            thread::Builder::new()
                .name("batches".into())
                .spawn_scoped(scope, move || batches.send(first, &sender))
                .map_err(|e| TrainError::Threads(e.to_string()))?;
            self.steps(threads, &receiver, progress, cancel)
        })
    }

    fn steps(
        &mut self,
        threads: &rayon::ThreadPool,
        batches: &mpsc::Receiver<Result<Batch, TrainError>>,
        progress: &dyn Fn(&Progress),
        cancel: &AtomicBool,
    ) -> Result<(), TrainError> {
        let started = Instant::now();
        let earlier = self.position.clone();
        let mut saved = started;
        while self.budget.fraction(&self.position) < 1.0 {
            let batch = batches
                .recv()
                .map_err(|_| TrainError::Threads("the one that makes batches ended".into()))??;
            let before = self.budget.fraction(&self.position);
            let rate = self.options.rate_at(before);
            threads.install(|| self.step(&batch, rate))?;
            self.position.seconds = earlier.seconds + started.elapsed().as_secs_f64();
            let after = self.budget.fraction(&self.position);
            let stop = (before * TIMES).floor() < (after * TIMES).floor()
                && threads.install(|| self.stand())?;
            progress(&self.progress(&earlier));
            let cancelled = cancel.load(Ordering::Relaxed);
            if cancelled || saved.elapsed() >= self.options.checkpoint_every {
                saved = Instant::now();
                let path = checkpoint::path_for(&self.options.out);
                let position = self.position.clone();
                checkpoint::write(&path, &self.kept(), &position)?;
            }
            if cancelled {
                return Err(TrainError::Cancelled {
                    step: self.position.step,
                });
            }
            if stop {
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self, batch: &Batch, rate: f32) -> Result<(), TrainError> {
        let step = self.position.step;
        let settled = if self.options.start.is_some() {
            u64::MAX
        } else {
            step
        };
        let loss = self.learner.loss(batch, settled)?;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            return Err(TrainError::Diverged { step, loss: value });
        }
        self.optimiser.step(&loss.backward()?, rate)?;
        self.learner.follow()?;
        if self.options.recipe.average > 0.0 {
            // The average of few steps forgets sooner.
            #[expect(clippy::cast_precision_loss, reason = "only small ones matter")]
            let young = (step as f32 + 1.0) / (step as f32 + 10.0);
            let keep = self.options.recipe.average.min(young);
            self.average.blend(&self.learner.net.weights()?, 1.0 - keep);
        }
        let at = &mut self.position;
        at.loss = if step == 0 {
            value
        } else {
            at.loss + 0.02 * (value - at.loss)
        };
        at.step += 1;
        at.images += batch.images.len() as u64;
        Ok(())
    }

    /// Looks how it does, and answers whether it should stop.
    fn stand(&mut self) -> Result<bool, TrainError> {
        let weights = if self.options.recipe.average > 0.0 {
            self.average.clone()
        } else {
            self.learner.net.weights()?
        };
        let held_out = try_on(&weights, self.held_out, self.options.seed)?;
        let at = &mut self.position;
        at.curve.push(Standing {
            step: at.step,
            loss: at.loss,
            held_out,
        });
        let Some(error) = held_out else {
            return Ok(false);
        };
        if at.best.is_none_or(|best| error < best) {
            (at.best, at.waited) = (Some(error), 0);
            self.best = Some(weights);
        } else {
            at.waited += 1;
        }
        Ok(self.options.patience > 0 && at.waited >= self.options.patience)
    }

    fn progress(&self, earlier: &Position) -> Progress {
        let at = &self.position;
        let fraction = self.budget.fraction(at).clamp(0.0, 1.0);
        let seconds = (at.seconds - earlier.seconds).max(1e-9);
        let left = at.seconds * (1.0 - fraction) / fraction.max(1e-9);
        #[expect(clippy::cast_precision_loss, reason = "a count of images")]
        Progress {
            step: at.step,
            fraction,
            loss: at.loss,
            images_per_second: (at.images - earlier.images) as f64 / seconds,
            left: Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX),
            held_out: at.curve.last().and_then(|standing| standing.held_out),
        }
    }
}

/// The one-shot error on classes that were not learnt from, of up to 20 ways.
pub(super) fn try_on(
    weights: &Weights,
    corpus: &Corpus,
    seed: u64,
) -> Result<Option<f64>, TrainError> {
    let several = corpus.classes.iter().filter(|c| c.pictures.len() > 1);
    let ways = several.count().min(20);
    if ways < 2 {
        return Ok(None);
    }
    let encoder = Encoder::new(weights, Card::new("trial", weights.plan))?;
    let embedded = oneshot::embed_classes(&encoder, corpus)?;
    Ok(oneshot::error(&embedded, ways, TRIALS, seed))
}
