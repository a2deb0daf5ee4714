//! What commands print: tables for people, or one JSON object.

use super::error::CliError;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
}

#[expect(
    clippy::unused_self,
    reason = "who prints has an output, whatever it is set to"
)]
impl Output {
    /// Output as asked for.
    #[must_use]
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether one JSON object is wanted.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether progress may be shown.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        !self.json && !self.quiet
    }

    /// Prints the object.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn json(&self, value: &Value) -> Result<(), CliError> {
        write(&format!("{value:#}\n"))
    }

    /// Prints a line.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn line(&self, text: &str) -> Result<(), CliError> {
        write(&format!("{text}\n"))
    }

    /// Prints a table, its columns aligned. The header is left out if it is all empty.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn table(&self, header: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
        let mut lines = Vec::with_capacity(rows.len() + 1);
        if header.iter().any(|h| !h.is_empty()) {
            lines.push(header.iter().map(|h| (*h).to_owned()).collect());
        }
        lines.extend(rows.iter().cloned());
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|l: &Vec<String>| l.get(column));
            cells.map(|c| c.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            let row = cells.collect::<Vec<_>>().join("  ");
            text.push_str(row.trim_end());
            text.push('\n');
        }
        write(&text)
    }

    /// Tells people something beside the result, on standard error.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Tells of a failure, on standard error.
    pub fn error(&self, error: &CliError) {
        let text = if self.json {
            json!({ "error": error.to_string(), "hint": error.hint(), "code": error.code() })
                .to_string()
        } else {
            let hint = error
                .hint()
                .map_or_else(String::new, |h| format!("\nhint: {h}"));
            format!("error: {error}{hint}")
        };
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// The word as a shell reads it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Writes to standard output; whoever stops reading has read enough.
fn write(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::failed(format!("writing to standard output: {e}")))
        }
        _ => Ok(()),
    }
}
