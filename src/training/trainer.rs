//! The training, from a folder of images to a weights file with its card.

use super::checkpoint::{self, Position};
use super::corpus::Corpus;
use super::dataset::Folder;
use super::net::Net;
use super::optim::AdamW;
use super::random::Random;
use super::{Progress, TrainError, TrainOptions, Trained, augment, init, oneshot, sampler};
use crate::encoder::tower::stem;
use crate::encoder::{Card, Encoder, Training, Weights};
use candle_core::Tensor;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Trials of a try on classes held out.
const TRIALS: u64 = 2_000;
/// Trials for the card.
const CARD_TRIALS: u64 = 20_000;

/// Trains on a folder of classes and writes weights and card.
///
/// `progress` is told after every step. Set `cancel` to stop: a checkpoint is written and
/// the same call goes on from it.
///
/// # Errors
/// Options out of range, data that cannot be read, fewer than two classes, a disk that
/// refuses, or [`TrainError::Cancelled`]. With [`TrainError::Measure`] the weights are there.
pub fn train(
    options: &TrainOptions,
    progress: &dyn Fn(&Progress),
    cancel: &AtomicBool,
) -> Result<Trained, TrainError> {
    options.check()?;
    let corpus = Corpus::open(&options.data, &options.limits)?;
    train_corpus(&corpus, options, progress, cancel)
}

/// As [`train`], on classes in memory; `options.data` is not read.
///
/// # Errors
/// As [`train`].
pub fn train_corpus(
    corpus: &Corpus,
    options: &TrainOptions,
    progress: &dyn Fn(&Progress),
    cancel: &AtomicBool,
) -> Result<Trained, TrainError> {
    options.check()?;
    // What would be noticed at the end is tried at the start.
    for place in [&options.out, &options.out.with_extension("json")] {
        checkpoint::try_place(place).map_err(|e| TrainError::io(place, e))?;
    }
    let measure = options.measure.as_deref().map(oneshot::open).transpose()?;
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|e| TrainError::Threads(e.to_string()))?;
    let (learnt, held_out) = split(corpus, options);
    if learnt.classes.len() < 2 {
        return Err(TrainError::Data(format!(
            "{} classes to learn from; at least 2 are needed",
            learnt.classes.len()
        )));
    }
    let mut run = Run::start(options, learnt, held_out)?;
    run.learn(&threads, progress, cancel)?;
    threads.install(|| run.finish(measure.as_ref()))
}

/// Puts every n-th class aside, where asked to.
fn split(corpus: &Corpus, options: &TrainOptions) -> (Corpus, Corpus) {
    let n = corpus.classes.len();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of the classes"
    )]
    let aside = (n as f64 * options.held_out) as usize;
    let chosen = Random::new(options.seed, u64::MAX - 1).distinct(n, aside);
    let (mut learnt, mut held_out) = (Corpus::default(), Corpus::default());
    for (i, class) in corpus.classes.iter().enumerate() {
        let side = if chosen.contains(&i) {
            &mut held_out
        } else {
            &mut learnt
        };
        side.classes.push(class.clone());
    }
    (learnt, held_out)
}

/// A batch, ready to learn from.
struct Batch {
    images: Vec<Vec<f32>>,
    labels: Vec<u32>,
}

fn make_batch(corpus: &Corpus, counts: &[usize], options: &TrainOptions, step: u64) -> Batch {
    let mut random = Random::new(options.seed, step);
    let turns = if options.turns { sampler::TURNS } else { 1 };
    let picks = sampler::batch(counts, turns, &mut random);
    let vary = |pick: &sampler::Pick| {
        let drawing = &corpus.classes[pick.class].drawings[pick.image];
        augment::vary(drawing, pick.turn, &mut random)
    };
    let labels = picks.iter().map(|pick| pick.label).collect();
    let images = picks.iter().map(vary).collect();
    Batch { images, labels }
}

/// A training under way.
struct Run<'a> {
    options: &'a TrainOptions,
    learnt: Corpus,
    held_out: Corpus,
    net: Net,
    optimiser: AdamW,
    position: Position,
    error: Option<f64>,
}

impl<'a> Run<'a> {
    fn start(
        options: &'a TrainOptions,
        learnt: Corpus,
        held_out: Corpus,
    ) -> Result<Self, TrainError> {
        let initial = match &options.start {
            None => init::initial(options.plan, options.seed),
            Some(path) => {
                let bytes = std::fs::read(path).map_err(|e| TrainError::io(path, e))?;
                Weights::parse(&bytes)?.0
            }
        };
        let training = format!(
            "{}, {}, seed {}, rate {}, widths {:?}, dimensions {}, start {}, data {}",
            options.loss,
            options.steps.map_or_else(
                || format!("{} minutes", options.minutes),
                |steps| format!("{steps} steps")
            ),
            options.seed,
            options.rate,
            initial.plan.widths,
            initial.plan.dim,
            initial.hash(),
            learnt.fingerprint()
        );
        let mut net = Net::new(&initial)?;
        let mut optimiser = AdamW::new(net.parameters());
        let mut position = Position {
            training,
            ..Position::default()
        };
        if options.resume {
            let path = checkpoint::path_for(&options.out);
            let found = checkpoint::read(&path, &position.training, &optimiser)?;
            if let Some((weights, moments, reached)) = found {
                net = Net::new(&weights)?;
                optimiser = AdamW::new(net.parameters());
                optimiser.resume(moments, reached.step);
                position = reached;
            }
        }
        Ok(Self {
            options,
            learnt,
            held_out,
            net,
            optimiser,
            position,
            error: None,
        })
    }

    /// Steps until the training is done. A thread of its own makes the batches ahead.
    fn learn(
        &mut self,
        threads: &rayon::ThreadPool,
        progress: &dyn Fn(&Progress),
        cancel: &AtomicBool,
    ) -> Result<(), TrainError> {
        let options = self.options;
        let learnt = std::mem::take(&mut self.learnt);
        let counts: Vec<usize> = learnt.classes.iter().map(|c| c.drawings.len()).collect();
        let first = self.position.step;
        let result = thread::scope(|scope| {
            let (sender, batches) = mpsc::sync_channel(4);
            let (learnt, counts) = (&learnt, &counts);
            thread::Builder::new()
                .name("batches".into())
                .spawn_scoped(scope, move || {
                    for step in first.. {
                        if sender
                            .send(make_batch(learnt, counts, options, step))
                            .is_err()
                        {
                            return;
                        }
                    }
                })
                .map_err(|e| TrainError::Threads(e.to_string()))?;
            self.steps(threads, &batches, progress, cancel)
        });
        self.learnt = learnt;
        result
    }

    fn steps(
        &mut self,
        threads: &rayon::ThreadPool,
        batches: &mpsc::Receiver<Batch>,
        progress: &dyn Fn(&Progress),
        cancel: &AtomicBool,
    ) -> Result<(), TrainError> {
        let started = Instant::now();
        let earlier = self.position.clone();
        let mut saved = started;
        let fraction = |at: &Position| self.options.fraction(at.step, at.seconds);
        while fraction(&self.position) < 1.0 {
            let batch = batches
                .recv()
                .map_err(|_| TrainError::Threads("the one that makes batches ended".into()))?;
            let rate = self.options.rate_at(fraction(&self.position));
            threads.install(|| self.step(&batch, rate))?;
            self.position.seconds = earlier.seconds + started.elapsed().as_secs_f64();
            if saved.elapsed() >= self.options.checkpoint_every {
                saved = Instant::now();
                self.save()?;
                self.error = threads.install(|| self.try_held_out())?;
            }
            progress(&self.progress(&earlier));
            if cancel.load(Ordering::Relaxed) {
                self.save()?;
                return Err(TrainError::Cancelled {
                    step: self.position.step,
                });
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
        let images: Tensor = stem(batch.images.iter().map(Vec::as_slice))?;
        let z = self.net.forward(&images, settled)?;
        let loss = self.options.loss.of(&z, &batch.labels)?;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            return Err(TrainError::Diverged { step, loss: value });
        }
        self.optimiser.step(&loss.backward()?, rate)?;
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

    fn save(&self) -> Result<(), TrainError> {
        let path = checkpoint::path_for(&self.options.out);
        checkpoint::write(&path, &self.net.weights()?, &self.optimiser, &self.position)
    }

    fn try_held_out(&self) -> Result<Option<f64>, TrainError> {
        if self.held_out.classes.is_empty() {
            return Ok(None);
        }
        let weights = self.net.weights()?;
        let encoder = Encoder::new(&weights, Card::new("trial", weights.plan))?;
        let embedded = oneshot::embed_classes(&encoder, &self.held_out.classes)?;
        Ok(oneshot::error(&embedded, 20, TRIALS, self.options.seed))
    }

    fn progress(&self, earlier: &Position) -> Progress {
        let at = &self.position;
        let fraction = self.options.fraction(at.step, at.seconds).clamp(0.0, 1.0);
        let seconds = (at.seconds - earlier.seconds).max(1e-9);
        let left = at.seconds * (1.0 - fraction) / fraction.max(1e-9);
        #[expect(clippy::cast_precision_loss, reason = "a count of images")]
        Progress {
            step: at.step,
            fraction,
            loss: at.loss,
            images_per_second: (at.images - earlier.images) as f64 / seconds,
            left: Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX),
            held_out: self.error,
        }
    }

    /// Writes weights and card, measures and writes the card anew, removes the checkpoint.
    fn finish(mut self, measure: Option<&Folder>) -> Result<Trained, TrainError> {
        let (options, at) = (self.options, self.position.clone());
        self.error = self.try_held_out()?;
        let weights = self.net.weights()?;
        let mut card = self.card(&weights);
        let mut encoder = Encoder::new(&weights, card.clone())?;
        write(&options.out, &weights, &card)?;
        if let Some(folder) = measure {
            let name = options.measure.as_deref().map_or_else(String::new, name_of);
            card.measured = oneshot::measure(&encoder, folder, &name, CARD_TRIALS, options.seed)?;
            encoder = Encoder::new(&weights, card.clone())?;
            write(&options.out, &weights, &card)?;
        }
        // It may never have been written; a leftover would only be refused or resumed.
        let _ = std::fs::remove_file(checkpoint::path_for(&options.out));
        Ok(Trained {
            encoder,
            steps: at.step,
            images: at.images,
            minutes: at.seconds / 60.0,
            loss: at.loss,
            held_out: self.error,
        })
    }

    fn card(&self, weights: &Weights) -> Card {
        let (options, at) = (self.options, &self.position);
        let stem = options.out.file_stem().unwrap_or_default();
        let name = options
            .name
            .clone()
            .unwrap_or_else(|| plain(&stem.to_string_lossy()));
        let mut card = Card::new(name, weights.plan);
        let (classes, images) = (self.learnt.classes.len(), self.learnt.images());
        card.data = format!(
            "{}: {classes} classes, {images} images",
            name_of(&options.data)
        );
        if !options.data_note.is_empty() {
            card.data += "; ";
            card.data += &options.data_note;
        }
        card.licence.clone_from(&options.licence);
        card.reproduce.clone_from(&options.reproduce);
        let by = if options.steps.is_some() {
            "steps"
        } else {
            "clock"
        };
        card.training = Training {
            loss: options.loss.to_string(),
            seed: options.seed,
            steps: at.step,
            images_seen: at.images,
            minutes: at.seconds / 60.0,
            threads: options.threads,
            schedule: format!("{by}: 5 % warm-up to {}, then cosine to 0", options.rate),
            classes,
            images,
        };
        card
    }
}

/// Writes the weights file, and its card beside it.
fn write(out: &Path, weights: &Weights, card: &Card) -> Result<(), TrainError> {
    let replace = |path: &Path, bytes: &[u8]| {
        checkpoint::replace(path, bytes).map_err(|e| TrainError::io(path, e))
    };
    replace(out, &weights.to_file(card)?)?;
    replace(
        &out.with_extension("json"),
        (card.to_json() + "\n").as_bytes(),
    )
}

fn name_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The text with what a card's name may not hold replaced.
fn plain(text: &str) -> String {
    let name: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(64)
        .collect();
    if name.is_empty() {
        "model".into()
    } else {
        name
    }
}
