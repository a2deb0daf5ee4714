//! The commands of `deploy/`, run as they stand but for paths and ports.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

mod support;

use std::path::Path;
use std::process::Command;
use support::{BINARY, Serving, twindex};

fn file(name: &str) -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("deploy")
            .join(name),
    )
    .unwrap()
}

/// Starts what a file says, checks it as the container does, and stops it as systemd does.
fn serves(command: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    assert!(command[0].ends_with("twindex"), "{command:?}");
    let after = |flag: &str| command.iter().position(|a| a == flag).unwrap() + 1;
    let mut args = command.to_vec();
    assert!(args[after("--data")].starts_with('/'));
    assert!(args[after("--listen")].ends_with(":8946"));
    args[after("--data")] = dir.path().to_str().unwrap().to_owned();
    args[after("--listen")] = "127.0.0.1:0".to_owned();
    let mut serve = Command::new(BINARY);
    serve.args(&args[1..]);
    let serving = Serving::run(serve);
    let checked = twindex(&["collection", "list", "--quiet", "--server", &serving.url()]);
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn the_unit_starts_it() {
    let unit = file("twindex.service");
    let line = unit
        .lines()
        .find_map(|l| l.strip_prefix("ExecStart="))
        .unwrap();
    serves(
        &line
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    );
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
    let list = |word: &str| -> Vec<String> {
        let line = dockerfile.lines().find(|l| l.contains(word)).unwrap();
        serde_json::from_str(&line[line.find('[').unwrap()..]).unwrap()
    };
    serves(&list("ENTRYPOINT"));
    assert_eq!(
        list("HEALTHCHECK"),
        ["twindex", "collection", "list", "--quiet"]
    );
    assert!(dockerfile.contains("\nUSER 65532"));
    assert!(file("compose.yaml").contains("dockerfile: deploy/Dockerfile"));
}
