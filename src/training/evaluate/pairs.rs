//! Pairs to verify: genuine ones of one class, impostor ones of two.

use super::{Embedded, EvalError, cosine, parameter};
use crate::training::random::Random;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Most pairs: each is kept, with its score.
const MAX_PAIRS: usize = 10_000_000;

/// Which pairs are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Pairs, half of them genuine; 2 to 10 million.
    pub pairs: usize,
    /// Whether both classes of an impostor pair lie in one parent folder.
    pub within_parent: bool,
    /// Seed of the draws.
    pub seed: u64,
}

/// An image: the place of its class in the data, and its place in the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Of the class.
    pub class: u32,
    /// Of the image.
    pub image: u32,
}

impl Place {
    /// Data have fewer than 2^32 classes, and classes fewer images.
    #[must_use]
    pub fn new(class: usize, image: usize) -> Self {
        let small = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            class: small(class),
            image: small(image),
        }
    }

    /// The image's embedding.
    ///
    /// # Panics
    /// There is no such image.
    #[must_use]
    pub fn of<'a>(&self, classes: &'a [Embedded]) -> &'a crate::domain::Embedding {
        &classes[self.class as usize].vectors[self.image as usize]
    }
}

/// The pairs drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    /// Two different images of one class.
    pub genuine: Vec<[Place; 2]>,
    /// Images of two classes.
    pub impostor: Vec<[Place; 2]>,
}

/// How alike the images of each pair are, in the order of the pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Cosines of genuine pairs.
    pub genuine: Vec<f32>,
    /// Cosines of impostor pairs.
    pub impostor: Vec<f32>,
}

impl Pairs {
    /// Draws pairs: of a genuine one the class first, each equally likely, of an impostor
    /// one the two classes. What is drawn follows from the seed and the sizes of the
    /// classes: two encoders see the same pairs.
    ///
    /// # Errors
    /// Fewer than 2 pairs or too many, fewer than 2 classes (in one parent folder, if
    /// within), no class of 2 images.
    pub fn draw(classes: &[Embedded], task: &Task) -> Result<Self, EvalError> {
        if !(2..=MAX_PAIRS).contains(&task.pairs) {
            let allowed = format!("2 to {MAX_PAIRS} are allowed");
            return Err(parameter("pairs", task.pairs.to_string(), allowed));
        }
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (nth, class) in classes.iter().enumerate() {
            let group = if task.within_parent {
                class.parent.as_str()
            } else {
                ""
            };
            groups.entry(group).or_default().push(nth);
        }
        let several = |class: &usize| classes[*class].vectors.len() > 1;
        let several: Vec<usize> = (0..classes.len()).filter(several).collect();
        let groups: Vec<_> = groups.into_values().filter(|g| g.len() > 1).collect();
        // A class as often as any other, whatever the size of its group.
        let grouped: Vec<(usize, usize)> = groups
            .iter()
            .enumerate()
            .flat_map(|(group, members)| (0..members.len()).map(move |nth| (group, nth)))
            .collect();
        if several.is_empty() || grouped.is_empty() {
            let place = if task.within_parent {
                " in one parent folder"
            } else {
                ""
            };
            let allowed = format!("2 classes{place}, and one of 2 images, are needed");
            let was = format!("{} classes", classes.len());
            return Err(parameter("data", was, allowed));
        }
        let mut random = Random::new(task.seed, 0);
        let genuine = (0..task.pairs / 2).map(|_| {
            let class = several[random.below(several.len())];
            let pair = random.distinct(classes[class].vectors.len(), 2);
            [0, 1].map(|nth| Place::new(class, pair[nth]))
        });
        let genuine = genuine.collect();
        let impostor = (0..task.pairs - task.pairs / 2).map(|_| {
            let (group, first) = grouped[random.below(grouped.len())];
            let other = random.below(groups[group].len() - 1);
            let other = if other < first { other } else { other + 1 };
            [first, other].map(|nth| {
                let class = groups[group][nth];
                Place::new(class, random.below(classes[class].vectors.len()))
            })
        });
        Ok(Self {
            impostor: impostor.collect(),
            genuine,
        })
    }

    /// Scores every pair.
    #[must_use]
    pub fn scores(&self, classes: &[Embedded]) -> Scores {
        let score = |pair: &[Place; 2]| cosine(pair[0].of(classes), pair[1].of(classes));
        Scores {
            genuine: self.genuine.par_iter().map(score).collect(),
            impostor: self.impostor.par_iter().map(score).collect(),
        }
    }
}
