//! Rows of numbers in one block of memory, each on a cache line of its own.

/// Rows are padded with zeros to a multiple of so many numbers: one cache line.
pub const LANES: usize = 16;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// 64-byte-aligned rows of equal dimension, padded with zeros, which change neither a dot
/// product nor a squared distance.
#[derive(Debug, Clone)]
pub struct AlignedRows {
    lines: Vec<Line>,
    lines_per_row: usize,
    dim: usize,
}

impl AlignedRows {
    /// No rows yet; room for `capacity` rows of `dim` numbers.
    #[must_use]
    pub fn with_capacity(dim: usize, capacity: usize) -> Self {
        let lines_per_row = dim.div_ceil(LANES).max(1);
        Self {
            lines: super::roomy(lines_per_row * capacity),
            lines_per_row,
            dim,
        }
    }

    /// One row: a query, padded alike.
    #[must_use]
    pub fn one(row: &[f32]) -> Self {
        let mut rows = Self::with_capacity(row.len(), 1);
        rows.push(row);
        rows
    }

    /// Appends a row; numbers beyond the dimension are left out, missing ones are 0.
    pub fn push(&mut self, row: &[f32]) {
        let row = &row[..row.len().min(self.dim)];
        let mut chunks = row.chunks(LANES);
        for _ in 0..self.lines_per_row {
            let mut line = Line([0.0; LANES]);
            let chunk = chunks.next().unwrap_or_default();
            line.0[..chunk.len()].copy_from_slice(chunk);
            self.lines.push(line);
        }
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len() / self.lines_per_row
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Numbers in a row, without padding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// A row with its padding.
    ///
    /// # Panics
    /// There is no such row.
    #[must_use]
    #[inline]
    pub fn padded(&self, row: usize) -> &[f32] {
        let from = row * self.lines_per_row;
        let lines = &self.lines[from..from + self.lines_per_row];
        // SAFETY: `Line` is `repr(C)` around `[f32; LANES]` and 64 bytes long, its alignment,
        // so that `n` lines are `n * LANES` consecutive floats.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
    }

    /// A row without its padding.
    ///
    /// # Panics
    /// There is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.padded(row)[..self.dim]
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_and_padded_with_zeros() {
        let mut rows = AlignedRows::with_capacity(17, 2);
        for n in [1.0, 2.0] {
            rows.push(&[n; 17]);
        }
        assert_eq!((rows.len(), rows.padded(1).len()), (2, 32));
        assert_eq!(rows.row(1), [2.0; 17]);
        assert_eq!(rows.padded(1)[17..], [0.0; 15]);
        assert_eq!(rows.padded(1).as_ptr().align_offset(64), 0);
    }
}
