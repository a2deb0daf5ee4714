//! From image to embedding: pre-processing, the Siamese tower, the bounded pool.
