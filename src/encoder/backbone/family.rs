//! The families of backbones, and how each is told from the tensors in a file.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// A family of backbones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Residual nets of 18 to 152 layers (He et al. 2016): the mean over all places before the
    /// last layer.
    Resnet,
    /// `DINOv2`, of 14 x 14 patches (Oquab et al. 2023): the class token.
    #[serde(rename = "dinov2")]
    DinoV2,
    /// CLIP's vision transformer (Radford et al. 2021): the image's side of the pair.
    Clip,
    /// `SigLIP`'s vision transformer (Zhai et al. 2023): the image's side of the pair.
    #[serde(rename = "siglip")]
    SigLip,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Resnet, Self::DinoV2, Self::Clip, Self::SigLip];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet => "resnet",
            Self::DinoV2 => "dinov2",
            Self::Clip => "clip",
            Self::SigLip => "siglip",
        }
    }

    /// A tensor that every file of the family has and no other.
    #[must_use]
    pub fn mark(self) -> &'static str {
        match self {
            Self::Resnet => "layer1.0.conv1.weight",
            Self::DinoV2 => "blocks.0.ls1.gamma",
            Self::Clip => "vision_model.embeddings.class_embedding",
            Self::SigLip => "vision_model.head.probe",
        }
    }

    /// The family of a file with these tensors.
    #[must_use]
    pub fn of(tensors: &HashMap<String, Tensor>) -> Option<Self> {
        let all = Self::ALL.into_iter();
        all.into_iter().find(|f| tensors.contains_key(f.mark()))
    }

    /// Mean and deviation of red, green and blue in 0..=1 that it was trained with.
    #[must_use]
    pub fn colours(self) -> [[f32; 3]; 2] {
        match self {
            Self::Resnet | Self::DinoV2 => [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]],
            Self::Clip => [
                [0.481_454_7, 0.457_827_5, 0.408_210_7],
                [0.268_629_5, 0.261_302_6, 0.275_777_1],
            ],
            Self::SigLip => [[0.5; 3]; 2],
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
