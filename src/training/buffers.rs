//! Memory that one step of the training leaves to the next: fresh pages would have to be
//! cleared by the system, step after step, which takes as long as a tenth of the step.

use std::sync::{Mutex, PoisonError};

/// Vectors to be used again.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Vec<f32>>>);

impl Buffers {
    /// A vector of this length, holding anything.
    #[must_use]
    pub fn take(&self, length: usize) -> Vec<f32> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match free.iter().position(|v| v.len() == length) {
            Some(at) => free.swap_remove(at),
            None => vec![0.0; length],
        }
    }

    /// Leaves a vector for later. As many should be given as are taken, of each length.
    pub fn give(&self, vector: Vec<f32>) {
        if vector.is_empty() {
            return;
        }
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(vector);
    }

    /// How many vectors lie there.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
