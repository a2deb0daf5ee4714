//! The walls between the rooms, stated as what is absent.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Every source file: its path below `src/`, and its lines without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    assert!(!files.is_empty());
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .lines()
                .filter(|l| !l.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name.replace('\\', "/"), code)
        })
        .collect()
}

fn assert_only(rooms: &[&str], words: &[&str]) {
    for (name, code) in sources() {
        if rooms.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        for word in words {
            assert!(
                !code.contains(word),
                "src/{name} names `{word}`: only {rooms:?} may"
            );
        }
    }
}

#[test]
fn only_simd_holds_unsafe() {
    assert_only(&["simd/"], &["unsafe {", "unsafe fn", "unsafe impl"]);
}

#[test]
fn only_the_store_names_sled() {
    assert_only(&["store/"], &["sled::"]);
}

#[test]
fn only_the_encoder_and_its_training_name_candle() {
    assert_only(&["encoder/", "training/"], &["candle_core"]);
}

#[test]
fn only_the_index_names_hnsw_rs() {
    assert_only(&["index/"], &["hnsw_rs"]);
}

#[test]
fn only_the_edges_name_tonic_and_prost() {
    assert_only(
        &["grpc/", "cli/"],
        &["tonic::", "prost::", "tonic_types", "prost_types"],
    );
}

/// Which rooms a room may know. What is not listed is forbidden.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("simd", &[]),
    ("index", &["domain", "simd"]),
    ("store", &["domain"]),
    ("encoder", &["domain", "simd"]),
    ("training", &["domain", "simd", "encoder"]),
    (
        "engine",
        &["domain", "simd", "index", "store", "encoder", "training"],
    ),
    ("grpc", &["domain", "engine", "config"]),
];

#[test]
fn rooms_know_only_those_below() {
    let rooms: Vec<&str> = MAY_KNOW.iter().map(|(room, _)| *room).collect();
    for (name, code) in sources() {
        let Some((room, known)) = MAY_KNOW
            .iter()
            .find(|(r, _)| name.starts_with(&format!("{r}/")))
        else {
            continue;
        };
        for other in &rooms {
            if other != room && !known.contains(other) {
                assert!(
                    !code.contains(&format!("crate::{other}::")),
                    "src/{name} names crate::{other}: `{room}` may know only {known:?}"
                );
            }
        }
    }
}
