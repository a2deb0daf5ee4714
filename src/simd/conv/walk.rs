//! The walks over an image, for each instruction set.

use super::{BLOCK, Geometry};
use crate::simd::AlignedRows;
use std::sync::OnceLock;

/// The walks of one instruction set.
pub(super) struct Kernels {
    #[cfg_attr(not(test), expect(dead_code, reason = "named where a test fails"))]
    pub(super) name: &'static str,
    pub(super) forward: unsafe fn(&[f32], &Geometry, &AlignedRows, &mut [f32]),
    pub(super) gradient: unsafe fn(&[f32], &Geometry, &[f32], &mut [f32]),
}

/// Every set of kernels that this machine can run, the best first.
pub(super) fn available() -> Vec<&'static Kernels> {
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
    all.push(&scalar::KERNELS);
    all
}

/// The best of them.
pub(super) fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().first().copied().unwrap_or(&scalar::KERNELS))
}

/// The two walks, over the block operations of the module they stand in: `zero`, `load`,
/// `multiply_add`, `add` and `store`. At most `$most` blocks are held at once.
macro_rules! kernels {
    ($name:literal, $most:literal, $(#[$feature:meta])*) => {
        pub(super) static KERNELS: super::Kernels = super::Kernels {
            name: $name,
            forward,
            gradient,
        };

        /// # Safety
        /// The CPU has the features. Every patch of `geometry` lies within `x`; `filters` has
        /// rows of `depth * BLOCK` numbers; `y` has a row of `filters.len()` blocks a place.
        $(#[$feature])*
        unsafe fn forward(x: &[f32], geometry: &Geometry, filters: &AlignedRows, y: &mut [f32]) {
            let mut block = 0;
            while block < filters.len() {
                let n = (filters.len() - block).min($most);
                // SAFETY: as above; the `n` blocks from `block` on are there.
                unsafe {
                    match n {
                        4 => forward_blocks::<4>(x, geometry, filters, y, block),
                        3 => forward_blocks::<3>(x, geometry, filters, y, block),
                        2 => forward_blocks::<2>(x, geometry, filters, y, block),
                        _ => forward_blocks::<1>(x, geometry, filters, y, block),
                    }
                }
                block += n;
            }
        }

        /// # Safety
        /// As `forward`; `block + N` blocks are there.
        $(#[$feature])*
        unsafe fn forward_blocks<const N: usize>(
            x: &[f32],
            geometry: &Geometry,
            filters: &AlignedRows,
            y: &mut [f32],
            block: usize,
        ) {
            let mut weights = [x.as_ptr(); N];
            for (n, weights) in weights.iter_mut().enumerate() {
                *weights = filters.padded(block + n).as_ptr();
            }
            let width = filters.len() * BLOCK;
            let (mut y, mut starts) = (&mut y[block * BLOCK..], geometry.starts.as_slice());
            loop {
                let tile = match starts.len() {
                    6.. => 6,
                    4.. => 4,
                    2.. => 2,
                    1 => 1,
                    0 => return,
                };
                // SAFETY: as above, for the first `tile` places of `starts`.
                unsafe {
                    match tile {
                        6 => forward_tile::<6, N>(x, geometry, starts, weights, y, width),
                        4 => forward_tile::<4, N>(x, geometry, starts, weights, y, width),
                        2 => forward_tile::<2, N>(x, geometry, starts, weights, y, width),
                        _ => forward_tile::<1, N>(x, geometry, starts, weights, y, width),
                    }
                }
                starts = &starts[tile..];
                if starts.is_empty() {
                    return;
                }
                y = &mut y[tile * width..];
            }
        }

        /// # Safety
        /// As `forward_blocks`, for the first `P` of `starts`; `y` has rows of `width`.
        $(#[$feature])*
        unsafe fn forward_tile<const P: usize, const N: usize>(
            x: &[f32],
            geometry: &Geometry,
            starts: &[usize],
            mut weights: [*const f32; N],
            y: &mut [f32],
            width: usize,
        ) {
            let mut from = [x.as_ptr(); P];
            for (from, start) in from.iter_mut().zip(starts) {
                // SAFETY: a patch begins within `x`.
                *from = unsafe { x.as_ptr().add(*start) };
            }
            let mut sums = [[zero(); N]; P];
            for line in 0..geometry.lines {
                for at in line * geometry.line..line * geometry.line + geometry.run {
                    let mut w = [zero(); N];
                    for n in 0..N {
                        // SAFETY: `depth` blocks are read of each row of `filters` in all, and
                        // the pointer ends at most just behind them.
                        unsafe {
                            w[n] = load(weights[n]);
                            weights[n] = weights[n].add(BLOCK);
                        }
                    }
                    for p in 0..P {
                        // SAFETY: within the patch.
                        let v = unsafe { *from[p].add(at) };
                        for n in 0..N {
                            sums[p][n] = multiply_add(v, w[n], sums[p][n]);
                        }
                    }
                }
            }
            for (p, sums) in sums.iter().enumerate() {
                for (n, sum) in sums.iter().enumerate() {
                    let to = &mut y[p * width + n * BLOCK..][..BLOCK];
                    // SAFETY: `to` is a block.
                    unsafe { store(to.as_mut_ptr(), *sum) }
                }
            }
        }

        /// # Safety
        /// The CPU has the features. Every patch of `geometry` lies within `x`; `d` has a row
        /// a place and `out` a row a number of a patch, each of one number of whole blocks.
        $(#[$feature])*
        unsafe fn gradient(x: &[f32], geometry: &Geometry, d: &[f32], out: &mut [f32]) {
            let width = d.len() / geometry.starts.len();
            for (row, out) in out.chunks_exact_mut(6 * width).enumerate() {
                // SAFETY: as above, for six numbers of the patch, then for what is left.
                unsafe { gradient_rows::<6>(x, geometry, 6 * row, d, out, width) }
            }
            let done = geometry.depth() / 6 * 6;
            let rest = &mut out[done * width..];
            for (row, out) in rest.chunks_exact_mut(width).enumerate() {
                // SAFETY: as above.
                unsafe { gradient_rows::<1>(x, geometry, done + row, d, out, width) }
            }
        }

        /// # Safety
        /// As `gradient`, for `P` numbers of the patch from `row` on; `out` holds their rows.
        $(#[$feature])*
        unsafe fn gradient_rows<const P: usize>(
            x: &[f32],
            geometry: &Geometry,
            row: usize,
            d: &[f32],
            out: &mut [f32],
            width: usize,
        ) {
            let mut offsets = [0; P];
            for (p, offset) in offsets.iter_mut().enumerate() {
                let (line, at) = ((row + p) / geometry.run, (row + p) % geometry.run);
                *offset = line * geometry.line + at;
            }
            let mut block = 0;
            while block < width / BLOCK {
                let n = (width / BLOCK - block).min($most);
                // SAFETY: as above; the `n` blocks from `block` on are there.
                unsafe {
                    match n {
                        4 => gradient_tile::<P, 4>(x, geometry, offsets, d, out, width, block),
                        3 => gradient_tile::<P, 3>(x, geometry, offsets, d, out, width, block),
                        2 => gradient_tile::<P, 2>(x, geometry, offsets, d, out, width, block),
                        _ => gradient_tile::<P, 1>(x, geometry, offsets, d, out, width, block),
                    }
                }
                block += n;
            }
        }

        /// # Safety
        /// As `gradient_rows`, for `N` blocks from `block` on; `offsets` are those of numbers
        /// of a patch.
        $(#[$feature])*
        unsafe fn gradient_tile<const P: usize, const N: usize>(
            x: &[f32],
            geometry: &Geometry,
            offsets: [usize; P],
            d: &[f32],
            out: &mut [f32],
            width: usize,
            block: usize,
        ) {
            let mut sums = [[zero(); N]; P];
            // SAFETY: block `block` of the first row is there.
            let mut row = unsafe { d.as_ptr().add(block * BLOCK) };
            for start in &geometry.starts {
                let mut g = [zero(); N];
                for n in 0..N {
                    // SAFETY: there is a row of `d` a place, of whole blocks.
                    g[n] = unsafe { load(row.add(n * BLOCK)) };
                }
                // Behind the last row it is not read.
                row = row.wrapping_add(width);
                for p in 0..P {
                    // SAFETY: within a patch.
                    let v = unsafe { *x.as_ptr().add(start + offsets[p]) };
                    for n in 0..N {
                        sums[p][n] = multiply_add(v, g[n], sums[p][n]);
                    }
                }
            }
            for (p, sums) in sums.iter().enumerate() {
                for (n, sum) in sums.iter().enumerate() {
                    let to = &mut out[p * width + (block + n) * BLOCK..][..BLOCK];
                    // SAFETY: `to` is a block.
                    unsafe { store(to.as_mut_ptr(), add(load(to.as_ptr()), *sum)) }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::needless_range_loop, reason = "tiles in registers")]
mod avx512 {
    use super::super::blocks::avx512::{add, load, multiply_add, store, zero};
    use super::{AlignedRows, BLOCK, Geometry};

    kernels!("avx512", 4, #[target_feature(enable = "avx512f")]);
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::needless_range_loop, reason = "tiles in registers")]
mod avx2 {
    use super::super::blocks::avx2::{add, load, multiply_add, store, zero};
    use super::{AlignedRows, BLOCK, Geometry};

    kernels!("avx2", 1, #[target_feature(enable = "avx2,fma")]);
}

#[cfg(target_arch = "aarch64")]
#[allow(clippy::needless_range_loop, reason = "tiles in registers")]
mod neon {
    use super::super::blocks::neon::{add, load, multiply_add, store, zero};
    use super::{AlignedRows, BLOCK, Geometry};

    kernels!("neon", 1, #[target_feature(enable = "neon")]);
}

#[allow(clippy::needless_range_loop, reason = "tiles in registers")]
mod scalar {
    use super::super::blocks::scalar::{add, load, multiply_add, store, zero};
    use super::{AlignedRows, BLOCK, Geometry};

    kernels!("scalar", 1,);
}
