//! Recipes: all that a training needs to know beside the data, by name or from a file.

use super::TrainError;
use super::augment::Augmentation;
use super::objective::Objective;
use super::optim::Method;
use super::sampler::Sampling;
use crate::encoder::backbone::BackboneId;
use crate::encoder::{Architecture, Input, Plan};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How to train for one kind of pictures. As JSON, a file that `--recipe` takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub purpose: String,
    /// The tower's family.
    pub architecture: Architecture,
    /// Channels of the tower's three stages; by default the architecture's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widths: Option<[usize; 3]>,
    /// How pixels become numbers.
    pub input: Input,
    /// Rows and columns that the tower sees, 24 to 224.
    pub side: usize,
    /// Dimensions of the embedding.
    pub dim: usize,
    /// The side of the squares of pixels that are folded into channels, 1 to 8, of which `side`
    /// is a multiple; by default 2, beyond 112 pixels 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// The ready-made net that a head is learnt for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneId>,
    /// What is minimised.
    pub objective: Objective,
    /// What supcon, ntxent, prototypical, simclr and moco divide cosines by, 0.01 to 1: the
    /// smaller, the more the nearest strangers count.
    #[serde(default = "usual_temperature")]
    pub temperature: f32,
    /// Whether the eight turned and mirrored copies of a class count as classes of their own.
    pub turns: bool,
    /// Classes of a batch, 2 to 1,024; fewer where the data have fewer.
    pub classes: usize,
    /// Images of each class of a batch, 2 to 64.
    pub images: usize,
    /// How the classes of a batch are chosen.
    #[serde(default)]
    pub sampling: Sampling,
    /// How matrices learn.
    #[serde(default)]
    pub optimiser: Method,
    /// Largest learning rate, above 0 up to 1.
    pub rate: f32,
    /// The longest gradient; longer ones are shortened to it. Above 0.
    #[serde(default = "usual_clip")]
    pub clip: f32,
    /// How much of itself the running average of the weights keeps a step, 0 up to but not
    /// including 1; the average is what is written (Polyak and Juditsky 1992).
    #[serde(default = "usual_average")]
    pub average: f32,
    /// How pictures vary.
    pub augmentation: Augmentation,
}

fn usual_temperature() -> f32 {
    0.1
}

fn usual_clip() -> f32 {
    10.0
}

fn usual_average() -> f32 {
    0.99
}

const BUILT_IN: [&str; 5] = [
    include_str!("recipes/glyphs.json"),
    include_str!("recipes/photographs.json"),
    include_str!("recipes/faces.json"),
    include_str!("recipes/signatures.json"),
    include_str!("recipes/medical.json"),
];

impl Recipe {
    /// Those that are part of the program.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let parsed = BUILT_IN.iter().map(|text| serde_json::from_str(text));
        // A test parses each of them.
        parsed.filter_map(Result::ok).collect()
    }

    /// The one of this name that is part of the program.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|recipe| recipe.name == name)
    }

    /// The recipe of this name, or else the one in this file.
    ///
    /// # Errors
    /// Neither is there, or the file's is none.
    pub fn find(name: &str) -> Result<Self, TrainError> {
        if let Some(recipe) = Self::named(name) {
            return Ok(recipe);
        }
        let path = Path::new(name);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let known: Vec<String> = Self::all().into_iter().map(|r| r.name).collect();
                return Err(refuse(
                    name.to_owned(),
                    format!("a file, or one of {} is needed", known.join(", ")),
                ));
            }
            Err(e) => return Err(TrainError::io(path, e)),
        };
        let recipe: Self = serde_json::from_str(&text)
            .map_err(|e| refuse(name.to_owned(), format!("not a recipe: {e}")))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The tower's shape.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan {
            architecture: self.architecture,
            widths: self.widths.unwrap_or_else(|| self.architecture.widths()),
            input: self.input,
            side: self.side,
            dim: self.dim,
            fold: self.fold,
            backbone: self.backbone,
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Something is out of range.
    pub fn check(&self) -> Result<(), TrainError> {
        self.plan().check()?;
        if self.architecture == Architecture::Backbone {
            let allowed = "a tower's is needed; --backbone FILE learns a head";
            return Err(refuse("architecture: backbone".into(), allowed.into()));
        }
        if self.backbone.is_some() && (self.turns || self.objective.is_self_supervised()) {
            let was = format!("objective: {}, turns: {}", self.objective, self.turns);
            let allowed = "a head on a backbone learns from labels, of images as they are";
            return Err(refuse(was, allowed.into()));
        }
        if !(2..=1024).contains(&self.classes) {
            let was = format!("classes: {}", self.classes);
            return Err(refuse(was, "2 to 1024 are allowed".into()));
        }
        if !(2..=64).contains(&self.images) {
            let was = format!("images: {}", self.images);
            return Err(refuse(was, "2 to 64 are allowed".into()));
        }
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            let was = format!("rate: {}", self.rate);
            return Err(refuse(was, "above 0 up to 1 is allowed".into()));
        }
        if !(0.01..=1.0).contains(&self.temperature) {
            let was = format!("temperature: {}", self.temperature);
            return Err(refuse(was, "0.01 to 1 is allowed".into()));
        }
        if self.clip.is_nan() || self.clip <= 0.0 {
            let was = format!("clip: {}", self.clip);
            return Err(refuse(was, "above 0 is allowed".into()));
        }
        if !(0.0..1.0).contains(&self.average) {
            let was = format!("average: {}", self.average);
            return Err(refuse(was, "0 up to but not including 1 is allowed".into()));
        }
        self.augmentation.check().map_err(|(field, was, most)| {
            let was = format!("augmentation.{field}: {was}");
            refuse(was, format!("0 to {most} is allowed"))
        })
    }

    /// As a file would have it.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Default for Recipe {
    /// That for glyphs.
    fn default() -> Self {
        let glyphs = serde_json::from_str(BUILT_IN[0]);
        glyphs.unwrap_or_else(|_| Self {
            name: "plain".into(),
            purpose: String::new(),
            architecture: Architecture::default(),
            widths: None,
            input: Input::default(),
            side: 32,
            dim: 64,
            fold: None,
            backbone: None,
            objective: Objective::default(),
            temperature: usual_temperature(),
            turns: false,
            classes: 64,
            images: 4,
            sampling: Sampling::default(),
            optimiser: Method::default(),
            rate: 2e-3,
            clip: usual_clip(),
            average: usual_average(),
            augmentation: Augmentation::default(),
        })
    }
}

fn refuse(was: String, allowed: String) -> TrainError {
    TrainError::Option {
        field: "recipe",
        was,
        allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_of_ours_is_one() {
        let all = Recipe::all();
        assert_eq!(all.len(), BUILT_IN.len());
        for recipe in all {
            recipe.check().unwrap();
            assert!(!recipe.purpose.is_empty());
            let again = serde_json::from_str::<Recipe>(&recipe.to_json()).unwrap();
            assert_eq!(again, recipe);
            assert_eq!(Recipe::find(&recipe.name).unwrap(), recipe);
        }
        assert_eq!(Recipe::default().name, "glyphs");
    }

    #[test]
    fn what_is_wrong_with_a_recipe_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let wrong = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = serde_json::to_value(Recipe::default()).unwrap();
            change(&mut value);
            let path = dir.path().join("recipe.json");
            std::fs::write(&path, value.to_string()).unwrap();
            Recipe::find(path.to_str().unwrap())
                .unwrap_err()
                .to_string()
        };
        assert!(wrong(&|r| r["side"] = 34.into()).contains("plan.side: 34"));
        assert!(wrong(&|r| r["augmentation"]["crop"] = 2.into()).contains("augmentation.crop: 2"));
        assert!(wrong(&|r| r["rotaton"] = 2.into()).contains("rotaton"));
        assert!(wrong(&|r| r["temperature"] = 0.into()).contains("temperature: 0"));
        assert!(wrong(&|r| r["images"] = 1.into()).contains("images: 1"));
        let none = Recipe::find("no-such").unwrap_err().to_string();
        assert!(none.contains("glyphs, photographs"), "{none}");
    }
}
