//! Dot products of rows of codes, four bits a number, with a query of signed bytes. All are exact,
//! and so the same on every machine.
//!
//! Byte `j` of a row's line holds number `j` of 128 in its low half and number `j + 64` in its high
//! one. A query has a byte for each number of a row, padding included (see [`CodeRows`]).

use std::sync::OnceLock;

/// Rows of codes are padded with zeros to a multiple of so many numbers: one cache line.
pub const CODES: usize = 2 * LINE;
/// The largest code.
pub const CODE_TOP: u8 = 15;
/// Bytes of a cache line.
const LINE: usize = 64;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// 64-byte-aligned rows of codes of equal dimension.
#[derive(Debug, Clone)]
pub struct CodeRows {
    lines: Vec<Line>,
    lines_per_row: usize,
}

impl CodeRows {
    /// No rows yet; room for `capacity` rows of `dim` codes.
    #[must_use]
    pub fn with_capacity(dim: usize, capacity: usize) -> Self {
        let lines_per_row = dim.div_ceil(CODES).max(1);
        Self {
            lines: super::roomy(lines_per_row * capacity),
            lines_per_row,
        }
    }

    /// Appends a row of codes up to [`CODE_TOP`]; missing ones are 0, those beyond the padding
    /// are left out.
    pub fn push(&mut self, row: &[u8]) {
        let mut parts = row.chunks(CODES);
        for _ in 0..self.lines_per_row {
            let mut line = Line([0; LINE]);
            for (i, code) in parts.next().unwrap_or_default().iter().enumerate() {
                line.0[i % LINE] |= (code & CODE_TOP) << (4 * (i / LINE));
            }
            self.lines.push(line);
        }
    }

    /// A row with its padding.
    ///
    /// # Panics
    /// There is no such row.
    #[must_use]
    #[inline]
    pub fn padded(&self, row: usize) -> &[u8] {
        let from = row * self.lines_per_row;
        let lines = &self.lines[from..from + self.lines_per_row];
        // SAFETY: `Line` is `repr(C)` around `[u8; LINE]` and as long as that, so that `n` lines
        // are `n * LINE` consecutive bytes.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
    }

    /// The dot products of a padded query with some rows.
    ///
    /// # Panics
    /// There is no such row; the query has not two values a byte of a row, or `out` is not as long
    /// as there are rows.
    pub fn dots(&self, query: &[i8], rows: &[u32], out: &mut [i32]) {
        let bytes = self.lines_per_row * LINE;
        assert_eq!(query.len(), 2 * bytes, "the query is padded as rows are");
        assert_eq!(rows.len(), out.len(), "a product a row");
        let held = self.lines.len() / self.lines_per_row;
        assert!(rows.iter().all(|row| (*row as usize) < held), "rows exist");
        // SAFETY: the kernel's instructions were detected; all rows are there, of so many bytes,
        // and the query has two values for each.
        unsafe { (kernels().dots)(query, self.lines.as_ptr().cast(), rows, out) }
    }

    /// The dot products of a padded query with the rows from one on.
    ///
    /// # Panics
    /// There are not as many rows as `out` is long; the query has not two values a byte of a row.
    pub fn dots_from(&self, query: &[i8], first: usize, out: &mut [i32]) {
        let bytes = self.lines_per_row * LINE;
        assert_eq!(query.len(), 2 * bytes, "the query is padded as rows are");
        let lines = first * self.lines_per_row..(first + out.len()) * self.lines_per_row;
        let rows = self.lines[lines].as_ptr().cast();
        // SAFETY: the kernel's instructions were detected; the rows are there, of so many bytes,
        // and the query has two values for each.
        unsafe { (kernels().dots_from)(query, rows, out) }
    }

    /// Asks for a row to be fetched into the cache.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        super::distance::prefetch_codes(self.padded(row as usize));
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }
}

/// The dot products of a query with rows half as long, by their numbers in an array of rows.
type Dots = unsafe fn(&[i8], *const u8, &[u32], &mut [i32]);

/// The same with as many rows, one after the other.
type DotsFrom = unsafe fn(&[i8], *const u8, &mut [i32]);

struct Kernels {
    #[cfg(test)]
    name: &'static str,
    dots: Dots,
    dots_from: DotsFrom,
}

static SCALAR: Kernels = Kernels {
    #[cfg(test)]
    name: "scalar",
    dots: scalar::dots,
    dots_from: scalar::dots_from,
};

/// Every set of kernels that this machine can run, the best first.
fn available() -> Vec<&'static Kernels> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            all.push(&vnni::KERNELS);
        }
        if is_x86_feature_detected!("avx2") {
            all.push(&avx2::KERNELS);
        }
    }
    #[cfg(target_arch = "aarch64")]
    all.push(&neon::KERNELS);
    all.push(&SCALAR);
    all
}

fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().first().copied().unwrap_or(&SCALAR))
}

mod scalar {
    use super::{CODE_TOP, CODES, LINE};

    fn dot(q: &[i8], r: &[u8]) -> i32 {
        let lines = q.chunks_exact(CODES).zip(r.chunks_exact(LINE));
        let products = lines.flat_map(|(q, r)| {
            let (low, high) = q.split_at(LINE);
            let values = low.iter().zip(high).zip(r);
            values.map(|((low, high), both)| {
                i32::from(*low) * i32::from(both & CODE_TOP)
                    + i32::from(*high) * i32::from(both >> 4)
            })
        });
        products.sum()
    }

    /// # Safety
    /// The rows are there, half as long as the query.
    pub(super) unsafe fn dots(q: &[i8], all: *const u8, rows: &[u32], out: &mut [i32]) {
        let bytes = q.len() / 2;
        for (row, out) in rows.iter().zip(out) {
            // SAFETY: the row is there.
            let row = unsafe { std::slice::from_raw_parts(all.add(*row as usize * bytes), bytes) };
            *out = dot(q, row);
        }
    }

    /// # Safety
    /// As many rows are there as `out` is long, half as long as the query.
    pub(super) unsafe fn dots_from(q: &[i8], first: *const u8, out: &mut [i32]) {
        let bytes = q.len() / 2;
        for (row, out) in out.iter_mut().enumerate() {
            // SAFETY: the row is there.
            let row = unsafe { std::slice::from_raw_parts(first.add(row * bytes), bytes) };
            *out = dot(q, row);
        }
    }
}

/// The kernels of one instruction set: a sum's type and start, how to add the products of the
/// low and high halves of `$step` bytes with the query's values for either, and how to sum up
/// four sums at once.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! kernels {
    ($module:ident, $name:literal, $features:literal, $arch:ident, $vector:ident, $step:literal,
     $zero:expr, $add:expr, $sum:expr) => {
        mod $module {
            use super::LINE;
            #[allow(clippy::wildcard_imports, reason = "intrinsics")]
            use std::arch::$arch::*;

            pub(super) static KERNELS: super::Kernels = super::Kernels {
                #[cfg(test)]
                name: $name,
                dots,
                dots_from,
            };

            /// Where the values for the low halves of a byte on begin; those for the high ones
            /// begin a line later.
            fn low(at: usize) -> usize {
                at + at / LINE * LINE
            }

            /// # Safety
            /// The CPU has the features; the rows are there, half as long as the query, whose
            /// length is a multiple of two lines.
            #[target_feature(enable = $features)]
            unsafe fn four(q: &[i8], rows: [*const u8; 4]) -> [i32; 4] {
                let mut sums: [$vector; 4] = [$zero; 4];
                for at in (0..q.len() / 2).step_by($step) {
                    for (sum, row) in sums.iter_mut().zip(rows) {
                        // SAFETY: the row is there, and values for both halves of its bytes.
                        *sum = unsafe {
                            let q = q.as_ptr().add(low(at));
                            $add(*sum, q, q.add(LINE), row.add(at))
                        };
                    }
                }
                $sum(sums)
            }

            /// # Safety
            /// As [`four`], of rows by their numbers.
            #[target_feature(enable = $features)]
            unsafe fn dots(q: &[i8], all: *const u8, rows: &[u32], out: &mut [i32]) {
                let bytes = q.len() / 2;
                for (rows, out) in rows.chunks(4).zip(out.chunks_mut(4)) {
                    // The last row again and again where there are fewer than four.
                    let last = rows[rows.len() - 1];
                    let row = |i| rows.get(i).copied().unwrap_or(last) as usize;
                    // SAFETY: the rows are there.
                    let sums: [i32; 4] = unsafe {
                        let row = |i| all.add(row(i) * bytes);
                        four(q, std::array::from_fn(row))
                    };
                    out.copy_from_slice(&sums[..out.len()]);
                }
            }

            /// # Safety
            /// As [`four`], of as many rows as `out` is long.
            #[target_feature(enable = $features)]
            unsafe fn dots_from(q: &[i8], first: *const u8, out: &mut [i32]) {
                let bytes = q.len() / 2;
                for (nth, out) in out.chunks_mut(4).enumerate() {
                    let last = out.len() - 1;
                    // SAFETY: the rows are there.
                    let sums: [i32; 4] = unsafe {
                        let row = |i: usize| first.add((4 * nth + i.min(last)) * bytes);
                        four(q, std::array::from_fn(row))
                    };
                    out.copy_from_slice(&sums[..out.len()]);
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernels!(
    vnni,
    "avx512vnni",
    "avx512f,avx512vnni,avx2",
    x86_64,
    __m512i,
    64,
    _mm512_setzero_si512(),
    (|sum, low: *const i8, high: *const i8, r: *const u8| {
        let r = _mm512_loadu_si512(r.cast());
        let half = _mm512_set1_epi32(0x0F0F_0F0F);
        let sum = _mm512_dpbusd_epi32(
            sum,
            _mm512_and_si512(r, half),
            _mm512_loadu_si512(low.cast()),
        );
        let above = _mm512_and_si512(_mm512_srli_epi32::<4>(r), half);
        _mm512_dpbusd_epi32(sum, above, _mm512_loadu_si512(high.cast()))
    }),
    (|sums: [__m512i; 4]| {
        let halves = sums.map(|v| {
            _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v))
        });
        let [a, b, c, d] = halves;
        let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let low = _mm256_castsi256_si128(sums);
        let sums = _mm_add_epi32(low, _mm256_extracti128_si256::<1>(sums));
        [
            _mm_extract_epi32::<0>(sums),
            _mm_extract_epi32::<1>(sums),
            _mm_extract_epi32::<2>(sums),
            _mm_extract_epi32::<3>(sums),
        ]
    })
);

// Codes are small: no sum of four products leaves 16 bits.
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2,
    "avx2",
    "avx2",
    x86_64,
    __m256i,
    32,
    _mm256_setzero_si256(),
    (|sum, low: *const i8, high: *const i8, r: *const u8| {
        let r = _mm256_loadu_si256(r.cast());
        let half = _mm256_set1_epi8(0x0F);
        let below = _mm256_maddubs_epi16(_mm256_and_si256(r, half), _mm256_loadu_si256(low.cast()));
        let above = _mm256_maddubs_epi16(
            _mm256_and_si256(_mm256_srli_epi16::<4>(r), half),
            _mm256_loadu_si256(high.cast()),
        );
        let pairs = _mm256_add_epi16(below, above);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }),
    (|[a, b, c, d]: [__m256i; 4]| {
        let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let low = _mm256_castsi256_si128(sums);
        let sums = _mm_add_epi32(low, _mm256_extracti128_si256::<1>(sums));
        [
            _mm_extract_epi32::<0>(sums),
            _mm_extract_epi32::<1>(sums),
            _mm_extract_epi32::<2>(sums),
            _mm_extract_epi32::<3>(sums),
        ]
    })
);

#[cfg(target_arch = "aarch64")]
kernels!(
    neon,
    "neon",
    "neon",
    aarch64,
    int32x4_t,
    16,
    vdupq_n_s32(0),
    (|sum, low: *const i8, high: *const i8, r: *const u8| {
        let r = vld1q_u8(r);
        let below = vreinterpretq_s8_u8(vandq_u8(r, vdupq_n_u8(0x0F)));
        let above = vreinterpretq_s8_u8(vshrq_n_u8::<4>(r));
        let (low, high) = (vld1q_s8(low), vld1q_s8(high));
        let first = vmull_s8(vget_low_s8(below), vget_low_s8(low));
        let first = vmlal_s8(first, vget_low_s8(above), vget_low_s8(high));
        let second = vmull_high_s8(below, low);
        let second = vmlal_high_s8(second, above, high);
        vpadalq_s16(vpadalq_s16(sum, first), second)
    }),
    (|sums: [int32x4_t; 4]| sums.map(|v| vaddvq_s32(v)))
);

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "bytes"
)]
mod tests {
    use super::*;

    fn rows(dim: usize, code: impl Fn(usize, usize) -> u8) -> CodeRows {
        let mut rows = CodeRows::with_capacity(dim, 4);
        (0..4).for_each(|row| rows.push(&(0..dim).map(|i| code(row, i)).collect::<Vec<_>>()));
        rows
    }

    fn check_all(query: &[i8], rows: &CodeRows) {
        // Fours, and what is left over of them, in any order.
        let asked = [3, 0, 2, 1, 1, 3, 2, 0, 3, 1, 2];
        for n in 0..=asked.len() {
            let (asked, mut expected) = (&asked[..n], vec![7; n]);
            let all = rows.lines.as_ptr().cast();
            // SAFETY: the rows are there.
            unsafe { scalar::dots(query, all, asked, &mut expected) };
            for kernels in available() {
                let mut found = vec![9; n];
                // SAFETY: `available` detected the features; the rows are there.
                unsafe { (kernels.dots)(query, all, asked, &mut found) };
                assert_eq!(found, expected, "{} {}", kernels.name, query.len());
            }
            let mut found = vec![9; n];
            rows.dots(query, asked, &mut found);
            assert_eq!(found, expected);
        }
        // All in a row, from each on.
        for first in 0..4 {
            let mut expected = vec![7; 4 - first];
            let asked: Vec<u32> = (0..4).skip(first).collect();
            rows.dots(query, &asked, &mut expected);
            let from = rows.padded(first).as_ptr();
            for kernels in available() {
                let mut found = vec![9; 4 - first];
                // SAFETY: `available` detected the features; the rows are there.
                unsafe { (kernels.dots_from)(query, from, &mut found) };
                assert_eq!(found, expected, "{} {first}", kernels.name);
            }
            let mut found = vec![9; 4 - first];
            rows.dots_from(query, first, &mut found);
            assert_eq!(found, expected);
        }
    }

    #[test]
    #[should_panic(expected = "rows exist")]
    fn rows_that_are_not_there_are_refused() {
        rows(3, |_, _| 1).dots(&[1; CODES], &[0, 4], &mut [0; 2]);
    }

    #[test]
    fn every_kernel_agrees_with_the_scalar_one() {
        for dim in crate::simd::dimensions() {
            let mut query: Vec<i8> = (0..dim).map(|i| ((i * 89) % 256) as u8 as i8).collect();
            query.resize(dim.next_multiple_of(CODES), 0);
            check_all(
                &query,
                &rows(dim, |row, i| (i * 57 + row * 31) as u8 & CODE_TOP),
            );
        }
    }

    #[test]
    fn extreme_values_neither_saturate_nor_overflow() {
        let dim = if cfg!(miri) { 128 } else { 4096 };
        for q in [-128, -127, 127] {
            let query = vec![q; dim];
            check_all(&query, &rows(dim, |row, _| CODE_TOP - row as u8));
        }
    }

    #[test]
    fn rows_are_aligned_and_padded_with_zeros() {
        let rows = rows(129, |row, i| if i == 64 { 9 } else { row as u8 + 1 });
        assert_eq!(rows.padded(3).len(), 128);
        assert_eq!(rows.padded(3)[0], 0x94);
        assert_eq!(rows.padded(3)[1..64], [0x44; 63]);
        assert_eq!(rows.padded(3)[64..66], [0x04, 0]);
        assert_eq!(rows.padded(1).as_ptr().align_offset(64), 0);
        assert_eq!(rows.bytes(), 4 * 128);
    }
}
