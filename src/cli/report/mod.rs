//! A report of one HTML file that opens offline: style, charts and pictures lie within it.

mod chart;
mod page;

pub use chart::{Axis, Chart, Series};

use super::error::CliError;
use crate::encoder::{ImageLimits, thumbnail};
use base64::Engine;
use std::path::{Path, PathBuf};

/// Side of a picture, in pixels.
const SIDE: u32 = 105;

/// What stands in a report, from top to bottom.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Its heading.
    pub title: String,
    /// What a reader must know before any figure.
    pub warnings: Vec<String>,
    /// How it came to be: a name and a value.
    pub setting: Vec<(String, String)>,
    /// Tables, charts and pictures.
    pub sections: Vec<Section>,
}

/// A part of a report.
#[derive(Debug, Clone)]
pub enum Section {
    /// Rows of text.
    Table(Table),
    /// Curves.
    Chart(Chart),
    /// Pairs of pictures.
    Pairs(Gallery),
}

/// Rows of text.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Its heading.
    pub title: String,
    /// What to know of it; may be empty.
    pub note: String,
    /// Names of the columns; none if empty.
    pub header: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// Pairs of pictures.
#[derive(Debug, Clone, Default)]
pub struct Gallery {
    /// Its heading.
    pub title: String,
    /// What to know of it; may be empty.
    pub note: String,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

/// Two pictures beside one another.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Their files, and what each is.
    pub pictures: [(PathBuf, String); 2],
    /// What is told of them.
    pub text: String,
}

impl Report {
    /// Writes it.
    ///
    /// # Errors
    /// A picture cannot be read, or the file not be written.
    pub fn write(&self, file: &Path, limits: &ImageLimits) -> Result<(), CliError> {
        let picture = |path: &Path| {
            let failed = |why: &dyn std::fmt::Display| {
                CliError::failed(format!("reading {}: {why}", path.display()))
            };
            let bytes = std::fs::read(path).map_err(|e| failed(&e))?;
            let png = thumbnail(&bytes, limits, SIDE).map_err(|e| failed(&e))?;
            let text = base64::prelude::BASE64_STANDARD.encode(png);
            Ok::<_, CliError>(format!("data:image/png;base64,{text}"))
        };
        let html = page::html(self, &picture)?;
        write(file, html.as_bytes())
    }
}

/// Writes a file, and says which if that fails.
///
/// # Errors
/// It cannot be written.
pub fn write(file: &Path, bytes: &[u8]) -> Result<(), CliError> {
    std::fs::write(file, bytes)
        .map_err(|e| CliError::failed(format!("writing {}: {e}", file.display())))
}

/// Text as HTML and SVG take it, within quotes as well.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Neither may stand in a document; a folder's name may hold them.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
