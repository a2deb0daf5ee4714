//! Which drawings make up a batch.

use super::random::Random;

/// Classes of a batch.
pub const CLASSES: usize = 64;
/// Drawings of each class of a batch.
pub const DRAWINGS: usize = 4;
/// Turned and mirrored copies of a class count as classes of their own.
pub const TURNS: usize = 8;

/// A drawing of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Index of its class.
    pub class: usize,
    /// Index of the image within the class.
    pub image: usize,
    /// Which of the eight ways it is turned and mirrored.
    pub turn: usize,
    /// The same for two drawings of the batch if class and turn are.
    pub label: u32,
}

/// Draws a batch at random: up to [`CLASSES`] different pairs of class and turn, and
/// [`DRAWINGS`] images of each, different as long as the class has that many.
/// `counts` are the images of each class, each at least 1.
#[must_use]
pub fn batch(counts: &[usize], turns: usize, random: &mut Random) -> Vec<Pick> {
    let turns = turns.clamp(1, TURNS);
    let chosen = random.distinct(counts.len() * turns, CLASSES);
    let mut picks = Vec::with_capacity(chosen.len() * DRAWINGS);
    for (label, at) in (0..).zip(chosen) {
        let (class, turn) = (at / turns, at % turns);
        let mut images = random.distinct(counts[class], DRAWINGS);
        while images.len() < DRAWINGS {
            images.push(random.below(counts[class]));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_mates_for_every_drawing() {
        let counts = [20, 1, 3, 20, 7, 20, 20, 20, 20, 20];
        let picks = batch(&counts, TURNS, &mut Random::new(7, 0));
        assert_eq!(picks.len(), CLASSES * DRAWINGS);
        for mates in picks.chunks(DRAWINGS) {
            assert!(mates.iter().all(|p| p.label == mates[0].label));
            assert!(mates.iter().all(|p| p.image < counts[p.class]));
            let mut images: Vec<usize> = mates.iter().map(|p| p.image).collect();
            images.sort_unstable();
            images.dedup();
            assert_eq!(images.len(), DRAWINGS.min(counts[mates[0].class]));
        }
        assert_eq!(picks, batch(&counts, TURNS, &mut Random::new(7, 0)));
    }
}
