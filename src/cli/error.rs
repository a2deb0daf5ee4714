//! What a command failed of, in words, with a hint and an exit code.

use std::fmt;
use std::process::ExitCode;

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    text: String,
    hint: Option<String>,
    code: u8,
}

impl CliError {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
            code,
        }
    }

    /// It failed (1).
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(1, text)
    }

    /// What was asked for is not there (3).
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(3, text)
    }

    /// The server is not there, or too busy (4).
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::new(4, text)
    }

    /// The input cannot be accepted (5).
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(5, text)
    }

    /// It was done, but for a part (6).
    pub fn partial(text: impl Into<String>) -> Self {
        Self::new(6, text)
    }

    /// Figures are told, but images measured on were trained on (7).
    pub fn leakage(text: impl Into<String>) -> Self {
        Self::new(7, text)
    }

    /// It was interrupted (130).
    pub fn interrupted(text: impl Into<String>) -> Self {
        Self::new(130, text)
    }

    /// The same, with what to try.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to try.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The number behind [`CliError::exit_code`].
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
