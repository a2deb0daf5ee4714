//! Models: a record names each, a file beside the database holds it.
//!
//! A file is written aside and synced, then its record is committed, then it is put in its
//! place; it goes the other way round. So a file aside without a record is a leftover, and one
//! with a record lacks only the last step.

use super::dir::{files, sync};
use super::keys::{self, Space};
use super::read::decode;
use super::{Batch, Error, ModelRecord, Store, codec};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The ending of a file in its place.
const PLACED: &str = "safetensors";
/// The ending of a file aside: about to come, or to go.
const ASIDE: &str = "part";
/// The ending of a file that is not what was kept.
const BROKEN: &str = "broken";

impl Batch {
    /// Keeps a model whose file was put aside.
    pub fn put_model(&mut self, record: &ModelRecord) {
        let key = keys::named(Space::Model, record.version.as_bytes());
        self.put(key, codec::model(record));
    }

    /// Forgets a model.
    pub fn delete_model(&mut self, version: &str) {
        self.delete(keys::named(Space::Model, version.as_bytes()));
    }
}

impl Store {
    /// All models, by version; a damaged record is an error in its place.
    pub fn models(&self) -> impl Iterator<Item = Result<ModelRecord, Error>> + '_ {
        let all = self.records(&keys::named(Space::Model, &[]), None);
        all.map(|record| {
            let (key, body) = record?;
            decode(&key, &body, codec::read_model)
        })
    }

    /// Writes a model's file aside, where a crash leaves it to be removed.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Io`].
    pub fn put_model_aside(&self, version: &str, bytes: &[u8]) -> Result<(), Error> {
        if let Some(why) = self.failed() {
            return Err(Error::Failed(why));
        }
        self.dir.make_models()?;
        let path = self.model_file(version, ASIDE);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(Error::io(format!("write {}", path.display())))?;
        sync(&self.dir.models())
    }

    /// Puts a model's file in its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn place_model(&self, version: &str) -> Result<(), Error> {
        self.move_model(version, ASIDE, PLACED)?;
        // It was broken until now, if it is there.
        remove(&self.model_file(version, BROKEN))?;
        sync(&self.dir.models())
    }

    /// Takes a model's file out of its place, if it is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn displace_model(&self, version: &str) -> Result<(), Error> {
        self.move_model(version, PLACED, ASIDE)?;
        sync(&self.dir.models())
    }

    /// Removes what is left of a model out of its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_model(&self, version: &str) -> Result<(), Error> {
        remove(&self.model_file(version, ASIDE))?;
        remove(&self.model_file(version, BROKEN))
    }

    /// The file of a model, verified. One that is not what was kept is renamed, so that nobody
    /// takes it for the model.
    ///
    /// # Errors
    /// [`Error::Damaged`]; [`Error::Io`] where it may be whole but could not be read.
    pub fn model(&self, record: &ModelRecord) -> Result<Vec<u8>, Error> {
        let path = self.model_file(&record.version, PLACED);
        let damaged = |why: &str| Error::damaged(format!("model {:?}", record.version), why);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(damaged("its file is missing"));
            }
            read => read.map_err(Error::io(path.display().to_string()))?,
        };
        if blake3::hash(&bytes).to_hex().as_str() == record.hash {
            return Ok(bytes);
        }
        self.move_model(&record.version, PLACED, BROKEN)?;
        Err(damaged("its file is not the one that was imported"))
    }

    /// Finishes what a crash interrupted, removes what it left, and answers the versions whose
    /// file is missing or of the wrong size, and why.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tidy_models(&self, kept: &[ModelRecord]) -> Result<Vec<(String, String)>, Error> {
        for (path, name) in files(&self.dir.models())? {
            let (version, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
            let is_kept = kept.iter().any(|record| record.version == version);
            match ending {
                ASIDE if self.failed().is_some() => {}
                ASIDE if is_kept && !self.model_file(version, PLACED).exists() => {
                    self.place_model(version)?;
                }
                ASIDE => remove(&path)?,
                _ if !is_kept => tracing::warn!(file = %path.display(),
                    "no model of ours: `twindex model import` takes a file in"),
                _ => {}
            }
        }
        let mut wrong = Vec::new();
        for record in kept {
            let found = fs::metadata(self.model_file(&record.version, PLACED));
            let why = match found {
                Ok(about) if about.len() == record.bytes => continue,
                Ok(about) => format!("its file has {} bytes, not {}", about.len(), record.bytes),
                Err(e) if e.kind() == ErrorKind::NotFound => "its file is missing".to_owned(),
                Err(e) => e.to_string(),
            };
            wrong.push((record.version.clone(), why));
        }
        Ok(wrong)
    }

    fn model_file(&self, version: &str, ending: &str) -> PathBuf {
        self.dir.models().join(format!("{version}.{ending}"))
    }

    /// Renames a model's file, if it is there.
    fn move_model(&self, version: &str, from: &str, to: &str) -> Result<(), Error> {
        let from = self.model_file(version, from);
        match fs::rename(&from, self.model_file(version, to)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            moved => moved.map_err(Error::io(format!("rename {}", from.display()))),
        }
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io(format!("delete {}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    fn record(version: &str, bytes: &[u8]) -> ModelRecord {
        ModelRecord {
            version: version.into(),
            name: "m".into(),
            architecture: "a".into(),
            dim: 4,
            bytes: bytes.len() as u64,
            hash: blake3::hash(bytes).to_hex().to_string(),
            card: "{}".into(),
            imported_ms: 1,
        }
    }

    fn open(dir: &Path) -> (Store, Vec<ModelRecord>) {
        let options = Options {
            cache_bytes: 16 << 20,
        };
        let store = Store::open(dir, &options).unwrap();
        let kept = store.models().collect::<Result<_, _>>().unwrap();
        (store, kept)
    }

    fn keep(store: &Store, record: &ModelRecord) {
        let mut batch = Batch::new();
        batch.put_model(record);
        store.commit(batch).unwrap();
    }

    /// Whatever step a crash comes after, the next start ends it or undoes it.
    #[test]
    fn a_crash_between_two_steps_leaves_all_or_nothing() {
        let bytes = b"weights";
        let m = record("m-00000001", bytes);
        for step in 1..=6 {
            let dir = tempfile::tempdir().unwrap();
            {
                let (store, _) = open(dir.path());
                let steps: [&dyn Fn(); 6] = [
                    &|| store.put_model_aside(&m.version, bytes).unwrap(),
                    &|| keep(&store, &m),
                    &|| store.place_model(&m.version).unwrap(),
                    &|| store.displace_model(&m.version).unwrap(),
                    &|| {
                        let mut batch = Batch::new();
                        batch.delete_model(&m.version);
                        store.commit(batch).unwrap();
                    },
                    &|| store.remove_model(&m.version).unwrap(),
                ];
                steps.iter().take(step).for_each(|step| step());
            }
            let (store, kept) = open(dir.path());
            assert_eq!(store.tidy_models(&kept).unwrap(), [], "{step}");
            if (2..=4).contains(&step) {
                assert_eq!(kept.as_slice(), std::slice::from_ref(&m), "{step}");
                assert_eq!(store.model(&m).unwrap(), bytes);
            } else {
                assert_eq!(kept, [], "{step}");
                assert!(files(&store.dir.models()).unwrap().is_empty(), "{step}");
            }
        }
    }

    #[test]
    fn a_changed_file_is_found_and_never_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path());
        let (a, b) = (
            record("a-00000001", b"weights"),
            record("b-00000001", b"other"),
        );
        for (m, bytes) in [(&a, &b"weights"[..]), (&b, b"other")] {
            store.put_model_aside(&m.version, bytes).unwrap();
            keep(&store, m);
            store.place_model(&m.version).unwrap();
        }
        // Of the same length: only the hash tells.
        fs::write(store.model_file(&a.version, PLACED), b"weighty").unwrap();
        fs::write(store.model_file(&b.version, PLACED), b"").unwrap();
        // A file that somebody put there is his.
        fs::write(store.dir.models().join("his.safetensors"), b"").unwrap();
        let kept = [a.clone(), b.clone()];
        let wrong = store.tidy_models(&kept).unwrap();
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].1.contains("0 bytes, not 5"), "{wrong:?}");
        for why in ["not the one that was imported", "missing"] {
            let error = store.model(&a).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        // Put in place again, it is whole again, and the broken one is gone.
        store.put_model_aside(&a.version, b"weights").unwrap();
        store.place_model(&a.version).unwrap();
        assert_eq!(store.model(&a).unwrap(), b"weights");
        let left = files(&store.dir.models()).unwrap();
        let mut names: Vec<_> = left.into_iter().map(|(_, name)| name).collect();
        names.sort();
        let expected = [
            "a-00000001.safetensors",
            "b-00000001.safetensors",
            "his.safetensors",
        ];
        assert_eq!(names, expected);
    }
}
