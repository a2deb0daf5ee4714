//! Sums of table look-ups over blocks of rows, for product quantisation (Jégou et al. 2011): a row
//! is a code word a subspace, a query a table of what each of them adds to a row's key.
//!
//! As in `FastScan` (André et al. 2015) tables stay in registers; ours hold 128 numbers of a byte,
//! which AVX-512 VBMI looks up with one instruction for 64 rows.

use std::sync::OnceLock;

/// Code words of a subspace, and so numbers in a table.
pub const WORDS: usize = 128;
/// Rows of a block: the codes of one subspace lie side by side.
pub const BLOCK: usize = 64;
/// The largest number in a table: two of them add up in a byte.
pub const TABLE_TOP: u8 = 127;
/// Subspaces at most, so that sums fit in 16 bits.
pub const SUBSPACES: usize = 512;

/// Sums of the rows of a block.
pub type Sums = [u16; BLOCK];

struct Kernels {
    name: &'static str,
    products: unsafe fn(&[f32], &[f32], &mut [f32; WORDS]),
    sums: unsafe fn(&[u8], &[u8], &mut [Sums]),
    below: unsafe fn(&Sums, u16) -> u64,
    keys: unsafe fn(&Sums, &Scale, &Squares, f32, &mut Squares) -> u64,
    bounds: unsafe fn(&[f32]) -> (f32, f32),
    quantise: unsafe fn(&[f32; WORDS], f32, f32, &mut [u8; WORDS]),
}

/// Of the rows of a block, a number each.
pub type Squares = [f32; BLOCK];

/// What makes keys of sums: a sum by `step`, and `offset`.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The key's step.
    pub step: f32,
    /// The key of a sum of 0.
    pub offset: f32,
}

/// The plain code of all kernels, compiled anew for each instruction set.
#[expect(
    clippy::inline_always,
    reason = "within a function of those instructions"
)]
mod plain {
    use super::{BLOCK, Scale, Squares, Sums, TABLE_TOP, WORDS};

    #[inline(always)]
    pub(super) fn keys(
        sums: &Sums,
        scale: &Scale,
        squares: &Squares,
        limit: f32,
        keys: &mut Squares,
    ) -> u64 {
        for ((key, sum), square) in keys.iter_mut().zip(sums).zip(squares) {
            *key = f32::from(*sum) * scale.step + (scale.offset + square);
        }
        let mut mask = 0;
        for (row, key) in keys.iter().enumerate() {
            mask |= u64::from(*key <= limit) << row;
        }
        mask
    }

    #[inline(always)]
    pub(super) fn bounds(numbers: &[f32]) -> (f32, f32) {
        let (mut low, mut high) = ([f32::INFINITY; 16], [f32::NEG_INFINITY; 16]);
        for part in numbers.chunks(16) {
            for ((low, high), v) in low.iter_mut().zip(&mut high).zip(part) {
                *low = if *v < *low { *v } else { *low };
                *high = if *v > *high { *v } else { *high };
            }
        }
        let low = low.into_iter().fold(f32::INFINITY, f32::min);
        (low, high.into_iter().fold(f32::NEG_INFINITY, f32::max))
    }

    #[inline(always)]
    pub(super) fn quantise(numbers: &[f32; WORDS], low: f32, steps: f32, out: &mut [u8; WORDS]) {
        let top = f32::from(TABLE_TOP);
        for (out, v) in out.iter_mut().zip(numbers) {
            let step = (v - low) * steps + 0.5;
            let step = if step < top { step } else { top };
            // Not a number becomes nothing.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "within the table"
            )]
            let step = step as u8;
            *out = step;
        }
    }

    #[inline(always)]
    pub(super) fn products(values: &[f32], book: &[f32], out: &mut [f32; WORDS]) {
        *out = [0.0; WORDS];
        for (value, words) in values.iter().zip(book.as_chunks::<WORDS>().0) {
            for (sum, word) in out.iter_mut().zip(words) {
                *sum += value * word;
            }
        }
    }

    #[inline(always)]
    pub(super) fn below(sums: &Sums, limit: u16) -> u64 {
        let mut mask = 0;
        for (row, sum) in sums.iter().enumerate() {
            mask |= u64::from(*sum < limit) << row;
        }
        mask
    }

    #[inline(always)]
    pub(super) fn sums(tables: &[u8], codes: &[u8], sums: &mut [Sums]) {
        let (tables, _) = tables.as_chunks::<WORDS>();
        for (block, sums) in codes.chunks(tables.len() * BLOCK).zip(sums) {
            *sums = [0; BLOCK];
            for (table, codes) in tables.iter().zip(block.as_chunks::<BLOCK>().0) {
                for (sum, code) in sums.iter_mut().zip(codes) {
                    *sum += u16::from(table[usize::from(*code) % WORDS]);
                }
            }
        }
    }
}

static SCALAR: Kernels = Kernels {
    name: "scalar",
    products: |values, book, out| plain::products(values, book, out),
    sums: |tables, codes, sums| plain::sums(tables, codes, sums),
    below: |sums, limit| plain::below(sums, limit),
    keys: |sums, scale, squares, limit, keys| plain::keys(sums, scale, squares, limit, keys),
    bounds: |numbers| plain::bounds(numbers),
    quantise: |numbers, low, steps, out| plain::quantise(numbers, low, steps, out),
};

/// The plain code, for an instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! compiled {
    ($features:literal: $($name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)*) => {
        $(
            /// # Safety
            /// The CPU has the features.
            #[target_feature(enable = $features)]
            unsafe fn $name($($arg: $type),*) $(-> $out)? {
                super::plain::$name($($arg),*)
            }
        )*
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Scale, Squares, Sums, WORDS};

    pub(super) static KERNELS: super::Kernels = super::Kernels {
        name: "avx2",
        products,
        sums,
        below,
        keys,
        bounds,
        quantise,
    };

    compiled! { "avx2,fma":
        products(values: &[f32], book: &[f32], out: &mut [f32; WORDS]);
        sums(tables: &[u8], codes: &[u8], sums: &mut [Sums]);
        below(sums: &Sums, limit: u16) -> u64;
        keys(sums: &Sums, scale: &Scale, squares: &Squares, limit: f32, keys: &mut Squares) -> u64;
        bounds(numbers: &[f32]) -> (f32, f32);
        quantise(numbers: &[f32; WORDS], low: f32, steps: f32, out: &mut [u8; WORDS]);
    }
}

#[cfg(target_arch = "x86_64")]
mod vbmi {
    use super::{BLOCK, Scale, Squares, Sums, WORDS};
    #[allow(clippy::wildcard_imports, reason = "intrinsics")]
    use std::arch::x86_64::*;

    pub(super) static KERNELS: super::Kernels = super::Kernels {
        name: "avx512vbmi",
        products,
        sums,
        below,
        keys,
        bounds,
        quantise,
    };

    compiled! { "avx512f,avx512bw,avx512vl,avx512dq":
        bounds(numbers: &[f32]) -> (f32, f32);
        quantise(numbers: &[f32; WORDS], low: f32, steps: f32, out: &mut [u8; WORDS]);
    }

    /// # Safety
    /// The CPU has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    unsafe fn keys(
        sums: &Sums,
        scale: &Scale,
        squares: &Squares,
        limit: f32,
        keys: &mut Squares,
    ) -> u64 {
        let (step, offset) = (_mm512_set1_ps(scale.step), _mm512_set1_ps(scale.offset));
        let limit = _mm512_set1_ps(limit);
        let mut mask = 0;
        for at in (0..BLOCK).step_by(16) {
            // SAFETY: 16 numbers from here on.
            unsafe {
                let sum = _mm256_loadu_si256(sums.as_ptr().add(at).cast());
                let sum = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(sum));
                let rest = _mm512_add_ps(offset, _mm512_loadu_ps(squares.as_ptr().add(at)));
                let key = _mm512_add_ps(_mm512_mul_ps(sum, step), rest);
                _mm512_storeu_ps(keys.as_mut_ptr().add(at), key);
                mask |= u64::from(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(key, limit)) << at;
            }
        }
        mask
    }

    /// # Safety
    /// The CPU has AVX-512 F; `book` holds [`WORDS`] numbers a value.
    #[target_feature(enable = "avx512f")]
    unsafe fn products(values: &[f32], book: &[f32], out: &mut [f32; WORDS]) {
        let mut sums = [_mm512_setzero_ps(); WORDS / 16];
        for (at, value) in values.iter().enumerate() {
            let value = _mm512_set1_ps(*value);
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: within the words of this value.
                let words = unsafe { _mm512_loadu_ps(book.as_ptr().add(at * WORDS + 16 * i)) };
                *sum = _mm512_fmadd_ps(value, words, *sum);
            }
        }
        for (out, sum) in out.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
            // SAFETY: 16 floats.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
        }
    }

    /// # Safety
    /// The CPU has AVX-512 BW.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn below(sums: &Sums, limit: u16) -> u64 {
        let limit = _mm512_set1_epi16(limit.cast_signed());
        let at = sums.as_ptr();
        // SAFETY: two halves of 32 numbers.
        let halves = unsafe {
            [
                _mm512_loadu_si512(at.cast()),
                _mm512_loadu_si512(at.add(32).cast()),
            ]
        };
        let [low, high] = halves.map(|half| u64::from(_mm512_cmplt_epu16_mask(half, limit)));
        low | high << 32
    }

    /// # Safety
    /// The CPU has the features; the codes are of as many blocks as there are sums, with as many
    /// subspaces as there are tables.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn sums(tables: &[u8], codes: &[u8], sums: &mut [Sums]) {
        let subspaces = tables.len() / WORDS;
        let mut codes = codes.as_ptr();
        for sums in sums.chunks_mut(4) {
            // SAFETY: the codes of these blocks; then those of the next.
            unsafe {
                match sums.len() {
                    4 => blocks::<4>(tables, codes, sums),
                    3 => blocks::<3>(tables, codes, sums),
                    2 => blocks::<2>(tables, codes, sums),
                    _ => blocks::<1>(tables, codes, sums),
                }
                codes = codes.add(sums.len() * subspaces * BLOCK);
            }
        }
    }

    /// # Safety
    /// As `sums`, for `N` blocks: a table is loaded once for all of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn blocks<const N: usize>(tables: &[u8], codes: *const u8, sums: &mut [Sums]) {
        let subspaces = tables.len() / WORDS;
        let zero = _mm512_setzero_si512();
        // Sums of even rows, with those of odd rows above their 16 bits; sums of odd rows.
        let (mut both, mut odd) = ([zero; N], [zero; N]);
        let mut first = 0;
        while first < subspaces {
            let mut pair = [zero; N];
            for subspace in first..(first + 2).min(subspaces) {
                // SAFETY: within this subspace's table and codes.
                unsafe {
                    let table = tables.as_ptr().add(subspace * WORDS);
                    let low = _mm512_loadu_si512(table.cast());
                    let high = _mm512_loadu_si512(table.add(64).cast());
                    for (block, pair) in pair.iter_mut().enumerate() {
                        let at = codes.add((block * subspaces + subspace) * BLOCK);
                        let code = _mm512_loadu_si512(at.cast());
                        let found = _mm512_permutex2var_epi8(low, code, high);
                        *pair = _mm512_add_epi8(*pair, found);
                    }
                }
            }
            for block in 0..N {
                both[block] = _mm512_add_epi16(both[block], pair[block]);
                odd[block] = _mm512_add_epi16(odd[block], _mm512_srli_epi16::<8>(pair[block]));
            }
            first += 2;
        }
        for (block, sums) in sums.iter_mut().enumerate() {
            let even = _mm512_sub_epi16(both[block], _mm512_slli_epi16::<8>(odd[block]));
            // Lane by lane of 128 bits; then the lanes into their order.
            let low = _mm512_unpacklo_epi16(even, odd[block]);
            let high = _mm512_unpackhi_epi16(even, odd[block]);
            let first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
            let second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
            let at = sums.as_mut_ptr();
            // SAFETY: two halves of 32 numbers.
            unsafe {
                let halves = (
                    _mm512_permutex2var_epi64(low, first, high),
                    _mm512_permutex2var_epi64(low, second, high),
                );
                _mm512_storeu_si512(at.cast(), halves.0);
                _mm512_storeu_si512(at.add(32).cast(), halves.1);
            }
        }
    }
}

/// Every set of kernels that this machine can run, the best first.
fn available() -> Vec<&'static Kernels> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let has512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        let more = is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512dq");
        if has512 && more && is_x86_feature_detected!("avx512vbmi") {
            all.push(&vbmi::KERNELS);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            all.push(&avx2::KERNELS);
        }
    }
    all.push(&SCALAR);
    all
}

fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().first().copied().unwrap_or(&SCALAR))
}

/// The kernels by which tables are looked up on this machine: `avx512vbmi`, `avx2` or `scalar`.
#[must_use]
pub fn table_kernel_name() -> &'static str {
    kernels().name
}

/// The dot products of a subspace's values with its words; `book` holds, value by value, the
/// numbers of all [`WORDS`].
///
/// # Panics
/// The book is not of as many values.
pub fn products(values: &[f32], book: &[f32], out: &mut [f32; WORDS]) {
    assert_eq!(book.len(), values.len() * WORDS, "a word a value");
    // SAFETY: the instructions were detected; the book is of as many values.
    unsafe { (kernels().products)(values, book, out) }
}

/// Sums up, for every row of consecutive blocks, the numbers that its codes stand for. Tables hold
/// at most [`TABLE_TOP`]; of a code, seven bits count.
///
/// # Panics
/// Tables or codes are not whole, or there are more than [`SUBSPACES`] tables.
pub fn table_sums(tables: &[u8], codes: &[u8], sums: &mut [Sums]) {
    let subspaces = tables.len() / WORDS;
    assert!(tables.len().is_multiple_of(WORDS) && (1..=SUBSPACES).contains(&subspaces));
    assert_eq!(codes.len(), sums.len() * subspaces * BLOCK, "whole blocks");
    debug_assert!(tables.iter().all(|n| *n <= TABLE_TOP));
    // SAFETY: the instructions were detected; tables and codes are whole.
    unsafe { (kernels().sums)(tables, codes, sums) }
}

/// Which rows of a block have sums below a limit: a bit a row, the first the lowest.
#[must_use]
pub fn sums_below(sums: &Sums, limit: u16) -> u64 {
    // SAFETY: the instructions were detected.
    unsafe { (kernels().below)(sums, limit) }
}

/// The keys of a block's rows, with what each has of its own, and which are not above a limit.
pub fn keys_within(
    sums: &Sums,
    scale: &Scale,
    squares: &Squares,
    limit: f32,
    keys: &mut Squares,
) -> u64 {
    // SAFETY: the instructions were detected.
    unsafe { (kernels().keys)(sums, scale, squares, limit, keys) }
}

/// The least and the largest of some numbers.
#[must_use]
pub fn bounds(numbers: &[f32]) -> (f32, f32) {
    // SAFETY: the instructions were detected.
    unsafe { (kernels().bounds)(numbers) }
}

/// A table of numbers, in so many steps a unit from the least on, to the nearest.
pub fn quantise(numbers: &[f32; WORDS], low: f32, steps: f32, table: &mut [u8; WORDS]) {
    // SAFETY: the instructions were detected.
    unsafe { (kernels().quantise)(numbers, low, steps, table) }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_sums_up_the_same() {
        let most = if cfg!(miri) { 3 } else { SUBSPACES };
        let all = [1, 2, 3, 7, 25, 99, SUBSPACES];
        for subspaces in all.into_iter().filter(|n| *n <= most) {
            for top in [1, 80, u32::from(TABLE_TOP) + 1] {
                let tables: Vec<u8> = (0..(subspaces * WORDS) as u32)
                    .map(|i| (i.wrapping_mul(2_654_435_761) >> 9) as u8 % top as u8)
                    .collect();
                for blocks in [1, 2, 3, 4, 5, 9] {
                    let codes: Vec<u8> = (0..(blocks * subspaces * BLOCK) as u32)
                        .map(|i| (i.wrapping_mul(40_503) >> 3) as u8)
                        .collect();
                    let mut expected = vec![[0; BLOCK]; blocks];
                    plain::sums(&tables, &codes, &mut expected);
                    for kernels in available() {
                        let mut found = vec![[1; BLOCK]; blocks];
                        // SAFETY: `available` detected the features; all is whole.
                        unsafe { (kernels.sums)(&tables, &codes, &mut found) };
                        assert_eq!(found, expected, "{} {subspaces} {blocks}", kernels.name);
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_sums_fit() {
        let mut sums = [[0; BLOCK]];
        let (tables, codes) = (
            vec![TABLE_TOP; SUBSPACES * WORDS],
            vec![127; SUBSPACES * BLOCK],
        );
        table_sums(&tables, &codes, &mut sums);
        assert_eq!(sums, [[512 * 127; BLOCK]]);
    }

    #[test]
    fn every_kernel_finds_the_sums_below_a_limit() {
        let sums: Sums = std::array::from_fn(|i| (i as u16).wrapping_mul(40_503));
        for limit in [0, 1, 30_000, 40_503, u16::MAX] {
            let expected = plain::below(&sums, limit);
            for kernels in available() {
                // SAFETY: `available` detected the features.
                assert_eq!(unsafe { (kernels.below)(&sums, limit) }, expected);
            }
            assert_eq!(sums_below(&sums, limit), expected);
        }
    }

    #[test]
    fn every_kernel_makes_the_same_keys_and_tables() {
        let sums: Sums = std::array::from_fn(|i| (i as u16).wrapping_mul(40_503));
        let squares: Squares = std::array::from_fn(|i| i as f32 * 3.25 - 100.0);
        let scale = Scale {
            step: 0.125,
            offset: -7.5,
        };
        let numbers: [f32; WORDS] = std::array::from_fn(|i| (i * 7_919 % 1_009) as f32 - 500.0);
        for kernels in available() {
            for limit in [f32::NEG_INFINITY, -3.0, 1_000.0, f32::INFINITY] {
                let (mut expected, mut found) = ([0.0; BLOCK], [1.0; BLOCK]);
                let mask = plain::keys(&sums, &scale, &squares, limit, &mut expected);
                // SAFETY: `available` detected the features.
                let own = unsafe { (kernels.keys)(&sums, &scale, &squares, limit, &mut found) };
                assert_eq!((own, found), (mask, expected), "{}", kernels.name);
            }
            for n in [0, 1, 15, 17, WORDS] {
                // SAFETY: as above.
                let found = unsafe { (kernels.bounds)(&numbers[..n]) };
                let low = numbers[..n].iter().copied().fold(f32::INFINITY, f32::min);
                let high = numbers[..n]
                    .iter()
                    .copied()
                    .fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(found, (low, high));
            }
            let mut table = [0; WORDS];
            // SAFETY: as above.
            unsafe { (kernels.quantise)(&numbers, -500.0, 0.125, &mut table) };
            for (step, v) in table.iter().zip(&numbers) {
                assert_eq!(*step, ((v + 500.0) / 8.0 + 0.5).min(127.0) as u8);
            }
        }
    }

    #[test]
    fn products_are_those_of_64_bits() {
        for n in [1, 2, 5, 16] {
            let number = |i: usize| f32::from((i * 7_919 % 1_009) as u16) / 504.5 - 1.0;
            let values: Vec<f32> = (0..n).map(number).collect();
            let book: Vec<f32> = (0..n * WORDS).map(|i| number(i + 31)).collect();
            for kernels in available() {
                let mut out = [9.0; WORDS];
                // SAFETY: `available` detected the features; a word a value.
                unsafe { (kernels.products)(&values, &book, &mut out) };
                for (word, found) in out.iter().enumerate() {
                    let of = |i: usize| f64::from(values[i]) * f64::from(book[i * WORDS + word]);
                    let expected: f64 = (0..n).map(of).sum();
                    assert!((f64::from(*found) - expected).abs() < 1e-5);
                }
            }
        }
    }
}
