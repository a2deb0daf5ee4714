//! Backbones at work, and those that the process has at hand.

use super::super::{Architecture, Error, Input, Plan, Prepared};
use super::net::Net;
use super::{BackboneId, file};
use candle_core::{Device, Result, Tensor};
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A backbone, ready to look at images.
#[derive(Debug)]
pub struct Backbone {
    plan: Plan,
    id: BackboneId,
    net: Net,
}

impl Backbone {
    /// Loads a safetensors file, in `f32`, `f16` or `bf16`, named as the family's authors name
    /// them.
    ///
    /// # Errors
    /// Unreadable, too large, of no family that is known, a tensor missing or misshapen, or what
    /// it gives for a grey image is not finite.
    fn load(path: &Path) -> std::result::Result<Self, Error> {
        // The file is not ours, and neither is what reads its tensors.
        catch_unwind(|| Self::read(path)).unwrap_or_else(|_| {
            Err(Error::Tensor {
                name: "of the backbone".into(),
                was: "a panic while it was read".into(),
                allowed: "the family's shapes are needed".into(),
            })
        })
    }

    fn read(path: &Path) -> std::result::Result<Self, Error> {
        let (tensors, file) = file::read(path)?;
        let (family, side, net) = Net::new(tensors)?;
        let probe = Tensor::full(0.1_f32, (1, 3, side, side), &Device::Cpu)?;
        let given = net.forward(&probe)?.flatten_all()?.to_vec1::<f32>()?;
        if let Some(at) = given.iter().position(|v| !v.is_finite()) {
            return Err(Error::Tensor {
                name: "of the backbone".into(),
                was: format!(
                    "number {at} of what it gives for a grey image is {}",
                    given[at]
                ),
                allowed: "every number must be finite".into(),
            });
        }
        let id = BackboneId {
            family,
            features: given.len(),
            file,
        };
        let plan = Plan {
            architecture: Architecture::Backbone,
            widths: Architecture::Backbone.widths(),
            input: Input::Colour,
            side,
            dim: id.features.min(Plan::MAX_DIM),
            fold: None,
            backbone: Some(id),
        };
        plan.check()?;
        Ok(Self { plan, id, net })
    }

    /// The plan of a model that stands on it; as many dimensions as it gives numbers.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Which it is.
    #[must_use]
    pub fn id(&self) -> BackboneId {
        self.id
    }

    /// What it sees in images, one after the other: `[n, features]`, of unit length.
    ///
    /// # Errors
    /// An image prepared for another plan.
    pub fn features(&self, images: &[Prepared]) -> Result<Tensor> {
        let all = images.iter().map(|image| self.look(image.as_slice()));
        Tensor::cat(&all.collect::<Result<Vec<_>>>()?, 0)
    }

    fn look(&self, pixels: &[f32]) -> Result<Tensor> {
        let side = self.plan.side;
        let pixels = Tensor::from_slice(pixels, (1, side, side, 3), &Device::Cpu)?;
        let [mean, deviation] = self.id.family.colours();
        let of = |v: [f32; 3]| Tensor::new(&v, &Device::Cpu);
        // From -1..=1 to what it learnt on.
        let pixels = ((pixels + 1.0)? * 0.5)?.broadcast_sub(&of(mean)?)?;
        let pixels = pixels.broadcast_div(&of(deviation)?)?;
        let seen = self
            .net
            .forward(&pixels.permute((0, 3, 1, 2))?.contiguous()?)?;
        let length = (seen.sqr()?.sum_keepdim(1)? + 1e-12)?.sqrt()?;
        seen.broadcast_div(&length)
    }
}

/// The backbones that this process has at hand.
static OFFERED: Mutex<Vec<Arc<Backbone>>> = Mutex::new(Vec::new());

fn offered() -> MutexGuard<'static, Vec<Arc<Backbone>>> {
    OFFERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads a backbone, so that from now on models that stand on it can be used.
///
/// # Errors
/// Unreadable, too large, of no family that is known, a tensor missing or misshapen.
pub fn offer(path: &Path) -> std::result::Result<Arc<Backbone>, Error> {
    let backbone = Arc::new(Backbone::load(path)?);
    let mut all = offered();
    if let Some(known) = all.iter().find(|b| b.id == backbone.id) {
        return Ok(Arc::clone(known));
    }
    all.push(Arc::clone(&backbone));
    Ok(backbone)
}

/// A backbone that was offered.
pub(crate) fn find(id: BackboneId) -> std::result::Result<Arc<Backbone>, Error> {
    let all = offered();
    let known = all.iter().find(|b| b.id == id);
    known.map(Arc::clone).ok_or_else(|| {
        let had: Vec<String> = all.iter().map(|b| b.id.to_string()).collect();
        let had = if had.is_empty() {
            "none was given".to_owned()
        } else {
            format!("given: {}", had.join(", "))
        };
        Error::Backbone(format!(
            "the model stands on {id}; {had}: --backbone FILE gives it"
        ))
    })
}
