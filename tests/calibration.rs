//! What a calibration promises, on classes that it has not seen: drawn ones, and Omniglot's.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/mod.rs"]
mod support;

use twindex::domain::Views;
use twindex::domain::calibration::{
    Comparison, Judged, Model, OpenSet, Scale, Shortage, Table, Targets, choose, logit,
};
use twindex::encoder::Encoder;
use twindex::training::dataset::Folder;
use twindex::training::evaluate::calibration::{Held, repeated};
use twindex::training::evaluate::embed_folder;
use twindex::training::random::Random;

const DIM: usize = 6;

/// Classes of points that scatter about a centre: some centres lie close together, so that
/// comparisons of one class err together.
fn classes(random: &mut Random, n: usize, examples: usize) -> Vec<Vec<[f32; DIM]>> {
    let mut class = || {
        let centre = [(); DIM].map(|()| random.normal());
        (0..examples)
            .map(|_| centre.map(|x| x + 0.35 * random.normal()))
            .collect()
    };
    (0..n).map(|_| class()).collect()
}

fn similarity(a: &[f32; DIM], b: &[f32; DIM]) -> f32 {
    -a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>()
}

fn pairs(classes: &[Vec<[f32; DIM]>]) -> [Vec<Comparison>; 2] {
    let each = (0_u16..).zip(classes);
    let all: Vec<_> = each
        .flat_map(|(class, points)| points.iter().map(move |p| (class, p)))
        .collect();
    let mut out = [vec![], vec![]];
    for (nth, (a, x)) in all.iter().enumerate() {
        for (b, y) in &all[..nth] {
            out[usize::from(a != b)].push(Comparison {
                similarity: similarity(x, y),
                classes: [*a, *b],
            });
        }
    }
    out
}

/// Every point against the first of each class.
fn table(classes: &[Vec<[f32; DIM]>]) -> Table {
    let mut table = Table {
        labels: classes.len() as u16,
        ..Table::default()
    };
    for (own, points) in (0_u16..).zip(classes) {
        for point in &points[1..] {
            table.probes.push(own);
            let row = classes.iter().map(|c| similarity(point, &c[0]));
            table.scores.extend(row);
        }
    }
    table
}

fn accepted(impostor: &[Comparison], threshold: f32) -> f64 {
    let accepted = impostor.iter().filter(|c| c.similarity >= threshold);
    accepted.count() as f64 / impostor.len() as f64
}

#[test]
fn the_rate_on_other_classes_lies_in_the_interval_and_not_in_the_counted_one() {
    let mut random = Random::new(1, 0);
    let (far, mut inside, mut counted) = (0.01, 0, 0);
    for _ in 0..100 {
        let [genuine, impostor] = pairs(&classes(&mut random, 80, 4));
        let n = impostor.len() as f64;
        let scale = Scale::fit(&genuine, impostor, 80, far).unwrap();
        let point = scale.at("far", far).unwrap();
        let [_, others] = pairs(&classes(&mut random, 80, 4));
        let found = accepted(&others, point.threshold);
        inside += u32::from(point.interval.holds(found));
        // As if pairs were independent, both in the calibration and in the test.
        let reach = 1.96 * (2.0 * far * (1.0 - far) / n).sqrt();
        counted += u32::from((found - far).abs() <= reach);
    }
    println!("of 100 draws of classes: {inside} inside, {counted} by counting pairs");
    assert!(inside >= 90, "{inside} of 100");
    assert!(
        counted < 70,
        "{counted} of 100: the test's classes do not differ enough"
    );
}

#[test]
fn probabilities_are_what_they_say() {
    let mut random = Random::new(2, 0);
    for _ in 0..10 {
        let [genuine, impostor] = pairs(&classes(&mut random, 60, 5));
        let chosen = choose(&genuine, &impostor);
        let [genuine, impostor] = pairs(&classes(&mut random, 60, 5));
        let scores = |all: &[Comparison]| all.iter().map(|c| c.similarity).collect::<Vec<_>>();
        let mut judged = Judged::default();
        judged.add(&chosen.curve, &scores(&genuine), &scores(&impostor));
        assert!(judged.ece() < 0.05, "{}", judged.ece());
        assert!(chosen.ece < 0.05, "{}", chosen.ece);
        assert!(judged.loss() < 0.4 && chosen.losses.iter().all(|l| *l < 0.4));
    }
    // A rarer thing is less probable, by Bayes' rule.
    let [genuine, impostor] = pairs(&classes(&mut random, 60, 5));
    let curve = choose(&genuine, &impostor).curve;
    let (even, rare) = (curve.probability(-1.0, 0.5), curve.probability(-1.0, 0.01));
    assert!((logit(even) - logit(rare) - 99.0_f64.ln()).abs() < 1e-9);
}

#[test]
fn each_curve_is_chosen_where_it_is_right() {
    let mut random = Random::new(3, 0);
    let mut draw = |genuine: bool, steps: bool| -> Vec<Comparison> {
        let comparison = |n: u16| {
            let (mut s, shift) = (random.normal(), if genuine { 1.0 } else { -1.0 });
            s += shift;
            if steps {
                // No sigmoid: the middle tells nothing, the ends much.
                s = if s.abs() < 1.0 {
                    0.1 * random.normal()
                } else {
                    s.signum()
                };
            }
            Comparison {
                similarity: s,
                classes: [
                    n % 100,
                    if genuine {
                        n % 100
                    } else {
                        (n % 100 + 5) % 100
                    },
                ],
            }
        };
        (0..20_000).map(comparison).collect()
    };
    let sigmoid = choose(&draw(true, false), &draw(false, false));
    // Two normals of one width: log odds are exactly 2 s.
    assert_eq!(sigmoid.curve.name(), "platt");
    assert!((sigmoid.curve.log_odds(0.7) - 1.4).abs() < 0.1);
    let steps = choose(&draw(true, true), &draw(false, true));
    assert_eq!(steps.curve.name(), "isotonic", "{:?}", steps.losses);
}

#[test]
fn open_set_rates_hold_when_the_gallery_grows_ten_times() {
    let mut random = Random::new(4, 0);
    let fpir = 0.1;
    // Measured on 120 labels: 11 and 118 are as they were measured, 400 is beyond them.
    let sizes = [11, 118, 400];
    let mut inside = [0; 3];
    for _ in 0..60 {
        let open = OpenSet::fit(&table(&classes(&mut random, 120, 4)), fpir).unwrap();
        let others = Model::new(&table(&classes(&mut random, 450, 4)));
        for (inside, n) in inside.iter_mut().zip(sizes) {
            let point = open.at("fpir", fpir, n).unwrap();
            *inside += u32::from(point.interval.holds(others.rate(n, point.threshold)));
        }
    }
    println!("of 60 draws: {inside:?} inside for galleries of {sizes:?}");
    assert!(inside.iter().all(|n| *n >= 54), "{inside:?} of 60");
}

#[test]
fn thresholds_rise_with_what_is_asked() {
    let mut random = Random::new(5, 0);
    let some = classes(&mut random, 100, 5);
    let [genuine, impostor] = pairs(&some);
    let scale = Scale::fit(&genuine, impostor, 100, 0.01).unwrap();
    let at = |far| scale.at("far", far).unwrap().threshold;
    assert!([0.2, 0.1, 0.07, 0.03, 0.015, 0.01].map(at).is_sorted());
    let error = scale.at("far", 1e-9).unwrap_err();
    assert!(
        error.field == "far" && error.allowed.contains("supports"),
        "{error}"
    );
    for bad in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(scale.at("far", bad).is_err());
    }
    let open = OpenSet::fit(&table(&some), 0.1).unwrap();
    let at = |labels| open.at("fpir", 0.1, labels).unwrap();
    let thresholds = [1, 3, 10, 50, 98, 100, 500, 1_000].map(|n| at(n).threshold);
    assert!(thresholds.is_sorted(), "{thresholds:?}");
    assert!(
        (at(1_000_000).interval.high - 1.0).abs() < 1e-9,
        "nothing is promised there"
    );
    assert!(open.at("fpir", 1e-6, 10).is_err());
}

#[test]
fn too_few_pairs_are_refused_with_how_many_it_takes() {
    let mut random = Random::new(6, 0);
    let few = |random: &mut Random, n: usize, far| -> Result<Scale, Shortage> {
        let [genuine, impostor] = pairs(&classes(random, n, 4));
        Scale::fit(&genuine, impostor, n, far)
    };
    let short = few(&mut random, 30, 1e-4).unwrap_err();
    assert_eq!((short.field, short.labels, short.there), ("far", 30, 6960));
    assert!(short.labels_needed > 30 && short.needed > 6960, "{short}");
    assert!(
        short
            .to_string()
            .starts_with("far: 0.0001; it takes about "),
        "{short}"
    );
    // What it says is about what it takes.
    assert!(
        few(&mut random, 3 * short.labels_needed, 1e-4).is_ok(),
        "{short}"
    );
    let open = OpenSet::fit(&table(&classes(&mut random, 30, 4)), 0.001).unwrap_err();
    assert_eq!(open.field, "fpir");
    assert!(open.labels_needed > 60, "{open}");
}

#[test]
fn on_omniglot_the_promise_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    if let Err(why) = support::omniglot(dir.path()) {
        return support::skip("TWINDEX_REQUIRE_OMNIGLOT", &why);
    }
    let folder = Folder::open_whole(dir.path()).unwrap();
    let encoder = Encoder::bundled().unwrap();
    let mut classes = embed_folder(&encoder, &folder, Views::ONE, &|_| {}).unwrap();
    // Some of each class: as many classes, a fraction of the time.
    classes.iter_mut().for_each(|c| c.vectors.truncate(8));
    let targets = Targets {
        far: 0.01,
        // As small a rate as half of these classes are enough for.
        fpir: Some(0.12),
        ..Targets::default()
    };
    let all = repeated(&classes, &targets, 100, &|_| {}).unwrap();
    let count = |holds: &dyn Fn(&Held) -> bool| all.iter().filter(|h| holds(h)).count();
    let inside = [
        ("pairs, FAR 1 %", count(&|h| h.pairs.far.holds())),
        ("claims, FAR 1 %", count(&|h| h.nearest.far.holds())),
        ("13 labels, FPIR 12 %", count(&|h| h.open[0].1.holds())),
        ("136 labels, FPIR 12 %", count(&|h| h.open[2].1.holds())),
    ];
    let ece = all.iter().map(|h| h.pairs.ece.max(h.nearest.ece));
    let ece = ece.fold(0.0, f64::max);
    println!("of 100 splits inside: {inside:?}; largest calibration error {ece:.4}");
    assert!(all[0].open[2].0 >= 10 * all[0].open[0].0);
    assert!(inside.iter().all(|(_, n)| *n >= 90), "{inside:?}");
    assert!(ece < 0.05, "{ece}");
}
