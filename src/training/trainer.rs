//! The training, from a folder of images to a weights file with its card.

use super::checkpoint;
use super::corpus::Corpus;
use super::dataset::Folder;
use super::random::Random;
use super::run::{Run, try_on};
use super::{Progress, TrainError, TrainOptions, Trained, oneshot};
use crate::encoder::{Card, Encoder, Plan, Training, Weights};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Trials for the card.
const CARD_TRIALS: u64 = 20_000;

/// Trains on a folder of classes and writes weights and card.
///
/// `progress` is told after every step. Set `cancel` to stop: a checkpoint is written and
/// the same call goes on from it.
///
/// # Errors
/// Options out of range, data that cannot be read or are too few, a disk that refuses, or
/// [`TrainError::Cancelled`]. With [`TrainError::Measure`] the weights are there.
pub fn train(
    options: &TrainOptions,
    progress: &dyn Fn(&Progress),
    cancel: &AtomicBool,
) -> Result<Trained, TrainError> {
    options.check()?;
    let start = options.start_weights()?;
    let plan = start.as_ref().map_or(options.recipe.plan(), |w| w.plan);
    if let Some(backbone) = plan.backbone {
        return Err(TrainError::Option {
            field: "recipe.backbone",
            was: backbone.to_string(),
            allowed: "what it sees is learnt from: see `features::corpus`".into(),
        });
    }
    let corpus = Corpus::open(&options.data, plan, options.limits, options.memory)?;
    train_from(corpus, start, options, progress, cancel)
}

/// As [`train`], on classes in memory; `options.data` is not read.
///
/// # Errors
/// As [`train`]; the corpus is for towers of another plan.
pub fn train_corpus(
    mut corpus: Corpus,
    options: &TrainOptions,
    progress: &dyn Fn(&Progress),
    cancel: &AtomicBool,
) -> Result<Trained, TrainError> {
    options.check()?;
    let start = options.start_weights()?;
    let plan = start.as_ref().map_or(options.recipe.plan(), |w| w.plan);
    if corpus.plan.backbone != plan.backbone {
        let name = |plan: Plan| plan.backbone.map_or("none".into(), |b| b.to_string());
        return Err(TrainError::Data(format!(
            "seen by backbone: {}; {} is needed",
            name(corpus.plan),
            name(plan)
        )));
    }
    if (corpus.plan.input, corpus.plan.side) != (plan.input, plan.side) {
        return Err(TrainError::Data(format!(
            "prepared as {} of side {}; {} of side {} is needed",
            corpus.plan.input, corpus.plan.side, plan.input, plan.side
        )));
    }
    corpus.plan = plan;
    train_from(corpus, start, options, progress, cancel)
}

/// Tries at the start what would be noticed at the end; opens the folder to measure on.
///
/// # Errors
/// Options out of range, a place that cannot be written to, data that cannot be read.
pub fn ready(options: &TrainOptions) -> Result<Option<Folder>, TrainError> {
    options.check()?;
    for place in [&options.out, &options.out.with_extension("json")] {
        checkpoint::try_place(place).map_err(|e| TrainError::io(place, e))?;
    }
    options.measure.as_deref().map(oneshot::open).transpose()
}

fn train_from(
    corpus: Corpus,
    start: Option<Weights>,
    options: &TrainOptions,
    progress: &dyn Fn(&Progress),
    cancel: &AtomicBool,
) -> Result<Trained, TrainError> {
    let measure = ready(options)?;
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|e| TrainError::Threads(e.to_string()))?;
    let labelled = !options.recipe.objective.is_self_supervised();
    let (mut learnt, held_out) = split(&corpus, options);
    drop(corpus);
    learnt.check(labelled)?;
    let classes = learnt.classes.len();
    if !labelled {
        learnt = learnt.unlabelled();
    }
    let mut run = Run::start(options, start, &learnt, &held_out)?;
    run.learn(&threads, progress, cancel)?;
    threads.install(|| finish(&run, options, &learnt, classes, &held_out, measure.as_ref()))
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
    let (mut learnt, mut held_out) = (Vec::new(), Vec::new());
    for (i, class) in corpus.classes.iter().enumerate() {
        let side = if chosen.contains(&i) {
            &mut held_out
        } else {
            &mut learnt
        };
        side.push(class.clone());
    }
    (corpus.with(learnt), corpus.with(held_out))
}

/// Writes weights and card, measures and writes the card anew, removes the checkpoint.
fn finish(
    run: &Run,
    options: &TrainOptions,
    learnt: &Corpus,
    classes: usize,
    held_out: &Corpus,
    measure: Option<&Folder>,
) -> Result<Trained, TrainError> {
    let at = run.position();
    let weights = run.weights()?;
    let error = try_on(&weights, held_out, options.seed)?;
    let weights = weights.served();
    let mut card = card(run, options, learnt, classes, &weights);
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
        held_out: error,
    })
}

fn card(
    run: &Run,
    options: &TrainOptions,
    learnt: &Corpus,
    classes: usize,
    weights: &Weights,
) -> Card {
    let at = run.position();
    let stem = options.out.file_stem().unwrap_or_default();
    let name = options
        .name
        .clone()
        .unwrap_or_else(|| plain(&stem.to_string_lossy()));
    let mut card = Card::new(name, weights.plan);
    let images = learnt.images();
    card.data = format!(
        "{}: {classes} classes, {images} images",
        name_of(&options.data)
    );
    if options.recipe.objective.is_self_supervised() {
        card.data += ", labels not used";
    }
    if !options.data_note.is_empty() {
        card.data += "; ";
        card.data += &options.data_note;
    }
    card.licence.clone_from(&options.licence);
    card.reproduce.clone_from(&options.reproduce);
    let counted = options.steps.is_some() || options.epochs.is_some();
    let by = if counted { "steps" } else { "clock" };
    let rate = options.recipe.rate;
    card.training = Training {
        loss: options.recipe.objective.to_string(),
        seed: options.seed,
        steps: at.step,
        images_seen: at.images,
        minutes: at.seconds / 60.0,
        threads: options.threads,
        schedule: format!("{by}: 5 % warm-up to {rate}, then cosine to 0"),
        classes,
        images,
        fingerprint: learnt.fingerprint().to_owned(),
        recipe: serde_json::to_value(&options.recipe).unwrap_or_default(),
        curve: at.curve.clone(),
        program: concat!("twindex ", env!("CARGO_PKG_VERSION")).into(),
    };
    card
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
