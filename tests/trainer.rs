//! The trainer through its public API, on glyphs drawn here.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

use image::{GrayImage, Luma};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use twindex::domain::Views;
use twindex::encoder::Encoder;
use twindex::training::dataset::Folder;
use twindex::training::evaluate::{embed_folder, nway};
use twindex::training::{Objective, Recipe, TrainError, TrainOptions, Trained, train};

/// Ten classes of six drawings: a bar and a box, each class its own way, shaken a little.
fn draw(folder: &Path) {
    for class in 0..10_u32 {
        let place = folder.join(format!("alphabet{}/glyph{class}", class % 2));
        std::fs::create_dir_all(&place).unwrap();
        for image in 0..6_u32 {
            let (dx, dy) = (image % 3, image / 3);
            let picture = GrayImage::from_fn(48, 48, |x, y| {
                let (x, y) = (x + dx, y + dy);
                let bar = x.abs_diff(10 + 3 * class) < 3 && (8..40).contains(&y);
                let low = 6 + 7 * (class % 5);
                let square = (12..24).contains(&x) && (low..low + 8).contains(&y);
                Luma([if bar || square { 0 } else { 255 }])
            });
            picture.save(place.join(format!("{image}.png"))).unwrap();
        }
    }
}

fn small() -> Recipe {
    Recipe {
        widths: Some([8, 8, 8]),
        dim: 16,
        ..Recipe::default()
    }
}

fn options(folder: &Path, out: &str, steps: u64) -> TrainOptions {
    TrainOptions {
        steps: Some(steps),
        threads: 2,
        recipe: small(),
        ..TrainOptions::new(folder.join("data"), folder.join(out))
    }
}

fn run(options: &TrainOptions) -> Result<Trained, TrainError> {
    train(options, &|_| (), &AtomicBool::new(false))
}

fn room() -> tempfile::TempDir {
    let room = tempfile::tempdir().unwrap();
    draw(&room.path().join("data"));
    room
}

#[test]
fn a_few_steps_lower_what_every_objective_minimises() {
    let room = room();
    for objective in Objective::all() {
        let loss = objective.name();
        let losses = Mutex::new(Vec::new());
        let recipe = Recipe {
            objective,
            images: if objective.is_self_supervised() { 2 } else { 4 },
            rate: 5e-3,
            ..small()
        };
        let options = TrainOptions {
            recipe,
            ..options(room.path(), &format!("{loss}.safetensors"), 40)
        };
        let trained = train(
            &options,
            &|p| losses.lock().unwrap().push(p.loss),
            &AtomicBool::new(false),
        )
        .unwrap();
        let losses = losses.into_inner().unwrap();
        assert_eq!((losses.len(), trained.steps), (40, 40));
        // The queue that MoCo tells its images from grows all the while.
        assert!(
            objective == Objective::MoCo || losses[39] < 0.97 * losses[0],
            "{loss}: {losses:?}"
        );
        let written = Encoder::load(&options.out).unwrap();
        assert_eq!(written.version(), trained.encoder.version());
        assert_eq!(written.card().training.loss, loss);
        let card = std::fs::read_to_string(options.out.with_extension("json")).unwrap();
        assert_eq!(card.trim_end(), written.card().to_json());
    }
}

#[test]
fn a_resumed_training_gives_the_weights_of_an_uninterrupted_one() {
    let room = room();
    let whole = run(&options(room.path(), "whole.safetensors", 6)).unwrap();

    let parts = TrainOptions {
        name: Some("whole".into()),
        threads: 1,
        ..options(room.path(), "parts.safetensors", 6)
    };
    let cancel = AtomicBool::new(false);
    let stop = |p: &twindex::training::Progress| cancel.store(p.step == 3, Ordering::Relaxed);
    let stopped = train(&parts, &stop, &cancel).unwrap_err();
    assert!(matches!(stopped, TrainError::Cancelled { step: 3 }));
    let checkpoint = room.path().join("parts.safetensors.checkpoint");
    assert!(checkpoint.exists() && !parts.out.exists());

    let other = TrainOptions {
        seed: 8,
        ..parts.clone()
    };
    let refused = run(&other).unwrap_err();
    assert!(
        matches!(refused, TrainError::Checkpoint { .. }),
        "{refused}"
    );

    let resumed = run(&parts).unwrap();
    // On another number of threads, too.
    assert_eq!(resumed.encoder.version(), whole.encoder.version());
    assert_eq!((resumed.steps, resumed.images), (whole.steps, whole.images));
    assert!(!checkpoint.exists());
}

#[test]
fn a_broken_checkpoint_is_refused() {
    let room = room();
    let options = options(room.path(), "x.safetensors", 2);
    std::fs::write(room.path().join("x.safetensors.checkpoint"), b"junk").unwrap();
    let refused = run(&options).unwrap_err();
    assert!(
        matches!(refused, TrainError::Checkpoint { .. }),
        "{refused}"
    );
    let anew = TrainOptions {
        resume: false,
        ..options
    };
    run(&anew).unwrap();
}

#[test]
fn training_goes_on_from_given_weights_and_measures() {
    let room = room();
    run(&options(room.path(), "first.safetensors", 2)).unwrap();
    let more = TrainOptions {
        start: Some(room.path().join("first.safetensors")),
        held_out: 0.4,
        measure: Some(room.path().join("data")),
        ..options(room.path(), "second.safetensors", 2)
    };
    let trained = run(&more).unwrap();
    assert_eq!(trained.encoder.card().training.classes, 6);
    // Of the four classes held out, as many ways as there are; ten are enough for 5.
    assert!(trained.held_out.is_some_and(|error| error < 0.75));
    let [measured] = &trained.encoder.card().measured[..] else {
        panic!("{:?}", trained.encoder.card().measured);
    };
    assert_eq!((measured.trials, measured.seed), (20_000, more.seed));
    assert_eq!(measured.data, "data: 10 classes, 60 images");
    // The figure is what an evaluation of the written file tells.
    let folder = Folder::open(&room.path().join("data")).unwrap();
    let written = Encoder::load(&more.out).unwrap();
    let task = nway::Task {
        ways: 5,
        shots: 1,
        trials: measured.trials,
        within_parent: false,
        seed: measured.seed,
    };
    let rate = nway::run(
        &embed_folder(&written, &folder, Views::ONE, &|_| ()).unwrap(),
        &task,
    )
    .unwrap();
    assert_eq!(measured.error, rate.rate());
}

#[test]
fn weights_that_cannot_be_measured_are_kept() {
    let room = room();
    let measure = room.path().join("measure");
    draw(&measure);
    std::fs::write(measure.join("alphabet0/glyph0/z.png"), b"junk").unwrap();
    let options = TrainOptions {
        measure: Some(measure),
        ..options(room.path(), "x.safetensors", 1)
    };
    let refused = run(&options).unwrap_err();
    assert!(matches!(refused, TrainError::Measure(_)), "{refused}");
    assert!(Encoder::load(&options.out).is_ok());
}

#[test]
fn what_would_fail_at_the_end_fails_at_the_start() {
    let room = room();
    let good = options(room.path(), "x.safetensors", 1);
    let wrong = |change: &dyn Fn(&mut TrainOptions)| {
        let mut options = good.clone();
        change(&mut options);
        let step = |_: &twindex::training::Progress| panic!("it learns");
        let refused = train(&options, &step, &AtomicBool::new(false));
        refused.unwrap_err().to_string()
    };
    assert!(wrong(&|o| o.out = room.path().join("x.json")).starts_with("out: "));
    let nowhere = room.path().join("none/x.safetensors");
    let told = wrong(&|o| o.out.clone_from(&nowhere));
    assert!(told.starts_with(nowhere.to_str().unwrap()), "{told}");
    assert!(wrong(&|o| o.out = room.path().to_owned()).contains("directory"));
    assert!(wrong(&|o| o.measure = Some("/nowhere".into())).starts_with("/nowhere: "));
    let alone = room.path().join("data/alphabet0/glyph0");
    let told = wrong(&|o| o.measure = Some(alone.clone()));
    assert!(told.contains("0 classes of 2 images"), "{told}");
    let left = std::fs::read_dir(room.path()).unwrap().count();
    assert_eq!(left, 1, "only the data");
}

#[test]
fn impossible_options_and_data_are_refused() {
    let room = room();
    let good = options(room.path(), "x.safetensors", 1);
    let bad = |change: &dyn Fn(&mut TrainOptions)| {
        let mut options = good.clone();
        change(&mut options);
        run(&options).unwrap_err().to_string()
    };
    assert!(bad(&|o| o.minutes = f64::NAN).starts_with("minutes: NaN"));
    assert!(bad(&|o| o.threads = 0).starts_with("threads: 0"));
    assert!(bad(&|o| o.held_out = 0.9).starts_with("held_out: 0.9"));
    assert!(bad(&|o| o.recipe.dim = 0).contains("plan.dim: 0"));
    assert!(bad(&|o| o.data = "/nowhere".into()).starts_with("/nowhere: "));
    assert!(bad(&|o| o.data.push("alphabet0/glyph0")).contains("at least 5 are needed"));
    std::fs::write(room.path().join("data/alphabet0/glyph0/z.png"), b"junk").unwrap();
    assert!(run(&good).unwrap_err().to_string().contains("z.png"));
}
