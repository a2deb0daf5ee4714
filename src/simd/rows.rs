//! Rows of numbers in one block, each on a cache line of its own: in memory, or in a file that the
//! system reads as they are needed.

use memmap2::Mmap;
use std::io::{self, Write};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

/// Rows are padded with zeros to a multiple of so many numbers: one cache line.
pub const LANES: usize = 16;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// Where lines are.
#[derive(Debug, Clone)]
enum Lines {
    Memory(Vec<Line>),
    File(Arc<Mmap>),
}

impl Deref for Lines {
    type Target = [Line];

    #[inline]
    fn deref(&self) -> &[Line] {
        match self {
            Self::Memory(lines) => lines,
            // SAFETY: a mapping begins at a page, and holds what was written of whole lines, any
            // bytes of which are floats. Nothing changes it: see [`AlignedRows::filed`].
            Self::File(map) => unsafe {
                std::slice::from_raw_parts(map.as_ptr().cast(), map.len() / size_of::<Line>())
            },
        }
    }
}

/// 64-byte-aligned rows of equal dimension, padded with zeros, which change neither a dot
/// product nor a squared distance.
#[derive(Debug, Clone)]
pub struct AlignedRows {
    lines: Lines,
    lines_per_row: usize,
    dim: usize,
}

impl AlignedRows {
    /// No rows yet; room for `capacity` rows of `dim` numbers.
    #[must_use]
    pub fn with_capacity(dim: usize, capacity: usize) -> Self {
        let lines_per_row = dim.div_ceil(LANES).max(1);
        Self {
            lines: Lines::Memory(super::roomy(lines_per_row * capacity)),
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

    /// The same rows in a file of their own, which has no name in `dir` and ends with them. It takes
    /// the place of memory, not of anything stored: it is not synced.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn filed(&self, dir: &Path) -> io::Result<Self> {
        if self.is_empty() {
            return Ok(self.clone());
        }
        let mut file = tempfile::tempfile_in(dir)?;
        // SAFETY: lines are floats without gaps between them.
        let bytes = unsafe {
            std::slice::from_raw_parts(self.lines.as_ptr().cast(), size_of_val(&*self.lines))
        };
        file.write_all(bytes)?;
        // SAFETY: nobody else can open a file without a name, so that nothing changes it, and its
        // length stays.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self {
            lines: Lines::File(Arc::new(map)),
            ..*self
        })
    }

    /// Appends a row; numbers beyond the dimension are left out, missing ones are 0.
    pub fn push(&mut self, row: &[f32]) {
        let row = &row[..row.len().min(self.dim)];
        if let Lines::File(_) = self.lines {
            self.lines = Lines::Memory(self.lines.to_vec());
        }
        let Lines::Memory(lines) = &mut self.lines else {
            return;
        };
        let mut chunks = row.chunks(LANES);
        for _ in 0..self.lines_per_row {
            let mut line = Line([0.0; LANES]);
            let chunk = chunks.next().unwrap_or_default();
            line.0[..chunk.len()].copy_from_slice(chunk);
            lines.push(line);
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

    /// All rows from one on, with their padding.
    pub(super) fn from(&self, row: usize) -> &[f32] {
        let lines = &self.lines[row * self.lines_per_row..];
        // SAFETY: as in `padded`.
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

    /// Memory held, in bytes: none by rows in a file.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.lines {
            Lines::Memory(lines) => size_of_val(&**lines),
            Lines::File(_) => 0,
        }
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

    #[test]
    #[cfg_attr(miri, ignore = "it maps no files")]
    fn rows_in_a_file_are_the_same_and_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut rows = AlignedRows::with_capacity(17, 3);
        assert!(rows.filed(dir.path()).unwrap().is_empty());
        (0..300_u16).for_each(|n| rows.push(&[f32::from(n); 17]));
        let mut filed = rows.filed(dir.path()).unwrap();
        assert_eq!((filed.len(), filed.bytes()), (300, 0));
        assert!((0..300).all(|row| filed.padded(row) == rows.padded(row)));
        assert_eq!(filed.padded(1).as_ptr().align_offset(64), 0);
        assert_eq!(dir.path().read_dir().unwrap().count(), 0, "without a name");
        filed.push(&[0.5; 17]);
        assert_eq!((filed.row(299)[3], filed.row(300)[16]), (299.0, 0.5));
        assert!(rows.filed(&dir.path().join("missing")).is_err());
    }
}
