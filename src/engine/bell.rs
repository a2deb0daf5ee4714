//! Wakes a thread that has nothing to do.

use super::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rung by others; heard once, also by who comes later.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *lock(&self.rung) = true;
        self.heard.notify_one();
    }

    /// Sleeps until it rings, or so long; answers whether it rang.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let rung = lock(&self.rung);
        let waited = self.heard.wait_timeout_while(rung, at_most, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}
