//! The command line as its users run it.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

mod decisions;
mod encoders;
mod eval;
mod models;
mod searches;
#[path = "../support/mod.rs"]
mod support;
mod tour;
mod views;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{BINARY, Serving, twindex};
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

/// A picture that does not compress: about three bytes a pixel.
fn photograph(path: &Path, side: u32) {
    let mut state = 1_u32;
    let noise = image::RgbImage::from_fn(side, side, |_, _| {
        image::Rgb([0; 3].map(|_: u8| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    });
    noise.save(path).unwrap();
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
        "model",
        "operation",
        "import",
        "search",
        "classify",
        "assign",
        "calibrate",
        "compare",
        "verify",
        "embed",
        "get",
        "delete",
        "stats",
        "recall",
        "health",
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
    assert_eq!(code(&["health", "--server", "http://127.0.0.1:1"]), 4);
    assert_eq!(code(&["health", "--server", "not an address"]), 5);
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

    assert_eq!(json(&["health"])["status"], "SERVING");
    assert_eq!(text(&["health"]), "serving\n");

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

    let delete = ["delete", "g", first, "nobody", "--json", "--server", &url];
    let output = twindex(&delete);
    assert_eq!(output.status.code(), Some(6), "done in part");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["deleted"], &told["asked"]), (&1.into(), &2.into()));
    assert_eq!(code(&["delete", "g", first]), 3);
    let second = "glyphs/character01/hand02.png";
    assert_eq!(json(&["delete", "g", second, second])["deleted"], 1);
    assert_eq!(json(&["stats", "g"])["items"], 18);

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
    let indexed = json(&["collection", "index", "v", "camera.site"]);
    assert_eq!(
        (&indexed["field"], &indexed["ready"]),
        (&"camera.site".into(), &true.into())
    );
    let shown = json(&["collection", "show", "v"]);
    assert_eq!(shown["payload_indexes"], Value::Array(vec![indexed]));
    let unindex = ["collection", "index", "v", "camera.site", "--delete"];
    assert!(text(&unindex).contains("camera.site"));
    assert_eq!(code(&unindex), 3);
    assert_eq!(code(&["collection", "delete", "v"]), 2);
    assert_eq!(
        json(&["collection", "delete", "v", "--yes"])["deleted"],
        "v"
    );
    assert_eq!(code(&["collection", "show", "v"]), 3);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn files_that_cannot_be_sent_do_not_stop_an_import() {
    let dir = tempfile::tempdir().unwrap();
    let folder = glyphs(&dir.path().join("images"), 2, 2);
    let write = |name: &str, bytes: usize| {
        std::fs::write(Path::new(&folder).join("glyphs").join(name), vec![0; bytes]).unwrap();
    };
    write("large.png", 17 << 20);
    // It fits a message alone, and not with its name.
    write("nearly.png", (16 << 20) - 4);
    write("a\ttab.png", 10);
    std::fs::create_dir(Path::new(&folder).join("b\nreak")).unwrap();
    std::fs::write(Path::new(&folder).join("b\nreak/x.png"), b"x").unwrap();
    let serving = Serving::start(&dir.path().join("data"));
    for imported in [4, 0] {
        let output = twindex(&["import", "g", &folder, "--json", "--server", &serving.url()]);
        assert_eq!(output.status.code(), Some(6), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["imported"], imported);
        let refused = report["refused"].as_array().unwrap();
        let refused: Vec<_> = refused
            .iter()
            .map(|r| (r["file"].as_str().unwrap(), r["error"].as_str().unwrap()))
            .collect();
        let files: Vec<_> = refused.iter().map(|(file, _)| *file).collect();
        let (tab, large, nearly) = ("glyphs/a\ttab.png", "glyphs/large.png", "glyphs/nearly.png");
        assert_eq!(files, ["b\nreak/x.png", tab, large, nearly]);
        assert!(refused[1].1.contains("control characters"), "{refused:?}");
        for (_, why) in &refused[2..] {
            assert!(why.contains("at most 16777216 bytes"), "{refused:?}");
        }
    }
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn an_import_whose_server_dies_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    // Enough to be under way still when the first are stored.
    let folder = glyphs(&dir.path().join("images"), 100, 100);
    let data = dir.path().join("data");
    let serving = Serving::start(&data);
    let url = serving.url();
    let mut import = Command::new(BINARY)
        .args(["import", "g", &folder, "--server", &url])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let some_are_stored = || {
        let output = twindex(&["stats", "g", "--json", "--server", &url]);
        let stats = serde_json::from_slice::<Value>(&output.stdout);
        stats.is_ok_and(|s| s["items"].as_u64() > Some(0))
    };
    while !some_are_stored() {
        assert!(import.try_wait().unwrap().is_none(), "it has ended already");
    }
    drop(serving);
    let output = import.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(
        told.contains("the same command goes on from there"),
        "{told}"
    );
    let serving = Serving::start(&data);
    let report = json(&["import", "g", &folder, "--server", &serving.url()]);
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!(number("skipped") > 0);
    assert_eq!(number("skipped") + number("imported"), 10_000);
}

#[test]
fn many_large_images_are_embedded_in_several_messages() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(&dir.path().join("data"));
    let photo = dir.path().join("photo.png");
    photograph(&photo, 1_600);
    let photo = photo.to_str().unwrap();
    let url = serving.url();
    let embedded = json(&["embed", photo, photo, photo, "--server", &url]);
    let vectors = embedded["embeddings"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    assert_eq!(vectors[0]["vector"], vectors[2]["vector"]);
}

#[test]
fn a_server_that_does_not_serve_is_not_healthy() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(async {
        let (health, service) = tonic_health::server::health_reporter();
        let not_serving = tonic_health::ServingStatus::NotServing;
        health.set_service_status("", not_serving).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        format!("http://{address}")
    });
    let output = twindex(&["health", "--server", &url]);
    assert_eq!(output.status.code(), Some(4));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("NOT_SERVING"), "{told}");
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
