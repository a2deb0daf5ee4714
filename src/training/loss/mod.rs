//! Losses over a batch of unit vectors `z` `[n, d]`, the `i`-th of class `labels[i]`.
//!
//! - [`softmax`]: pick the class mate, or the class, out of all: `SupCon`, NT-Xent, prototypes.
//! - [`margin`]: keep a distance: contrastive and triplet losses, lifted structure.
//! - [`learned`]: with parameters of their own: margin softmax, weighted L1.
//! - [`agreement`]: two views of one image, without labels.

pub mod agreement;
pub mod learned;
pub mod margin;
pub mod softmax;

use candle_core::{D, Result, Tensor};
use margin::Negatives;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Distance that impostor pairs should keep.
const PAIR_MARGIN: f64 = 1.0;
/// Squared distance between genuine and impostor, for triplets.
const TRIPLET_MARGIN: f64 = 0.2;

/// What the training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Supervised contrastive (Khosla et al. 2020).
    #[default]
    #[serde(rename = "supcon")]
    SupCon,
    /// Normalised temperature-scaled cross-entropy (Sohn 2016; Chen et al. 2020, `SimCLR`).
    #[serde(rename = "ntxent")]
    NtXent,
    /// Nearest class mean of the others (Snell et al. 2017).
    Prototypical,
    /// Pairs (Hadsell, Chopra and `LeCun` 2006), margin 1.
    Contrastive,
    /// Triplets with semi-hard negatives (Schroff et al. 2015, `FaceNet`), margin 0.2.
    Triplet,
    /// Triplets of the farthest mate and the nearest stranger (Hermans et al. 2017, batch
    /// hard), margin 0.2.
    TripletHard,
    /// All triplets that violate the margin (Hermans et al. 2017, batch all), margin 0.2.
    TripletAll,
    /// Lifted structure (Oh Song et al. 2016), margin 1.
    Lifted,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SupCon,
        Self::NtXent,
        Self::Prototypical,
        Self::Contrastive,
        Self::Triplet,
        Self::TripletHard,
        Self::TripletAll,
        Self::Lifted,
    ];

    /// The loss of a batch, a scalar. `temperature` is that of the softmax losses; the others
    /// have none.
    ///
    /// # Errors
    /// `z` and `labels` of different lengths.
    pub fn of(self, z: &Tensor, labels: &[u32], temperature: f64) -> Result<Tensor> {
        let triplet = |negatives| margin::triplet(z, labels, TRIPLET_MARGIN, negatives);
        match self {
            Self::SupCon => softmax::supervised_contrastive(z, labels, temperature),
            Self::NtXent => softmax::nt_xent(z, labels, temperature),
            Self::Prototypical => softmax::prototypical(z, labels, temperature),
            Self::Contrastive => margin::contrastive(z, labels, PAIR_MARGIN),
            Self::Triplet => triplet(Negatives::SemiHard),
            Self::TripletHard => triplet(Negatives::Hard),
            Self::TripletAll => triplet(Negatives::All),
            Self::Lifted => margin::lifted(z, labels, PAIR_MARGIN),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SupCon => "supcon",
            Self::NtXent => "ntxent",
            Self::Prototypical => "prototypical",
            Self::Contrastive => "contrastive",
            Self::Triplet => "triplet",
            Self::TripletHard => "triplet-hard",
            Self::TripletAll => "triplet-all",
            Self::Lifted => "lifted",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|loss| loss.name() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("{text:?}; known are {known}")
        })
    }
}

/// Rows of unit length.
///
/// # Errors
/// None that can be foreseen.
pub fn unit(x: &Tensor) -> Result<Tensor> {
    let length = (x.sqr()?.sum_keepdim(D::Minus1)? + 1e-12)?.sqrt()?;
    x.broadcast_div(&length)
}

/// Pairs `(i, j)`, `i` not `j`, of one class.
fn mates(labels: &[u32]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let n = labels.len();
    let pairs = (0..n).flat_map(move |i| (0..n).map(move |j| (i, j)));
    pairs.filter(|(i, j)| i != j && labels[*i] == labels[*j])
}

/// A constant `[n, n]`, of the kind of numbers that `like` has.
fn square(like: &Tensor, n: usize, value: impl Fn(usize, usize) -> f32) -> Result<Tensor> {
    let values: Vec<f32> = (0..n * n).map(|at| value(at / n, at % n)).collect();
    Tensor::from_vec(values, (n, n), like.device())?.to_dtype(like.dtype())
}

/// The elements of `x` `[n, n]` at these places, as a vector.
fn pick(x: &Tensor, places: &[(usize, usize)]) -> Result<Tensor> {
    let n = x.dim(0)?;
    let flat = |(i, j): &(usize, usize)| u32::try_from(i * n + j).map_err(candle_core::Error::wrap);
    let at = places.iter().map(flat).collect::<Result<Vec<u32>>>()?;
    let at = Tensor::from_vec(at, places.len(), x.device())?;
    x.flatten_all()?.index_select(&at, 0)
}

#[expect(clippy::cast_precision_loss, reason = "counts within a batch")]
fn share(of: usize) -> f32 {
    1.0 / of.max(1) as f32
}
