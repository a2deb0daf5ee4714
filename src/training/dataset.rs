//! A folder of labelled images: `…/LABEL/image.png`, at any depth.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

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
    #[error("{0} holds no images: PNG or JPEG files in a folder for each label are expected")]
    Empty(PathBuf),
}

/// The images of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Path of the images' folder below the data set, with `/` between.
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

/// A data set on disk.
#[derive(Debug, Clone)]
pub struct Folder {
    classes: Vec<Class>,
}

impl Folder {
    /// Lists the PNG and JPEG files below `dir`, hidden ones aside.
    ///
    /// # Errors
    /// A folder that cannot be read, or no image at all.
    pub fn open(dir: &Path) -> Result<Self, DataError> {
        let mut found = BTreeMap::new();
        scan(dir, "", &mut HashSet::new(), &mut found)?;
        if found.is_empty() {
            return Err(DataError::Empty(dir.to_owned()));
        }
        let classes = found.into_iter().map(|(label, mut images)| {
            images.sort();
            let parent = label.rsplit_once('/').map_or("", |(p, _)| p).to_owned();
            Class {
                label,
                parent,
                images,
            }
        });
        Ok(Self {
            classes: classes.collect(),
        })
    }

    /// The classes, by label.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Every image, by label and name.
    pub fn files(&self) -> impl Iterator<Item = File> + '_ {
        self.classes.iter().flat_map(|class| {
            class.images.iter().map(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let id = if class.label.is_empty() {
                    name.into_owned()
                } else {
                    format!("{}/{name}", class.label)
                };
                File {
                    id,
                    label: class.label.clone(),
                    path: path.clone(),
                }
            })
        })
    }

    /// Images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.iter().map(|c| c.images.len()).sum()
    }

    /// Never: a folder without images is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

fn is_image(path: &Path) -> bool {
    let known = ["png", "jpg", "jpeg"];
    path.extension()
        .is_some_and(|e| known.iter().any(|k| e.eq_ignore_ascii_case(k)))
}

/// `seen` holds the real paths of the folders above, so that a link in a circle ends.
fn scan(
    dir: &Path,
    label: &str,
    seen: &mut HashSet<PathBuf>,
    found: &mut BTreeMap<String, Vec<PathBuf>>,
) -> Result<(), DataError> {
    let failed = |source| DataError::Read {
        path: dir.to_owned(),
        source,
    };
    let real = fs::canonicalize(dir).map_err(failed)?;
    if !seen.insert(real.clone()) {
        return Ok(());
    }
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            let below = if label.is_empty() {
                name
            } else {
                format!("{label}/{name}")
            };
            scan(&path, &below, seen, found)?;
        } else if is_image(&path) {
            found.entry(label.to_owned()).or_default().push(path);
        }
    }
    seen.remove(&real);
    Ok(())
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
        assert_eq!(labels, [("", ""), ("a/x", "a"), ("b", "")]);
        let ids: Vec<_> = folder.files().map(|f| f.id).collect();
        assert_eq!(ids, ["top.png", "a/x/1.png", "a/x/2.JPG", "b/1.jpeg"]);
        assert!(Folder::open(&dir.path().join("none")).is_err());
        fs::create_dir(dir.path().join("empty")).unwrap();
        assert!(matches!(
            Folder::open(&dir.path().join("empty")),
            Err(DataError::Empty(_))
        ));
    }
}
