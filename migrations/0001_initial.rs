//! The first schema: the counters that everything else is numbered by.

use super::Step;
use crate::store::{Batch, Error};

const COUNTERS: [(&str, u64); 3] = [("sequence", 0), ("next collection", 1), ("next segment", 1)];

/// Writes the counters that are not there yet.
pub(super) fn up(step: &mut Step<'_>) -> Result<(), Error> {
    let mut batch = Batch::new();
    for (name, start) in COUNTERS {
        if step.store.meta(name)?.is_none() {
            batch.put_meta(name, start);
        }
    }
    step.commit(batch, b"done")
}

/// All counters are there.
pub(super) fn verify(step: &Step<'_>) -> Result<(), Error> {
    for (name, _) in COUNTERS {
        if step.store.meta(name)?.is_none() {
            return Err(Error::Missing(format!("meta \"{name}\"")));
        }
    }
    Ok(())
}
