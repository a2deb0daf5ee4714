//! Names of things, each within its limits.

use super::Invalid;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest item id, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 256;
/// Longest label, in bytes of UTF-8.
pub const MAX_LABEL_BYTES: usize = 256;
/// Longest collection name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// An item's id: 1 to [`MAX_ID_BYTES`] bytes of UTF-8 without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemId(String);

/// The identity or class that an item is an example of: 1 to [`MAX_LABEL_BYTES`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Label(String);

/// A collection's name: 1 to [`MAX_NAME_BYTES`] of `a-z`, `0-9`, `-` and `_`, the first
/// one a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CollectionName(String);

fn text(field: &str, value: String, max: usize) -> Result<String, Invalid> {
    if value.is_empty() || value.len() > max {
        return Err(Invalid::new(
            field,
            format!("{} bytes", value.len()),
            format!("1 to {max} bytes of UTF-8 are allowed"),
        ));
    }
    if value.chars().any(char::is_control) {
        return Err(Invalid::new(
            field,
            format!("{value:?}"),
            "control characters are not allowed",
        ));
    }
    Ok(value)
}

impl ItemId {
    /// Parses a client's id.
    ///
    /// # Errors
    /// Empty, longer than [`MAX_ID_BYTES`], or with control characters.
    pub fn new(value: impl Into<String>) -> Result<Self, Invalid> {
        text("id", value.into(), MAX_ID_BYTES).map(Self)
    }
}

impl Label {
    /// Parses a label.
    ///
    /// # Errors
    /// Empty, longer than [`MAX_LABEL_BYTES`], or with control characters.
    pub fn new(value: impl Into<String>) -> Result<Self, Invalid> {
        text("label", value.into(), MAX_LABEL_BYTES).map(Self)
    }
}

impl CollectionName {
    /// Parses a collection's name.
    ///
    /// # Errors
    /// Empty, longer than [`MAX_NAME_BYTES`], or with a character outside `a-z0-9_-`.
    pub fn new(value: impl Into<String>) -> Result<Self, Invalid> {
        let value = text("collection", value.into(), MAX_NAME_BYTES)?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits =
            value.chars().all(|c| plain(c) || c == '-' || c == '_') && value.starts_with(plain);
        if fits {
            Ok(Self(value))
        } else {
            Err(Invalid::new(
                "collection",
                format!("{value:?}"),
                "a-z, 0-9, - and _ are allowed, the first a letter or digit",
            ))
        }
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    )*};
}
as_text!(ItemId, Label, CollectionName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_1_to_256_bytes_of_any_script() {
        assert!(ItemId::new("🦀 日本").is_ok());
        assert!(ItemId::new("x".repeat(256)).is_ok());
        assert!(ItemId::new("").is_err());
        assert_eq!(ItemId::new("x".repeat(257)).unwrap_err().was, "257 bytes");
        assert!(ItemId::new("a\0b").is_err());
    }

    #[test]
    fn collection_names_are_plain() {
        assert!(CollectionName::new("glyphs-2_x").is_ok());
        for bad in ["", "-a", "A", "a/b", "a b"] {
            assert!(CollectionName::new(bad).is_err(), "{bad:?}");
        }
    }
}
