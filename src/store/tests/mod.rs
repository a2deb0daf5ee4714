//! What only the inside can arrange: damage, a barrier that fails, other migrations.
#![allow(clippy::pedantic, reason = "tests are plain Rust")]

mod damage;
mod failing;
mod migrating;

use super::{Batch, Error, ItemRecord, ModelRecord, OperationRecord, Options, Store, Tag};
use crate::domain::{ItemId, Label, Payload};
use std::path::Path;

fn options() -> Options {
    Options {
        cache_bytes: 16 << 20,
    }
}

fn open(dir: &Path) -> Result<Store, Error> {
    Store::open(dir, &options())
}

fn id(n: u64) -> ItemId {
    ItemId::new(format!("item-{n}")).unwrap()
}

fn item(seq: u64) -> ItemRecord {
    let fields = serde_json::json!({"n": seq, "text": "x".repeat(300)});
    ItemRecord {
        seq,
        label: Some(Label::new("a").unwrap()),
        payload: Payload::new(fields.as_object().unwrap().clone()).unwrap(),
        image: Some(seq),
        created_ms: 1,
        updated_ms: 2,
        model: None,
    }
}

fn model() -> ModelRecord {
    ModelRecord {
        version: "m-00000001".into(),
        name: "m".into(),
        architecture: "a".into(),
        dim: 4,
        bytes: 7,
        hash: blake3::hash(b"weights").to_hex().to_string(),
        card: "{}".into(),
        imported_ms: 1,
    }
}

fn operation() -> OperationRecord {
    OperationRecord {
        name: "operations/1".into(),
        task: serde_json::json!({"do": "something"}),
        end: None,
        created_ms: 1,
        ended_ms: None,
    }
}

/// Items `from..to` of collection 1, whole: record, tag, vector, image, sequence number.
fn whole_items(from: u64, to: u64) -> Batch {
    let mut batch = Batch::new();
    for seq in from..to {
        let label = item(seq).label;
        batch.put_item(1, &id(seq), &item(seq));
        batch.put_tag(1, seq, &Tag { id: id(seq), label });
        batch.put_vector(1, seq, &[seq as f32; 32]);
        batch.put_image(1, seq, &vec![7; 70_000 * (seq as usize % 2) + 10]);
    }
    batch.set_sequence(to);
    batch
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
