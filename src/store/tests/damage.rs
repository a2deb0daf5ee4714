//! Damage in values and in files is an error, never a panic and never a wrong value.

use super::*;
use crate::store::keys::{self, Space};
use std::fs;

#[test]
fn a_flipped_bit_in_any_value_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(whole_items(0, 4)).unwrap();
    store.put_segment(1, 1, &vec![3; 200_000]).unwrap();
    store.put_segment(1, 2, b"small").unwrap();
    let mut batch = Batch::new();
    batch.add_segment(1, 1);
    batch.add_segment(1, 2);
    batch.put_request(b"key", 5, b"answer");
    batch.put_model(&model());
    batch.put_operation(&operation());
    store.commit(batch).unwrap();
    assert!(store.check().unwrap().is_sound());

    let mut flipped = 0;
    for space in Space::ALL {
        let records: Vec<_> = store.disk.scan(&[space as u8], None).collect();
        for (nth, record) in records.into_iter().enumerate() {
            let (key, value) = record.unwrap();
            let bit = (nth * 997 + 13) % (value.len() * 8);
            let mut bad = value.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let put = |value: Vec<u8>| {
                let mut batch = sled::Batch::default();
                batch.insert(key.clone(), value);
                store.disk.apply(batch).unwrap();
            };
            put(bad);
            let name = keys::describe(&key);
            let report = store.check().unwrap();
            let named = report.damages.iter().any(|damage| damage.contains(&name));
            assert!(named, "{name}: {report:?}");
            put(value.to_vec());
            flipped += 1;
        }
    }
    assert!(flipped > 25, "{flipped}");
    assert!(store.check().unwrap().is_sound());
}

#[test]
fn damage_to_one_record_leaves_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(whole_items(0, 4)).unwrap();
    for segment in [1, 2] {
        store.put_segment(1, segment, &vec![3; 200_000]).unwrap();
        let mut batch = Batch::new();
        batch.add_segment(1, segment);
        store.commit(batch).unwrap();
    }
    let mut batch = sled::Batch::default();
    batch.insert(keys::item(1, &id(2)), b"rubbish".to_vec());
    batch.insert(keys::row(Space::Vector, 1, 1), vec![]);
    let body = keys::row(Space::SegmentBody, 1, 1);
    batch.remove(keys::chunk(&body, 2));
    store.disk.apply(batch).unwrap();

    assert!(store.item(1, &id(1)).unwrap().is_some());
    let Err(Error::Damaged { record, .. }) = store.item(1, &id(2)) else {
        panic!("rubbish was read");
    };
    assert_eq!(record, "item \"item-2\" of collection 1");
    let items: Vec<_> = store.items(1, None).map(|item| item.is_ok()).collect();
    assert_eq!(items, [true, true, false, true]);
    let vectors: Vec<_> = store.vectors(1).map(|vector| vector.is_ok()).collect();
    assert_eq!(vectors, [true, false, true, true]);
    let segments = store.segments(1).unwrap();
    assert!(matches!(&segments[0], (1, Err(Error::Damaged { .. }))));
    assert!(matches!(&segments[1], (2, Ok(bytes)) if bytes.len() == 200_000));
    // What is damaged can be replaced and removed.
    let mut batch = whole_items(1, 3);
    batch.remove_segment(1, 1);
    store.commit(batch).unwrap();
    while store.sweep(1).unwrap() > 0 {}
    assert!(store.check().unwrap().is_sound());
}

/// What a directory holds, as far as it can be read: `Err` where something is wrong.
fn read_all(dir: &std::path::Path) -> Result<u64, Error> {
    let store = open(dir)?;
    let mut intact = 0;
    for record in store.items(1, None) {
        let (id, record) = record?;
        assert_eq!(record, item(record.seq));
        assert_eq!(id, super::id(record.seq));
        let image = store.image(1, record.seq)?.map(|image| image.len());
        if let Some(len) = image {
            assert_eq!(len, 70_000 * (record.seq as usize % 2) + 10);
        }
        intact += 1;
    }
    for vector in store.vectors(1) {
        let (seq, vector) = vector?;
        assert_eq!(vector, [seq as f32; 32]);
    }
    store.check()?;
    match store.failed() {
        Some(why) => Err(Error::Failed(why)),
        None => Ok(intact),
    }
}

#[test]
fn a_damaged_database_file_panics_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let sound = dir.path().join("sound");
    {
        let store = open(&sound).unwrap();
        for n in 0..20 {
            store.commit(whole_items(n * 5, n * 5 + 5)).unwrap();
        }
    }
    assert_eq!(read_all(&sound).unwrap(), 100);
    let data = fs::read(sound.join("db/db")).unwrap();
    let used = data.iter().rposition(|byte| *byte != 0).unwrap();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut detected = 0;
    for round in 0..24 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = seed as usize % used;
        let bad = dir.path().join(format!("bad-{round}"));
        copy(&sound, &bad);
        let mut data = data.clone();
        match round % 4 {
            0 => data.truncate(at),
            1 => data[at..].iter_mut().take(4096).for_each(|byte| *byte = 0),
            _ => data[at] ^= 1 << (seed % 8),
        }
        fs::write(bad.join("db/db"), &data).unwrap();
        match read_all(&bad) {
            Ok(intact) => assert!(intact <= 100),
            Err(_) => detected += 1,
        }
        let _ = fs::remove_dir_all(&bad);
    }
    println!("{detected} of 24 damages were reported");
    assert!(detected > 0);
}

#[test]
fn a_bad_snapshot_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path()).unwrap();
        store.commit(whole_items(0, 10)).unwrap();
    }
    drop(open(dir.path()).unwrap());
    let db = dir.path().join("db");
    let snapshots = || {
        let names = fs::read_dir(&db)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        names
            .filter(|path| path.to_string_lossy().contains("/snap."))
            .collect::<Vec<_>>()
    };
    assert!(!snapshots().is_empty());
    for snapshot in snapshots() {
        let mut bytes = fs::read(&snapshot).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(&snapshot, bytes).unwrap();
    }
    let unfinished = db.join("snap.00000000000000FF.generating");
    fs::write(&unfinished, b"half").unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.items(1, None).count(), 10);
    assert!(store.check().unwrap().is_sound());
    assert!(!unfinished.exists());
    assert!(dir.path().join("set-aside").is_dir());
}
