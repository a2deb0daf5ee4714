use super::support::{BINARY, omniglot, skip, twindex};
use super::{code, glyphs, json, text};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use twindex::training::glyphs::Alphabet;

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
    let on = |device| ["train", "--data", &data, "--out", model, "--device", device];
    assert_eq!(code(&on("tpu")), 2);
    for (device, built) in [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
    ] {
        assert!(built || code(&on(device)) == 5, "{device}");
    }
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
fn a_training_that_is_killed_again_and_again_gives_the_same_weights() {
    let dir = tempfile::tempdir().unwrap();
    let data = glyphs(&dir.path().join("images"), 12, 4);
    let train = |out: &Path| {
        let mut command = Command::new(BINARY);
        let options = ["--steps", "40", "--name", "same", "--held-out", "0.25"];
        command
            .args(["train", "--data", &data, "--json", "--out"])
            .arg(out)
            .args(options)
            .args(["--patience", "30", "--checkpoint-every", "0"])
            .stdout(std::process::Stdio::piped());
        command
    };
    let version = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success());
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        (told["model"].clone(), told["steps"].clone())
    };
    let whole = version(&mut train(&dir.path().join("whole.safetensors")));

    let out = dir.path().join("killed.safetensors");
    let checkpoint = dir.path().join("killed.safetensors.checkpoint");
    let written = || {
        std::fs::metadata(&checkpoint)
            .and_then(|m| m.modified())
            .ok()
    };
    let mut kills = 0;
    while kills < 3 && !out.exists() {
        let before = written();
        let mut running = train(&out).spawn().unwrap();
        while written() == before && running.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        running.kill().unwrap();
        running.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 1, "the training was over before it could be killed");
    assert_eq!(version(&mut train(&out)), whole);
    assert!(!checkpoint.exists());
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
    let page = dir.path().join("report.html");
    let page = page.to_str().unwrap();
    let tied = json(&["eval", "oneshot", "--runs", runs, "--report", page]);
    let html = std::fs::read_to_string(page).unwrap();
    assert_eq!(
        html.matches("<img ").count(),
        2 * 20,
        "every mistake of the run"
    );
    assert_eq!(tied["runs"][1]["error_rate"], 1.0);
    std::fs::write(dir.path().join("run01/class_labels.txt"), "one word\n").unwrap();
    assert_eq!(code(&["eval", "oneshot", "--runs", runs]), 5);
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
