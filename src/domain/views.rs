//! Test-time views: which transforms of an image are embedded.

use super::Invalid;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Most views of an image.
pub const MAX_VIEWS: u8 = 32;

/// So many views, or the so-manieth one: 1..=[`MAX_VIEWS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ViewNumber(u8);

impl ViewNumber {
    /// One view, or the first: the image itself.
    pub const ONE: Self = Self(1);

    /// Checks a number.
    ///
    /// # Errors
    /// Not in range; `field` is where it stood.
    pub fn new(field: &str, number: u32) -> Result<Self, Invalid> {
        match u8::try_from(number) {
            Ok(number @ 1..=MAX_VIEWS) => Ok(Self(number)),
            _ => Err(Invalid::new(
                field,
                number.to_string(),
                format!("1 to {MAX_VIEWS} are allowed"),
            )),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for ViewNumber {
    fn default() -> Self {
        Self::ONE
    }
}

impl TryFrom<u32> for ViewNumber {
    type Error = Invalid;

    fn try_from(number: u32) -> Result<Self, Invalid> {
        Self::new("views", number)
    }
}

impl From<ViewNumber> for u32 {
    fn from(number: ViewNumber) -> Self {
        Self::from(number.0)
    }
}

/// Which views of an image make its vector. The first view is the image itself, the others are
/// slight transforms of it, the same ones for every image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Views {
    /// The mean of the first ones.
    Mean(ViewNumber),
    /// A single one.
    Only(ViewNumber),
}

impl Views {
    /// The image itself.
    pub const ONE: Self = Self::Mean(ViewNumber::ONE);

    /// Their numbers, ascending, from 1.
    #[must_use]
    pub fn numbers(self) -> RangeInclusive<u8> {
        match self {
            Self::Mean(ViewNumber(last)) => 1..=last,
            Self::Only(ViewNumber(one)) => one..=one,
        }
    }

    /// How many they are: as many times the encoder works.
    #[must_use]
    pub fn count(self) -> usize {
        self.numbers().len()
    }

    /// Whether the image itself is one of them.
    #[must_use]
    pub fn with_image_itself(self) -> bool {
        *self.numbers().start() == 1
    }
}

impl Default for Views {
    fn default() -> Self {
        Self::ONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_32_views_and_no_others() {
        for bad in [0, 33, 256, 257, u32::MAX] {
            let told = ViewNumber::new("probe.views", bad).unwrap_err().to_string();
            assert_eq!(told, format!("probe.views: {bad}; 1 to 32 are allowed"));
            assert!(serde_json::from_str::<ViewNumber>(&bad.to_string()).is_err());
        }
        for good in 1..=32 {
            let number = ViewNumber::new("views", good).unwrap();
            let text = serde_json::to_string(&number).unwrap();
            assert_eq!(text, good.to_string());
            assert_eq!(serde_json::from_str::<ViewNumber>(&text).unwrap(), number);
            let (mean, only) = (Views::Mean(number), Views::Only(number));
            assert_eq!((mean.count(), only.count()), (good as usize, 1));
            assert!(mean.with_image_itself());
            assert_eq!(only.with_image_itself(), good == 1);
        }
    }
}
