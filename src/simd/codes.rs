//! Dot products of rows of codes, a byte a number, with a query of signed bytes: one row or four
//! at a time. All are exact, and so the same on every machine.
//!
//! All rows of a call have one length, a multiple of [`CODES`] (see [`CodeRows`]).

use std::sync::OnceLock;

/// Rows of codes are padded with zeros to a multiple of so many: one cache line.
pub const CODES: usize = 64;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; CODES]);

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
            lines: Vec::with_capacity(lines_per_row * capacity),
            lines_per_row,
        }
    }

    /// Appends a row; missing codes are 0, those beyond the padding are left out.
    pub fn push(&mut self, row: impl IntoIterator<Item = u8>) {
        let mut row = row.into_iter();
        for _ in 0..self.lines_per_row {
            let mut line = Line([0; CODES]);
            for (code, given) in line.0.iter_mut().zip(&mut row) {
                *code = given;
            }
            self.lines.push(line);
        }
    }

    /// A row with its padding.
    ///
    /// # Panics
    /// There is no such row.
    #[must_use]
    pub fn padded(&self, row: usize) -> &[u8] {
        let from = row * self.lines_per_row;
        let lines = &self.lines[from..from + self.lines_per_row];
        // SAFETY: `Line` is `repr(C)` around `[u8; CODES]` and as long as that, so that `n` lines
        // are `n * CODES` consecutive bytes.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * CODES) }
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }
}

type One = unsafe fn(&[i8], &[u8]) -> i32;
type Four = unsafe fn(&[i8], [&[u8]; 4]) -> [i32; 4];

struct Kernels {
    #[cfg(test)]
    name: &'static str,
    dot: One,
    dot4: Four,
}

static SCALAR: Kernels = Kernels {
    #[cfg(test)]
    name: "scalar",
    dot: scalar::dot,
    dot4: scalar::dot4,
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

fn check(query: &[i8], rows: &[&[u8]]) {
    assert!(query.len().is_multiple_of(CODES), "rows are padded");
    assert!(
        rows.iter().all(|r| r.len() == query.len()),
        "rows are of one length"
    );
}

/// The dot product of a padded query with a padded row.
///
/// # Panics
/// The lengths differ or are no multiple of [`CODES`].
#[must_use]
pub fn code_dot(query: &[i8], row: &[u8]) -> i32 {
    check(query, &[row]);
    // SAFETY: the kernel's instructions were detected; lengths are equal multiples of CODES.
    unsafe { (kernels().dot)(query, row) }
}

/// The dot products of a padded query with four padded rows.
///
/// # Panics
/// As [`code_dot`].
#[must_use]
pub fn code_dot4(query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    check(query, &rows);
    // SAFETY: as in `code_dot`.
    unsafe { (kernels().dot4)(query, rows) }
}

mod scalar {
    pub(super) fn dot(q: &[i8], r: &[u8]) -> i32 {
        let products = q.iter().zip(r);
        products.map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
    }

    pub(super) fn dot4(q: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
        rows.map(|r| dot(q, r))
    }
}

/// The kernels of one instruction set: a sum's type and start, how to add the products of the
/// `$step` numbers from two places on, and how to sum up.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! kernels {
    ($module:ident, $name:literal, $features:literal, $arch:ident, $vector:ident, $step:literal,
     $zero:expr, $add:expr, $sum:expr) => {
        mod $module {
            #[allow(clippy::wildcard_imports, reason = "intrinsics")]
            use std::arch::$arch::*;

            pub(super) static KERNELS: super::Kernels = super::Kernels {
                #[cfg(test)]
                name: $name,
                dot,
                dot4,
            };

            /// # Safety
            /// The CPU has the features; `r` holds at least as many codes as `q`, whose number
            /// is a multiple of the step.
            #[target_feature(enable = $features)]
            unsafe fn dot(q: &[i8], r: &[u8]) -> i32 {
                let mut sum: $vector = $zero;
                for at in (0..q.len()).step_by($step) {
                    // SAFETY: `at + step` is within both.
                    sum = unsafe { $add(sum, q.as_ptr().add(at), r.as_ptr().add(at)) };
                }
                $sum(sum)
            }

            /// # Safety
            /// As `dot`, for each of the rows.
            #[target_feature(enable = $features)]
            unsafe fn dot4(q: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
                let mut sums: [$vector; 4] = [$zero; 4];
                for at in (0..q.len()).step_by($step) {
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        // SAFETY: `at + step` is within the query and all rows.
                        *sum = unsafe { $add(*sum, q.as_ptr().add(at), row.as_ptr().add(at)) };
                    }
                }
                [$sum(sums[0]), $sum(sums[1]), $sum(sums[2]), $sum(sums[3])]
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernels!(
    vnni,
    "avx512vnni",
    "avx512f,avx512vnni",
    x86_64,
    __m512i,
    64,
    _mm512_setzero_si512(),
    (|sum, q: *const i8, r: *const u8| {
        let (q, r) = (_mm512_loadu_si512(q.cast()), _mm512_loadu_si512(r.cast()));
        _mm512_dpbusd_epi32(sum, r, q)
    }),
    _mm512_reduce_add_epi32
);

// Widened to 16 bits first: the instruction that multiplies bytes saturates.
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2,
    "avx2",
    "avx2",
    x86_64,
    __m256i,
    16,
    _mm256_setzero_si256(),
    (|sum, q: *const i8, r: *const u8| {
        let q = _mm256_cvtepi8_epi16(_mm_loadu_si128(q.cast()));
        let r = _mm256_cvtepu8_epi16(_mm_loadu_si128(r.cast()));
        _mm256_add_epi32(sum, _mm256_madd_epi16(q, r))
    }),
    (|v: __m256i| {
        let halves = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        let pairs = _mm_add_epi32(halves, _mm_shuffle_epi32::<0b01_00_11_10>(halves));
        _mm_cvtsi128_si32(_mm_add_epi32(
            pairs,
            _mm_shuffle_epi32::<0b00_00_00_01>(pairs),
        ))
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
    (|sum, q: *const i8, r: *const u8| {
        let (q, r) = (vld1q_s8(q), vld1q_u8(r));
        let low = (
            vmovl_s8(vget_low_s8(q)),
            vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(r))),
        );
        let high = (
            vmovl_s8(vget_high_s8(q)),
            vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(r))),
        );
        let sum = vmlal_s16(sum, vget_low_s16(low.0), vget_low_s16(low.1));
        let sum = vmlal_high_s16(sum, low.0, low.1);
        let sum = vmlal_s16(sum, vget_low_s16(high.0), vget_low_s16(high.1));
        vmlal_high_s16(sum, high.0, high.1)
    }),
    vaddvq_s32
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
        (0..4).for_each(|row| rows.push((0..dim).map(|i| code(row, i))));
        rows
    }

    fn check_all(query: &[i8], rows: &CodeRows) {
        let four = [0, 1, 2, 3].map(|row| rows.padded(row));
        let expected = scalar::dot4(query, four);
        for kernels in available() {
            let n = query.len();
            // SAFETY: `available` detected the features; the rows are padded alike.
            let (one, all) =
                unsafe { ((kernels.dot)(query, four[3]), (kernels.dot4)(query, four)) };
            assert_eq!((one, all), (expected[3], expected), "{} {n}", kernels.name);
        }
        assert_eq!(code_dot4(query, four), expected);
        assert_eq!(code_dot(query, four[2]), expected[2]);
    }

    #[test]
    fn every_kernel_agrees_with_the_scalar_one() {
        for dim in (1..=130_usize).chain([784, 1000, 4096]) {
            let mut query: Vec<i8> = (0..dim).map(|i| ((i * 89) % 256) as u8 as i8).collect();
            query.resize(dim.next_multiple_of(CODES), 0);
            check_all(&query, &rows(dim, |row, i| (i * 57 + row * 31) as u8));
        }
    }

    #[test]
    fn extreme_values_neither_saturate_nor_overflow() {
        for q in [-128, -127, 127] {
            let query = vec![q; 4096];
            check_all(&query, &rows(4096, |row, _| 255 - row as u8));
        }
    }

    #[test]
    fn rows_are_aligned_and_padded_with_zeros() {
        let rows = rows(65, |row, _| row as u8 + 1);
        assert_eq!(rows.padded(3).len(), 128);
        assert_eq!(rows.padded(3)[..65], [4; 65]);
        assert_eq!(rows.padded(3)[65..], [0; 63]);
        assert_eq!(rows.padded(1).as_ptr().align_offset(64), 0);
        assert_eq!(rows.bytes(), 4 * 128);
    }
}
