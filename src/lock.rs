//! Files that one process at a time holds.

use std::fs::{File, TryLockError};
use std::io;

/// A locked file; dropped, it is free at once.
#[derive(Debug)]
pub(crate) struct Locked(pub(crate) File);

impl Locked {
    /// Locks a file; `None` if another holds it.
    pub(crate) fn take(file: File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing alone would not do while a child process is being started: until it runs its
        // program, it has the file open as well. Should this fail, closing does it in a moment.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_holder_though_a_child_has_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let take = || Locked::take(File::create(&path).unwrap()).unwrap();
        let held = take().unwrap();
        assert!(take().is_none());
        // What a child process inherits.
        let inherited = held.0.try_clone().unwrap();
        drop(held);
        assert!(take().is_some());
        drop(inherited);
    }
}
