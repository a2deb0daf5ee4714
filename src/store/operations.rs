//! Operations: what runs long and is asked for later, and the place where it works.

use super::dir::make;
use super::keys::{self, Space};
use super::read::decode;
use super::{Batch, Error, OperationRecord, Store, codec};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

impl Batch {
    /// Creates or replaces an operation.
    pub fn put_operation(&mut self, record: &OperationRecord) {
        let key = keys::named(Space::Operation, record.name.as_bytes());
        self.put(key, codec::operation(record));
    }

    /// Forgets an operation.
    pub fn delete_operation(&mut self, name: &str) {
        self.delete(keys::named(Space::Operation, name.as_bytes()));
    }
}

impl Store {
    /// All operations, by name; a damaged record is an error in its place.
    pub fn operations(&self) -> impl Iterator<Item = Result<OperationRecord, Error>> + '_ {
        let all = self.records(&keys::named(Space::Operation, &[]), None);
        all.map(|record| {
            let (key, body) = record?;
            decode(&key, &body, codec::read_operation)
        })
    }

    /// An empty directory for files that need not outlive the process.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn scratch(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.dir.scratch().join(name);
        remove(&path)?;
        make(&path)?;
        Ok(path)
    }

    /// Removes what [`Store::scratch`] made under this name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_scratch(&self, name: &str) -> Result<(), Error> {
        remove(&self.dir.scratch().join(name))
    }

    /// Removes what an earlier process left.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear_scratch(&self) -> Result<(), Error> {
        remove(&self.dir.scratch())
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io(format!("delete {}", path.display()))),
    }
}
