//! An alphabet drawn by the program itself: characters of strokes, in several hands.
//!
//! A character is a few strokes, straight, bent or round; a hand draws them with its own
//! slant, size, width and tremor, and never twice alike.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixels: small numbers, clamped to the paper"
)]

use super::random::Random;
use image::{GrayImage, Luma};
use std::path::Path;

/// Side of a drawing, in pixels.
pub const SIDE: u32 = 105;

/// A stroke: a cubic Bézier curve within the unit square.
type Stroke = [(f32, f32); 4];

/// Characters that follow from a seed.
#[derive(Debug, Clone)]
pub struct Alphabet {
    seed: u64,
    characters: Vec<Vec<Stroke>>,
}

impl Alphabet {
    /// An alphabet of so many characters.
    #[must_use]
    pub fn new(seed: u64, characters: usize) -> Self {
        let character = |nth| character(&mut Random::new(seed, nth));
        Self {
            seed,
            characters: (0..characters as u64).map(character).collect(),
        }
    }

    /// How many characters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.characters.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// A character as a hand draws it, dark on white.
    ///
    /// # Panics
    /// There is no such character.
    #[must_use]
    pub fn draw(&self, character: usize, hand: usize) -> GrayImage {
        let stream = 1_000_000 + character as u64 * 1_000 + hand as u64;
        let mut random = Random::new(self.seed, stream);
        let mut style = Random::new(self.seed, 2_000_000 + hand as u64);
        let pen = 1.2 + 1.6 * style.unit();
        let slant = style.within(0.22) + random.within(0.05);
        let turn = style.within(0.12) + random.within(0.06);
        let (wide, high) = (0.62 + style.within(0.1), 0.66 + style.within(0.1));
        let (right, down) = (random.within(0.05), random.within(0.05));
        let place = |x: f32, y: f32| {
            let (x, y) = ((x - 0.5) * wide, (y - 0.5) * high);
            let x = x - slant * y;
            let (x, y) = (x - turn * y, y + turn * x);
            (
                (x + 0.5 + right) * SIDE as f32,
                (y + 0.5 + down) * SIDE as f32,
            )
        };
        let mut image = GrayImage::from_pixel(SIDE, SIDE, Luma([255]));
        for stroke in &self.characters[character] {
            let mut tremble =
                |(x, y): (f32, f32)| place(x + random.within(0.05), y + random.within(0.05));
            let stroke = stroke.map(&mut tremble);
            for step in 0..=160_u8 {
                let (x, y) = point(&stroke, f32::from(step) / 160.0);
                dot(&mut image, x, y, pen);
            }
        }
        image
    }

    /// Writes `DIR/glyphs/characterNN/handNN.png` for every character.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_folder(&self, dir: &Path, hands: usize) -> image::ImageResult<()> {
        for character in 0..self.len() {
            let folder = dir
                .join("glyphs")
                .join(format!("character{:02}", character + 1));
            std::fs::create_dir_all(&folder)?;
            for hand in 0..hands {
                let file = folder.join(format!("hand{:02}.png", hand + 1));
                self.draw(character, hand).save(file)?;
            }
        }
        Ok(())
    }
}

/// Two to four strokes between points of a loose grid, each beginning where it likes.
fn character(random: &mut Random) -> Vec<Stroke> {
    let corner = |random: &mut Random| {
        let x = random.below(4) as f32 / 3.0 + random.within(0.06);
        let y = random.below(4) as f32 / 3.0 + random.within(0.06);
        (x, y)
    };
    let strokes = 2 + random.below(3);
    let mut drawn: Vec<Stroke> = Vec::new();
    while drawn.len() < strokes {
        let from = match drawn.last() {
            // Often a stroke goes on from the one before.
            Some(last) if random.below(2) == 0 => last[3],
            _ => corner(random),
        };
        let to = corner(random);
        let apart = (to.0 - from.0).hypot(to.1 - from.1);
        if apart < 0.4 {
            continue;
        }
        let bend = [0.0, 0.5, -0.5, 1.0, -1.0][random.below(5)];
        let (across_x, across_y) = ((to.1 - from.1) * bend, (from.0 - to.0) * bend);
        let between = |share: f32| {
            (
                from.0 + (to.0 - from.0) * share + across_x,
                from.1 + (to.1 - from.1) * share + across_y,
            )
        };
        drawn.push([from, between(0.25), between(0.75), to]);
    }
    fitted(drawn)
}

/// Scales a character, alike both ways, to fill the unit square, and centres it.
fn fitted(mut strokes: Vec<Stroke>) -> Vec<Stroke> {
    let steps = || (0..=20_u8).map(|step| f32::from(step) / 20.0);
    let ink = strokes.iter().flat_map(|s| steps().map(|t| point(s, t)));
    let (low, high) = ink.fold(
        ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN)),
        |(low, high), p| {
            let low = (low.0.min(p.0), low.1.min(p.1));
            (low, (high.0.max(p.0), high.1.max(p.1)))
        },
    );
    let scale = 1.0 / (high.0 - low.0).max(high.1 - low.1);
    let middle = (f32::midpoint(low.0, high.0), f32::midpoint(low.1, high.1));
    for place in strokes.iter_mut().flatten() {
        *place = (
            (place.0 - middle.0) * scale + 0.5,
            (place.1 - middle.1) * scale + 0.5,
        );
    }
    strokes
}

fn point(stroke: &Stroke, t: f32) -> (f32, f32) {
    let s = 1.0 - t;
    let weights = [s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t];
    let sum =
        |part: fn(&(f32, f32)) -> f32| weights.iter().zip(stroke).map(|(w, p)| w * part(p)).sum();
    (sum(|p| p.0), sum(|p| p.1))
}

/// A round dot of the pen, its edge smoothed; what is off the paper is lost.
fn dot(image: &mut GrayImage, x: f32, y: f32, radius: f32) {
    let reach = radius.ceil() as i32 + 1;
    for down in -reach..=reach {
        for right in -reach..=reach {
            let (px, py) = (x.round() + right as f32, y.round() + down as f32);
            if px < 0.0 || py < 0.0 || px >= SIDE as f32 || py >= SIDE as f32 {
                continue;
            }
            let ink = (radius + 0.5 - (px - x).hypot(py - y)).clamp(0.0, 1.0);
            let pixel = image.get_pixel_mut(px as u32, py as u32);
            pixel.0[0] = pixel.0[0].min((255.0 * (1.0 - ink)) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_follow_from_the_seed_and_differ_by_hand() {
        let alphabet = Alphabet::new(3, 5);
        assert_eq!(alphabet.draw(2, 1), Alphabet::new(3, 9).draw(2, 1));
        assert_ne!(alphabet.draw(2, 1), alphabet.draw(2, 2));
        for character in 0..5 {
            let ink = alphabet
                .draw(character, 0)
                .pixels()
                .filter(|p| p.0[0] < 128)
                .count();
            assert!((80..4_000).contains(&ink), "{ink} dark pixels");
        }
    }
}
