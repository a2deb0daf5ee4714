//! Data sets, the trainer of the encoder, and honest evaluation.
//!
//! - `corpus`, `sampler`, `augment`, `random`: what a step learns from; all of it follows
//!   from a seed and the number of the step.
//! - `init`, `block`, `buffers`, `pooling`, `stack`, `net`, `loss`, `optim`: how it learns.
//! - `dataset`, `glyphs`: folders of labelled images, and an alphabet that draws itself.
//! - `evaluate`: figures on data that the encoder has not seen.
//! - `options`, `trainer`, `checkpoint`, `oneshot`: the run, and how far it came.

pub mod augment;
pub mod block;
pub mod buffers;
pub mod checkpoint;
pub mod corpus;
pub mod dataset;
mod error;
pub mod evaluate;
pub mod glyphs;
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
pub mod stack;
mod trainer;

pub use corpus::Corpus;
pub use error::TrainError;
pub use loss::Loss;
pub use options::{Progress, TrainOptions, Trained};
pub use trainer::{train, train_corpus};
