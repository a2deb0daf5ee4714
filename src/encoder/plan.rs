//! The shape of a tower: its architecture, what goes in, its steps, what comes out.

use super::backbone::BackboneId;
use super::conv::Size;
use super::{Architecture, Error, Input};
use serde::{Deserialize, Serialize};

/// The shape of a tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The family.
    #[serde(default)]
    pub architecture: Architecture,
    /// Channels of its three stages.
    pub widths: [usize; 3],
    /// How pixels become numbers.
    #[serde(default)]
    pub input: Input,
    /// Rows and columns of the image that the tower sees, a multiple of the fold.
    #[serde(default = "usual_side")]
    pub side: usize,
    /// Dimensions of the embedding.
    pub dim: usize,
    /// The side of the squares that are folded into channels; by default 2, beyond 112 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// The ready-made net that it stands on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneId>,
}

fn usual_side() -> usize {
    32
}

impl Default for Plan {
    fn default() -> Self {
        Self::of(Architecture::default())
    }
}

/// A convolution with its normalisation, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What goes in: 0 is the folded image, `i` what the `i - 1`-th step gave.
    pub input: usize,
    /// The convolution.
    pub size: Size,
    /// What is added to the normalised values, counted as `input` is; of the same shape.
    pub add: Option<usize>,
    /// Whether what is negative becomes 0.
    pub relu: bool,
    /// Whether the largest of each 2x2 is taken, an odd last row or column left out. Only
    /// with `relu`, and without `add`.
    pub pool: bool,
}

impl Step {
    /// Rows and columns that come out.
    #[must_use]
    pub fn out(&self) -> (usize, usize) {
        let (rows, columns) = self.size.out();
        let by = if self.pool { 2 } else { 1 };
        (rows / by, columns / by)
    }

    /// Numbers of an image that comes out.
    #[must_use]
    pub fn output(&self) -> usize {
        let (rows, columns) = self.out();
        rows * columns * self.size.to
    }

    /// Whether it takes the value counted `at`.
    #[must_use]
    pub fn asks_for(&self, at: usize) -> bool {
        self.input == at || self.add == Some(at)
    }
}

impl Plan {
    /// Most channels of a stage.
    pub const MAX_WIDTH: usize = 512;
    /// Most dimensions of an embedding.
    pub const MAX_DIM: usize = 1024;
    /// Largest side of the squares that are folded into channels.
    pub const MAX_FOLD: usize = 8;
    /// Fewest rows and columns.
    pub const MIN_SIDE: usize = 24;
    /// Most rows and columns.
    pub const MAX_SIDE: usize = 224;
    /// Most rows and columns that a backbone sees.
    pub const MAX_BACKBONE_SIDE: usize = 518;
    /// Most numbers that a step gives for an image: what a batch of them takes stays bounded.
    pub const MAX_STEP: usize = 2 << 20;
    /// Most numbers that a backbone gives for an image.
    pub const MAX_FEATURES: usize = 4096;

    /// The usual plan of an architecture: 32 x 32 ink to 64 dimensions.
    #[must_use]
    pub fn of(architecture: Architecture) -> Self {
        Self {
            architecture,
            widths: architecture.widths(),
            input: Input::default(),
            side: usual_side(),
            dim: 64,
            fold: None,
            backbone: None,
        }
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// A width, side or dimension that is zero or beyond the limit, or a side that cannot be
    /// folded.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, was: usize, allowed: String| {
            Err(Error::Card(format!(
                "plan.{field}: {was}; {allowed} are allowed"
            )))
        };
        if !(1..=Self::MAX_DIM).contains(&self.dim) {
            return refuse("dim", self.dim, format!("1 to {}", Self::MAX_DIM));
        }
        if let Some(backbone) = self.standing_on()? {
            let most = Self::MAX_FEATURES;
            if !(1..=most).contains(&backbone.features) {
                return refuse(
                    "backbone.features",
                    backbone.features,
                    format!("1 to {most}"),
                );
            }
            let most = Self::MAX_BACKBONE_SIDE;
            if !(Self::MIN_SIDE..=most).contains(&self.side) {
                let allowed = format!("{} to {most}", Self::MIN_SIDE);
                return refuse("side", self.side, allowed);
            }
            if let Some(fold) = self.fold {
                return refuse("fold", fold, "none, on a backbone,".into());
            }
            return Ok(());
        }
        for width in self.widths {
            if !(1..=Self::MAX_WIDTH).contains(&width) {
                return refuse("widths", width, format!("1 to {}", Self::MAX_WIDTH));
            }
        }
        let folds = self.folds();
        if !(1..=Self::MAX_FOLD).contains(&folds) {
            return refuse("fold", folds, format!("1 to {}", Self::MAX_FOLD));
        }
        let sides = Self::MIN_SIDE..=Self::MAX_SIDE;
        if !sides.contains(&self.side) || !self.side.is_multiple_of(folds) {
            let (least, most) = (Self::MIN_SIDE, Self::MAX_SIDE);
            let allowed = format!("multiples of {folds} from {least} to {most}");
            return refuse("side", self.side, allowed);
        }
        let steps = self.steps();
        let numbers = steps.iter().map(|s| s.size.output().max(s.size.input()));
        let largest = numbers.max().unwrap_or(0);
        if largest > Self::MAX_STEP {
            let allowed = format!("at most {} of a step, each an image,", Self::MAX_STEP);
            return refuse("widths: numbers", largest, allowed);
        }
        Ok(())
    }

    /// The backbone, which plans of an architecture that has one have, and no other.
    fn standing_on(&self) -> Result<Option<BackboneId>, Error> {
        if self.architecture.has_backbone() == self.backbone.is_some() {
            return Ok(self.backbone);
        }
        let found = if self.backbone.is_some() {
            "one"
        } else {
            "none"
        };
        Err(Error::Card(format!(
            "plan.backbone: {found}; architecture {} does not go with it",
            self.architecture
        )))
    }

    /// Numbers of an image that the tower sees.
    #[must_use]
    pub fn pixels(&self) -> usize {
        if self.architecture == Architecture::Head {
            return self.features();
        }
        self.side * self.side * self.input.channels()
    }

    /// The side of the squares that are folded into channels.
    #[must_use]
    pub fn folds(&self) -> usize {
        self.fold.unwrap_or(if self.side > 112 { 4 } else { 2 })
    }

    /// The convolutions, in the order in which they are done; none on a backbone.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        if self.architecture.has_backbone() {
            return Vec::new();
        }
        let folds = self.folds();
        let mut tower = Builder {
            side: self.side / folds,
            channels: self.input.channels() * folds * folds,
            steps: Vec::new(),
        };
        let units = self.architecture.units();
        if units > 0 {
            tower.plain(self.widths[0], false);
        }
        for (stage, width) in self.widths.into_iter().enumerate() {
            if units == 0 {
                tower.plain(width, false);
                tower.plain(width, stage < 2 || self.architecture != Architecture::S2dL);
            }
            for unit in 0..units {
                let stride = if unit == 0 && stage > 0 { 2 } else { 1 };
                tower.residual(width, stride);
            }
        }
        tower.steps
    }

    /// Whether the head sees the mean of all places, or each.
    #[must_use]
    pub fn averages(&self) -> bool {
        self.architecture.units() > 0
    }

    /// Numbers that the last, fully connected layer sees.
    #[must_use]
    pub fn features(&self) -> usize {
        if let Some(backbone) = self.backbone {
            return backbone.features;
        }
        let last = self.steps().last().map(|s| (s.output(), s.size.to));
        last.map_or(
            0,
            |(all, channels)| {
                if self.averages() { channels } else { all }
            },
        )
    }
}

/// A tower being put together.
struct Builder {
    side: usize,
    channels: usize,
    steps: Vec<Step>,
}

impl Builder {
    /// A step on value `input`, of `channels` and `side`.
    fn step(&self, input: usize, to: usize, kernel: usize, stride: usize) -> Step {
        Step {
            input,
            size: Size {
                height: self.side,
                width: self.side,
                from: self.channels,
                to,
                side: kernel,
                stride,
            },
            add: None,
            relu: true,
            pool: false,
        }
    }

    fn push(&mut self, step: Step) {
        self.side = step.out().0;
        self.channels = step.size.to;
        self.steps.push(step);
    }

    /// 3x3, on what came last.
    fn plain(&mut self, to: usize, pool: bool) {
        let pool = pool && self.side > 1;
        let step = self.step(self.steps.len(), to, 3, 1);
        self.push(Step { pool, ..step });
    }

    /// Two 3x3 convolutions whose result is added to what came in, which passes a 1x1
    /// convolution where the shapes differ.
    fn residual(&mut self, to: usize, stride: usize) {
        let came = self.steps.len();
        let mut add = came;
        let shortcut = self.step(came, to, 1, stride);
        let first = self.step(came, to, 3, stride);
        if stride > 1 || self.channels != to {
            self.steps.push(Step {
                relu: false,
                ..shortcut
            });
            add = self.steps.len();
        }
        self.push(first);
        let second = self.step(self.steps.len(), to, 3, 1);
        self.push(Step {
            add: Some(add),
            ..second
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_takes_what_an_earlier_one_gives() {
        for architecture in Architecture::ALL {
            for (side, input) in [(24, Input::Ink), (32, Input::Grey), (224, Input::Colour)] {
                let plan = Plan {
                    input,
                    side,
                    ..Plan::of(architecture)
                };
                plan.check().unwrap();
                let steps = plan.steps();
                let given = |value: usize| match value {
                    0 => plan.pixels(),
                    i => steps[i - 1].output(),
                };
                for (i, step) in steps.iter().enumerate() {
                    assert!(step.input <= i && step.add.is_none_or(|a| a <= i));
                    assert_eq!(given(step.input), step.size.input());
                    assert!(step.add.is_none_or(|a| given(a) == step.output()));
                }
                assert!(plan.features() > 0);
                assert_eq!(architecture.name().parse(), Ok(architecture));
            }
        }
        assert_eq!(Plan::default().features(), 512);
        let odd = |side| {
            let plan = Plan {
                side,
                ..Plan::default()
            };
            plan.check().is_err()
        };
        assert!(odd(22) && odd(33) && odd(114) && odd(226) && !odd(112) && !odd(116));
        let folded = |side, fold| {
            let plan = Plan {
                side,
                fold: Some(fold),
                ..Plan::default()
            };
            plan.check().is_ok() && plan.steps()[0].size.height * fold == side
        };
        assert!(folded(48, 3) && folded(25, 1) && folded(64, 8));
        assert!(!folded(48, 9) && !folded(50, 3) && !folded(48, 0));
    }
}
