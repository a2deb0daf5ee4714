//! Test images that an encoder was trained on: figures on them flatter it.

use super::alike::{Shape, Shapes};
use super::{EvalError, parameter};
use crate::encoder::{ImageLimits, Look};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;

/// Images correlate at least so much to be taken for one. Omniglot's drawings, halved, doubled
/// or stored as JPEG of quality 30, stay above 0.99; of its 5,540 for validation and 19,280 to
/// learn from, each by another hand, the most alike come to 0.914.
pub const NEAR: f64 = 0.97;
/// Most images of either side: about 1.1 KB are kept of each.
const MAX_IMAGES: usize = 2_000_000;
/// Training images that are compared with a test image, at most.
const MOST: usize = 1_024;

/// A test image that is among the training images.
#[derive(Debug, Clone, PartialEq)]
pub struct Leak {
    /// The test image.
    pub test: PathBuf,
    /// The training image that is most like it.
    pub train: PathBuf,
    /// `None` if every pixel is the same; else how alike they are, [`NEAR`] to 1.
    pub correlation: Option<f64>,
}

/// Finds them, in the order of the test images; `progress` hears of images read.
///
/// # Errors
/// An image that cannot be read, or more than 2 million of them.
pub fn find(
    train: &[PathBuf],
    test: &[PathBuf],
    limits: &ImageLimits,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Leak>, EvalError> {
    for (field, files) in [("train", train), ("test", test)] {
        if files.len() > MAX_IMAGES {
            let was = format!("{} images", files.len());
            let allowed = format!("at most {MAX_IMAGES} are allowed");
            return Err(parameter(field, was, allowed));
        }
    }
    let (digests, shapes) = read(train, limits, progress)?;
    // Of identical images the first.
    let known: HashMap<[u8; 32], usize> = digests
        .into_iter()
        .enumerate()
        .rev()
        .map(|(nth, d)| (d, nth))
        .collect();
    let (digests, tested) = read(test, limits, progress)?;
    let shapes_index = Shapes::new(&shapes);
    let leak = |nth: usize| {
        let identical = known.get(&digests[nth]).map(|train| (*train, None));
        let (train_image, correlation) = identical.or_else(|| {
            let (nearest, correlation) = shapes_index.nearest(&tested[nth], MOST)?;
            (correlation >= NEAR).then_some((nearest, Some(correlation)))
        })?;
        Some(Leak {
            test: test[nth].clone(),
            train: train[train_image].clone(),
            correlation,
        })
    };
    Ok((0..test.len()).into_par_iter().filter_map(leak).collect())
}

type Looks = (Vec<[u8; 32]>, Vec<Shape>);

fn read(
    files: &[PathBuf],
    limits: &ImageLimits,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Looks, EvalError> {
    let one = |path: &PathBuf| {
        let bytes = super::read(path)?;
        let look = Look::read(&bytes, limits).map_err(|source| EvalError::Image {
            path: path.clone(),
            source,
        })?;
        progress(1);
        Ok::<_, EvalError>((look.digest, Shape::of(&look.ink)))
    };
    let looks: Vec<_> = files.par_iter().map(one).collect::<Result<_, _>>()?;
    Ok(looks.into_iter().unzip())
}
