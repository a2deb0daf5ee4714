//! The command line as its users run it.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{BINARY, Serving, skip, twindex};
use twindex::training::glyphs::Alphabet;

fn code(args: &[&str]) -> i32 {
    twindex(args).status.code().unwrap()
}

/// Runs a command that must succeed, and reads its JSON.
fn json(args: &[&str]) -> Value {
    let output = twindex(&[args, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(args: &[&str]) -> String {
    let output = twindex(args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn glyphs(dir: &Path, characters: usize, hands: usize) -> String {
    Alphabet::new(1, characters)
        .write_folder(dir, hands)
        .unwrap();
    dir.to_str().unwrap().to_owned()
}

#[test]
fn usage_and_exit_codes() {
    assert!(text(&["--version"]).starts_with("twindex "));
    let help = text(&["--help"]);
    for command in [
        "serve",
        "quickstart",
        "train",
        "eval",
        "collection",
        "import",
        "search",
        "classify",
        "compare",
        "verify",
        "embed",
        "get",
        "delete",
        "stats",
        "completions",
    ] {
        assert!(
            help.contains(&format!("\n  {command}")),
            "{command} in {help}"
        );
        assert!(text(&[command, "--help"]).contains("Usage"));
    }
    assert!(text(&["completions", "bash"]).contains("quickstart"));
    assert_eq!(code(&[]), 2);
    assert_eq!(code(&["search", "c"]), 2);
    assert_eq!(code(&["search", "c", "--item", "a", "--vector", "1"]), 2);
    // Port 1 is nobody's, and never handed out.
    let output = twindex(&["stats", "c", "--server", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(4));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("error: no server") && told.contains("hint: "),
        "{told}"
    );
    assert_eq!(code(&["stats", "c", "--server", "not an address"]), 5);
    assert_eq!(code(&["eval", "nway", "--data", "/nowhere"]), 5);
    assert_eq!(code(&["serve", "--model", "/nowhere"]), 5);
}

#[test]
fn everything_the_service_does() {
    let dir = tempfile::tempdir().unwrap();
    let folder = glyphs(&dir.path().join("images"), 5, 4);
    let serving = Serving::start(&dir.path().join("data"));
    let url = serving.url();
    let at = |args: &[&str]| {
        [args, &["--server", &url]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let json = |args: &[&str]| json(&at(args).iter().map(String::as_str).collect::<Vec<_>>());
    let text = |args: &[&str]| text(&at(args).iter().map(String::as_str).collect::<Vec<_>>());
    let code = |args: &[&str]| code(&at(args).iter().map(String::as_str).collect::<Vec<_>>());

    let bad = Path::new(&folder).join("glyphs/character01/broken.png");
    std::fs::write(&bad, b"no image").unwrap();
    let output = twindex(&["import", "g", &folder, "--json", "--server", &url]);
    assert_eq!(output.status.code(), Some(6), "done in part");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["imported"], &report["skipped"]),
        (&20.into(), &0.into())
    );
    assert_eq!(
        report["refused"][0]["file"],
        "glyphs/character01/broken.png"
    );
    std::fs::remove_file(bad).unwrap();
    let again = json(&["import", "g", &folder]);
    assert_eq!(
        (&again["imported"], &again["skipped"]),
        (&0.into(), &20.into())
    );
    assert!(text(&["import", "g", &folder, "--overwrite"]).contains("imported 20 images"));

    let first = "glyphs/character01/hand01.png";
    let image = |name: &str| format!("{folder}/{name}");
    let found = json(&["search", "g", "--image", &image(first), "-k", "3"]);
    assert_eq!(found["hits"][0]["id"], first);
    assert_eq!(found["hits"].as_array().unwrap().len(), 3);
    let found = json(&[
        "search",
        "g",
        "--item",
        first,
        "--label",
        "glyphs/character02",
    ]);
    assert_eq!(found["hits"].as_array().unwrap().len(), 4);
    assert!(text(&["search", "g", "--item", first]).contains("similarity"));

    assert_eq!(
        json(&["classify", "g", "--item", first])["label"],
        "glyphs/character01"
    );
    let strict = json(&["classify", "g", "--item", first, "--min-similarity", "1.0"]);
    assert_eq!(strict["unknown"], true);
    assert!(
        text(&["classify", "g", "--item", first, "--method", "prototype"])
            .starts_with("glyphs/character01")
    );

    let (a, b) = (image(first), image("glyphs/character01/hand02.png"));
    let same = json(&["compare", "g", &a, &b, "--min-similarity", "-1"]);
    assert_eq!(same["decision"], "same");
    assert!(text(&["compare", "g", &a, &b]).starts_with("similarity "));
    let verified = json(&[
        "verify",
        "g",
        "glyphs/character01",
        "--image",
        &b,
        "--min-similarity",
        "0.1",
    ]);
    assert_eq!(verified["decision"], "same");
    assert_eq!(
        code(&[
            "verify",
            "g",
            "nobody",
            "--image",
            &b,
            "--min-similarity",
            "0.1"
        ]),
        3
    );
    let embedded = json(&["embed", &a, &b]);
    assert_eq!(
        embedded["embeddings"][1]["vector"]
            .as_array()
            .unwrap()
            .len(),
        64
    );

    let copy = dir.path().join("copy.png");
    json(&["get", "g", first, "--image", copy.to_str().unwrap()]);
    assert_eq!(std::fs::read(copy).unwrap(), std::fs::read(&a).unwrap());
    assert!(text(&["get", "g", first, "--vector"]).contains("vector"));
    assert_eq!(code(&["get", "g", "nobody"]), 3);

    assert_eq!(json(&["delete", "g", first, "nobody"])["deleted"], 1);
    assert_eq!(code(&["delete", "g", first]), 3);
    assert_eq!(json(&["stats", "g"])["items"], 19);

    assert_eq!(
        json(&[
            "collection",
            "create",
            "v",
            "--dimension",
            "3",
            "--metric",
            "dot"
        ])["metric"],
        "dot"
    );
    assert_eq!(code(&["collection", "create", "v", "--dimension", "3"]), 5);
    assert_eq!(code(&["collection", "create", "V"]), 5);
    assert_eq!(
        json(&["collection", "list"])["collections"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert!(text(&["collection", "show", "v"]).contains("clients bring vectors"));
    assert_eq!(
        json(&["search", "v", "--vector", "-1,2,0.5"])["hits"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert_eq!(code(&["collection", "delete", "v"]), 2);
    assert_eq!(
        json(&["collection", "delete", "v", "--yes"])["deleted"],
        "v"
    );
    assert_eq!(code(&["collection", "show", "v"]), 3);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn the_tour_shows_what_it_is_about() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let tour = [
        "quickstart",
        "--exit",
        "--data",
        data,
        "--listen",
        "127.0.0.1:0",
    ];
    let summary = json(&tour);
    assert!(summary["accuracy"].as_f64().unwrap() > 0.9, "{summary}");
    assert!(summary["similarity_same"].as_f64() > summary["similarity_different"].as_f64());
    let sheet = image::open(summary["contact_sheet"].as_str().unwrap()).unwrap();
    assert!(sheet.width() > 500 && sheet.height() > 500);
    // Once more, on what is there, for people, with images of one's own.
    let own = glyphs(&dir.path().join("own"), 4, 3);
    let told = text(&[&tour[..], &["--images", &own]].concat());
    assert!(
        told.contains("of each of 4 labels") && told.contains("All of it took"),
        "{told}"
    );
}

#[test]
fn encoders_are_trained_and_measured() {
    let dir = tempfile::tempdir().unwrap();
    let data = glyphs(&dir.path().join("images"), 24, 6);
    let model = dir.path().join("own.safetensors");
    let model = model.to_str().unwrap();
    let trained = json(&[
        "train", "--data", &data, "--out", model, "--steps", "3", "--seed", "5",
    ]);
    assert_eq!(
        (&trained["steps"], &trained["seed"]),
        (&3.into(), &5.into())
    );
    let nowhere = ["train", "--data", "/nowhere", "--out", model];
    assert_eq!(code(&nowhere), 5);
    let nway = |more: &[&str]| {
        json(&[&["eval", "nway", "--data", &data, "--trials", "200"], more].concat())
    };
    let own = nway(&["--model", model]);
    assert_eq!(own["model"], trained["model"]);

    let bundled = nway(&["--seed", "3"]);
    assert_eq!(bundled, nway(&["--seed", "3"]), "a seed is an answer");
    assert_eq!(
        (&bundled["trials"], &bundled["seed"]),
        (&200.into(), &3.into())
    );
    let (rate, ci) = (bundled["error_rate"].as_f64().unwrap(), &bundled["ci95"]);
    assert!(rate < 0.1 && ci[0].as_f64().unwrap() <= rate && rate <= ci[1].as_f64().unwrap());
    assert!(
        nway(&["--within-parent", "--shots", "5"])["error_rate"]
            .as_f64()
            .unwrap()
            <= 0.1
    );

    let verified = json(&["eval", "verify", "--data", &data, "--pairs", "2000"]);
    assert!(verified["auc"].as_f64().unwrap() > 0.95 && verified["eer"].as_f64().unwrap() < 0.1);
    assert!(
        verified["frr_at_far"]["0.01"].is_number() && verified["frr_at_far"]["0.001"].is_number()
    );
    assert_eq!(
        (&verified["pairs"], &verified["seed"]),
        (&2000.into(), &0.into())
    );
    let found = json(&["eval", "retrieval", "--data", &data]);
    assert!(
        found["recall_at"]["1"].as_f64().unwrap() > 0.8 && found["map"].as_f64().unwrap() > 0.5
    );
    assert!(found["model"].is_string() && found["seed"].is_number());

    for bad in [
        &["--ways", "25"][..],
        &["--shots", "6"],
        &["--shots", "18446744073709551615"],
        &["--trials", "0"],
        &["--ways", "1"],
    ] {
        let args = [&["eval", "nway", "--data", &data], bad].concat();
        let output = twindex(&args);
        assert_eq!(output.status.code(), Some(5), "{bad:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains(bad[0].trim_start_matches('-')) || told.contains("ways"),
            "{told}"
        );
    }
}

#[test]
fn a_card_tells_how_to_make_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = glyphs(&dir.path().join("images"), 24, 6);
    let model = dir.path().join("own.safetensors");
    let card = || -> Value {
        serde_json::from_slice(&std::fs::read(model.with_extension("json")).unwrap()).unwrap()
    };
    let trained = json(&[
        "train",
        "--data",
        &data,
        "--out",
        model.to_str().unwrap(),
        "--steps",
        "2",
        "--loss",
        "triplet",
        "--held-out",
        "0.25",
        "--measure",
        &data,
        "--data-note",
        "the hand's own",
        "--licence",
        "CC0",
    ]);
    let first = card();
    assert_eq!(
        first["data"],
        "images: 18 classes, 108 images; the hand's own"
    );
    assert_eq!(first["licence"], "CC0");
    assert_eq!(
        (
            &first["measured"][0]["trials"],
            &first["measured"][0]["seed"]
        ),
        (&20_000.into(), &7.into())
    );
    let again = first["reproduce"].as_str().unwrap();
    let bin = Path::new(BINARY).parent().unwrap().to_str().unwrap();
    let mut shell = Command::new("sh");
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let output = shell
        .args(["-c", &format!("{again} --json")])
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{again}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let retrained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(retrained["model"], trained["model"]);
    let mut second = card();
    second["training"]["minutes"] = first["training"]["minutes"].clone();
    assert_eq!(second, first);
}

#[test]
fn the_published_runs_are_read_as_published() {
    let dir = tempfile::tempdir().unwrap();
    let alphabet = Alphabet::new(2, 20);
    for run in ["run01", "run02"] {
        let mut lines = String::new();
        for folder in ["test", "training"] {
            std::fs::create_dir_all(dir.path().join(run).join(folder)).unwrap();
        }
        for n in 0..20 {
            let (test, class) = (
                format!("{run}/test/item{:02}.png", 20 - n),
                format!("{run}/training/class{n:02}.png"),
            );
            alphabet.draw(n, 1).save(dir.path().join(&test)).unwrap();
            alphabet.draw(n, 2).save(dir.path().join(&class)).unwrap();
            lines += &format!("{test} {class}\n");
        }
        std::fs::write(dir.path().join(run).join("class_labels.txt"), lines).unwrap();
    }
    let runs = dir.path().to_str().unwrap();
    let result = json(&["eval", "oneshot", "--runs", runs]);
    assert_eq!(result["trials"], 40);
    assert!(result["error_rate"].as_f64().unwrap() <= 0.15, "{result}");
    assert_eq!(result["runs"].as_array().unwrap().len(), 2);
    assert!(text(&["eval", "oneshot", "--runs", runs]).contains("run02"));
    // A test image that two classes are equally near to is no success.
    for n in 0..20 {
        let class = dir.path().join(format!("run02/training/class{n:02}.png"));
        alphabet.draw(0, 2).save(class).unwrap();
    }
    let tied = json(&["eval", "oneshot", "--runs", runs]);
    assert_eq!(tied["runs"][1]["error_rate"], 1.0);
    std::fs::write(dir.path().join("run01/class_labels.txt"), "one word\n").unwrap();
    assert_eq!(code(&["eval", "oneshot", "--runs", runs]), 5);
}

/// Unzips Omniglot's validation images.
fn omniglot(into: &Path) -> Result<(), String> {
    let zip =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/omniglot/images_validation.zip");
    if !zip.is_file() {
        return Err(format!("{} is not there", zip.display()));
    }
    let mut unzip = Command::new("python3");
    let unzip = unzip.args(["-m", "zipfile", "-e"]).arg(&zip).arg(into);
    match unzip.status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!(
            "python3 did not unzip {}: {other:?}",
            zip.display()
        )),
    }
}

#[test]
fn the_bundled_encoder_keeps_its_promise() {
    let dir = tempfile::tempdir().unwrap();
    if let Err(why) = omniglot(dir.path()) {
        return skip("TWINDEX_REQUIRE_OMNIGLOT", &why);
    }
    let data = dir.path().to_str().unwrap();
    let measured = json(&[
        "eval", "nway", "--data", data, "--ways", "20", "--shots", "1", "--trials", "4000",
    ]);
    assert!(
        measured["error_rate"].as_f64().unwrap() <= 0.08,
        "{measured}"
    );
}

#[test]
fn who_stops_reading_has_read_enough() {
    let mut child = Command::new(BINARY)
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
