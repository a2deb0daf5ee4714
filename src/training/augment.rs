//! Another hand, another pen, another light: random variations of a picture.

use super::corpus::SCALE;
use super::pixels;
use super::random::Random;
use crate::encoder::warp::{Edge, KNOTS, Warp, product, turned};
use crate::encoder::{Architecture, Plan};
use serde::{Deserialize, Serialize};

/// How much pictures vary. All 0: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Rotation, in degrees either way, 0..=180.
    pub rotation: f32,
    /// Shear either way, 0..=1.
    pub shear: f32,
    /// Logarithm of the stretch, each way by itself, 0..=1.
    pub stretch: f32,
    /// Shift, as a share of half the width, 0..=1.
    pub shift: f32,
    /// A crop keeps at least `1 - crop` of each side, 0..=0.9.
    pub crop: f32,
    /// Deviation of the displacements of a 4x4 grid, in halves of the width, 0..=0.5 (after
    /// Simard, Steinkraus and Platt 2003).
    pub elastic: f32,
    /// Whether half of the pictures are mirrored: right where a mirror image is the same thing.
    pub mirror: bool,
    /// Blend with the 3x3 maximum, up to this much, 0..=1: a thicker stroke.
    pub thicken: f32,
    /// Logarithm of the factor on contrast, 0..=2.
    pub contrast: f32,
    /// Brightness added, 0..=1.
    pub brightness: f32,
    /// Change of colours: saturation, and each channel's factor, 0..=1.
    pub colour: f32,
    /// Deviation of a Gaussian blur, in pixels, up to this, 0..=4.
    pub blur: f32,
    /// Deviation of noise, up to this, 0..=0.5.
    pub noise: f32,
    /// Side of a square that is erased, up to this share of the picture's, 0..=0.9 (`DeVries`
    /// and Taylor 2017).
    pub erase: f32,
}

impl Augmentation {
    /// The name, value and largest value of each number; the smallest is 0.
    fn numbers(&self) -> [(&'static str, f32, f32); 13] {
        [
            ("rotation", self.rotation, 180.0),
            ("shear", self.shear, 1.0),
            ("stretch", self.stretch, 1.0),
            ("shift", self.shift, 1.0),
            ("crop", self.crop, 0.9),
            ("elastic", self.elastic, 0.5),
            ("thicken", self.thicken, 1.0),
            ("contrast", self.contrast, 2.0),
            ("brightness", self.brightness, 1.0),
            ("colour", self.colour, 1.0),
            ("blur", self.blur, 4.0),
            ("noise", self.noise, 0.5),
            ("erase", self.erase, 0.9),
        ]
    }

    /// The name, value and range of the first number that is out of range.
    ///
    /// # Errors
    /// There is one.
    pub fn check(&self) -> Result<(), (&'static str, f32, f32)> {
        let mut all = self.numbers().into_iter();
        let wrong = all.find(|(_, v, most)| !(0.0..=*most).contains(v));
        wrong.map_or(Ok(()), Err)
    }

    /// A variation of `source` (see [`super::corpus::Drawing`]) for towers of this plan,
    /// turned one of eight ways: what the tower sees, in -1..=1.
    #[must_use]
    pub fn vary(&self, source: &[i16], plan: &Plan, turn: usize, random: &mut Random) -> Vec<f32> {
        if plan.architecture == Architecture::Head {
            return plain(source, plan, turn);
        }
        let warp = self.warp(Edge::of(plan.input), turn, random);
        let mut image = apply(&warp, source, plan);
        let (side, channels) = (plan.side, plan.input.channels());
        if self.thicken > 0.0 {
            pixels::thicken(&mut image, side, channels, random.unit() * self.thicken);
        }
        if self.blur > 0.0 {
            pixels::blur(&mut image, side, channels, random.unit() * self.blur);
        }
        if self.colour > 0.0 && channels == 3 {
            pixels::colour(&mut image, self.colour, random);
        }
        let gain = random.within(self.contrast).exp();
        let light = if self.brightness > 0.0 {
            random.within(self.brightness)
        } else {
            0.0
        };
        for v in &mut image {
            *v = (*v * gain + light).clamp(-1.0, 1.0);
        }
        if self.noise > 0.0 {
            let deviation = random.unit() * self.noise;
            for v in &mut image {
                *v = (*v + deviation * random.normal()).clamp(-1.0, 1.0);
            }
        }
        if self.erase > 0.0 {
            pixels::erase(&mut image, side, channels, self.erase, random);
        }
        image
    }

    fn warp(&self, edge: Edge, turn: usize, random: &mut Random) -> Warp {
        let (sin, cos) = random.within(self.rotation).to_radians().sin_cos();
        let stretch = [
            random.within(self.stretch).exp(),
            random.within(self.shear),
            random.within(self.shear),
            random.within(self.stretch).exp(),
        ];
        let mut matrix = product(turned(turn), product([cos, -sin, sin, cos], stretch));
        let mut shift = [random.within(self.shift), random.within(self.shift)];
        let mut elastic = [[0.0; KNOTS * KNOTS]; 2];
        if self.elastic > 0.0 {
            for v in elastic.as_flattened_mut() {
                *v = self.elastic * random.normal();
            }
        }
        if self.crop > 0.0 {
            let kept = 1.0 - random.unit() * self.crop;
            matrix = matrix.map(|v| v * kept);
            shift = shift.map(|v| v + random.within(1.0 - kept));
        }
        if self.mirror && random.unit() < 0.5 {
            matrix = product(matrix, [-1.0, 0.0, 0.0, 1.0]);
        }
        Warp {
            matrix,
            shift,
            elastic,
            edge,
        }
    }
}

/// `source` turned and otherwise as it is.
#[must_use]
pub fn plain(source: &[i16], plan: &Plan, turn: usize) -> Vec<f32> {
    if plan.architecture == Architecture::Head {
        return source.iter().map(|v| f32::from(*v) / SCALE).collect();
    }
    apply(&Warp::turn(turn, Edge::of(plan.input)), source, plan)
}

fn apply(warp: &Warp, source: &[i16], plan: &Plan) -> Vec<f32> {
    warp.apply(source, SCALE, plan.input, plan.side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{ImageLimits, Input, Raster};
    use crate::training::corpus::drawing;
    use crate::training::recipe::Recipe;
    use image::{ImageFormat, Rgb, RgbImage};
    use std::io::Cursor;

    fn raster(plan: &Plan, shape: impl Fn(u32, u32) -> bool) -> Raster {
        let draw = |x, y| Rgb(if shape(x, y) { [0, 60, 90] } else { [255; 3] });
        let mut file = Vec::new();
        RgbImage::from_fn(105, 105, draw)
            .write_to(&mut Cursor::new(&mut file), ImageFormat::Png)
            .unwrap();
        Raster::read(&file, plan, &ImageLimits::default()).unwrap()
    }

    fn plans() -> [Plan; 4] {
        Input::ALL.map(|input| Plan {
            input,
            ..Plan::default()
        })
    }

    fn near(a: &[f32], b: &[f32], tolerance: f32) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    }

    #[test]
    fn what_moves_nothing_gives_what_serving_sees() {
        for plan in plans() {
            let shape = |x, y| (20..60).contains(&x) && (y == 40 || x + y == 70);
            let raster = raster(&plan, shape);
            let (source, seen) = (drawing(&raster), raster.prepare());
            let still = Augmentation::default().vary(&source, &plan, 0, &mut Random::new(1, 1));
            for trained in [plain(&source, &plan, 0), still] {
                assert!(near(&trained, seen.as_slice(), 0.5 / SCALE + 1e-6));
            }
        }
    }

    #[test]
    fn the_eight_turns_differ_and_a_quarter_turn_is_one() {
        let plan = Plan::default();
        let corner = |x, y| (10..30).contains(&x) && (15..20).contains(&y);
        let source = drawing(&raster(&plan, corner));
        let turns: Vec<Vec<f32>> = (0..8).map(|t| plain(&source, &plan, t)).collect();
        for (i, a) in turns.iter().enumerate() {
            assert!(turns[..i].iter().all(|b| !near(a, b, 0.1)));
        }
        let side = plan.side;
        let quarter: Vec<f32> = (0..side * side)
            .map(|i| turns[0][(i % side) * side + side - 1 - i / side])
            .collect();
        assert!(near(&turns[1], &quarter, 1e-5) || near(&turns[3], &quarter, 1e-5));
    }

    #[test]
    fn variations_of_every_recipe_stay_in_range_and_follow_from_the_seed() {
        for recipe in Recipe::all() {
            let plan = recipe.plan();
            let cross = |x: u32, y: u32| x.abs_diff(52) < 3 || y.abs_diff(40) < 3;
            let source = drawing(&raster(&plan, cross));
            let vary = |seed| {
                let random = &mut Random::new(seed, 9);
                recipe.augmentation.vary(&source, &plan, 3, random)
            };
            assert_eq!(vary(1), vary(1), "{}", recipe.name);
            assert_ne!(vary(1), vary(2), "{}", recipe.name);
            for seed in 0..20 {
                let image = vary(seed);
                assert_eq!(image.len(), plan.pixels());
                assert!(image.iter().all(|v| (-1.0..=1.0).contains(v)));
                assert!(image.iter().any(|v| v.abs() > 0.1));
            }
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let crop = Augmentation {
            crop: 1.0,
            ..Augmentation::default()
        };
        assert_eq!(crop.check(), Err(("crop", 1.0, 0.9)));
        let nan = Augmentation {
            noise: f32::NAN,
            ..Augmentation::default()
        };
        assert!(nan.check().is_err());
    }
}
