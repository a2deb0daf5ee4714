//! The directory: who holds it, what stands in it, and that all of it is on disk.
//!
//! ```text
//! LOCK       held while open
//! FORMAT     what this directory is
//! highwater  how far the store had come
//! db/        sled's files
//! models/    weights files
//! scratch/   what need not outlive the process
//! set-aside/ snapshots that could not be read
//! ```

use super::Error;
use crate::lock::Locked;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::path::{Path, PathBuf};

const FORMAT: &str = "twindex store 1\n";

/// A directory held by this process.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
    _lock: Locked,
}

impl Dir {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a directory, making it where there is none, and readies it for sled.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        make(path)?;
        let lock = lock(path)?;
        let dir = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        check_format(&path.join("FORMAT"))?;
        make(&dir.db())?;
        remove_unfinished_snapshots(&dir.db())?;
        // What an earlier process wrote and did not sync is made durable before it is read:
        // otherwise a later power cut could take back what this process built on.
        sync_files(&dir.db())?;
        sync_files(path)?;
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync(parent)?;
        }
        Ok(dir)
    }

    /// sled's directory.
    pub(crate) fn db(&self) -> PathBuf {
        self.path.join("db")
    }

    /// The file sled keeps its data in, and the only one whose sync a commit waits for.
    pub(crate) fn data(&self) -> PathBuf {
        self.db().join("db")
    }

    /// The file of the high-water mark.
    pub(crate) fn highwater(&self) -> PathBuf {
        self.path.join("highwater")
    }

    /// Where models lie.
    pub(crate) fn models(&self) -> PathBuf {
        self.path.join("models")
    }

    /// Where long work puts its files.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// Makes the directory of the models, for good.
    pub(crate) fn make_models(&self) -> Result<(), Error> {
        make(&self.models())?;
        sync(&self.path)
    }

    /// Moves sled's snapshots out of its way; it then reads its whole log. Answers how many.
    pub(crate) fn set_snapshots_aside(&self) -> Result<usize, Error> {
        let aside = self.path.join("set-aside");
        let mut moved = 0;
        for (path, name) in files(&self.db())? {
            if !name.starts_with("snap.") {
                continue;
            }
            make(&aside)?;
            let free = (0..u32::MAX)
                .map(|n| aside.join(format!("{name}.{n}")))
                .find(|to| !to.exists())
                .unwrap_or_else(|| aside.join(&name));
            fs::rename(&path, &free).map_err(Error::io(format!("set aside {}", path.display())))?;
            moved += 1;
        }
        if moved > 0 {
            sync(&self.db())?;
            sync(&aside)?;
        }
        Ok(moved)
    }

    /// Nothing may stand in `blobs/`: sled never syncs what does.
    pub(crate) fn check_blobs(&self) -> Result<(), Error> {
        match files(&self.db().join("blobs"))?.first() {
            None => Ok(()),
            Some((path, _)) => Err(Error::damaged(
                path.display().to_string(),
                "a value outside the database file, where nothing is synced",
            )),
        }
    }

    /// Makes durable that the files which now stand here stand here.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        sync_files(&self.db())?;
        sync(&self.db())?;
        sync(&self.path)
    }

    /// Bytes of all files.
    pub(crate) fn size(&self) -> Result<u64, Error> {
        size(&self.path)
    }
}

pub(super) fn make(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .map_err(Error::io(format!("create {}", path.display())))
}

fn lock(dir: &Path) -> Result<Locked, Error> {
    let path = dir.join("LOCK");
    let io = || Error::io(format!("lock {}", path.display()));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io())?;
    let held = Locked::take(file).map_err(io())?;
    held.ok_or_else(|| Error::Locked(dir.display().to_string()))
}

fn check_format(path: &Path) -> Result<(), Error> {
    let io = || Error::io(path.display().to_string());
    match fs::read_to_string(path) {
        Ok(text) if text == FORMAT => Ok(()),
        // Empty: the power went before the first start was done.
        Ok(text) if !text.is_empty() => Err(Error::damaged(
            path.display().to_string(),
            format!("{text:?} instead of {FORMAT:?}: not a directory this version can read"),
        )),
        Ok(_) => fs::write(path, FORMAT).map_err(io()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => fs::write(path, FORMAT).map_err(io()),
        Err(e) => Err(io()(e)),
    }
}

fn remove_unfinished_snapshots(db: &Path) -> Result<(), Error> {
    for (path, name) in files(db)? {
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(Error::io(format!("delete {}", path.display())))?;
        }
    }
    Ok(())
}

/// The files of a directory with their names, without those of its directories; none where
/// there is no directory.
pub(super) fn files(dir: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let io = || Error::io(dir.display().to_string());
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io())?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io())?;
        if entry.file_type().map_err(io())?.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push((entry.path(), name));
        }
    }
    Ok(files)
}

fn sync_files(dir: &Path) -> Result<(), Error> {
    for (path, _) in files(dir)? {
        sync(&path)?;
    }
    sync(dir)
}

pub(super) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(format!("sync {}", path.display())))
}

fn size(dir: &Path) -> Result<u64, Error> {
    let io = || Error::io(dir.display().to_string());
    let mut bytes = 0;
    for entry in fs::read_dir(dir).map_err(io())? {
        let entry = entry.map_err(io())?;
        match entry.metadata() {
            Ok(about) if about.is_dir() => bytes += size(&entry.path())?,
            Ok(about) => bytes += about.len(),
            // sled removes old snapshots as it goes.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(io()(e)),
        }
    }
    Ok(bytes)
}
