//! Which pictures make up a batch.

use super::random::Random;
use serde::{Deserialize, Serialize};

/// Turned and mirrored copies of a class count as classes of their own.
pub const TURNS: usize = 8;

/// How the classes of a batch are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Every class as often as any other.
    #[default]
    Balanced,
    /// By the number of their images.
    Natural,
    /// Balanced, all of a batch from one group (a parent folder), turned one way, and, where it
    /// has too few classes, from further ones: strangers that are hard to tell apart.
    WithinGroup,
}

/// What a sampler knows of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Its images, at least 1.
    pub images: usize,
    /// The number of its group.
    pub group: usize,
}

/// A picture of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Index of its class.
    pub class: usize,
    /// Index of the image within the class.
    pub image: usize,
    /// Which of the eight ways it is turned and mirrored.
    pub turn: usize,
    /// The same for two pictures of the batch if class and turn are.
    pub label: u32,
}

/// Draws batches of up to `classes` different pairs of class and turn, `images` of each.
#[derive(Debug, Clone, Copy)]
pub struct Sampler {
    /// Classes of a batch.
    pub classes: usize,
    /// Images of each.
    pub images: usize,
    /// How many of the eight turns there are: 1 to [`TURNS`].
    pub turns: usize,
    /// How classes are chosen.
    pub sampling: Sampling,
}

impl Sampler {
    /// Draws a batch. The images of a class are different as long as it has that many.
    #[must_use]
    pub fn batch(&self, all: &[Class], random: &mut Random) -> Vec<Pick> {
        let turns = self.turns.clamp(1, TURNS);
        let chosen = match self.sampling {
            Sampling::Balanced => random.distinct(all.len() * turns, self.classes),
            Sampling::Natural => self.natural(all, turns, random),
            Sampling::WithinGroup => self.within_group(all, turns, random),
        };
        let mut picks = Vec::with_capacity(chosen.len() * self.images);
        for (label, at) in (0..).zip(chosen) {
            let (class, turn) = (at / turns, at % turns);
            let mut images = random.distinct(all[class].images, self.images);
            while images.len() < self.images {
                images.push(random.below(all[class].images));
            }
            picks.extend(images.into_iter().map(|image| Pick {
                class,
                image,
                turn,
                label,
            }));
        }
        picks
    }

    fn natural(&self, all: &[Class], turns: usize, random: &mut Random) -> Vec<usize> {
        let ends: Vec<usize> = all
            .iter()
            .scan(0, |sum, class| {
                *sum += class.images;
                Some(*sum)
            })
            .collect();
        let total = ends.last().copied().unwrap_or(0);
        let mut chosen = Vec::new();
        // Some come twice; the batch is smaller where there are few classes.
        for _ in 0..4 * self.classes {
            let image = random.below(total);
            let class = ends.partition_point(|end| *end <= image);
            let at = class * turns + random.below(turns);
            if chosen.len() < self.classes && !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        chosen
    }

    fn within_group(&self, all: &[Class], turns: usize, random: &mut Random) -> Vec<usize> {
        let groups = all.iter().map(|class| class.group + 1).max().unwrap_or(0);
        let mut chosen = Vec::new();
        // All of a group are turned the same way: so they stay as alike as they are.
        for at in random.distinct(groups * turns, groups * turns) {
            let (group, turn) = (at / turns, at % turns);
            let mates: Vec<usize> = (0..all.len()).filter(|i| all[*i].group == group).collect();
            let left = self.classes - chosen.len();
            let some = random.distinct(mates.len(), left);
            chosen.extend(some.into_iter().map(|i| mates[i] * turns + turn));
            if chosen.len() == self.classes {
                break;
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Vec<Class> {
        let counts = [20, 1, 3, 20, 7, 20, 20, 20, 20, 20];
        let class = |(i, images)| Class {
            images,
            group: i / 5,
        };
        counts.into_iter().enumerate().map(class).collect()
    }

    fn sampler(sampling: Sampling) -> Sampler {
        Sampler {
            classes: 8,
            images: 4,
            turns: TURNS,
            sampling,
        }
    }

    #[test]
    fn a_batch_has_mates_for_every_picture() {
        let all = classes();
        for sampling in [Sampling::Balanced, Sampling::Natural, Sampling::WithinGroup] {
            let sampler = sampler(sampling);
            let picks = sampler.batch(&all, &mut Random::new(7, 0));
            assert_eq!(picks.len(), 32, "{sampling:?}");
            for mates in picks.chunks(4) {
                assert!(mates.iter().all(|p| p.label == mates[0].label));
                assert!(mates.iter().all(|p| p.turn == mates[0].turn));
                assert!(mates.iter().all(|p| p.image < all[p.class].images));
                let mut images: Vec<usize> = mates.iter().map(|p| p.image).collect();
                images.sort_unstable();
                images.dedup();
                assert_eq!(images.len(), all[mates[0].class].images.min(4));
            }
            assert_eq!(picks, sampler.batch(&all, &mut Random::new(7, 0)));
        }
    }

    #[test]
    fn each_sampling_prefers_what_it_should() {
        let all = classes();
        let seen = |sampling| {
            let mut seen = [0; 10];
            let mut groups = Vec::new();
            for step in 0..500 {
                let sampler = Sampler {
                    classes: 4,
                    ..sampler(sampling)
                };
                let picks = sampler.batch(&all, &mut Random::new(1, step));
                for pick in picks.iter().step_by(4) {
                    seen[pick.class] += 1;
                }
                groups.push(picks.iter().map(|p| all[p.class].group).collect::<Vec<_>>());
            }
            (seen, groups)
        };
        let (balanced, _) = seen(Sampling::Balanced);
        assert!(balanced[1] > 100, "{balanced:?}");
        let (natural, _) = seen(Sampling::Natural);
        assert!(natural[1] < 60 && natural[0] > 150, "{natural:?}");
        let (_, groups) = seen(Sampling::WithinGroup);
        assert!(groups.iter().all(|g| g.iter().all(|v| *v == g[0])));
    }
}
