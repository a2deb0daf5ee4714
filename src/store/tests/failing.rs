//! A write that fails is final, and a past that is missing is not written over.

use super::*;
use crate::store::migrations;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_failed_barrier_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let fuse = Arc::clone(&broken);
    let barrier = Box::new(move || match fuse.load(Ordering::Relaxed) {
        true => Err(io::Error::other("the disk is gone")),
        false => Ok(()),
    });
    let store = Store::open_with(dir.path(), &options(), migrations::ALL, Some(barrier)).unwrap();
    store.commit(whole_items(0, 2)).unwrap();
    assert_eq!(store.failed(), None);
    broken.store(true, Ordering::Relaxed);
    let before = store.item(1, &id(0)).unwrap();
    let mut batch = whole_items(2, 3);
    batch.delete_item(1, &id(0));
    assert!(matches!(
        store.commit(batch),
        Err(Error::Failed(why)) if why.contains("the disk is gone")
    ));
    // A retry that would succeed is a lie: the kernel forgets which pages it lost.
    broken.store(false, Ordering::Relaxed);
    assert!(matches!(
        store.commit(whole_items(2, 3)),
        Err(Error::Failed(_))
    ));
    assert!(matches!(
        store.put_segment(1, 1, b"x"),
        Err(Error::Failed(_))
    ));
    assert!(matches!(store.forget_requests(9, 9), Err(Error::Failed(_))));
    assert!(store.failed().unwrap().contains("the disk is gone"));
    // What was refused is not seen, and what stood there before is.
    assert_eq!(store.item(1, &id(0)).unwrap(), before);
    assert_eq!(store.items(1, None).count(), 2);
    assert_eq!(store.sequence().unwrap(), 2);
    store.commit(Batch::new()).unwrap();
}

#[test]
fn a_store_that_forgot_its_end_is_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let (now, then) = (dir.path().join("now"), dir.path().join("then"));
    {
        let store = open(&now).unwrap();
        store.commit(whole_items(0, 10)).unwrap();
        drop(store);
        copy(&now, &then);
        let store = open(&now).unwrap();
        store.commit(whole_items(10, 20)).unwrap();
    }
    std::fs::copy(now.join("highwater"), then.join("highwater")).unwrap();
    let store = open(&then).unwrap();
    let why = store.failed().unwrap();
    assert!(
        why.contains("(sequence 20)") && why.contains("(sequence 10)"),
        "{why}"
    );
    assert!(matches!(
        store.commit(whole_items(10, 11)),
        Err(Error::Failed(_))
    ));
    assert_eq!(store.items(1, None).count(), 10);
    drop(store);
    // An operator may go on without.
    std::fs::remove_file(then.join("highwater")).unwrap();
    let store = open(&then).unwrap();
    store.commit(whole_items(10, 11)).unwrap();
    drop(store);
    // Nothing at all where there was something.
    std::fs::remove_dir_all(now.join("db")).unwrap();
    assert!(matches!(open(&now), Err(Error::Behind { .. })));
}

#[test]
fn what_does_not_fit_or_exist_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let mut batch = whole_items(0, 1);
    batch.put_vector(1, 9, &vec![0.0; 20_000]);
    assert!(matches!(store.commit(batch), Err(Error::TooLarge { .. })));
    let mut batch = whole_items(0, 1);
    batch.put_request(&[b'k'; 5000], 1, b"");
    assert!(matches!(store.commit(batch), Err(Error::TooLarge { .. })));
    let mut batch = whole_items(0, 1);
    batch.add_segment(1, 5);
    assert!(matches!(store.commit(batch), Err(Error::Missing(_))));
    assert_eq!(store.items(1, None).count(), 0);
    assert_eq!(store.failed(), None);
}

#[test]
fn a_commit_beyond_sleds_buffers_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let image = vec![5; 24 << 20];
    {
        let store = open(dir.path()).unwrap();
        let mut batch = Batch::new();
        batch.put_image(1, 1, &image);
        batch.put_image(1, 2, &image);
        store.commit(batch).unwrap();
    }
    let store = open(dir.path()).unwrap();
    assert!(store.image(1, 2).unwrap().unwrap() == image);
    let mut batch = Batch::new();
    batch.put_image(1, 1, b"");
    batch.delete_image(1, 2);
    store.commit(batch).unwrap();
    assert_eq!(store.image(1, 1).unwrap(), Some(vec![]));
    assert!(!store.check().unwrap().counts.contains_key("chunk"));
}
