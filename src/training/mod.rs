//! Data sets, the trainer of the encoder, and honest evaluation.
//!
//! - `recipe`, `guess`: how to train for what kind of pictures; `objective`: what is minimised.
//! - `corpus`, `sampler`, `pixels`, `augment`, `batches`, `random`: what a step learns
//!   from; all of it follows from a seed and the number of the step.
//! - `features`, `cache`: what a backbone extracts, for a head to learn from.
//! - `init`, `block`, `buffers`, `pooling`, `stack`, `net`, `loss`, `learner`, `optim`: how it
//!   learns; `compute`, `ops`: the same on a GPU.
//! - `dataset`, `glyphs`: folders of labelled images, and an alphabet that draws itself.
//! - `compared`: labelled vectors to comparisons of known truth, for calibration.
//! - `evaluate`: figures on data that the encoder has not seen.
//! - `options`, `trainer`, `run`, `checkpoint`, `oneshot`: the run, and how far it came.

pub mod augment;
pub mod batches;
pub mod block;
pub mod buffers;
mod cache;
pub mod checkpoint;
pub mod compared;
mod compute;
pub mod corpus;
pub mod dataset;
mod error;
pub mod evaluate;
pub mod features;
pub mod glyphs;
#[cfg(test)]
mod gradients;
pub mod guess;
pub mod init;
pub mod learner;
pub mod loss;
pub mod net;
mod objective;
pub mod oneshot;
mod ops;
pub mod optim;
mod options;
mod pixels;
mod pooling;
pub mod random;
pub mod recipe;
mod run;
pub mod sampler;
pub mod stack;
mod trainer;

pub use compute::Compute;
pub use corpus::Corpus;
pub use error::TrainError;
pub use loss::Loss;
pub use objective::Objective;
pub use options::{Progress, TrainOptions, Trained};
pub use recipe::Recipe;
pub use trainer::{ready, train, train_corpus};
