use super::support::{Serving, twindex};
use super::{glyphs, json, text};
use serde_json::Value;

/// Enough characters that some rate can be told.
const CHARACTERS: usize = 40;

fn error(args: &[&str]) -> (i32, Value) {
    let output = twindex(&[args, &["--json"]].concat());
    let told = serde_json::from_slice(&output.stderr);
    let told = told.unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (output.status.code().unwrap(), told)
}

#[test]
fn a_collection_is_calibrated_and_decides() {
    let dir = tempfile::tempdir().unwrap();
    let images = glyphs(&dir.path().join("images"), CHARACTERS, 5);
    let serving = Serving::start(&dir.path().join("data"));
    let url = serving.url();
    let at = |args: &[&'static str]| [args, &["--server", url.clone().leak()]].concat();
    json(&["import", "g", &images, "--server", &url]);
    let probe =
        |n: usize, hand: usize| format!("{images}/glyphs/character{n:02}/hand{hand:02}.png");
    let claim = |label: &str, image: &str, more: &[&str]| {
        let args = ["verify", "g", label, "--image", image, "--server", &url];
        [&args, more]
            .concat()
            .iter()
            .map(|a| (*a).to_owned())
            .collect::<Vec<_>>()
    };
    let run = |args: &[String]| json(&args.iter().map(String::as_str).collect::<Vec<_>>());

    let image = probe(3, 1);
    let (code, told) = error(
        &claim("glyphs/character03", &image, &[])
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    assert_eq!(code, 5);
    assert!(
        told["hint"].as_str().unwrap().contains("twindex calibrate"),
        "{told}"
    );
    let (code, told) = error(&at(&["calibrate", "g", "--far", "0.0001"]));
    assert_eq!(code, 5);
    assert!(
        told["error"].as_str().unwrap().contains("it takes about"),
        "{told}"
    );
    assert_eq!(error(&at(&["calibrate", "g", "--show"])).0, 3);

    let made = json(&at(&["calibrate", "g", "--far", "0.1"]));
    assert_eq!((&made["labels"], &made["items"]), (&40.into(), &200.into()));
    assert_eq!(made["verify"]["target_rate"], 0.1);
    assert_eq!(json(&at(&["calibrate", "g", "--show"])), made);
    let table = text(&at(&["calibrate", "g", "--show"]));
    assert!(table.contains("FAR 10 % (95 % within "), "{table}");

    let same = run(&claim("glyphs/character03", &image, &[]));
    assert_eq!(same["decision"], "same");
    assert_eq!(same["operating_point"], made["verify"]);
    assert!(same["probability"].as_f64().unwrap() > 0.5);
    let rare = run(&claim("glyphs/character03", &image, &["--prior", "0.01"]));
    assert!(rare["probability"].as_f64() < same["probability"].as_f64());
    let lax = run(&claim("glyphs/character03", &image, &["--far", "0.2"]));
    let similarity = |v: &Value| v["operating_point"]["min_similarity"].as_f64().unwrap();
    assert!(similarity(&lax) < similarity(&same));
    let told = text(&["compare", "g", &image, &probe(3, 2), "--server", &url]);
    assert!(
        told.contains("probability") && told.contains("decided at similarity"),
        "{told}"
    );
    let named = json(&["classify", "g", "--image", &image, "--server", &url]);
    assert!(named["labels"][0]["probability"].as_f64().unwrap() > 0.5);
    assert!(named["example"].as_str().unwrap().starts_with("glyphs/"));

    let (a, b) = (probe(1, 1), probe(2, 1));
    let assigned = json(&["assign", "g", &a, &b, "--server", &url]);
    let labels: Vec<_> = assigned["assigned"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["label"])
        .collect();
    assert_eq!(labels, ["glyphs/character01", "glyphs/character02"]);
    assert!(text(&["assign", "g", &a, &b, "--server", &url]).contains("character02"));

    assert_eq!(json(&at(&["calibrate", "g", "--reset"]))["reset"], "g");
    assert_eq!(error(&at(&["calibrate", "g", "--reset"])).0, 3);
    assert_eq!(
        twindex(&["calibrate", "g", "--far", "1"]).status.code(),
        Some(2)
    );
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn calibrations_and_methods_are_measured_on_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let images = glyphs(&dir.path().join("images"), 80, 6);
    let calibrate = [
        "eval",
        "calibrate",
        "--data",
        &images,
        "--far",
        "0.1",
        "--repetitions",
        "4",
    ];
    let held = json(&calibrate);
    assert_eq!(
        (&held["learnt_on"]["labels"], &held["judged_on"]["labels"]),
        (&40.into(), &40.into())
    );
    let far = &held["pairs"]["far"];
    let (low, high) = (
        far["interval"][0].as_f64().unwrap(),
        far["interval"][1].as_f64().unwrap(),
    );
    assert!(low < 0.1 && 0.1 < high);
    let found = far["realised"].as_f64().unwrap();
    assert_eq!(far["inside"], low <= found && found <= high);
    let error = held["pairs"]["calibration_error"].as_f64().unwrap();
    assert!((0.0..0.1).contains(&error), "{held}");
    let weights = held["pairs"]["reliability"].as_array().unwrap().iter();
    assert!((weights.map(|b| b[2].as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-9);
    assert_eq!(held["repetitions"]["pairs_far"]["of"], 4);
    let told = text(&["eval", "calibrate", "--data", &images, "--far", "0.1"]);
    assert!(told.contains("on held-out labels"), "{told}");
    let output = twindex(&["eval", "calibrate", "--data", &images, "--far", "0.00001"]);
    assert_eq!(output.status.code(), Some(5));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("far: 0.00001; it takes about"), "{told}");

    let methods = [
        "eval",
        "methods",
        "--data",
        &images,
        "--shots",
        "3",
        "--repetitions",
        "4",
    ];
    let measured = json(&methods);
    let best = measured["best"].as_str().unwrap();
    let accuracy = |m: &str| measured[m]["accuracy"]["mean"].as_f64().unwrap();
    for method in ["nearest", "vote", "prototype"] {
        assert!(accuracy(method) > 0.5 && accuracy(method) <= accuracy(best));
        let behind = measured[method]["behind_best"]["mean"].as_f64().unwrap();
        assert!((accuracy(best) - accuracy(method) - behind).abs() < 1e-9);
    }
    assert_eq!(measured["proven_worse"], Value::Null);
    assert_eq!(measured[best]["proven_worse"], false);
    assert_eq!(measured, json(&methods), "a seed is an answer");
    assert!(text(&methods).contains("beyond chance"));
    assert_eq!(
        twindex(&["eval", "methods", "--data", &images, "--shots", "6"])
            .status
            .code(),
        Some(5)
    );
}
