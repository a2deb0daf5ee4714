//! The commands of `deploy/`, run as they stand, their settings elsewhere.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

mod support;

use std::path::Path;
use std::process::Command;
use support::{BINARY, Serving};

fn file(name: &str) -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("deploy")
            .join(name),
    )
    .unwrap()
}

/// The value of a setting that a file makes.
fn setting<'a>(settings: &[&'a str], name: &str) -> &'a str {
    let mut of = settings.iter().filter_map(|s| s.split_once('='));
    of.find(|(n, _)| *n == name).unwrap().1
}

/// Starts what a file says, where a test may; checks it as the container does, and stops it
/// as systemd does.
fn serves(command: &[String], settings: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    assert!(command[0].ends_with("twindex"), "{command:?}");
    assert!(setting(settings, "TWINDEX_DATA").starts_with('/'));
    assert!(setting(settings, "TWINDEX_LISTEN").ends_with(":8946"));
    let mut serve = Command::new(BINARY);
    // That these count is what the file's settings rest on.
    serve
        .args(&command[1..])
        .env("TWINDEX_DATA", dir.path())
        .env("TWINDEX_LISTEN", "127.0.0.1:0");
    let serving = Serving::run(serve);
    assert!(dir.path().join("FORMAT").is_file());
    let address = serving.address.clone();
    assert_eq!(checked(&address), Some(0));
    assert_eq!(serving.stop(), Some(0));
    assert_eq!(checked(&address), Some(4));
}

/// The exit code of the image's health check beside a server that listens there.
fn checked(address: &str) -> Option<i32> {
    let dockerfile = file("Dockerfile");
    let line = dockerfile.lines().find(|l| l.starts_with("HEALTHCHECK"));
    let command = line.unwrap().split_once("CMD ").unwrap().1;
    let place = Path::new(BINARY).parent().unwrap().to_str().unwrap();
    let path = format!("{place}:{}", std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env("PATH", path)
        .env("TWINDEX_LISTEN", address);
    shell.output().unwrap().status.code()
}

#[test]
fn the_unit_starts_it() {
    let unit = file("twindex.service");
    let all =
        |key: &str| -> Vec<&str> { unit.lines().filter_map(|l| l.strip_prefix(key)).collect() };
    let command = all("ExecStart=")[0].split_whitespace();
    let command: Vec<String> = command.map(str::to_owned).collect();
    serves(&command, &all("Environment="));
    for hardened in [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "DynamicUser=yes",
        "MemoryDenyWriteExecute=yes",
    ] {
        assert!(unit.contains(hardened));
    }
}

#[test]
fn the_image_starts_it_as_nobody() {
    let dockerfile = file("Dockerfile");
    let line = |word: &str| {
        dockerfile
            .lines()
            .find_map(|l| l.strip_prefix(word))
            .unwrap()
    };
    let settings: Vec<&str> = line("ENV ").split_whitespace().collect();
    serves(
        &serde_json::from_str::<Vec<String>>(line("ENTRYPOINT ")).unwrap(),
        &settings,
    );
    assert!(dockerfile.contains("\nUSER 65532"));
    assert!(file("compose.yaml").contains("dockerfile: deploy/Dockerfile"));
}
