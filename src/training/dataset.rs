//! A folder of labelled images: `…/LABEL/image.png`, at any depth.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no image in it.
    #[error("{0} holds no images: PNG, JPEG or PNM files in a folder for each label are expected")]
    Empty(PathBuf),
    /// Something in it cannot be used, and all of it was asked for.
    #[error("{}: {}", .0.path, .0.why)]
    Refused(Refused),
}

/// The images of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Path of the images' folder below the data set, with `/` between; not empty.
    pub label: String,
    /// Path of the folder above it (of an alphabet, say); may be empty.
    pub parent: String,
    /// Its images, sorted.
    pub images: Vec<PathBuf>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path below the data set, with `/` between.
    pub id: String,
    /// Its label; empty for an image that lies in the data set's own folder.
    pub label: String,
    /// Where it is.
    pub path: PathBuf,
}

/// A folder or image that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where it is, as far as it can be said in UTF-8.
    pub path: String,
    /// Why not.
    pub why: String,
}

/// A data set on disk.
#[derive(Debug, Clone)]
pub struct Folder {
    unlabelled: Vec<PathBuf>,
    classes: Vec<Class>,
    refused: Vec<Refused>,
}

impl Folder {
    /// Lists the PNG, JPEG and PNM files below `dir`, hidden ones aside.
    ///
    /// # Errors
    /// The folder itself cannot be read, or there is no image at all.
    pub fn open(dir: &Path) -> Result<Self, DataError> {
        let mut scan = Scan::default();
        scan.folder(dir, "").map_err(|source| DataError::Read {
            path: dir.to_owned(),
            source,
        })?;
        if scan.found.is_empty() && scan.refused.is_empty() {
            return Err(DataError::Empty(dir.to_owned()));
        }
        let classes = scan.found.into_iter().map(|(label, mut images)| {
            images.sort();
            let parent = label.rsplit_once('/').map_or("", |(p, _)| p).to_owned();
            Class {
                label,
                parent,
                images,
            }
        });
        scan.refused.sort_by(|a, b| a.path.cmp(&b.path));
        let (unlabelled, classes) = classes.partition::<Vec<_>, _>(|c| c.label.is_empty());
        Ok(Self {
            unlabelled: unlabelled.into_iter().flat_map(|c| c.images).collect(),
            classes,
            refused: scan.refused,
        })
    }

    /// As [`Folder::open`], but all or nothing: neither a model nor a figure should rest on
    /// a part of the data that nobody knows.
    ///
    /// # Errors
    /// As [`Folder::open`], and whatever [`Folder::refused`] would tell.
    pub fn open_whole(dir: &Path) -> Result<Self, DataError> {
        let folder = Self::open(dir)?;
        match folder.refused.first() {
            Some(first) => Err(DataError::Refused(first.clone())),
            None => Ok(folder),
        }
    }

    /// The classes, by label. Images in the data set's own folder have none.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// What cannot be used: folders that cannot be read, names that are not UTF-8 (an id is).
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Every image, unlabelled ones first, then by label and name.
    pub fn files(&self) -> impl Iterator<Item = File> + '_ {
        let unlabelled = self.unlabelled.iter().map(|path| file("", path));
        let labelled = self.classes.iter().flat_map(Class::files);
        unlabelled.chain(labelled)
    }

    /// Images of all classes.
    #[must_use]
    pub fn labelled(&self) -> usize {
        self.classes.iter().map(|c| c.images.len()).sum()
    }
}

impl Class {
    /// Its images, with their ids.
    pub fn files(&self) -> impl Iterator<Item = File> + '_ {
        self.images.iter().map(|path| file(&self.label, path))
    }
}

fn file(label: &str, path: &Path) -> File {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let id = if label.is_empty() {
        name.into_owned()
    } else {
        format!("{label}/{name}")
    };
    File {
        id,
        label: label.to_owned(),
        path: path.to_owned(),
    }
}

fn is_image(path: &Path) -> bool {
    let known = ["png", "jpg", "jpeg", "pgm", "ppm", "pbm", "pnm"];
    path.extension()
        .is_some_and(|e| known.iter().any(|k| e.eq_ignore_ascii_case(k)))
}

/// A scan under way.
#[derive(Default)]
struct Scan {
    /// The real paths of the folders above, so that a link in a circle ends.
    above: HashSet<PathBuf>,
    /// Images by label.
    found: BTreeMap<String, Vec<PathBuf>>,
    refused: Vec<Refused>,
}

impl Scan {
    fn folder(&mut self, dir: &Path, label: &str) -> io::Result<()> {
        let real = fs::canonicalize(dir)?;
        if self.above.contains(&real) {
            return Ok(());
        }
        let entries = fs::read_dir(dir)?;
        self.above.insert(real.clone());
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(&entry.path(), label),
                Err(e) => self.refuse(dir, &e),
            }
        }
        self.above.remove(&real);
        Ok(())
    }

    fn entry(&mut self, path: &Path, label: &str) {
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".") {
            return;
        }
        let is_folder = match fs::metadata(path) {
            Ok(metadata) => metadata.is_dir(),
            Err(e) => {
                // A link that leads nowhere is of no concern unless it should be an image.
                if e.kind() != io::ErrorKind::NotFound || is_image(path) {
                    self.refuse(path, &e);
                }
                return;
            }
        };
        if !is_folder && !is_image(path) {
            return;
        }
        let Some(name) = name.to_str() else {
            return self.refuse(path, &"its name is not UTF-8");
        };
        if !is_folder {
            let images = self.found.entry(label.to_owned()).or_default();
            return images.push(path.to_owned());
        }
        let below = if label.is_empty() {
            name.to_owned()
        } else {
            format!("{label}/{name}")
        };
        if let Err(e) = self.folder(path, &below) {
            self.refuse(path, &e);
        }
    }

    fn refuse(&mut self, path: &Path, why: &dyn std::fmt::Display) {
        self.refused.push(Refused {
            path: path.display().to_string(),
            why: why.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_paths_of_folders() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "a/x/1.png",
            "a/x/2.JPG",
            "b/1.jpeg",
            ".hidden/1.png",
            "a/notes.txt",
            "top.png",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path(), dir.path().join("b/again")).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let labels: Vec<_> = folder
            .classes()
            .iter()
            .map(|c| (&*c.label, &*c.parent))
            .collect();
        assert_eq!(labels, [("a/x", "a"), ("b", "")]);
        let ids: Vec<_> = folder.files().map(|f| f.id).collect();
        assert_eq!(ids, ["top.png", "a/x/1.png", "a/x/2.JPG", "b/1.jpeg"]);
        assert_eq!((folder.labelled(), folder.refused()), (3, &[][..]));
        assert!(Folder::open(&dir.path().join("none")).is_err());
        fs::create_dir(dir.path().join("empty")).unwrap();
        assert!(matches!(
            Folder::open(&dir.path().join("empty")),
            Err(DataError::Empty(_))
        ));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_used_is_told_and_the_rest_is_there() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        // Two names that would be one id: the bytes that are not UTF-8 look alike.
        for name in [&b"\xff.png"[..], b"\xfe.png", b"good.png", b"\xff.txt"] {
            let name = std::ffi::OsStr::from_bytes(name);
            fs::write(dir.path().join("a").join(name), b"").unwrap();
        }
        // A folder whose path is too long to be read, by whomever.
        let deeper = "for i in $(seq 20); do mkdir $0 && cd -P ./$0 || exit 1; done";
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", deeper, &"x".repeat(250)])
            .current_dir(dir.path());
        assert!(shell.status().unwrap().success());

        let folder = Folder::open(dir.path()).unwrap();
        let ids: Vec<_> = folder.files().map(|f| f.id).collect();
        assert_eq!(ids, ["a/good.png"]);
        let why = |what: &str| {
            let refused = folder.refused().iter();
            refused.filter(|r| r.why.contains(what)).count()
        };
        assert_eq!((why("not UTF-8"), why("too long")), (2, 1));
        let whole = Folder::open_whole(dir.path());
        assert!(matches!(whole, Err(DataError::Refused(_))));
    }
}
