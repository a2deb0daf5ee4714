//! Families of towers, and what goes into them, by name.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A family of towers. Each begins by folding squares of the image into channels
/// (space-to-depth) and normalises every convolution over the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// Three stages of two 3x3 convolutions and 2x2 max pooling (Simonyan and Zisserman
    /// 2015); what is left is fully connected, so that places stay apart: for glyphs.
    #[default]
    #[serde(rename = "s2d-s")]
    S2dS,
    /// As `s2d-s`, wider.
    #[serde(rename = "s2d-m")]
    S2dM,
    /// As `s2d-m`, without the last pooling: four times as many places are kept apart.
    #[serde(rename = "s2d-l")]
    S2dL,
    /// Three stages of one residual unit (He et al. 2016), averaged over all places.
    #[serde(rename = "resnet-s")]
    ResnetS,
    /// As `resnet-s`, wider, two units a stage.
    #[serde(rename = "resnet-m")]
    ResnetM,
    /// A head on a ready-made backbone, which does not learn.
    Backbone,
    /// Such a head while it learns: it sees what the backbone saw.
    Head,
}

impl Architecture {
    /// All towers of our own, small to large.
    pub const ALL: [Self; 5] = [
        Self::S2dS,
        Self::S2dM,
        Self::S2dL,
        Self::ResnetS,
        Self::ResnetM,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::S2dS => "s2d-s",
            Self::S2dM => "s2d-m",
            Self::S2dL => "s2d-l",
            Self::ResnetS => "resnet-s",
            Self::ResnetM => "resnet-m",
            Self::Backbone => "backbone",
            Self::Head => "head",
        }
    }

    /// Whether it stands on a ready-made backbone.
    #[must_use]
    pub fn has_backbone(self) -> bool {
        matches!(self, Self::Backbone | Self::Head)
    }

    /// Channels of the three stages, unless a plan says otherwise.
    #[must_use]
    pub fn widths(self) -> [usize; 3] {
        match self {
            Self::S2dS => [64, 96, 128],
            Self::S2dM | Self::S2dL => [64, 128, 256],
            Self::ResnetS => [32, 64, 128],
            Self::ResnetM => [48, 96, 192],
            Self::Backbone | Self::Head => [0; 3],
        }
    }

    /// Residual units of a stage; none where stages are plain.
    pub(super) fn units(self) -> usize {
        match self {
            Self::S2dS | Self::S2dM | Self::S2dL | Self::Backbone | Self::Head => 0,
            Self::ResnetS => 1,
            Self::ResnetM => 2,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter().chain([Self::Backbone]);
        all.find(|a| a.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("{text:?}; known are {known}, backbone")
        })
    }
}

/// How pixels become numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// Ink on nothing: for glyphs and signatures. One channel.
    #[default]
    Ink,
    /// As `ink`, the square around it cut out: for single characters, wherever on the page
    /// they stand and however large they are drawn. One channel.
    Glyph,
    /// Grey, brightness and contrast made even: for faces and medical images. One channel.
    Grey,
    /// Red, green and blue: for photographs. Three channels.
    Colour,
}

impl Input {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ink, Self::Glyph, Self::Grey, Self::Colour];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ink => "ink",
            Self::Glyph => "glyph",
            Self::Grey => "grey",
            Self::Colour => "colour",
        }
    }

    /// Numbers of a place.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Ink | Self::Glyph | Self::Grey => 1,
            Self::Colour => 3,
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|a| a.name() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("{text:?}; known are {known}")
        })
    }
}
