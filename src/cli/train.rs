//! `twindex train`: an encoder from a folder of labelled images.

use super::client::{Client, ServerArgs};
use super::error::CliError;
use super::output::{Output, quoted};
use super::{backbones, model};
use crate::encoder::backbone::Backbone;
use crate::training::evaluate::EvalError;
use crate::training::features::{self, Extracted};
use crate::training::{Compute, Corpus, Objective, Progress, Recipe, TrainError, TrainOptions};
use crate::training::{guess, ready, train, train_corpus};
use serde_json::json;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often progress is told.
const EVERY: Duration = Duration::from_secs(5);
/// How long a tower learns, and a head on a backbone, unless told otherwise.
const MINUTES: f64 = 12.0;
const MINUTES_OF_A_HEAD: f64 = 1.0;
const SEED: u64 = 7;

/// Options of `train`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of images, …/LABEL/image.png at any depth; what it is trained on
    #[arg(long, value_name = "DIR", required_unless_present = "collection")]
    data: Option<PathBuf>,
    /// Have the server train on the labelled images of this collection instead, by a recipe that
    /// it knows by name, for 10 minutes if not said; it keeps the model, and --out, which must
    /// not be there yet, is a copy. An interruption does not end the training
    #[arg(long, value_name = "NAME", conflicts_with_all = ["data", "backbone", "epochs", "threads", "device", "start",
        "measure", "data_note", "licence", "held_out", "patience", "checkpoint_every", "fresh"])]
    collection: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Weights file to write; its card goes beside it as .json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// glyphs, photographs, faces, signatures, medical, or a file (`twindex recipe` shows
    /// them); by default what the images look like
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// What is minimised, where not what the recipe says: supcon, ntxent, prototypical,
    /// contrastive, triplet (semi-hard), triplet-hard, triplet-all, lifted, arcface or koch;
    /// without labels simclr, moco, byol, simsiam, vicreg or barlow-twins
    #[arg(long, value_name = "NAME", alias = "loss")]
    objective: Option<Objective>,
    /// How long to train, in minutes; if not given, 12, or 1 with --backbone. Interrupted, the
    /// same command goes on from its checkpoint
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// How often to see as many images as there are instead: on the CPU, the same weights on
    /// every run; 0 writes the untrained tower
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    epochs: Option<f64>,
    /// Steps to take instead
    #[arg(long, value_name = "N", conflicts_with_all = ["minutes", "epochs"])]
    steps: Option<u64>,
    /// Seed of weights, samples and augmentation; 7 if not given
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Threads of the training; by default one a core
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// What computes: cpu, cuda or metal; a GPU needs a program built with the feature of that
    /// name
    #[arg(long, value_name = "NAME", default_value_t = Compute::Cpu)]
    device: Compute,
    /// Learn a head on this ready-made backbone (a safetensors file of `ResNet`, `DINOv2`, CLIP
    /// or `SigLIP`), which stays as it is; the features are cached beside --out, as .features
    #[arg(long, value_name = "FILE", conflicts_with = "start")]
    backbone: Option<PathBuf>,
    /// Weights file to go on from
    #[arg(long, value_name = "FILE")]
    start: Option<PathBuf>,
    /// Name in the card; by default the file name of --out
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Folder of classes to measure the finished encoder on, for its card
    #[arg(long, value_name = "DIR")]
    measure: Option<PathBuf>,
    /// What the card says of the data beside their name and number
    #[arg(long, value_name = "TEXT", default_value = "")]
    data_note: String,
    /// The data's licence and source, for the card
    #[arg(long, value_name = "TEXT", default_value = "")]
    licence: String,
    /// Share of the classes kept aside to see how the training does, 0 to 0.5
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    held_out: f64,
    /// Stop when the classes kept aside have not done better so many times in a row, of 40
    #[arg(long, value_name = "N", default_value_t = 0)]
    patience: u32,
    /// Seconds from one checkpoint to the next, 0 to 86,400
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    checkpoint_every: f64,
    /// Start anew, whatever checkpoint there is
    #[arg(long)]
    fresh: bool,
}

/// Has the server learn from a collection, and writes the model.
///
/// # Errors
/// What the server answers; a file that cannot be written.
pub async fn in_server(args: Args, collection: String, out: &Output) -> Result<(), CliError> {
    let client = Client::connect(&args.server).await?;
    let training = model::Train {
        collection,
        name: args.name.unwrap_or_default(),
        minutes: args.minutes,
        steps: args.steps,
        seed: args.seed,
        recipe: args.recipe.unwrap_or_default(),
        objective: args.objective.map_or_else(String::new, |o| o.to_string()),
        out: Some(args.out),
        detach: false,
    };
    model::train(client, training, out).await
}

impl Args {
    /// The collection to learn from, where it is one.
    #[must_use]
    pub fn collection(&self) -> Option<String> {
        self.collection.clone()
    }

    fn data(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new(""))
    }

    fn seed(&self) -> u64 {
        self.seed.unwrap_or(SEED)
    }
}

/// Runs the command.
///
/// # Errors
/// Options out of range, data that cannot be learnt from, an interruption.
pub fn run(args: &Args, out: &Output) -> Result<(), CliError> {
    let backbone = args.backbone.as_deref().map(backbones::load).transpose()?;
    let backbone = backbone.as_deref();
    let mut options = TrainOptions::new(args.data(), &args.out);
    let usual = if backbone.is_some() {
        MINUTES_OF_A_HEAD
    } else {
        MINUTES
    };
    options.minutes = args.minutes.unwrap_or(usual);
    options.steps = args.steps;
    options.seed = args.seed();
    options.epochs = args.epochs;
    options.patience = args.patience;
    options.start.clone_from(&args.start);
    options.name.clone_from(&args.name);
    if let Some(threads) = args.threads {
        options.threads = threads;
    }
    options.device = args.device;
    options.recipe = recipe(args, backbone, out)?;
    options.measure.clone_from(&args.measure);
    options.held_out = args.held_out;
    options.data_note.clone_from(&args.data_note);
    options.licence.clone_from(&args.licence);
    options.reproduce = command(args, &options);
    options.resume = !args.fresh;
    if !(0.0..=86_400.0).contains(&args.checkpoint_every) {
        let was = args.checkpoint_every;
        let told = format!("--checkpoint-every: {was}; 0 to 86400 seconds are allowed");
        return Err(CliError::invalid(told));
    }
    options.checkpoint_every = Duration::from_secs_f64(args.checkpoint_every);

    let cancel = Arc::new(AtomicBool::new(false));
    on_interrupt(Arc::clone(&cancel))?;
    let told = std::cell::Cell::new(None::<Instant>);
    let tell = |progress: &Progress| {
        if !out.shows_progress() || told.get().is_some_and(|t| t.elapsed() < EVERY) {
            return;
        }
        told.set(Some(Instant::now()));
        out.note(&line(progress));
    };
    let trained = match backbone {
        None => train(&options, &tell, &cancel),
        Some(backbone) => extracted(backbone, &options, out, &cancel)
            .and_then(|corpus| train_corpus(corpus, &options, &tell, &cancel)),
    };
    let trained = trained.map_err(|e| failure(&e))?;
    let encoder = &trained.encoder;
    if out.is_json() {
        return out.json(&json!({
            "model": encoder.version(),
            "file": args.out,
            "steps": trained.steps,
            "images": trained.images,
            "minutes": trained.minutes,
            "loss": trained.loss,
            "held_out_error": trained.held_out,
            "seed": options.seed,
            "recipe": options.recipe.name,
            "objective": options.recipe.objective.name(),
        }));
    }
    out.line(&format!(
        "trained {} in {:.1} minutes on {} images: {}",
        encoder.version(),
        trained.minutes,
        trained.images,
        args.out.display()
    ))
}

/// The data as the backbone's features.
fn extracted(
    backbone: &Backbone,
    options: &TrainOptions,
    out: &Output,
    cancel: &AtomicBool,
) -> Result<Corpus, TrainError> {
    let told = std::cell::Cell::new(None::<Instant>);
    let tell = |extracted: Extracted| {
        if !out.shows_progress() || told.get().is_some_and(|t| t.elapsed() < EVERY) {
            return;
        }
        told.set(Some(Instant::now()));
        let Extracted { done, of, cached } = extracted;
        out.note(&format!(
            "features of {done} of {of} images, {cached} of them cached"
        ));
    };
    ready(options)?;
    features::corpus(options, backbone, &tell, cancel)
}

/// The recipe asked for, or the one that the images ask for.
fn recipe(args: &Args, backbone: Option<&Backbone>, out: &Output) -> Result<Recipe, CliError> {
    let mut recipe = if let Some(name) = &args.recipe {
        Recipe::find(name).map_err(|e| failure(&e))?
    } else {
        let limits = crate::encoder::ImageLimits::default();
        let (recipe, why) = guess::recipe_for(args.data(), &limits).map_err(|e| failure(&e))?;
        out.note(&format!(
            "recipe {}: {why}; --recipe chooses another",
            recipe.name
        ));
        recipe
    };
    if let Some(objective) = args.objective {
        recipe.objective = objective;
    }
    Ok(match backbone {
        Some(backbone) => recipe.on(backbone),
        None => recipe,
    })
}

/// The command that does the same again, for a shell: what the result depends on.
fn command(args: &Args, options: &TrainOptions) -> String {
    let recipe = &options.recipe;
    let mut words = vec!["twindex".to_owned(), "train".to_owned()];
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), quoted(&value)]);
    option("--data", args.data().display().to_string());
    option("--out", args.out.display().to_string());
    let name = args.recipe.as_ref().unwrap_or(&recipe.name);
    option("--recipe", name.clone());
    option("--objective", recipe.objective.to_string());
    match (args.steps, args.epochs) {
        (Some(steps), _) => option("--steps", steps.to_string()),
        (_, Some(epochs)) => option("--epochs", epochs.to_string()),
        _ => option("--minutes", options.minutes.to_string()),
    }
    option("--seed", args.seed().to_string());
    if args.device != Compute::Cpu {
        option("--device", args.device.to_string());
    }
    if let Some(backbone) = &args.backbone {
        option("--backbone", backbone.display().to_string());
    }
    if let Some(start) = &args.start {
        option("--start", start.display().to_string());
    }
    if args.patience > 0 {
        option("--patience", args.patience.to_string());
    }
    if args.held_out > 0.0 {
        option("--held-out", args.held_out.to_string());
    }
    if let Some(folder) = &args.measure {
        option("--measure", folder.display().to_string());
    }
    for (name, text) in [
        ("--data-note", &args.data_note),
        ("--licence", &args.licence),
    ] {
        if !text.is_empty() {
            option(name, text.clone());
        }
    }
    words.join(" ")
}

fn line(p: &Progress) -> String {
    let held_out = p.held_out.map_or_else(String::new, |e| {
        format!(
            ", 20-way one-shot error on classes held out {:.1} %",
            100.0 * e
        )
    });
    format!(
        "{:3.0} %  step {}, loss {:.3}, {:.0} images a second, {} s left{held_out}",
        100.0 * p.fraction,
        p.step,
        p.loss,
        p.images_per_second,
        p.left.as_secs()
    )
}

fn failure(error: &TrainError) -> CliError {
    let text = error.to_string();
    match error {
        TrainError::Cancelled { .. } => {
            CliError::interrupted(text).with_hint("the same command goes on from there")
        }
        TrainError::Measure(why) => {
            let error = match why {
                EvalError::Encoder(_) => CliError::failed(text),
                _ => CliError::invalid(text),
            };
            error.with_hint("the weights are written; their card has no figures yet")
        }
        TrainError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            CliError::invalid(text)
        }
        TrainError::Option { .. } | TrainError::Data(_) => CliError::invalid(text),
        _ => CliError::failed(text),
    }
}

/// Ctrl-C asks the training to write a checkpoint and stop.
fn on_interrupt(cancel: Arc<AtomicBool>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| CliError::failed(format!("starting: {e}")))?;
    std::thread::spawn(move || {
        runtime.block_on(super::serve::asked_to_stop());
        cancel.store(true, Ordering::Release);
    });
    Ok(())
}
