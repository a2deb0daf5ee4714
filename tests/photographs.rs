//! Pictures of things and of faces that nobody has seen: trained by the default recipe on thirty
//! of a kind, ten others are told apart.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

use image::{ImageFormat, Rgb, RgbImage};
use std::f32::consts::{PI, TAU};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use twindex::domain::Views;
use twindex::encoder::ImageLimits;
use twindex::training::dataset::Folder;
use twindex::training::evaluate::{embed_folder, pairs, verify};
use twindex::training::random::Random;
use twindex::training::{TrainOptions, guess, train};

const SIDE: u32 = 72;
const IMAGES: u64 = 10;
/// A small part of what ten minutes on two cores are.
const STEPS: u64 = 150;

/// Of two colours, the one at a place that counts 0 to 1.
fn blend(a: [f32; 3], b: [f32; 3], share: f32) -> [f32; 3] {
    [0, 1, 2].map(|i| a[i] * (1.0 - share) + b[i] * share)
}

fn colour(random: &mut Random) -> [f32; 3] {
    [0; 3].map(|_| 0.1 + 0.85 * random.unit())
}

fn pixel(value: [f32; 3]) -> Rgb<u8> {
    Rgb(value.map(|v| (255.0 * v.clamp(0.0, 1.0)) as u8))
}

/// A lump with an outline and a texture of its own; turned, lit and moved at random before
/// clutter.
fn thing(class: u64, image: u64) -> RgbImage {
    let own = &mut Random::new(70, class);
    let waves: Vec<[f32; 2]> = (0..6)
        .map(|_| [0.16 * own.normal(), TAU * own.unit()])
        .collect();
    let colours = [colour(own), colour(own)];
    let (aspect, pitch, lie) = (
        0.6 + 0.7 * own.unit(),
        3.0 + 11.0 * own.unit(),
        PI * own.unit(),
    );
    let kind = own.below(3);

    let random = &mut Random::new(71, 1000 * class + image);
    let (sin, cos) = random.within(0.5).sin_cos();
    let (size, moved) = (
        0.45 + 0.3 * random.unit(),
        [random.within(0.2), random.within(0.2)],
    );
    let light = [random.within(1.0), random.within(1.0), 1.0 + random.unit()];
    let length = light.iter().map(|v| v * v).sum::<f32>().sqrt();
    let paper = colour(random);
    let clutter: Vec<_> = (0..6)
        .map(|_| {
            let at = [random.within(1.0), random.within(1.0)];
            (
                at,
                [0.1 + 0.4 * random.unit(), 0.1 + 0.4 * random.unit()],
                colour(random),
            )
        })
        .collect();
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let [x, y] = [x, y].map(|v| 2.0 * v as f32 / SIDE as f32 - 1.0);
        let (u, v) = (x - moved[0], y - moved[1]);
        let (u, v) = (
            (u * cos + v * sin) / size / aspect,
            (v * cos - u * sin) / size,
        );
        let (angle, from) = (v.atan2(u), u.hypot(v));
        let wave = |(k, [by, at]): (usize, &[f32; 2])| by * ((k + 1) as f32 * angle + at).cos();
        let edge = (1.0 + waves.iter().enumerate().map(wave).sum::<f32>()).max(0.25);
        if from >= edge {
            let over = clutter
                .iter()
                .rfind(|(at, half, _)| (x - at[0]).abs() < half[0] && (y - at[1]).abs() < half[1]);
            return pixel(over.map_or(paper, |(.., colour)| *colour));
        }
        let depth = (1.0 - (from / edge).powi(2)).sqrt();
        let facing = (u * light[0] + v * light[1] + depth * light[2]) / length;
        let texture = match kind {
            0 => (2.0 * pitch * (u * lie.cos() + v * lie.sin())).sin(),
            1 => (1.5 * pitch * from).sin(),
            _ => (pitch * u).sin() * (pitch * v).sin(),
        };
        let seen = blend(colours[1], colours[0], 1.0 / (1.0 + (-6.0 * texture).exp()));
        pixel(seen.map(|c| c * (0.35 + 0.75 * facing.clamp(0.0, 1.0))))
    })
}

/// A face by a few measures of its own; tilted, lit and smiling at random.
fn face(class: u64, image: u64) -> RgbImage {
    let own = &mut Random::new(80, class);
    let mut between = |least: f32, most: f32| least + (most - least) * own.unit();
    let (wide, tall, skin, hair) = (
        between(0.5, 0.68),
        between(0.72, 0.9),
        between(0.45, 0.9),
        between(0.05, 0.8),
    );
    let (apart, eye, brow, line) = (
        between(0.18, 0.3),
        between(0.06, 0.11),
        between(0.1, 0.2),
        between(-0.65, -0.3),
    );
    let (nose, mouth, lips, beard) = (
        between(0.15, 0.35),
        between(0.14, 0.3),
        between(0.02, 0.06),
        between(0.0, 1.0) < 0.3,
    );

    let random = &mut Random::new(81, 1000 * class + image);
    let (sin, cos) = random.within(0.12).sin_cos();
    let (size, moved) = (
        1.0 + random.within(0.12),
        [random.within(0.08), random.within(0.08)],
    );
    let (smile, glance, paper) = (random.within(0.12), random.within(0.03), random.unit());
    let (lean, gain) = (
        [random.within(0.35), random.within(0.25)],
        0.8 + 0.4 * random.unit(),
    );
    let mut noise = Random::new(82, 1000 * class + image);
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let [x, y] = [x, y].map(|v| 2.0 * v as f32 / SIDE as f32 - 1.0);
        let (u, v) = (x - moved[0], y - moved[1]);
        let (u, v) = ((u * cos + v * sin) * size, (v * cos - u * sin) * size);
        let within = |[cx, cy]: [f32; 2], [a, b]: [f32; 2]| {
            ((u - cx) / a).powi(2) + ((v - cy) / b).powi(2) < 1.0
        };
        let mut seen = paper;
        if within([0.0, -0.1], [1.12 * wide, tall]) {
            seen = hair;
        }
        if within([0.0, 0.0], [wide, tall]) && v > line {
            seen = skin;
        }
        if beard && within([0.0, 0.15], [0.95 * wide, tall - 0.12]) && v > 0.28 {
            seen = 0.7 * hair;
        }
        for side in [-apart, apart] {
            if within([side, -0.12], [1.4 * eye, 0.7 * eye]) {
                seen = 0.95;
            }
            if within([side + glance, -0.12], [0.5 * eye, 0.6 * eye]) {
                seen = 0.1;
            }
            if (u - side).abs() < 1.6 * eye && (v + 0.12 + brow).abs() < 0.025 {
                seen = 0.6 * hair;
            }
        }
        if u.abs() < 0.3 * (v + 0.1) && (-0.1..nose - 0.1).contains(&v) {
            seen = 0.8 * skin;
        }
        let bent = 0.45 - smile * (u / mouth).powi(2);
        if u.abs() < mouth && (v - bent).abs() < lips {
            seen = 0.45 * skin;
        }
        let lit = gain * (1.0 + lean[0] * x + lean[1] * y);
        pixel([seen * lit + 0.03 * noise.normal(); 3])
    })
}

/// Folders of thirty classes to learn and ten to measure on.
fn folders(dir: &Path, picture: impl Fn(u64, u64) -> RgbImage, extension: &str) {
    for class in 0..40 {
        let part = if class < 30 { "learn" } else { "unseen" };
        let folder = dir.join(part).join(format!("c{class:02}"));
        std::fs::create_dir_all(&folder).unwrap();
        for image in 0..IMAGES {
            let path = folder.join(format!("{image}.{extension}"));
            let picture = picture(class, image);
            match extension {
                "pgm" => {
                    let mut file = format!("P5 {SIDE} {SIDE} 255\n").into_bytes();
                    file.extend(picture.pixels().map(|p| p.0[0]));
                    std::fs::write(path, file).unwrap();
                }
                _ => picture.save_with_format(path, ImageFormat::Jpeg).unwrap(),
            }
        }
    }
}

/// Equal error rates on the ten: of the tower before and after training.
fn untrained_and_trained(dir: &Path, recipe: &str) -> [f64; 2] {
    let limits = ImageLimits::default();
    let (learn, unseen) = (dir.join("learn"), dir.join("unseen"));
    let (guessed, _) = guess::recipe_for(&learn, &limits).unwrap();
    assert_eq!(guessed.name, recipe);
    let unseen = Folder::open_whole(&unseen).unwrap();
    [0, STEPS].map(|steps| {
        let options = TrainOptions {
            recipe: guessed.clone(),
            steps: Some(steps),
            threads: 2,
            ..TrainOptions::new(&learn, dir.join(format!("{steps}.safetensors")))
        };
        let trained = train(&options, &|_| (), &AtomicBool::new(false)).unwrap();
        let classes = embed_folder(&trained.encoder, &unseen, Views::ONE, &|_| {}).unwrap();
        let task = pairs::Task {
            pairs: 20_000,
            within_parent: false,
            seed: 1,
        };
        verify::run(&classes, &task).unwrap().eer.value
    })
}

#[test]
fn things_that_were_never_seen_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path(), thing, "jpg");
    let [untrained, trained] = untrained_and_trained(dir.path(), "photographs");
    println!("things: EER {trained:.3}, untrained {untrained:.3}");
    assert!(
        trained <= untrained / 2.0,
        "{trained}, untrained {untrained}"
    );
}

#[test]
fn faces_that_were_never_seen_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path(), face, "pgm");
    let [untrained, trained] = untrained_and_trained(dir.path(), "faces");
    println!("faces: EER {trained:.3}, untrained {untrained:.3}");
    assert!(
        trained <= untrained / 2.0,
        "{trained}, untrained {untrained}"
    );
}
