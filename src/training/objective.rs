//! What a training minimises, by the name that the field gives it.

use super::loss::Loss;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// A loss over the embeddings of a batch, and nothing else.
    Loss(Loss),
    /// Additive angular margin softmax (Deng et al. 2019): scale 16, margin 0.2 radians.
    ArcFace,
    /// A learned weighted-L1 head on pairs (Koch et al. 2015), the classic Siamese net.
    Koch,
    /// Two views of an image find each other among a batch (Chen et al. 2020).
    SimClr,
    /// A view finds the other, embedded by a slowly following tower, among a queue (He et al.
    /// 2020).
    MoCo,
    /// A view predicts what a slowly following tower sees in the other (Grill et al. 2020).
    Byol,
    /// A view predicts the other, which does not move (Chen and He 2021).
    SimSiam,
    /// Variance, invariance, covariance (Bardes et al. 2022).
    VicReg,
    /// Cross-correlation to identity (Zbontar et al. 2021).
    BarlowTwins,
}

impl Objective {
    /// All of them: those that need labels first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let labelled = Loss::ALL.into_iter().map(Self::Loss);
        let labelled = labelled.chain([Self::ArcFace, Self::Koch]);
        labelled.chain(Self::SELF_SUPERVISED).collect()
    }

    /// Those that learn without labels.
    pub const SELF_SUPERVISED: [Self; 6] = [
        Self::SimClr,
        Self::MoCo,
        Self::Byol,
        Self::SimSiam,
        Self::VicReg,
        Self::BarlowTwins,
    ];

    /// Whether it learns from views of single images, without labels.
    #[must_use]
    pub fn is_self_supervised(self) -> bool {
        Self::SELF_SUPERVISED.contains(&self)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss(loss) => loss.name(),
            Self::ArcFace => "arcface",
            Self::Koch => "koch",
            Self::SimClr => "simclr",
            Self::MoCo => "moco",
            Self::Byol => "byol",
            Self::SimSiam => "simsiam",
            Self::VicReg => "vicreg",
            Self::BarlowTwins => "barlow-twins",
        }
    }
}

impl Default for Objective {
    fn default() -> Self {
        Self::Loss(Loss::default())
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::all();
        let found = all.iter().find(|objective| objective.name() == text);
        found.copied().ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|o| o.name()).collect();
            format!("{text:?}; known are {}", known.join(", "))
        })
    }
}

impl Serialize for Objective {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Objective {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_understood_again() {
        for objective in Objective::all() {
            assert_eq!(objective.name().parse(), Ok(objective));
            let json = serde_json::to_string(&objective).unwrap();
            assert_eq!(serde_json::from_str::<Objective>(&json).unwrap(), objective);
        }
        let unknown = "contrast".parse::<Objective>().unwrap_err();
        assert!(unknown.contains("contrastive") && unknown.contains("byol"));
    }
}
