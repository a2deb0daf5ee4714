//! Figures with their intervals, reports, comparisons, the guard against leakage.

use super::support::twindex;
use super::{code, glyphs, json, text};
use base64::Engine;
use serde_json::Value;
use std::fs;
use std::path::Path;
use twindex::domain::Views;
use twindex::encoder::Encoder;
use twindex::training::dataset::Folder;
use twindex::training::evaluate::pairs::{Pairs, Task};
use twindex::training::evaluate::{embed_folder, fingerprint};
use twindex::training::glyphs::Alphabet;

/// A name that would be markup, if it were let.
const HOSTILE: &str = "<b>&\" 'x'<script>";
const ESCAPED: &str = "&lt;b&gt;&amp;&quot; &#39;x&#39;&lt;script&gt;";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// Panics unless the figure lies within its interval.
fn covered(value: &Value, ci95: &Value) {
    let (low, high) = (number(&ci95[0]), number(&ci95[1]));
    let value = number(value);
    assert!(low <= value && value <= high, "{low} {value} {high}");
    assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
}

/// Panics unless every tag is closed where it should be, and nothing would be fetched.
fn assert_opens_offline(html: &str) {
    let void = ["meta", "img", "br"];
    let mut open: Vec<&str> = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("<{piece}"));
        assert!(
            !text.contains('>') || open.last() == Some(&"style"),
            "{piece}"
        );
        let name = tag.split_whitespace().next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(
                open.pop(),
                Some(name),
                "{:?}",
                &piece[..piece.len().min(80)]
            );
        } else if !tag.ends_with('/') && !name.starts_with('!') && !void.contains(&name) {
            open.push(name);
        }
        for attribute in ["src", "href", "xlink:href", "data", "action"] {
            for (_, value) in tag.match_indices(&format!(" {attribute}=\"")) {
                let at = tag.find(value).unwrap() + value.len();
                assert!(tag[at..].starts_with("data:image/png;base64,"), "{tag}");
            }
        }
    }
    assert_eq!(open, [""; 0]);
    for word in [
        "http:", "https:", "//", "url(", "@import", "<script", "<link", "<iframe",
    ] {
        let mut found = html.match_indices(word);
        // Base64 may hold slashes.
        assert!(
            found
                .all(|(at, _)| word == "//" && html[..at].rfind("base64,") > html[..at].rfind('"')),
            "{word}"
        );
    }
    assert!(html.contains("default-src 'none'"));
    for (at, start) in html.match_indices("base64,") {
        let data = html[at + start.len()..].split('"').next().unwrap();
        let png = base64::prelude::BASE64_STANDARD.decode(data).unwrap();
        let picture = image::load_from_memory(&png).unwrap();
        assert!(picture.width() <= 105 && picture.height() <= 105);
    }
}

#[test]
fn reports_open_offline_and_escape_labels() {
    let dir = tempfile::tempdir().unwrap();
    let data = glyphs(&dir.path().join("images"), 24, 6);
    let folder = Path::new(&data).join("glyphs");
    fs::rename(folder.join("character07"), folder.join(HOSTILE)).unwrap();
    // Wider than a report's pictures, and confused with all of another class.
    let large = image::open(folder.join("character08/hand01.png")).unwrap();
    let large = large.resize(400, 400, image::imageops::FilterType::Triangle);
    for hand in 1..=3 {
        let own = folder.join(HOSTILE).join(format!("hand{hand:02}.png"));
        large.save(own).unwrap();
    }
    let page = dir.path().join("report.html");
    let report = page.to_str().unwrap();
    for command in [
        &["eval", "verify", "--pairs", "4000"][..],
        &["eval", "nway", "--trials", "2000"],
        &["eval", "nway", "--within-parent", "--all-drawers"],
        &["eval", "retrieval"],
        &[
            "eval", "compare", "bundled", "bundled", "--trials", "50", "--pairs", "500",
        ],
    ] {
        let _ = fs::remove_file(&page);
        text(&[command, &["--data", &data, "--report", report]].concat());
        let html = fs::read_to_string(&page).unwrap();
        assert_opens_offline(&html);
        assert!(
            html.contains("--data") && html.contains("omniglot-"),
            "{command:?}"
        );
        if command[1] == "compare" {
            continue;
        }
        assert!(html.contains(ESCAPED), "{command:?}");
        assert!(html.matches("<img ").count() >= 2, "{command:?}");
        assert!(html.contains("<h2>Classes</h2>"), "{command:?}");
        let charts = html.matches("<svg ").count();
        assert_eq!(charts, if command[1] == "verify" { 3 } else { 0 });
    }
    let nowhere = [
        "eval",
        "retrieval",
        "--data",
        &data,
        "--report",
        "/nowhere/r.html",
    ];
    assert_eq!(code(&nowhere), 1);
}

#[test]
fn curves_rise_and_fall_and_match_counts() {
    let dir = tempfile::tempdir().unwrap();
    let data = glyphs(&dir.path().join("images"), 12, 5);
    let curves = dir.path().join("a/curves");
    let options = [
        "eval", "verify", "--data", &data, "--pairs", "3000", "--seed", "4",
    ];
    let found = json(&[&options[..], &["--curves", curves.to_str().unwrap()]].concat());
    assert_eq!(
        found,
        json(&options),
        "a seed is an answer, to the last resample"
    );
    covered(&found["auc"], &found["auc_ci95"]);
    covered(&found["eer"], &found["eer_ci95"]);
    for far in ["0.1", "0.01", "0.001"] {
        covered(&found["frr_at_far"][far], &found["frr_at_far_ci95"][far]);
    }

    let folder = Folder::open_whole(Path::new(&data)).unwrap();
    assert_eq!(found["data"]["fingerprint"], fingerprint(&folder).unwrap());
    let encoder = Encoder::bundled().unwrap();
    let classes = embed_folder(&encoder, &folder, Views::ONE, &|_| {}).unwrap();
    let task = Task {
        pairs: 3000,
        within_parent: false,
        seed: 4,
    };
    let scores = Pairs::draw(&classes, &task).unwrap().scores(&classes);
    let written: Value =
        serde_json::from_slice(&fs::read(curves.join("curves.json")).unwrap()).unwrap();
    let points = written["points"].as_array().unwrap();
    assert!(points.len() > 20);
    let share = |scores: &[f32], threshold: f64| {
        let accepted = scores.iter().filter(|s| f64::from(**s) >= threshold);
        accepted.count() as f64 / scores.len() as f64
    };
    let (mut far, mut frr) = (0.0, 1.0);
    for point in points {
        let threshold = point["threshold"].as_f64().unwrap_or(f64::INFINITY);
        assert!(number(&point["far"]) >= far && number(&point["frr"]) <= frr);
        (far, frr) = (number(&point["far"]), number(&point["frr"]));
        assert!(
            (far - share(&scores.impostor, threshold)).abs() < 1e-9,
            "{point}"
        );
        assert!(
            (frr - 1.0 + share(&scores.genuine, threshold)).abs() < 1e-9,
            "{point}"
        );
    }
    assert_eq!((far, frr), (1.0, 0.0));
    let bars = &written["scores"];
    let edges = bars["edges"].as_array().unwrap();
    for (name, scores) in [("genuine", &scores.genuine), ("impostor", &scores.impostor)] {
        let counts = bars[name].as_array().unwrap();
        assert_eq!(edges.len(), counts.len() + 1);
        for (bar, count) in counts.iter().enumerate() {
            let (from, to) = (number(&edges[bar]), number(&edges[bar + 1]));
            let last = bar + 1 == counts.len();
            let within = |s: &f64| *s >= from && (*s < to || last);
            let all = scores.iter().map(|s| f64::from(*s)).filter(within);
            assert_eq!(all.count() as u64, count.as_u64().unwrap(), "{name} {bar}");
        }
    }
    for chart in ["roc.svg", "det.svg", "scores.svg"] {
        let svg = fs::read_to_string(curves.join(chart)).unwrap();
        assert!(svg.contains("<svg ") && svg.contains("xmlns=") && svg.contains("<path d=\"M"));
    }
}

#[test]
fn every_pair_of_drawers_takes_part() {
    let dir = tempfile::tempdir().unwrap();
    let data = glyphs(&dir.path().join("images"), 24, 5);
    let options = [
        "eval",
        "nway",
        "--data",
        &data,
        "--within-parent",
        "--all-drawers",
    ];
    let found = json(&options);
    assert_eq!(
        (&found["pairs_of_drawers"], &found["parents"]),
        (&20.into(), &1.into())
    );
    assert_eq!(found["trials"], 400);
    covered(&found["error_rate"], &found["ci95"]);
    assert_eq!(code(&[&options[..], &["--ways", "25"]].concat()), 5);
    assert_eq!(code(&[&options[..], &["--trials", "9"]].concat()), 2);
    assert_eq!(code(&["eval", "nway", "--data", &data, "--all-drawers"]), 2);
}

#[test]
fn comparisons_tell_what_is_real() {
    let dir = tempfile::tempdir().unwrap();
    let data = glyphs(&dir.path().join("images"), 24, 6);
    let model = dir.path().join("own.safetensors");
    let model = model.to_str().unwrap();
    json(&["train", "--data", &data, "--out", model, "--steps", "1"]);
    let sizes = ["--trials", "2000", "--pairs", "4000", "--data", &data];
    let compared = |a: &str, b: &str| json(&[&["eval", "compare", a, b], &sizes[..]].concat());
    let told = |a: &str, b: &str| text(&[&["eval", "compare", a, b], &sizes[..]].concat());

    let same = compared("bundled", "bundled");
    for difference in same["differences"].as_array().unwrap() {
        assert_eq!(difference["real"], false);
        assert_eq!(
            (number(&difference["p"]), number(&difference["difference"])),
            (1.0, 0.0)
        );
    }
    let words = told("bundled", "bundled");
    assert_eq!(words.matches("no difference shown").count(), 4, "{words}");

    let (better, worse) = (compared(model, "bundled"), compared("bundled", model));
    let both = |found: &Value| found["differences"].as_array().unwrap().clone();
    for (b, w) in both(&better).iter().zip(both(&worse)) {
        assert_eq!(
            (&b["real"], &w["real"]),
            (&true.into(), &true.into()),
            "{b}"
        );
        assert_eq!(number(&b["difference"]), -number(&w["difference"]));
        let (low, high) = (number(&b["ci95"][0]), number(&b["ci95"][1]));
        let difference = number(&b["difference"]);
        assert!(low <= difference && difference <= high, "{b}");
        assert_eq!(difference > 0.0, b["figure"] == "AUC", "{b}");
    }
    let words = told(model, "bundled");
    assert!(
        words.contains("B errs less") && words.contains("B is higher"),
        "{words}"
    );

    let with_model = [
        &["eval", "compare", "bundled", "bundled", "--model", model],
        &sizes[..],
    ];
    assert_eq!(code(&with_model.concat()), 5);
    assert_eq!(
        code(&[&["eval", "compare", "bundled", "/nowhere"], &sizes[..]].concat()),
        5
    );
}

#[test]
fn leakage_is_found_told_and_not_imagined() {
    let dir = tempfile::tempdir().unwrap();
    let train = glyphs(&dir.path().join("train"), 30, 6);
    let test = dir.path().join("test");
    Alphabet::new(99, 24).write_folder(&test, 6).unwrap();
    let other = test.to_str().unwrap();
    let clean = json(&["eval", "leakage", "--train", &train, "--test", other]);
    assert_eq!(
        (&clean["identical"], &clean["near"]),
        (&0.into(), &0.into())
    );
    assert_eq!(clean["test_images"], 144);
    let guarded = [
        "eval",
        "nway",
        "--data",
        other,
        "--trials",
        "100",
        "--trained-on",
        &train,
    ];
    assert_eq!(json(&guarded)["leakage"]["pairs"], serde_json::json!([]));
    assert!(text(&guarded).contains("none of the 144 images"));

    let from = |name: &str| Path::new(&train).join("glyphs").join(name);
    let to = |name: &str| test.join("glyphs/character01").join(name);
    fs::copy(from("character01/hand01.png"), to("copy.png")).unwrap();
    let open = |name: &str| image::open(from(name)).unwrap();
    // The same pixels in a file that has nothing else in common with the first.
    open("character02/hand02.png")
        .to_rgba16()
        .save(to("recoded.png"))
        .unwrap();
    open("character03/hand03.png")
        .to_luma8()
        .save(to("lossy.jpg"))
        .unwrap();
    let resized = |name: &str, side: u32, file: &str| {
        let filter = image::imageops::FilterType::Triangle;
        open(name)
            .resize(side, side, filter)
            .save(to(file))
            .unwrap();
    };
    resized("character04/hand04.png", 84, "smaller.png");
    resized("character05/hand05.png", 150, "larger.png");
    let mut white_on_black = open("character06/hand06.png").to_luma8();
    image::imageops::invert(&mut white_on_black);
    white_on_black.save(to("inverted.png")).unwrap();

    let output = twindex(&[
        "eval", "leakage", "--train", &train, "--test", other, "--json",
    ]);
    assert_eq!(output.status.code(), Some(7));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = |key: &str, kind: &str| -> Vec<String> {
        let pairs = found["pairs"].as_array().unwrap().iter();
        let pairs = pairs.filter(|pair| pair["kind"] == kind);
        let name = |pair: &Value| {
            Path::new(pair[key].as_str().unwrap())
                .file_name()
                .map(|n| n.to_owned())
        };
        pairs
            .map(|pair| name(pair).unwrap().into_string().unwrap())
            .collect()
    };
    assert_eq!(names("test", "identical"), ["copy.png", "recoded.png"]);
    assert_eq!(names("train", "identical"), ["hand01.png", "hand02.png"]);
    let near = ["inverted.png", "larger.png", "lossy.jpg", "smaller.png"];
    assert_eq!(names("test", "near"), near);
    assert_eq!(
        names("train", "near"),
        ["hand06.png", "hand05.png", "hand03.png", "hand04.png"]
    );

    let page = dir.path().join("report.html");
    let output = twindex(&[&guarded[..], &["--report", page.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(7));
    let (told, error) = (output.stdout, output.stderr);
    let (told, error) = (
        String::from_utf8(told).unwrap(),
        String::from_utf8(error).unwrap(),
    );
    assert!(
        told.starts_with("LEAKAGE: 6 of the 150 images") && told.contains("error "),
        "{told}"
    );
    assert!(
        told.contains("copy.png is ") && error.contains("LEAKAGE"),
        "{told}{error}"
    );
    let html = fs::read_to_string(page).unwrap();
    assert_opens_offline(&html);
    assert!(html.contains("class=\"warning\"") && html.contains("<h2>Leakage</h2>"));
}
