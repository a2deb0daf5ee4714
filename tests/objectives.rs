//! Every objective learns: it beats the untrained tower on characters that it has not seen.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

use image::ImageFormat;
use std::io::Cursor;
use std::sync::atomic::AtomicBool;
use twindex::encoder::{Encoder, ImageLimits, Raster};
use twindex::training::corpus::drawing;
use twindex::training::glyphs::Alphabet;
use twindex::training::oneshot::{embed_classes, error};
use twindex::training::{Corpus, Loss, Objective, Recipe, TrainOptions, train_corpus};

/// Share of the untrained tower's 10-way one-shot error that is left at most, after learning
/// with labels, or without.
const LABELLED: f64 = 0.65;
const UNLABELLED: f64 = 0.6;
/// A pair head weighs dimensions as the cosine that is measured here does not.
const WEIGHED: f64 = 0.75;
const STEPS: u64 = 100;
/// Those that take their time (the hardest triplets, predictions without strangers) are
/// given so many steps.
const SLOW: u64 = 10 * STEPS;

fn recipe(objective: Objective) -> Recipe {
    let unlabelled = objective.is_self_supervised();
    Recipe {
        objective,
        widths: Some([12, 16, 24]),
        dim: 24,
        classes: if unlabelled { 64 } else { 32 },
        images: if unlabelled { 2 } else { 4 },
        turns: false,
        // Its negatives are the worst there are: from nothing, larger steps bring all together
        // (Hermans et al. 2017, section 3).
        rate: if objective == Objective::Loss(Loss::TripletHard) {
            1e-3
        } else {
            2e-3
        },
        average: 0.9,
        ..Recipe::default()
    }
}

/// Characters of an alphabet of its own, each by eight hands.
fn drawn(seed: u64, characters: usize) -> Corpus {
    let alphabet = Alphabet::new(seed, characters);
    let plan = recipe(Objective::default()).plan();
    let file = |character, hand| {
        let mut file = Cursor::new(Vec::new());
        let picture = alphabet.draw(character, hand);
        picture.write_to(&mut file, ImageFormat::Png).unwrap();
        let raster = Raster::read(file.get_ref(), &plan, &ImageLimits::default());
        drawing(&raster.unwrap())
    };
    let class = |c| (format!("a/{c}"), (0..8).map(|hand| file(c, hand)).collect());
    let classes = (0..characters).map(class).collect();
    Corpus::of_drawings(classes, plan, ImageLimits::default())
}

fn ten_way(encoder: &Encoder, corpus: &Corpus) -> f64 {
    let embedded = embed_classes(encoder, corpus).unwrap();
    error(&embedded, 10, 4000, 1).unwrap()
}

#[test]
fn every_objective_beats_the_untrained_tower() {
    let dir = tempfile::tempdir().unwrap();
    let (learnt, unseen) = (drawn(1, 60), drawn(2, 30));
    let trained = |objective: Objective, steps| {
        let options = TrainOptions {
            steps: Some(steps),
            recipe: recipe(objective),
            threads: 2,
            ..TrainOptions::new("drawn", dir.path().join(format!("{objective}-{steps}")))
        };
        let cancel = AtomicBool::new(false);
        let trained = train_corpus(learnt.clone(), &options, &|_| (), &cancel).unwrap();
        ten_way(&trained.encoder, &unseen)
    };
    let untrained = trained(Objective::default(), 0);
    println!("untrained: {untrained:.3}");
    let mut failed = Vec::new();
    for objective in Objective::all() {
        let steps = match objective {
            Objective::Loss(Loss::TripletHard) | Objective::Byol | Objective::SimSiam => SLOW,
            _ => STEPS,
        };
        let error = trained(objective, steps);
        println!("{objective}: {error:.3}");
        let margin = match objective {
            Objective::Koch => WEIGHED,
            _ if objective.is_self_supervised() => UNLABELLED,
            _ => LABELLED,
        };
        if error > margin * untrained {
            failed.push((objective, error));
        }
    }
    assert!(failed.is_empty(), "{failed:?}, untrained {untrained}");
}
