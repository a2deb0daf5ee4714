//! Backbones at work, and those that the process has at hand.

use super::super::{Architecture, Error, Input, Plan, Prepared};
use super::net::Net;
use super::{Frozen, file};
use candle_core::{Device, Result, Tensor};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A backbone, ready to look at images.
#[derive(Debug)]
pub struct Backbone {
    plan: Plan,
    frozen: Frozen,
    net: Net,
}

impl Backbone {
    /// Loads a safetensors file, in `f32`, `f16` or `bf16`, named as the family's authors name
    /// them.
    ///
    /// # Errors
    /// Unreadable, too large, of no family that is known, a tensor missing or misshapen, or what
    /// it gives for a grey image is not finite.
    pub fn load(path: &Path) -> std::result::Result<Self, Error> {
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
        let frozen = Frozen {
            family,
            features: given.len(),
            file,
        };
        let plan = Plan {
            architecture: Architecture::Backbone,
            widths: Architecture::Backbone.widths(),
            input: Input::Colour,
            side,
            dim: frozen.features.min(Plan::MAX_DIM),
            fold: None,
            backbone: Some(frozen),
        };
        plan.check()?;
        Ok(Self { plan, frozen, net })
    }

    /// The plan of a model that stands on it; as many dimensions as it gives numbers.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Which it is.
    #[must_use]
    pub fn frozen(&self) -> Frozen {
        self.frozen
    }

    /// What it sees in images: `[n, features]`, of unit length.
    ///
    /// # Errors
    /// An image prepared for another plan.
    pub fn features(&self, images: &[Prepared]) -> Result<Tensor> {
        let side = self.plan.side;
        let numbers: Vec<f32> = images
            .iter()
            .flat_map(Prepared::as_slice)
            .copied()
            .collect();
        let pixels = Tensor::from_vec(numbers, (images.len(), side, side, 3), &Device::Cpu)?;
        let [mean, deviation] = self.frozen.family.colours();
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
/// As [`Backbone::load`].
pub fn offer(path: &Path) -> std::result::Result<Arc<Backbone>, Error> {
    let backbone = Arc::new(Backbone::load(path)?);
    let mut all = offered();
    if let Some(known) = all.iter().find(|b| b.frozen == backbone.frozen) {
        return Ok(Arc::clone(known));
    }
    all.push(Arc::clone(&backbone));
    Ok(backbone)
}

/// A backbone that was offered.
pub(crate) fn find(frozen: Frozen) -> std::result::Result<Arc<Backbone>, Error> {
    let all = offered();
    let known = all.iter().find(|b| b.frozen == frozen);
    known.map(Arc::clone).ok_or_else(|| {
        let had: Vec<String> = all.iter().map(|b| b.frozen.to_string()).collect();
        let had = if had.is_empty() {
            "none was given".to_owned()
        } else {
            format!("given: {}", had.join(", "))
        };
        Error::Card(format!(
            "plan.backbone: the model stands on {frozen}; {had}. --backbone FILE gives it"
        ))
    })
}
