//! Bytes in one block of memory that begins on a cache line.

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Whole cache lines of bytes, zero at first.
#[derive(Debug, Clone, Default)]
pub struct AlignedBytes {
    lines: Vec<Line>,
}

impl AlignedBytes {
    /// So many zeros, rounded up to whole lines.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let mut lines = super::roomy(len.div_ceil(LINE));
        lines.resize(len.div_ceil(LINE), Line([0; LINE]));
        Self { lines }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `Line` is `repr(C)` around `[u8; LINE]` and as long as that, so that `n` lines
        // are `n * LINE` consecutive bytes.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) }
    }

    /// The bytes, to be written.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let bytes = self.lines.len() * LINE;
        // SAFETY: as in `as_slice`; any byte is valid.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_whole_lines_that_keep_what_is_written() {
        let mut bytes = AlignedBytes::zeroed(65);
        assert_eq!(bytes.as_slice(), [0; 128]);
        assert_eq!(bytes.as_slice().as_ptr().align_offset(LINE), 0);
        bytes.as_mut_slice()[127] = 7;
        assert_eq!(bytes.as_slice()[126..], [0, 7]);
        assert!(AlignedBytes::default().as_mut_slice().is_empty());
    }
}
