//! Dot products and squared Euclidean distances, one row or four rows at a time.
//!
//! All rows of a call have one length, a multiple of [`LANES`] (see [`super::AlignedRows`]).

use super::LANES;
use std::sync::OnceLock;

type One = unsafe fn(&[f32], &[f32]) -> f32;
type Four = unsafe fn(&[f32], [&[f32]; 4]) -> [f32; 4];

struct Kernels {
    name: &'static str,
    dot: One,
    dot4: Four,
    l2: One,
    l2_4: Four,
}

static SCALAR: Kernels = Kernels {
    name: "scalar",
    dot: scalar::dot,
    dot4: scalar::dot4,
    l2: scalar::l2,
    l2_4: scalar::l2_4,
};

/// Every set of kernels that this machine can run, the best first.
fn available() -> Vec<&'static Kernels> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            all.push(&avx512::KERNELS);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
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

/// What this machine runs: `avx512`, `avx2`, `neon` or `scalar`.
#[must_use]
pub fn kernel_name() -> &'static str {
    kernels().name
}

fn check(query: &[f32], rows: &[&[f32]]) {
    assert!(query.len().is_multiple_of(LANES), "rows are padded");
    assert!(
        rows.iter().all(|r| r.len() == query.len()),
        "rows are of one length"
    );
}

/// The dot product of two padded rows.
///
/// # Panics
/// The lengths differ or are no multiple of [`LANES`].
#[must_use]
pub fn dot(query: &[f32], row: &[f32]) -> f32 {
    check(query, &[row]);
    // SAFETY: the kernel's instructions were detected; lengths are equal multiples of LANES.
    unsafe { (kernels().dot)(query, row) }
}

/// The dot products of a padded row with four others.
///
/// # Panics
/// As [`dot`].
#[must_use]
pub fn dot4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    check(query, &rows);
    // SAFETY: as in `dot`.
    unsafe { (kernels().dot4)(query, rows) }
}

/// The squared Euclidean distance of two padded rows.
///
/// # Panics
/// As [`dot`].
#[must_use]
pub fn squared_l2(query: &[f32], row: &[f32]) -> f32 {
    check(query, &[row]);
    // SAFETY: as in `dot`.
    unsafe { (kernels().l2)(query, row) }
}

/// The squared Euclidean distances of a padded row to four others.
///
/// # Panics
/// As [`dot`].
#[must_use]
pub fn squared_l2_4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    check(query, &rows);
    // SAFETY: as in `dot`.
    unsafe { (kernels().l2_4)(query, rows) }
}

/// Asks for the start of a row to be fetched into the cache.
#[inline]
pub fn prefetch(row: &[f32]) {
    fetch(row.as_ptr().cast(), size_of_val(row).min(4 * LINE));
}

/// Asks for links to be fetched into the cache.
#[inline]
pub fn prefetch_links(links: &[u32]) {
    fetch(links.as_ptr().cast(), size_of_val(links).min(4 * LINE));
}

/// Asks for a row of codes to be fetched into the cache.
#[inline]
pub(super) fn prefetch_codes(row: &[u8]) {
    fetch(row.as_ptr(), row.len().min(16 * LINE));
}

/// Bytes of a cache line.
const LINE: usize = 64;

#[inline]
fn fetch(from: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of x86-64, and a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(at).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, bytes);
}

mod scalar {
    pub(super) fn dot(q: &[f32], r: &[f32]) -> f32 {
        q.iter().zip(r).map(|(x, y)| x * y).sum()
    }

    pub(super) fn l2(q: &[f32], r: &[f32]) -> f32 {
        q.iter().zip(r).map(|(x, y)| (x - y) * (x - y)).sum()
    }

    pub(super) fn dot4(q: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        rows.map(|r| dot(q, r))
    }

    pub(super) fn l2_4(q: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        rows.map(|r| l2(q, r))
    }
}

/// The four kernels of one instruction set: how to load `$lanes` floats, to multiply and add,
/// to subtract and to sum up.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! kernels {
    ($module:ident, $name:literal, $features:literal, $arch:ident, $vector:ident, $lanes:literal,
     $zero:expr, $load:ident, $sub:ident, $fma:expr, $sum:expr) => {
        mod $module {
            #[allow(clippy::wildcard_imports, reason = "intrinsics")]
            use std::arch::$arch::*;

            pub(super) static KERNELS: super::Kernels = super::Kernels {
                name: $name,
                dot,
                dot4,
                l2,
                l2_4,
            };

            /// # Safety
            /// The CPU has the features; `r` holds at least as many floats as `q`, whose
            /// number is a multiple of the lanes.
            #[target_feature(enable = $features)]
            unsafe fn dot(q: &[f32], r: &[f32]) -> f32 {
                let mut sum: $vector = $zero;
                for at in (0..q.len()).step_by($lanes) {
                    // SAFETY: `at + lanes` is within both rows.
                    let (x, y) = unsafe { ($load(q.as_ptr().add(at)), $load(r.as_ptr().add(at))) };
                    sum = $fma(x, y, sum);
                }
                $sum(sum)
            }

            /// # Safety
            /// As `dot`.
            #[target_feature(enable = $features)]
            unsafe fn l2(q: &[f32], r: &[f32]) -> f32 {
                let mut sum: $vector = $zero;
                for at in (0..q.len()).step_by($lanes) {
                    // SAFETY: `at + lanes` is within both rows.
                    let (x, y) = unsafe { ($load(q.as_ptr().add(at)), $load(r.as_ptr().add(at))) };
                    let apart = $sub(x, y);
                    sum = $fma(apart, apart, sum);
                }
                $sum(sum)
            }

            /// # Safety
            /// As `dot`, for each of the rows.
            #[target_feature(enable = $features)]
            unsafe fn dot4(q: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
                let mut sums: [$vector; 4] = [$zero; 4];
                for at in (0..q.len()).step_by($lanes) {
                    // SAFETY: `at + lanes` is within all rows.
                    let x = unsafe { $load(q.as_ptr().add(at)) };
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        // SAFETY: as above.
                        let y = unsafe { $load(row.as_ptr().add(at)) };
                        *sum = $fma(x, y, *sum);
                    }
                }
                [$sum(sums[0]), $sum(sums[1]), $sum(sums[2]), $sum(sums[3])]
            }

            /// # Safety
            /// As `dot4`.
            #[target_feature(enable = $features)]
            unsafe fn l2_4(q: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
                let mut sums: [$vector; 4] = [$zero; 4];
                for at in (0..q.len()).step_by($lanes) {
                    // SAFETY: `at + lanes` is within all rows.
                    let x = unsafe { $load(q.as_ptr().add(at)) };
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        // SAFETY: as above.
                        let apart = $sub(x, unsafe { $load(row.as_ptr().add(at)) });
                        *sum = $fma(apart, apart, *sum);
                    }
                }
                [$sum(sums[0]), $sum(sums[1]), $sum(sums[2]), $sum(sums[3])]
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernels!(
    avx512,
    "avx512",
    "avx512f",
    x86_64,
    __m512,
    16,
    _mm512_setzero_ps(),
    _mm512_loadu_ps,
    _mm512_sub_ps,
    _mm512_fmadd_ps,
    _mm512_reduce_add_ps
);

#[cfg(target_arch = "x86_64")]
kernels!(
    avx2,
    "avx2",
    "avx2,fma",
    x86_64,
    __m256,
    8,
    _mm256_setzero_ps(),
    _mm256_loadu_ps,
    _mm256_sub_ps,
    _mm256_fmadd_ps,
    (|v: __m256| {
        let halves = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
        _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)))
    })
);

#[cfg(target_arch = "aarch64")]
kernels!(
    neon,
    "neon",
    "neon",
    aarch64,
    float32x4_t,
    4,
    vdupq_n_f32(0.0),
    vld1q_f32,
    vsubq_f32,
    (|x, y, sum| vfmaq_f32(sum, x, y)),
    vaddvq_f32
);

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::simd::AlignedRows;

    fn row(dim: usize, seed: usize) -> AlignedRows {
        let values = (0..dim).map(|i| ((i * 31 + seed * 17) % 101) as f32 / 50.0 - 1.0);
        AlignedRows::one(&values.collect::<Vec<_>>())
    }

    #[test]
    fn every_kernel_agrees_with_the_scalar_one() {
        for kernels in available() {
            for dim in crate::simd::dimensions() {
                let query = row(dim, 1);
                let rows: Vec<_> = (2..6).map(|seed| row(dim, seed)).collect();
                let four = [0, 1, 2, 3].map(|i| rows[i].padded(0));
                let q = query.padded(0);
                // SAFETY: `available` detected the features; the rows are padded alike.
                let (dots, apart) = unsafe {
                    let dots = (kernels.dot4)(q, four);
                    let apart = (kernels.l2_4)(q, four);
                    assert_eq!((kernels.dot)(q, four[0]).to_bits(), dots[0].to_bits());
                    assert_eq!((kernels.l2)(q, four[0]).to_bits(), apart[0].to_bits());
                    (dots, apart)
                };
                for (i, r) in four.into_iter().enumerate() {
                    let near = |x: f32, y: f32| (x - y).abs() <= 3e-5 * dim as f32 + 1e-5;
                    assert!(near(dots[i], scalar::dot(q, r)), "{} {dim}", kernels.name);
                    assert!(near(apart[i], scalar::l2(q, r)), "{} {dim}", kernels.name);
                }
            }
        }
    }
}
