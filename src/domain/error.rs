//! The one error of this room.

/// A value that cannot be accepted: which field, what it was, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {was}; {allowed}")]
pub struct Invalid {
    /// Path of the field, as the caller knows it (`item.id`).
    pub field: String,
    /// What was given, shortened (`257 bytes`).
    pub was: String,
    /// What is accepted (`1 to 256 bytes are allowed`).
    pub allowed: String,
}

impl Invalid {
    /// An error about `field`, which `was` something else than what is `allowed`.
    pub fn new(
        field: impl Into<String>,
        was: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            was: was.into(),
            allowed: allowed.into(),
        }
    }

    /// The same error, one level further out: `id` becomes `items[3].id`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}
