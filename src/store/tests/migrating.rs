//! The runner: resumed where it was killed, and careful about what it does not know.

use super::*;
use crate::store::migrations::{ALL, Migration, Step};
use std::cell::Cell;

thread_local! {
    /// Commits until the next step is killed.
    static FUSE: Cell<u32> = const { Cell::new(u32::MAX) };
}

fn burn() -> Result<(), Error> {
    match FUSE.get().checked_sub(1) {
        None => Err(Error::Failed("killed".to_owned())),
        Some(left) => {
            FUSE.set(left);
            Ok(())
        }
    }
}

/// Adds 100 to every row number: wrong if an item meets it twice, or never.
fn renumber(step: &mut Step<'_>) -> Result<(), Error> {
    let after = step
        .cursor()
        .map(|id| ItemId::new(String::from_utf8_lossy(id)).unwrap());
    let store = step.store;
    for record in store.items(1, after.as_ref()) {
        burn()?;
        let (id, mut record) = record?;
        record.seq += 100;
        let mut batch = Batch::new();
        batch.put_item(1, &id, &record);
        step.commit(batch, id.as_str().as_bytes())?;
    }
    Ok(())
}

fn renumbered(step: &Step<'_>) -> Result<(), Error> {
    burn()?;
    for record in step.store.items(1, None) {
        let (id, record) = record?;
        if id != super::id(record.seq - 100) {
            return Err(Error::Missing(format!("{id} at its new row")));
        }
    }
    Ok(())
}

fn initial() -> Migration {
    ALL[0]
}

fn renumbering(source: &'static str) -> Migration {
    Migration {
        number: 2,
        name: "renumber",
        min_reader: 2,
        source,
        up: renumber,
        verify: renumbered,
    }
}

fn open_with(dir: &Path, steps: &[Migration]) -> Result<Store, Error> {
    Store::open_with(dir, &options(), steps, None)
}

#[test]
fn a_killed_step_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path())
        .unwrap()
        .commit(whole_items(0, 10))
        .unwrap();
    let steps = [initial(), renumbering("two")];
    let mut kills = 0;
    let store = loop {
        FUSE.set(3);
        match open_with(dir.path(), &steps) {
            Ok(store) => break store,
            Err(Error::Migration { number: 2, .. }) => kills += 1,
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(kills, 3);
    assert_eq!(store.item(1, &id(4)).unwrap().unwrap().seq, 104);
    drop(store);

    FUSE.set(0);
    drop(open_with(dir.path(), &steps).unwrap());
    let changed = [initial(), renumbering("two, edited")];
    assert!(matches!(
        open_with(dir.path(), &changed),
        Err(Error::Migration { number: 2, why, .. }) if why.contains("changed")
    ));
    assert!(matches!(
        open(dir.path()),
        Err(Error::Newer {
            found: 2,
            supported: 1
        })
    ));
}

#[test]
fn a_newer_schema_that_older_readers_understand_is_read_only() {
    fn nothing(_: &mut Step<'_>) -> Result<(), Error> {
        Ok(())
    }
    let dir = tempfile::tempdir().unwrap();
    let harmless = Migration {
        min_reader: 1,
        up: nothing,
        verify: |_| Ok(()),
        ..renumbering("harmless")
    };
    let store = open_with(dir.path(), &[initial(), harmless]).unwrap();
    store.commit(whole_items(0, 2)).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert!(store.failed().unwrap().contains("schema 2"));
    assert_eq!(store.items(1, None).count(), 2);
}

#[test]
fn released_steps_are_as_released() {
    let sums: Vec<_> = ALL.iter().map(|step| step.checksum()).collect();
    assert_eq!(sums, [4_473_888_210_322_554_196]);
    assert!((1..).zip(ALL).all(|(number, step)| step.number == number));
    assert!(ALL.iter().all(|step| step.min_reader <= step.number));
}
