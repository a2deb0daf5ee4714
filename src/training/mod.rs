//! Data sets, the trainer of the encoder, and honest evaluation.
