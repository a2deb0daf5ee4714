//! A model trained on the labelled images of a collection.

use super::collection::Collection;
use super::error::{Error, Resource};
use super::inspect;
use super::operation::{Cause, End, Entry, Operation};
use super::requests::RequestKey;
use super::writer::Op;
use super::{Engine, Inner};
use crate::domain::{CollectionName, Invalid, Label};
use crate::encoder::{Card, ImageLimits, Raster};
use crate::training::corpus::{Drawing, MIN_CLASSES, drawing};
use crate::training::{self, Corpus, Objective, Recipe, TrainError, TrainOptions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// Longest training, in minutes.
const MAX_MINUTES: f64 = 24.0 * 60.0;
/// How long to train where nothing is said, in minutes.
const MINUTES: f64 = 10.0;
/// Most steps.
const MAX_STEPS: u64 = 1_000_000;
/// The seed where none is given.
const SEED: u64 = 7;

/// A training that is asked for.
#[derive(Debug, Clone, Default)]
pub struct Train {
    /// Name of the new model; the collection's, if `None`.
    pub name: Option<String>,
    /// How long, in minutes.
    pub minutes: Option<f64>,
    /// How many steps, instead.
    pub steps: Option<u64>,
    /// Seed of initial weights, samples and augmentation.
    pub seed: Option<u64>,
    /// The recipe, by name; that of the collection's model, if `None`.
    pub recipe: Option<String>,
    /// What is minimised, by name; what the recipe says, if `None`.
    pub loss: Option<String>,
}

/// A training, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The collection learnt from.
    pub collection: String,
    /// Its number: one made anew under its name is another.
    number: u64,
    /// Name of the new model.
    pub model: String,
    minutes: f64,
    steps: Option<u64>,
    seed: u64,
    #[serde(default)]
    recipe: Recipe,
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// Share done, in 0..=1.
    pub fraction: f64,
    /// Mean loss of late.
    pub loss: f32,
    /// Estimate of the time left, in seconds.
    pub seconds_left: u64,
}

/// What a training made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The version of the new model, which is kept.
    pub version: String,
    /// Steps taken.
    pub steps: u64,
    /// Augmented images learnt from.
    pub images_seen: u64,
    /// Minutes of training.
    pub minutes: f64,
    /// Mean loss at the end.
    pub loss: f32,
    /// Labels learnt from.
    pub classes: usize,
    /// Images learnt from.
    pub images: usize,
}

impl Engine {
    /// Accepts a training on a collection's labelled images. The collection is not changed.
    ///
    /// # Errors
    /// No such collection; it keeps no images, or too few labels have two, or there are too
    /// many images; a bad parameter; too much waits already.
    pub async fn train_model(
        &self,
        collection: &CollectionName,
        train: Train,
        request_id: &str,
    ) -> Result<Operation, Error> {
        let collection = self.inner.collection(collection)?;
        let request = RequestKey::items("train", &collection, request_id, self.limits())?;
        let task = self.task(&collection, train)?;
        self.accept(task, request).await
    }

    fn task(&self, collection: &Collection, train: Train) -> Result<Task, Error> {
        let record = collection.record();
        let name = record.name.as_str();
        if record.model.is_none() || !record.keep_images {
            return Err(Error::NoImages {
                collection: name.to_owned(),
            });
        }
        let labels = collection.labels(None, usize::MAX);
        let classes = labels.iter().filter(|(_, images)| *images >= 2).count();
        if classes < MIN_CLASSES {
            return Err(Error::FewClasses {
                collection: name.to_owned(),
                classes,
                least: MIN_CLASSES,
            });
        }
        let images: u64 = labels.iter().map(|(_, images)| images).sum();
        let limit = self.limits().max_training_images;
        if images > limit as u64 {
            return Err(Error::Full {
                what: "labelled images to learn from",
                limit,
            });
        }
        let minutes = train.minutes.unwrap_or(MINUTES);
        if !(minutes > 0.0 && minutes <= MAX_MINUTES) {
            let allowed = format!("above 0 up to {MAX_MINUTES} are allowed");
            return Err(Invalid::new("minutes", minutes.to_string(), allowed).into());
        }
        if let Some(steps) = train.steps.filter(|steps| !(1..=MAX_STEPS).contains(steps)) {
            let allowed = format!("1 to {MAX_STEPS} are allowed");
            return Err(Invalid::new("steps", steps.to_string(), allowed).into());
        }
        let recipe = self.recipe(collection, &train)?;
        let model = train.name.unwrap_or_else(|| name.to_owned());
        check_name(&model)?;
        Ok(Task {
            collection: name.to_owned(),
            number: record.number,
            model,
            minutes,
            steps: train.steps,
            seed: train.seed.unwrap_or(SEED),
            recipe,
        })
    }

    /// The recipe asked for; else that by which the collection's model was trained, if its
    /// card tells; else the usual one.
    fn recipe(&self, collection: &Collection, train: &Train) -> Result<Recipe, Error> {
        let mut recipe = if let Some(name) = &train.recipe {
            Recipe::named(name).ok_or_else(|| {
                let known: Vec<String> = Recipe::all().into_iter().map(|r| r.name).collect();
                Invalid::new("recipe", name.as_str(), known.join(", "))
            })?
        } else {
            let version = collection.record().model.as_deref().unwrap_or_default();
            let models = &self.inner.models;
            let record = match (models.own(version), models.kept(version)) {
                (Some(own), _) => Some(own.record.clone()),
                (None, kept) => kept.map(|kept| kept.record.clone()),
            };
            let card = record.and_then(|record| Card::parse(&record.card).ok());
            let recipe = card.and_then(|c| serde_json::from_value(c.training.recipe).ok());
            recipe.unwrap_or_default()
        };
        if let Some(backbone) = recipe.backbone {
            let allowed = "one of a tower is needed: the collection's model stands on a backbone";
            return Err(Invalid::new("recipe", backbone.to_string(), allowed).into());
        }
        if let Some(objective) = &train.loss {
            let parsed: Result<Objective, String> = objective.parse();
            recipe.objective =
                parsed.map_err(|known| Invalid::new("loss", objective.as_str(), known))?;
        }
        if let Err(refused) = recipe.check() {
            let allowed = "the collection's model was trained by it; name another";
            let was = refused.to_string();
            return Err(Invalid::new("recipe", was, allowed).into());
        }
        Ok(recipe)
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let mut card = Card::new("name", crate::encoder::Plan::default());
    name.clone_into(&mut card.name);
    let parsed = Card::parse(&card.to_json());
    parsed.map(drop).map_err(|_| {
        let allowed = "1 to 64 of a-z, 0-9, -, _ and . are allowed";
        Invalid::new("name", format!("{name:?}"), allowed)
    })
}

/// Trains, and keeps the model.
pub(super) fn run(
    inner: &Inner,
    queue: &mpsc::WeakSender<Op>,
    operation: &str,
    task: &Task,
    entry: &Entry,
) -> End {
    let scratch = operation.rsplit('/').next().unwrap_or(operation);
    let done = train(inner, queue, scratch, task, entry);
    if let Err(error) = inner.store.remove_scratch(scratch) {
        tracing::warn!(%error, "files of a training are left until the next start");
    }
    match done {
        Ok(trained) => End::Trained(Box::new(trained)),
        Err(Failure(cause, why)) => End::Failed(cause, why),
    }
}

struct Failure(Cause, String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let cause = match error {
            Error::NotFound { .. }
            | Error::Image { .. }
            | Error::BadModel(_)
            | Error::ModelDiffers { .. }
            | Error::Full { .. } => Cause::Unfit,
            Error::Closed => Cause::Aborted,
            _ => Cause::Internal,
        };
        Self(cause, error.to_string())
    }
}

impl From<crate::store::Error> for Failure {
    fn from(error: crate::store::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Cancelled { step } => {
                Self(Cause::Cancelled, format!("cancelled after step {step}"))
            }
            TrainError::Data(_) | TrainError::Option { .. } | TrainError::Diverged { .. } => {
                Self(Cause::Unfit, error.to_string())
            }
            _ => Self(Cause::Internal, error.to_string()),
        }
    }
}

fn train(
    inner: &Inner,
    queue: &mpsc::WeakSender<Op>,
    scratch: &str,
    task: &Task,
    entry: &Entry,
) -> Result<Trained, Failure> {
    let out = inner.store.scratch(scratch)?.join("model.safetensors");
    let corpus = corpus(inner, task, entry)?;
    let (classes, images) = (corpus.classes.len(), corpus.images());
    let mut options = TrainOptions::new(&task.collection, &out);
    options.minutes = task.minutes;
    options.steps = task.steps;
    options.seed = task.seed;
    options.name = Some(task.model.clone());
    options.data_note = format!("items of the collection {}", task.collection);
    options.threads = threads();
    options.resume = false;
    options.recipe.clone_from(&task.recipe);
    let tell = |progress: &training::Progress| {
        entry.tell(Progress {
            step: progress.step,
            fraction: progress.fraction,
            loss: progress.loss,
            seconds_left: progress.left.as_secs(),
        });
    };
    let trained = training::train_corpus(corpus, &options, &tell, entry.cancel())?;
    let file = std::fs::read(&out);
    let file = file.map_err(|e| Failure(Cause::Internal, format!("{}: {e}", out.display())))?;
    let checked = inspect::check(file, None)?;
    let version = checked.record.version.clone();
    // The same weights again are the same model; that it took other minutes does not count.
    let kept = inner.models.kept(&version);
    if kept.is_none_or(|kept| kept.broken().is_some()) {
        inner.keep_blocking(queue, checked)?;
    }
    Ok(Trained {
        version,
        steps: trained.steps,
        images_seen: trained.images,
        minutes: trained.minutes,
        loss: trained.loss,
        classes,
        images,
    })
}

/// Half the cores, so that searches go on.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).max(1)
}

/// The collection's images, by label; those with no label or no image are passed over.
fn corpus(inner: &Inner, task: &Task, entry: &Entry) -> Result<Corpus, Failure> {
    let limits: ImageLimits = inner.models.default_one().limits();
    let mut classes: BTreeMap<Label, Vec<Drawing>> = BTreeMap::new();
    let plan = task.recipe.plan();
    let mut images = 0;
    // Its items may be there for a while after it was deleted.
    let there = inner.all().iter().any(|c| c.record().number == task.number);
    if !there {
        return Err(Error::not_found(Resource::Collection, task.collection.as_str()).into());
    }
    for item in inner.store.items(task.number, None) {
        if entry.cancel().load(Ordering::Relaxed) {
            return Err(Failure(Cause::Cancelled, "cancelled before step 1".into()));
        }
        let (id, record) = item?;
        let (Some(label), Some(image)) = (record.label, record.image) else {
            continue;
        };
        let Some(bytes) = inner.store.image(task.number, image)? else {
            continue;
        };
        images += 1;
        let limit = inner.limits.max_training_images;
        if images > limit {
            let what = "labelled images to learn from";
            return Err(Error::Full { what, limit }.into());
        }
        let raster = Raster::read(&bytes, &plan, &limits);
        let raster = raster.map_err(|e| Failure(Cause::Unfit, format!("item {id}: {e}")))?;
        classes.entry(label).or_default().push(drawing(&raster));
    }
    let classes = classes.into_iter();
    let classes = classes.map(|(label, drawings)| (label.as_str().to_owned(), drawings));
    Ok(Corpus::of_drawings(classes.collect(), plan, limits))
}
