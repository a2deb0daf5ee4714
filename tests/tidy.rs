//! The walls between the rooms, stated as what is absent.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
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

/// Every source file: its path below `src/`, and its code without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    assert!(!files.is_empty());
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name.replace('\\', "/"), code(&text))
        })
        .collect()
}

/// The text without comments; an address in a string does not begin one.
fn code(text: &str) -> String {
    let line = |line: &str| {
        let starts = line.match_indices("//").map(|(at, _)| at);
        let comment = starts.into_iter().find(|at| !line[..*at].ends_with(':'));
        line[..comment.unwrap_or(line.len())].to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Words, `::` and brackets: what a path is made of.
fn tokens(code: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

/// The first names of all paths that begin at the crate's root, in groups as well:
/// `crate::{a::b, c}` names a and c. So does `super::a`, wherever `super` leads.
fn roots(code: &str) -> BTreeSet<&str> {
    let tokens = tokens(code);
    let mut names = BTreeSet::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[1] != "::" || !["crate", "super", "twindex"].contains(&pair[0]) {
            continue;
        }
        let mut depth = 0;
        let mut begins = true;
        for token in &tokens[at + 2..] {
            match *token {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," => begins = depth == 1,
                name => {
                    if begins {
                        names.insert(name);
                    }
                    begins = false;
                }
            }
            if depth <= 0 {
                break;
            }
        }
    }
    names
}

#[test]
fn paths_are_found_however_they_are_written() {
    let found = |code| roots(code).into_iter().collect::<Vec<_>>();
    assert_eq!(found("use crate::store;"), ["store"]);
    assert_eq!(found("use crate::store as s;"), ["store"]);
    assert_eq!(found("let x = crate :: store::open();"), ["store"]);
    assert_eq!(found("use super::super::store::Store;"), ["store", "super"]);
    let group = "use crate::{\n    domain::{Id, index},\n    store::Store, engine\n};";
    assert_eq!(found(group), ["domain", "engine", "store"]);
    assert_eq!(found("fn crates() { mycrate::store() }"), [""; 0]);
    let one = code("use a; // crate::store\nlet b = \"http://x\"; // c");
    assert_eq!(one, "use a; \nlet b = \"http://x\"; ");
    assert_eq!(
        tokens("use sled;unsafe{"),
        ["use", "sled", ";", "unsafe", "{"]
    );
}

fn assert_only(rooms: &[&str], words: &[&str]) {
    for (name, code) in sources() {
        if rooms.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        let tokens = tokens(&code);
        for word in words {
            assert!(
                !tokens.contains(word),
                "src/{name} names `{word}`: only {rooms:?} may"
            );
        }
    }
}

#[test]
fn only_simd_holds_unsafe() {
    assert_only(&["simd/"], &["unsafe"]);
}

#[test]
fn only_the_store_names_sled() {
    assert_only(&["store/"], &["sled"]);
}

#[test]
fn only_the_encoder_and_its_training_name_candle() {
    assert_only(
        &["encoder/", "training/"],
        &["candle_core", "candle_nn", "candle_transformers"],
    );
}

#[test]
fn only_the_index_names_hnsw_rs() {
    assert_only(&["index/"], &["hnsw_rs"]);
}

#[test]
fn only_the_edges_name_tonic_and_prost() {
    let words = [
        "tonic",
        "tonic_health",
        "tonic_reflection",
        "tonic_types",
        "tonic_web",
    ];
    assert_only(&["grpc/", "cli/"], &words);
    assert_only(&["grpc/", "cli/"], &["prost", "prost_types", "tonic_prost"]);
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
    ("grpc", &["domain", "engine"]),
    // The trainer and the server's parts are started here; all else goes by gRPC.
    ("cli", &["domain", "encoder", "training", "engine", "grpc"]),
];

#[test]
fn rooms_know_only_those_below() {
    for (name, code) in sources() {
        let Some((room, below)) = name.split_once('/') else {
            // Locks are what the store and a training's cache, neither above the other, share.
            assert!(
                ["lib.rs", "main.rs", "lock.rs"].contains(&&*name),
                "src/{name}"
            );
            continue;
        };
        let known = MAY_KNOW.iter().find(|(r, _)| *r == room);
        let (_, known) = known.unwrap_or_else(|| panic!("src/{room}/ is no room: {below}"));
        let named = roots(&code);
        for (other, _) in MAY_KNOW {
            if *other != room && !known.contains(other) {
                assert!(
                    !named.contains(other),
                    "src/{name} names crate::{other}: `{room}` may know only {known:?}"
                );
            }
        }
    }
}
