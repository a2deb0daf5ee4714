//! The net, together with whatever else an objective needs to learn: class centres, a pair
//! head, a predictor, a slowly following tower, a queue.

use super::TrainError;
use super::batches::Batch;
use super::loss::{Loss, agreement, learned, unit};
use super::net::{Net, Parameter};
use super::objective::Objective;
use super::random::Random;
use super::recipe::Recipe;
use crate::encoder::tower::stem;
use crate::encoder::{Card, Encoder, Plan, Prepared, Weights};
use candle_core::{Device, Result, Tensor, Var};
use rayon::prelude::*;

/// `ArcFace`'s factor on cosines and widening of angles, in radians.
const SCALE: f64 = 16.0;
const MARGIN: f64 = 0.2;
/// How much of itself the slow tower keeps a step.
const FOLLOW: f32 = 0.99;
const FOLLOW_BYOL: f32 = 0.95;
/// Embeddings that `MoCo` remembers.
const QUEUE: usize = 4096;

/// A net that learns by an objective.
pub struct Learner {
    objective: Objective,
    temperature: f64,
    /// The net.
    pub net: Net,
    own: Vec<Parameter>,
    slow: Option<Weights>,
    queue: Vec<f32>,
}

impl Learner {
    /// Goes on from these weights by a recipe, on a device. `classes` are those that a batch
    /// may name.
    ///
    /// # Errors
    /// Weights that do not fit their plan.
    pub fn new(
        recipe: &Recipe,
        weights: &Weights,
        classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let objective = recipe.objective;
        let dim = weights.plan.dim;
        let random = &mut Random::new(seed, u64::MAX - 5);
        let own = match objective {
            Objective::ArcFace => {
                vec![matrix("centres", classes, dim, 1.0, false, random, device)?]
            }
            Objective::Koch => {
                // All distances weigh alike, and a pair at the distance of the middle is open.
                let mut head = vec![-1.0_f32; dim + 1];
                head[dim] = 1.0;
                vec![Parameter {
                    name: "pair.head".into(),
                    values: Var::from_vec(head, dim + 1, device)?,
                    decays: false,
                }]
            }
            Objective::Byol | Objective::SimSiam => {
                let (inner, he) = (2 * dim, 2.0);
                vec![
                    matrix("predictor.first", dim, inner, he, true, random, device)?,
                    matrix("predictor.second", inner, dim, 1.0, true, random, device)?,
                ]
            }
            _ => Vec::new(),
        };
        let follows = matches!(objective, Objective::MoCo | Objective::Byol);
        Ok(Self {
            objective,
            temperature: f64::from(recipe.temperature),
            net: Net::new(weights, device)?,
            own,
            slow: follows.then(|| weights.clone()),
            queue: Vec::new(),
        })
    }

    /// All that learns, always in this order.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = self.net.parameters();
        all.extend(self.own.iter().cloned());
        all
    }

    /// The loss of a batch. `settled` as in [`Net::forward`].
    ///
    /// # Errors
    /// A batch that does not fit.
    pub fn loss(&mut self, batch: &Batch, settled: u64) -> std::result::Result<Tensor, TrainError> {
        let plan = self.net.plan();
        let images = stem(&plan, batch.images.iter().map(Vec::as_slice))?;
        let images = images.to_device(self.net.device())?;
        let z = self.net.forward(&images, settled)?;
        let loss = match self.objective {
            Objective::Loss(loss) => loss.of(&z, &batch.labels, self.temperature),
            Objective::SimClr => Loss::NtXent.of(&z, &batch.labels, self.temperature),
            Objective::ArcFace => {
                let centres = unit(&self.own[0].values)?;
                learned::arc_face(&z, &centres, &batch.classes, SCALE, MARGIN)
            }
            Objective::Koch => learned::weighted_l1(&z, &batch.labels, &self.own[0].values),
            Objective::VicReg => {
                let (a, b) = views(&self.wide(&z)?)?;
                agreement::vicreg(&a, &b)
            }
            Objective::BarlowTwins => {
                let (a, b) = views(&z)?;
                agreement::barlow_twins(&a, &b)
            }
            Objective::SimSiam => {
                let z = agreement::standardised(&z)?;
                let (p, still) = (self.predict(&z)?, z.detach());
                both_ways(&p, &still)
            }
            Objective::Byol => {
                let still = agreement::standardised(&self.seen_slowly(&plan, batch)?)?;
                let p = self.predict(&agreement::standardised(&z)?)?;
                both_ways(&p, &still)
            }
            Objective::MoCo => {
                let keys = self.seen_slowly(&plan, batch)?;
                let loss = self.contrast(&z, &keys)?;
                self.remember(&keys)?;
                Ok(loss)
            }
        };
        Ok(loss?)
    }

    /// What follows a step of the optimiser.
    ///
    /// # Errors
    /// None that can be foreseen.
    pub fn follow(&mut self) -> Result<()> {
        if let Some(slow) = &mut self.slow {
            let keep = if self.objective == Objective::Byol {
                FOLLOW_BYOL
            } else {
                FOLLOW
            };
            slow.blend(&self.net.weights()?, 1.0 - keep);
        }
        Ok(())
    }

    /// What a checkpoint must keep beside weights and moments: names and values.
    ///
    /// # Errors
    /// None that can be foreseen.
    pub fn state(&self) -> Result<Vec<(String, Vec<f32>)>> {
        let mut all = Vec::new();
        for parameter in &self.own {
            let values = parameter.values.flatten_all()?.to_vec1()?;
            all.push((format!("own.{}", parameter.name), values));
        }
        if let Some(slow) = &self.slow {
            for (name, _, values) in slow.named() {
                all.push((format!("slow.{name}"), values.to_vec()));
            }
        }
        if self.objective == Objective::MoCo {
            all.push(("queue".into(), self.queue.clone()));
        }
        Ok(all)
    }

    /// Goes on from [`Self::state`]; `take` answers the values of a name.
    ///
    /// # Errors
    /// Whatever `take` refuses, or values of another number.
    pub fn resume<E: From<candle_core::Error>>(
        &mut self,
        take: impl Fn(&str) -> std::result::Result<Vec<f32>, E>,
    ) -> std::result::Result<(), E> {
        for parameter in &self.own {
            let values = take(&format!("own.{}", parameter.name))?;
            let values =
                Tensor::from_vec(values, parameter.values.shape(), parameter.values.device())?;
            parameter.values.set(&values)?;
        }
        if let Some(slow) = &mut self.slow {
            let names: Vec<String> = slow.named().into_iter().map(|(name, ..)| name).collect();
            for (name, values) in names.iter().zip(slow.named_mut()) {
                let kept = take(&format!("slow.{name}"))?;
                if kept.len() != values.len() {
                    let message = format!("slow.{name}: {} numbers", kept.len());
                    return Err(candle_core::Error::msg(message).into());
                }
                *values = kept;
            }
        }
        if self.objective == Objective::MoCo {
            self.queue = take("queue")?;
        }
        Ok(())
    }

    /// `z` so long that a dimension of even deviation has deviation 1.
    #[expect(clippy::cast_precision_loss, reason = "dimensions")]
    fn wide(&self, z: &Tensor) -> Result<Tensor> {
        z * (self.net.plan().dim as f64).sqrt()
    }

    fn predict(&self, z: &Tensor) -> Result<Tensor> {
        let inner = z.matmul(&self.own[0].values)?;
        let inner = agreement::standardised(&inner)?.relu()?;
        inner.matmul(&self.own[1].values)
    }

    /// The batch as the slow tower sees it, by its running statistics: the batch's own would
    /// tell which images came together (He et al. 2020, section 3.3).
    fn seen_slowly(&self, plan: &Plan, batch: &Batch) -> std::result::Result<Tensor, TrainError> {
        let missing = || candle_core::Error::msg("no slow tower");
        let slow = self.slow.as_ref().ok_or_else(missing)?;
        let encoder = Encoder::new(slow, Card::new("slow", *plan))?;
        let rows: Vec<Vec<f32>> = batch
            .images
            .par_chunks(16)
            .map(|images| {
                let prepare = |image: &Vec<f32>| Prepared(image.clone().into_boxed_slice());
                let images: Vec<Prepared> = images.iter().map(prepare).collect();
                let seen = encoder.embed(&images)?;
                Ok(seen.iter().flat_map(|e| e.as_slice().to_vec()).collect())
            })
            .collect::<std::result::Result<_, crate::encoder::Error>>()?;
        let shape = (batch.images.len(), plan.dim);
        Ok(Tensor::from_vec(rows.concat(), shape, self.net.device())?)
    }

    fn contrast(&self, z: &Tensor, keys: &Tensor) -> Result<Tensor> {
        let d = self.net.plan().dim;
        let queue = match self.queue.len() / d {
            0 => None,
            n => Some(Tensor::from_slice(&self.queue, (n, d), z.device())?),
        };
        let ((a, b), (of_a, of_b)) = (views(z)?, views(keys)?);
        let one = agreement::info_nce(&a, &of_b, queue.as_ref(), self.temperature)?;
        let other = agreement::info_nce(&b, &of_a, queue.as_ref(), self.temperature)?;
        (one + other)? * 0.5
    }

    fn remember(&mut self, keys: &Tensor) -> Result<()> {
        self.queue.extend(keys.flatten_all()?.to_vec1::<f32>()?);
        let most = QUEUE * self.net.plan().dim;
        let over = self.queue.len().saturating_sub(most);
        self.queue.drain(..over);
        Ok(())
    }
}

/// First and second views of a batch in which those of an image follow one another.
fn views(z: &Tensor) -> Result<(Tensor, Tensor)> {
    let (n, d) = z.dims2()?;
    let pairs = z.reshape((n / 2, 2, d))?;
    let view = |at| pairs.narrow(1, at, 1)?.squeeze(1)?.contiguous();
    Ok((view(0)?, view(1)?))
}

/// Each view's prediction against what the other is.
fn both_ways(predicted: &Tensor, still: &Tensor) -> Result<Tensor> {
    let ((p, q), (a, b)) = (views(predicted)?, views(still)?);
    (agreement::alignment(&p, &b)? + agreement::alignment(&q, &a)?)? * 0.5
}

fn matrix(
    name: &str,
    rows: usize,
    columns: usize,
    power: f32,
    decays: bool,
    random: &mut Random,
    device: &Device,
) -> Result<Parameter> {
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let deviation = (power / rows.min(columns) as f32).sqrt();
    let values: Vec<f32> = (0..rows * columns)
        .map(|_| deviation * random.normal())
        .collect();
    Ok(Parameter {
        name: name.into(),
        values: Var::from_vec(values, (rows, columns), device)?,
        decays,
    })
}
