//! A client in another language: plain grpcio, by generated stubs and by reflection alone.
//!
//! Makes its own virtual environment. Skipped loudly where Python or its packages cannot be
//! had, unless `TWINDEX_REQUIRE_PYTHON` is set.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Serving, skip};
use twindex::training::glyphs::Alphabet;

fn run(command: &mut Command) -> Result<String, String> {
    let told = format!("{command:?}");
    let output = command.output().map_err(|e| format!("{told}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!(
        "{told}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// The environment's Python, made once.
fn environment() -> Result<PathBuf, String> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let (python, stamp) = (home.join("bin/python"), home.join("installed.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&home))?;
    let mut pip = Command::new(&python);
    run(pip
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(&requirements))?;
    std::fs::write(stamp, wanted).unwrap();
    Ok(python)
}

#[test]
fn a_python_client_needs_nothing_of_ours() {
    let python = match environment() {
        Ok(python) => python,
        Err(why) => return skip("TWINDEX_REQUIRE_PYTHON", &format!("no grpcio here: {why}")),
    };
    let dir = tempfile::tempdir().unwrap();
    let alphabet = Alphabet::new(1, 6);
    let mut images = Vec::new();
    for character in 0..6 {
        for hand in 0..3 {
            let path = dir.path().join(format!("character{character}-{hand}.png"));
            alphabet.draw(character, hand).save(&path).unwrap();
            images.push(path);
        }
    }
    let serving = Serving::start(&dir.path().join("data"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new(python);
    client
        .arg(root.join("tests/python/client.py"))
        .arg(&serving.address)
        .arg(root.join("proto"))
        .args(&images);
    assert_eq!(run(&mut client).unwrap().trim(), "ok");
    assert_eq!(serving.stop(), Some(0));
}
