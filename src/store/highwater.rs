//! How far the store had come when it last acknowledged.

use std::fmt;

/// A point in the history of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Commits so far.
    pub commit: u64,
    /// The sequence number set last.
    pub sequence: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commit {} (sequence {})", self.commit, self.sequence)
    }
}
