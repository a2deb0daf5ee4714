//! Test-time views: the image itself and slight transforms of it, whose embeddings are averaged
//! (as Krizhevsky, Sutskever and Hinton 2012 averaged over crops).
//!
//! The transforms are the same for every image and on every machine. They come in pairs that
//! move to opposite sides, so that 1, 3, 5, ... of them move, on average, hardly anywhere; the
//! pairs fill the range of transforms evenly (Richtmyer's sequence, 1951: multiples of the
//! roots of primes). Nothing is mirrored: whether a mirror image is the same thing, the encoder
//! does not know.

use super::input::{Prepared, Raster};
use super::warp::{Edge, KNOTS, Warp, product};
use super::{Encoder, Error, ImageError, Input};
use crate::domain::{Embedding, Metric, Views};

/// How far transforms go.
struct Reach {
    /// Degrees either way.
    rotation: f64,
    /// Either way.
    shear: f64,
    /// Logarithm of the factor, each way by itself.
    stretch: f64,
    /// Shares of half the width.
    shift: f64,
    /// A crop keeps at least `1 - crop` of each side, anywhere.
    crop: f64,
}

/// A glyph fills most of its square: what goes much farther would cut it off.
const GLYPH: Reach = Reach {
    rotation: 12.0,
    shear: 0.16,
    stretch: 0.12,
    shift: 0.06,
    crop: 0.0,
};

/// Ink has nothing around it that a transform could bring in or cut off.
const INK: Reach = Reach {
    rotation: 8.0,
    shear: 0.12,
    stretch: 0.12,
    shift: 0.06,
    crop: 0.0,
};

const PHOTOGRAPH: Reach = Reach {
    rotation: 4.0,
    shear: 0.04,
    stretch: 0.04,
    shift: 0.02,
    crop: 0.15,
};

const PRIMES: [f64; 8] = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0];

/// The transform that makes a view, from the second on.
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
fn warp(input: Input, number: u8) -> Warp {
    let reach = match input {
        Input::Ink => INK,
        Input::Glyph => GLYPH,
        Input::Grey | Input::Colour => PHOTOGRAPH,
    };
    let side = if number.is_multiple_of(2) { 1.0 } else { -1.0 };
    let pair = f64::from(number / 2);
    let at = PRIMES.map(|prime| side * (2.0 * (0.5 + pair * prime.sqrt()).fract() - 1.0));
    let (sin, cos) = (reach.rotation * at[0]).to_radians().sin_cos();
    let stretch = [
        (reach.stretch * at[1]).exp(),
        reach.shear * at[2],
        reach.shear * at[3],
        (reach.stretch * at[4]).exp(),
    ];
    let kept = 1.0 - reach.crop * at[7].abs();
    let turn = [cos, -sin, sin, cos].map(|v| (kept * v) as f32);
    Warp {
        matrix: product(turn, stretch.map(|v| v as f32)),
        shift: [at[5], at[6]].map(|v| ((reach.shift + 1.0 - kept) * v) as f32),
        elastic: [[0.0; KNOTS * KNOTS]; 2],
        edge: Edge::of(input),
    }
}

impl Raster {
    /// What the tower sees of an image's views, in their order. The first one is
    /// [`Raster::prepare`], bit for bit.
    #[must_use]
    pub fn views(&self, views: Views) -> Vec<Prepared> {
        let view = |number| {
            if number == 1 {
                return self.prepare();
            }
            let warp = warp(self.input, number);
            let mut values = warp.apply(&self.values, 1.0, self.input, self.side / 2);
            // Weights that add up to a hair more than 1.
            for v in &mut values {
                *v = v.clamp(-1.0, 1.0);
            }
            Prepared(values.into_boxed_slice())
        };
        views.numbers().map(view).collect()
    }
}

impl Encoder {
    /// As [`Encoder::prepare`], for views of the image.
    ///
    /// # Errors
    /// Not an image, or beyond the limits.
    pub fn prepare_views(&self, image: &[u8], views: Views) -> Result<Vec<Prepared>, ImageError> {
        Ok(Raster::read(image, &self.card.plan, &self.limits)?.views(views))
    }

    /// Embeds images by their views: the mean of the views' embeddings, brought to unit length.
    /// An image of one view is embedded as by [`Encoder::embed`], bit for bit; one of N views
    /// takes N times as long.
    ///
    /// # Errors
    /// As [`Encoder::embed`]; views that cancel out, or none.
    pub fn embed_views(&self, images: Vec<Vec<Prepared>>) -> Result<Vec<Embedding>, Error> {
        let counts: Vec<usize> = images.iter().map(Vec::len).collect();
        let views: Vec<Prepared> = images.into_iter().flatten().collect();
        let mut embedded = self.embed(&views)?.into_iter();
        let mean = |n| mean(embedded.by_ref().take(n).collect(), self.dim());
        counts.into_iter().map(mean).collect()
    }
}

fn mean(mut views: Vec<Embedding>, dim: usize) -> Result<Embedding, Error> {
    if views.len() == 1 {
        return Ok(views.remove(0));
    }
    let mut sum = vec![0.0; dim];
    for view in &views {
        for (sum, v) in sum.iter_mut().zip(view.as_slice()) {
            *sum += v;
        }
    }
    let named = |e| Error::Degenerate(format!("the mean of {} views: {e}", views.len()));
    Embedding::new(sum, dim, Metric::Cosine).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{MAX_VIEWS, ViewNumber};
    use crate::encoder::{ImageLimits, Plan};
    use image::{ImageFormat, Rgb, RgbImage};
    use std::io::Cursor;

    fn views(n: u32) -> Views {
        Views::Mean(ViewNumber::new("views", n).unwrap())
    }

    fn only(n: u32) -> Views {
        Views::Only(ViewNumber::new("views", n).unwrap())
    }

    /// A hook, dark red on white.
    fn hook(side: u32) -> Vec<u8> {
        let ink = |x: u32, y: u32| {
            let (x, y) = (100 * x / side, 100 * y / side);
            (30..36).contains(&x) && (20..80).contains(&y)
                || (30..70).contains(&x) && (74..80).contains(&y)
        };
        let draw = |x, y| Rgb(if ink(x, y) { [90, 20, 0] } else { [255; 3] });
        let mut file = Cursor::new(Vec::new());
        let drawn = RgbImage::from_fn(side, side, draw);
        drawn.write_to(&mut file, ImageFormat::Png).unwrap();
        file.into_inner()
    }

    #[test]
    fn the_first_view_is_the_image_and_the_others_are_a_little_different() {
        for input in Input::ALL {
            let plan = Plan {
                input,
                ..Plan::default()
            };
            let raster = Raster::read(&hook(105), &plan, &ImageLimits::default()).unwrap();
            let all = raster.views(views(32));
            assert_eq!((all.len(), &all[0]), (32, &raster.prepare()));
            assert_eq!(raster.views(views(1)), [raster.prepare()]);
            // Few are the first of many, one is one of them, and all are the same again.
            assert_eq!(raster.views(views(5)), all[..5]);
            assert_eq!(raster.views(only(7)), all[6..7]);
            assert_eq!(raster.views(views(32)), all);
            for (nth, view) in all.iter().enumerate().skip(1) {
                assert_eq!(view.as_slice().len(), plan.pixels());
                assert!(view.as_slice().iter().all(|v| (-1.0..=1.0).contains(v)));
                assert!(!all[..nth].contains(view), "{input:?} {nth}");
                let sum =
                    |of: &Prepared| of.as_slice().iter().map(|v| (v + 1.0) / 2.0).sum::<f32>();
                let (was, is) = (sum(&all[0]), sum(view));
                assert!((is - was).abs() < 0.2 * was, "{input:?} {nth}: {was} {is}");
            }
        }
    }

    #[test]
    fn a_mean_is_of_unit_length_near_every_view_and_one_view_is_the_embedding_itself() {
        let encoder = Encoder::bundled().unwrap();
        let file = hook(105);
        let prepared = |which| encoder.prepare_views(&file, which).unwrap();
        let itself = encoder.embed(&[encoder.prepare(&file).unwrap()]).unwrap();
        let each = encoder.embed(&prepared(views(9))).unwrap();
        let batch = vec![prepared(views(1)), prepared(views(9)), prepared(only(2))];
        let embedded = encoder.embed_views(batch).unwrap();
        assert_eq!(embedded[0], itself[0]);
        assert_eq!(embedded[2], each[1]);
        let mean = &embedded[1];
        let length: f32 = mean.as_slice().iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
        for view in &each {
            assert!(Metric::Cosine.between(mean, view) < 0.5);
        }
        let nearer =
            |v: &Embedding| -> f32 { each.iter().map(|e| Metric::Cosine.between(v, e)).sum() };
        assert!(nearer(mean) <= nearer(&itself[0]));
        assert!(encoder.embed_views(vec![Vec::new()]).is_err());
        assert!(encoder.embed_views(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn transforms_stay_within_reach_differ_and_cancel_out_in_pairs() {
        for input in Input::ALL {
            let all: Vec<Warp> = (2..=MAX_VIEWS).map(|n| warp(input, n)).collect();
            for (nth, w) in all.iter().enumerate() {
                let [a, b, c, d] = w.matrix;
                // Nothing is mirrored or turned over.
                assert!(a * d - b * c > 0.6 && a > 0.7 && d > 0.7, "{:?}", w.matrix);
                assert!(b.abs() < 0.35 && c.abs() < 0.35, "{:?}", w.matrix);
                let reach = w.shift.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
                assert!(reach < 0.17, "{:?}", w.shift);
                if w.edge == Edge::Nearest {
                    // A crop lies within the picture, but for the little that it is turned.
                    assert!(a + reach < 1.07 && d + reach < 1.07, "{w:?}", w = w.matrix);
                }
                for other in &all[..nth] {
                    assert_ne!((w.matrix, w.shift), (other.matrix, other.shift));
                }
            }
            for pair in all.chunks_exact(2) {
                let sum = [0, 1].map(|i| pair[0].shift[i] + pair[1].shift[i]);
                assert!(sum.iter().all(|s| s.abs() < f32::EPSILON), "{sum:?}");
            }
        }
    }

    #[test]
    fn views_that_cancel_out_have_no_mean() {
        let of = |values: [f32; 2]| Embedding::new(values.to_vec(), 2, Metric::Cosine).unwrap();
        let told = mean(vec![of([1.0, 0.0]), of([-1.0, 0.0])], 2).unwrap_err();
        assert!(told.to_string().contains("the mean of 2 views"), "{told}");
        assert!(mean(vec![], 2).is_err());
        let middle = mean(vec![of([3.0, 0.0]), of([0.0, 1.0])], 2).unwrap();
        assert!((middle.as_slice()[0] - 0.5_f32.sqrt()).abs() < 1e-6);
    }
}
