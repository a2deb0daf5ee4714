//! Data sets, the trainer of the encoder, and honest evaluation.

pub mod init;
pub mod random;
