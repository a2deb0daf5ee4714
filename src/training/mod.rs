//! Data sets, the trainer of the encoder, and honest evaluation.
//!
//! - `corpus`, `sampler`, `augment`, `random`: what a step learns from; all of it follows
//!   from a seed and the number of the step.
//! - `init`, `block`, `pooling`, `net`, `loss`, `optim`: how it learns.
//! - `options`, `trainer`, `checkpoint`, `oneshot`: the run, and how far it came.

pub mod augment;
pub mod block;
pub mod checkpoint;
pub mod corpus;
mod error;
#[cfg(test)]
mod gradients;
pub mod init;
pub mod loss;
pub mod net;
pub mod oneshot;
pub mod optim;
mod options;
mod pooling;
pub mod random;
pub mod sampler;
mod trainer;

pub use corpus::Corpus;
pub use error::TrainError;
pub use loss::Loss;
pub use options::{Progress, TrainOptions, Trained};
pub use trainer::{train, train_corpus};
