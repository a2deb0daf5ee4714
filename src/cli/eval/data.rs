//! The data that is measured on, and sections of a report that show it.

use super::Setting;
use super::figures::{Found, percent};
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::report::{Gallery, Pair, Section, Table};
use crate::encoder::Encoder;
use crate::training::dataset::Folder;
use crate::training::evaluate::pairs::Place;
use crate::training::evaluate::stats::Rate;
use crate::training::evaluate::tally::Tally;
use crate::training::evaluate::{Embedded, EvalError, embed_folder, fingerprint};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Pairs of pictures in a report, of each kind.
pub const PAIRS: usize = 24;

/// A folder, and what the encoder makes of it.
pub struct Data {
    pub folder: Folder,
    pub classes: Vec<Embedded>,
}

impl Data {
    /// Opens and embeds a folder.
    ///
    /// # Errors
    /// Something in it cannot be read.
    pub fn open(setting: &Setting, dir: &Path) -> Result<Self, CliError> {
        let folder = Folder::open_whole(dir).map_err(EvalError::from)?;
        let classes = embedded(setting, setting.encoder, &folder)?;
        Ok(Self { folder, classes })
    }

    /// Its images.
    pub fn files(&self) -> Vec<PathBuf> {
        files(&self.folder)
    }

    /// Tells what was measured on.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn describe(&self, dir: &Path, found: &mut Found) -> Result<(), CliError> {
        let (classes, images) = (self.classes.len(), self.folder.labelled());
        let hash = fingerprint(&self.folder)?;
        found.row(
            "data",
            format!(
                "{}: {classes} classes, {images} images, {hash}",
                dir.display()
            ),
        );
        let data = json!({
            "path": dir.display().to_string(), "classes": classes, "images": images,
            "fingerprint": hash,
        });
        found.member("data", data);
        Ok(())
    }

    pub fn label(&self, class: u32) -> &str {
        &self.folder.classes()[class as usize].label
    }

    /// Two images, for a report.
    pub fn pair(&self, places: [Place; 2], text: String) -> Pair {
        let picture = |place: Place| {
            let class = &self.folder.classes()[place.class as usize];
            let file = class.images[place.image as usize].clone();
            let caption = format!("{} ({})", class.label, name(&file));
            (file, caption)
        };
        Pair {
            pictures: places.map(picture),
            text,
        }
    }

    /// Who errs how often and is taken for whom: a table of the classes, one of confusions,
    /// and pictures of them.
    pub fn sections(&self, tally: &Tally) -> Vec<Section> {
        let confusions = tally.worst();
        let named = |((a, b), times): ((u32, u32), u64)| {
            vec![
                self.label(a).to_owned(),
                self.label(b).to_owned(),
                times.to_string(),
            ]
        };
        let counted = confusions.iter().map(|(who, c)| (*who, c.times));
        let shown = confusions.iter().take(PAIRS).map(|((_, _), confusion)| {
            let worst = &confusion.worst;
            let text = format!(
                "{} times; here similarity {:.3}, and {:.3} to the right one",
                confusion.times, worst.rival.1, worst.right.1
            );
            self.pair([worst.probe, worst.rival.0], text)
        });
        vec![
            Section::Pairs(Gallery {
                title: "Worst confusions".into(),
                note: "Left the probe, right the example of another class that it was nearest \
                       to; the most frequent confusions first, each by its clearest case."
                    .into(),
                pairs: shown.collect(),
            }),
            Section::Table(Table {
                title: "Confusions".into(),
                note: "The most frequent ones.".into(),
                header: vec!["class", "taken for", "times"],
                rows: counted.take(2 * PAIRS).map(named).collect(),
            }),
            Section::Table(Table {
                title: "Classes".into(),
                note: "By their errors; intervals by Wilson, as if trials were independent.".into(),
                header: vec!["class", "error", "95 % within", "errors", "trials"],
                rows: self.by_error(&tally.classes),
            }),
        ]
    }

    fn by_error(&self, rates: &[Rate]) -> Vec<Vec<String>> {
        let mut classes: Vec<(u32, &Rate)> = (0..).zip(rates).collect();
        classes.retain(|(_, rate)| rate.trials > 0);
        classes.sort_by(|(a, x), (b, y)| y.rate().total_cmp(&x.rate()).then(a.cmp(b)));
        let row = |(class, rate): &(u32, &Rate)| {
            let (low, high) = rate.ci95();
            vec![
                self.label(*class).to_owned(),
                percent(rate.rate()),
                format!("{} to {}", percent(low), percent(high)),
                rate.errors.to_string(),
                rate.trials.to_string(),
            ]
        };
        classes.iter().map(row).collect()
    }
}

/// A file's name, for people.
pub fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The images of a folder's classes.
pub fn files(folder: &Folder) -> Vec<PathBuf> {
    let images = folder.classes().iter().flat_map(|class| &class.images);
    images.cloned().collect()
}

/// Embeds a folder and shows how far it came.
///
/// # Errors
/// As [`embed_folder`].
pub fn embedded(
    setting: &Setting,
    encoder: &Encoder,
    folder: &Folder,
) -> Result<Vec<Embedded>, CliError> {
    let bar = Bar::new(setting.out, "embedding", folder.labelled() as u64);
    let classes = embed_folder(encoder, folder, setting.views, &|n| bar.add(n as u64))?;
    bar.finish();
    Ok(classes)
}
