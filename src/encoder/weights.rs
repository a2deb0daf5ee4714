//! The weights file: safetensors, little-endian `f32`, the card in its metadata.
//!
//! Batch normalisation is kept apart from the convolutions, so that training can go on
//! from a file; the tower folds it in.

use super::conv::Size;
use super::{Architecture, Card, Error, Plan};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// Largest weights file accepted, in bytes.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A convolution and the batch normalisation behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// `[side, side, in, out]`, row after row.
    pub kernel: Vec<f32>,
    /// Scale, one a channel.
    pub gain: Vec<f32>,
    /// Offset, one a channel.
    pub shift: Vec<f32>,
    /// Running mean, one a channel.
    pub mean: Vec<f32>,
    /// Running variance, one a channel; not negative.
    pub variance: Vec<f32>,
}

/// All that a tower has learnt.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The shape.
    pub plan: Plan,
    /// One a step of the plan.
    pub blocks: Vec<Block>,
    /// `[features, dim]`.
    pub head: Vec<f32>,
    /// `[dim]`.
    pub bias: Vec<f32>,
}

impl Weights {
    /// All tensors: name, shape, values; always in this order.
    #[must_use]
    pub fn named(&self) -> Vec<(String, Vec<usize>, &[f32])> {
        let mut all: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
        for (i, (block, step)) in self.blocks.iter().zip(self.plan.steps()).enumerate() {
            let Size { side, from, to, .. } = step.size;
            let shape = vec![side, side, from, to];
            all.push((format!("block{i}.kernel"), shape, &block.kernel));
            for (name, values) in [
                ("gain", &block.gain),
                ("shift", &block.shift),
                ("mean", &block.mean),
                ("variance", &block.variance),
            ] {
                all.push((format!("block{i}.{name}"), vec![to], values));
            }
        }
        let (features, dim) = (self.plan.features(), self.plan.dim);
        all.push(("head.weight".into(), vec![features, dim], &self.head));
        all.push(("head.bias".into(), vec![dim], &self.bias));
        all
    }

    /// All values, in the order of [`Weights::named`].
    pub fn named_mut(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        let blocks = self.blocks.iter_mut().flat_map(|block| {
            let vectors = [&mut block.gain, &mut block.shift, &mut block.mean];
            let kernel = std::iter::once(&mut block.kernel);
            kernel.chain(vectors).chain([&mut block.variance])
        });
        blocks.chain([&mut self.head, &mut self.bias])
    }

    /// Moves every number towards `other`'s, by this share of the way. Of another plan, only
    /// what both have moves.
    pub fn blend(&mut self, other: &Self, share: f32) {
        for (mine, (_, _, theirs)) in self.named_mut().zip(other.named()) {
            for (v, other) in mine.iter_mut().zip(theirs) {
                *v += share * (other - *v);
            }
        }
    }

    /// Reads a weights file. The bytes are not trusted: shapes must be the card's, numbers
    /// finite, nothing missing, nothing left over.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(file: &[u8]) -> Result<(Self, Card), Error> {
        let bytes = file.len() as u64;
        if bytes > MAX_BYTES {
            return Err(Error::TooLarge {
                bytes,
                limit: MAX_BYTES,
            });
        }
        super::header::check(file)?;
        let not_tensors = |e: safetensors::SafeTensorError| Error::NotSafetensors(e.to_string());
        let (_, metadata) = SafeTensors::read_metadata(file).map_err(not_tensors)?;
        let tensors = SafeTensors::deserialize(file).map_err(not_tensors)?;
        let card = metadata
            .metadata()
            .as_ref()
            .and_then(|m| m.get("card"))
            .ok_or_else(|| Error::Card("missing from the metadata".into()))?;
        let card = Card::parse(card)?;
        let weights = Self::read(card.plan, &tensors)?;
        let known = weights.named();
        let stranger = tensors
            .names()
            .into_iter()
            .find(|name| !known.iter().any(|(n, ..)| n == name));
        if let Some(name) = stranger {
            return Err(Error::Tensor {
                name: name.to_owned(),
                was: "unexpected".into(),
                allowed: "only the tensors of the card's architecture are allowed".into(),
            });
        }
        Ok((weights, card))
    }

    /// The tensors of this plan; a checkpoint has more beside them.
    pub(crate) fn read(plan: Plan, tensors: &SafeTensors) -> Result<Self, Error> {
        let mut blocks = Vec::new();
        for (i, step) in plan.steps().into_iter().enumerate() {
            let Size { side, from, to, .. } = step.size;
            let vector = |name| take(tensors, &format!("block{i}.{name}"), &[to]);
            blocks.push(Block {
                kernel: take(
                    tensors,
                    &format!("block{i}.kernel"),
                    &[side, side, from, to],
                )?,
                gain: vector("gain")?,
                shift: vector("shift")?,
                mean: vector("mean")?,
                variance: vector("variance")?,
            });
        }
        let weights = Self {
            plan,
            blocks,
            head: take(tensors, "head.weight", &[plan.features(), plan.dim])?,
            bias: take(tensors, "head.bias", &[plan.dim])?,
        };
        for (i, block) in weights.blocks.iter().enumerate() {
            if let Some(v) = block.variance.iter().find(|v| **v < 0.0) {
                return Err(Error::Tensor {
                    name: format!("block{i}.variance"),
                    was: v.to_string(),
                    allowed: "a variance is not negative".into(),
                });
            }
        }
        Ok(weights)
    }

    /// The weights file.
    ///
    /// # Errors
    /// A tensor whose length is not its shape's.
    pub fn to_file(&self, card: &Card) -> Result<Vec<u8>, Error> {
        let named = self.named();
        let bytes: Vec<Vec<u8>> = named.iter().map(|(.., v)| to_bytes(v)).collect();
        let mut views = Vec::new();
        for ((name, shape, _), bytes) in named.into_iter().zip(&bytes) {
            let view = TensorView::new(Dtype::F32, shape, bytes)
                .map_err(|e| Error::NotSafetensors(e.to_string()))?;
            views.push((name, view));
        }
        let metadata = HashMap::from([("card".to_owned(), card.to_json())]);
        safetensors::serialize(views, Some(metadata))
            .map_err(|e| Error::NotSafetensors(e.to_string()))
    }

    /// As they serve: a head that has learnt, on its backbone.
    #[must_use]
    pub fn served(mut self) -> Self {
        if self.plan.architecture == Architecture::Head {
            self.plan.architecture = Architecture::Backbone;
        }
        self
    }

    /// The card's name and the hash, such as `omniglot-1-1a2b3c4d`.
    #[must_use]
    pub fn version(&self, card: &Card) -> String {
        format!("{}-{}", card.name, self.hash())
    }

    /// Eight hexadecimal digits of the hash of all numbers, the backbone's fingerprint among
    /// them; the card does not count.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        if let Some(backbone) = self.plan.backbone {
            hasher.update(backbone.to_string().as_bytes());
        }
        for (name, _, values) in self.named() {
            hasher.update(name.as_bytes());
            hasher.update(&to_bytes(values));
        }
        hasher.finalize().to_hex()[..8].to_owned()
    }
}

/// Reads a weights file, unless it is too large to be one.
///
/// # Errors
/// Unreadable or too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    read_within(path, MAX_BYTES)
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read_within(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > limit {
        return Err(Error::TooLarge { bytes, limit });
    }
    std::fs::read(path).map_err(unreadable)
}

pub(crate) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The values of the tensor `name`, which must be finite `f32` of this shape.
pub(crate) fn take(tensors: &SafeTensors, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
    let refuse = |was: String, allowed: String| Error::Tensor {
        name: name.to_owned(),
        was,
        allowed,
    };
    let allowed = || format!("F32 of shape {shape:?} is needed");
    let view = tensors
        .tensor(name)
        .map_err(|_| refuse("missing".into(), allowed()))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        let was = format!("{:?} of shape {:?}", view.dtype(), view.shape());
        return Err(refuse(was, allowed()));
    }
    let (quads, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = quads.iter().map(|b| f32::from_le_bytes(*b)).collect();
    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
        let was = format!("element {i} is {}", values[i]);
        return Err(refuse(was, "every element must be finite".into()));
    }
    Ok(values)
}
