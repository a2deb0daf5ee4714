//! `twindex eval leakage`: test images that are among the training images.

use super::data::files;
use super::figures::Found;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::progress::Bar;
use crate::cli::report::{Gallery, Pair, Section};
use crate::encoder::ImageLimits;
use crate::training::dataset::Folder;
use crate::training::evaluate::EvalError;
use crate::training::evaluate::leakage::{self, Leak};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Pairs told in words, and shown in a report.
const SHOWN: usize = 20;

/// Options of `eval leakage`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder that an encoder was trained on, …/LABEL/image.png at any depth
    #[arg(long, value_name = "DIR")]
    train: PathBuf,
    /// Folder that it is to be measured on
    #[arg(long, value_name = "DIR")]
    test: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Images that cannot be read; and leakage, once it is told.
pub fn run(args: &Args, out: &Output) -> Result<(), CliError> {
    let test = Folder::open_whole(&args.test).map_err(EvalError::from)?;
    let checked = Checked::new(&args.train, files(&test), &ImageLimits::default(), out)?;
    if out.is_json() {
        out.json(&checked.json())?;
    } else {
        for line in checked.words() {
            out.line(&line)?;
        }
    }
    checked.verdict()
}

/// What the guard found.
pub struct Checked {
    train: PathBuf,
    trained: usize,
    tested: usize,
    leaks: Vec<Leak>,
}

impl Checked {
    /// Looks for the test images among those of a folder.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn new(
        train: &Path,
        mut test: Vec<PathBuf>,
        limits: &ImageLimits,
        out: &Output,
    ) -> Result<Self, CliError> {
        let folder = Folder::open_whole(train).map_err(EvalError::from)?;
        let images = files(&folder);
        // A file may take part in several runs.
        test.sort();
        test.dedup();
        let all = images.len() + test.len();
        let bar = Bar::new(out, "looking for leakage", all as u64);
        let leaks = leakage::find(&images, &test, limits, &|n| bar.add(n as u64))?;
        bar.finish();
        Ok(Self {
            train: train.to_owned(),
            trained: images.len(),
            tested: test.len(),
            leaks,
        })
    }

    fn identical(&self) -> usize {
        self.leaks
            .iter()
            .filter(|l| l.correlation.is_none())
            .count()
    }

    pub fn json(&self) -> Value {
        let pair = |leak: &Leak| {
            json!({
                "test": leak.test.display().to_string(),
                "train": leak.train.display().to_string(),
                "kind": if leak.correlation.is_none() { "identical" } else { "near" },
                "correlation": leak.correlation.unwrap_or(1.0),
            })
        };
        json!({
            "train": self.train.display().to_string(),
            "train_images": self.trained,
            "test_images": self.tested,
            "identical": self.identical(),
            "near": self.leaks.len() - self.identical(),
            "pairs": self.leaks.iter().map(pair).collect::<Value>(),
        })
    }

    /// In one sentence.
    pub fn sentence(&self) -> String {
        let (all, identical) = (self.leaks.len(), self.identical());
        let train = self.train.display();
        if all == 0 {
            return format!(
                "none of the {} images measured on is among the {} of {train}",
                self.tested, self.trained
            );
        }
        format!(
            "LEAKAGE: {all} of the {} images measured on are among the {} of {train} \
             ({identical} identical, {} nearly): the figures flatter the encoder",
            self.tested,
            self.trained,
            all - identical
        )
    }

    /// The sentence, and the first pairs.
    pub fn words(&self) -> Vec<String> {
        let mut lines = vec![self.sentence()];
        lines.extend(self.leaks.iter().take(SHOWN).map(|leak| {
            let (test, train) = (leak.test.display(), leak.train.display());
            match leak.correlation {
                None => format!("  {test} is {train}"),
                Some(c) => format!("  {test} is nearly {train} (correlation {c:.3})"),
            }
        }));
        if self.leaks.len() > SHOWN {
            let more = self.leaks.len() - SHOWN;
            lines.push(format!("  and {more} more; --json tells all"));
        }
        lines
    }

    /// Adds what was found to the figures.
    pub fn tell(&self, found: &mut Found) {
        found.member("leakage", self.json());
        if self.leaks.is_empty() {
            return found.row("leakage", self.sentence());
        }
        let pair = |leak: &Leak| Pair {
            pictures: [&leak.test, &leak.train].map(|f| (f.clone(), f.display().to_string())),
            text: leak.correlation.map_or_else(
                || "identical".to_owned(),
                |c| format!("nearly: correlation {c:.3}"),
            ),
        };
        let gallery = Gallery {
            title: "Leakage".into(),
            note: "Left an image measured on, right the image trained on.".into(),
            pairs: self.leaks.iter().take(SHOWN).map(pair).collect(),
        };
        found.sections.insert(0, Section::Pairs(gallery));
    }

    pub fn is_clean(&self) -> bool {
        self.leaks.is_empty()
    }

    /// An error if there is leakage: whoever asks for the exit code is to hear of it.
    ///
    /// # Errors
    /// There is.
    pub fn verdict(&self) -> Result<(), CliError> {
        if self.leaks.is_empty() {
            return Ok(());
        }
        Err(CliError::leakage(self.sentence()).with_hint("take these images out of the test data"))
    }
}
