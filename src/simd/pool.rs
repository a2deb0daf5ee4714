//! The least of many numbers, in order: candidates of a walk, by key and node.

use std::sync::OnceLock;

/// Numbers of a chunk: one cache line.
const CHUNK: usize = 8;
/// Places that are looked at together.
const AT_ONCE: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
struct Chunk([u64; CHUNK]);

/// The least so many of the numbers offered, ascending. An odd number is closed; one that is
/// even is open until [`Pool::close`] makes it odd.
#[derive(Debug, Default)]
pub struct Pool {
    /// Places without a number hold the largest, which is closed. Those beyond `most` hold any.
    chunks: Vec<Chunk>,
    most: usize,
    /// No number in a chunk before is open.
    from: usize,
}

impl Pool {
    /// Empties it; from now on it keeps at least one number, and `most` of them.
    pub fn clear(&mut self, most: usize) {
        self.most = most.max(1);
        self.from = 0;
        self.chunks.clear();
        let chunks = self.most.div_ceil(CHUNK);
        self.chunks.resize(chunks, Chunk([u64::MAX; CHUNK]));
    }

    fn get(&self, place: usize) -> u64 {
        self.chunks[place / CHUNK].0[place % CHUNK]
    }

    /// A number must be below this to be kept.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.get(self.most - 1)
    }

    /// Keeps the least of what it holds and of some other numbers, all below [`Pool::limit`].
    pub fn offer(&mut self, numbers: &[u64]) {
        let Some(least) = numbers.iter().min() else {
            return;
        };
        // SAFETY: the kernel's instructions were detected.
        unsafe { (kernels().insert)(&mut self.chunks, numbers) }
        while self.from > 0 && self.chunks[self.from - 1].0[CHUNK - 1] >= *least {
            self.from -= 1;
        }
    }

    /// The places of the first open numbers; none if there are no more.
    pub fn open(&mut self) -> impl Iterator<Item = usize> + use<> {
        let (mut places, mut first) = (0, 0);
        while self.from < self.chunks.len() {
            first = self.from * CHUNK;
            let end = self.chunks.len().min(self.from + AT_ONCE / CHUNK);
            // SAFETY: the kernel's instructions were detected.
            places = unsafe { (kernels().open)(&self.chunks[self.from..end]) };
            if places != 0 {
                break;
            }
            self.from = end;
        }
        let most = self.most;
        let next = move || {
            let place = first + places.trailing_zeros() as usize;
            let there = places != 0 && place < most;
            places &= places.wrapping_sub(1);
            there.then_some(place)
        };
        std::iter::from_fn(next)
    }

    /// The number at a place.
    ///
    /// # Panics
    /// There is no such place.
    #[must_use]
    pub fn at(&self, place: usize) -> u64 {
        self.get(place)
    }

    /// Closes the number at a place, and answers it.
    ///
    /// # Panics
    /// There is no such place.
    pub fn close(&mut self, place: usize) -> u64 {
        let number = &mut self.chunks[place / CHUNK].0[place % CHUNK];
        *number |= 1;
        *number
    }

    /// All numbers kept, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let all = self.chunks.iter().flat_map(|chunk| chunk.0);
        all.take(self.most).take_while(|number| *number != u64::MAX)
    }
}

struct Kernels {
    #[cfg(test)]
    name: &'static str,
    /// Puts numbers in their places among sorted ones, the greatest of which fall out.
    insert: unsafe fn(&mut [Chunk], &[u64]),
    /// A bit for each even number of the first 64.
    open: unsafe fn(&[Chunk]) -> u64,
}

static SCALAR: Kernels = Kernels {
    #[cfg(test)]
    name: "scalar",
    insert: scalar::insert,
    open: scalar::open,
};

/// Every set of kernels that this machine can run, the best first.
fn available() -> Vec<&'static Kernels> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        all.push(&avx512::KERNELS);
    }
    all.push(&SCALAR);
    all
}

fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().first().copied().unwrap_or(&SCALAR))
}

mod scalar {
    use super::{CHUNK, Chunk};

    pub(super) fn insert(chunks: &mut [Chunk], numbers: &[u64]) {
        // SAFETY: `Chunk` is `repr(C)` around `[u64; CHUNK]` and as long as that, so that `n`
        // chunks are `n * CHUNK` consecutive numbers.
        let all = unsafe {
            std::slice::from_raw_parts_mut(chunks.as_mut_ptr().cast::<u64>(), chunks.len() * CHUNK)
        };
        for number in numbers {
            let place = all.partition_point(|held| held < number);
            if place < all.len() {
                all.copy_within(place..all.len() - 1, place + 1);
                all[place] = *number;
            }
        }
    }

    pub(super) fn open(chunks: &[Chunk]) -> u64 {
        let numbers = chunks.iter().flat_map(|chunk| chunk.0);
        let bits = (0_u64..64).zip(numbers);
        bits.fold(0, |all, (bit, number)| all | (!number & 1) << bit)
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::Chunk;
    use std::arch::x86_64::{
        __m512i, _mm512_alignr_epi64, _mm512_load_si512, _mm512_max_epu64, _mm512_min_epu64,
        _mm512_set1_epi64, _mm512_setzero_si512, _mm512_store_si512, _mm512_testn_epi64_mask,
    };

    pub(super) static KERNELS: super::Kernels = super::Kernels {
        #[cfg(test)]
        name: "avx512",
        insert,
        open,
    };

    /// So many chunks are gone through without a look whether that is needed.
    const BLIND: usize = 8;

    /// # Safety
    /// The CPU has the features.
    #[target_feature(enable = "avx512f")]
    fn load(chunk: &Chunk) -> __m512i {
        // SAFETY: a chunk is 64 bytes, and aligned.
        unsafe { _mm512_load_si512((&raw const *chunk).cast()) }
    }

    /// # Safety
    /// The CPU has the features.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn insert(chunks: &mut [Chunk], numbers: &[u64]) {
        for number in numbers {
            let new = _mm512_set1_epi64(number.cast_signed());
            let mut end = chunks.len();
            while end > 0 {
                let start = end.saturating_sub(BLIND);
                let mut held = load(&chunks[end - 1]);
                for at in (start..end).rev() {
                    let below = match at {
                        0 => _mm512_setzero_si512(),
                        _ => load(&chunks[at - 1]),
                    };
                    // What is above the new number moves up by one place: each place gets the
                    // middle one of what it holds, what is below it, and the new number.
                    let moved = _mm512_alignr_epi64::<7>(held, below);
                    let placed = _mm512_min_epu64(held, _mm512_max_epu64(moved, new));
                    // SAFETY: a chunk is 64 bytes, and aligned.
                    unsafe { _mm512_store_si512((&raw mut chunks[at]).cast(), placed) };
                    held = below;
                }
                if start > 0 && chunks[start - 1].0[7] < *number {
                    break;
                }
                end = start;
            }
        }
    }

    /// # Safety
    /// The CPU has the features.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn open(chunks: &[Chunk]) -> u64 {
        let one = _mm512_set1_epi64(1);
        let mut bits = 0;
        for (at, chunk) in chunks.iter().take(8).enumerate() {
            bits |= u64::from(_mm512_testn_epi64_mask(load(chunk), one)) << (8 * at);
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Even numbers in no order.
    fn numbers(seed: u64, n: usize) -> Vec<u64> {
        let next = |v: &u64| Some(v.wrapping_mul(6_364_136_223_846_793_005) ^ (v >> 29));
        let all = std::iter::successors(Some(seed | 1), next);
        all.map(|v| v << 1).skip(1).take(n).collect()
    }

    #[test]
    fn every_kernel_agrees_with_the_scalar_one() {
        for (seed, chunks) in (1..).zip([1, 2, 7, 8, 9, 16, 17, 40]) {
            for kernels in available() {
                let mut expected = vec![Chunk([u64::MAX; CHUNK]); chunks];
                let mut found = expected.clone();
                for n in [1, 0, 3, 50, 200] {
                    let some = numbers(seed + n as u64, n);
                    scalar::insert(&mut expected, &some);
                    // SAFETY: `available` detected the features.
                    unsafe { (kernels.insert)(&mut found, &some) };
                    assert_eq!(found, expected, "{} {chunks} {n}", kernels.name);
                    expected[0].0[n % CHUNK] |= 1;
                    found[0].0[n % CHUNK] |= 1;
                    // SAFETY: `available` detected the features.
                    let open = unsafe { (kernels.open)(&found) };
                    assert_eq!(open, scalar::open(&expected), "{} {chunks}", kernels.name);
                }
            }
        }
    }

    #[test]
    fn the_least_are_kept_and_closed_in_order() {
        for most in [1, 5, 8, 64, 65, 300] {
            let mut pool = Pool::default();
            pool.clear(most);
            let (mut model, mut closed) = (Vec::new(), Vec::new());
            let n = if cfg!(miri) { 400 } else { 2_000 };
            for some in numbers(9, n).chunks(37) {
                let below = some.iter().copied().filter(|v| *v < pool.limit());
                let below: Vec<u64> = below.collect();
                pool.offer(&below);
                model.extend(below);
                model.sort_unstable();
                model.truncate(most);
                let held: Vec<u64> = pool.iter().map(|v| v & !1).collect();
                assert_eq!(held, model);
                let open = model.iter().position(|v| !closed.contains(v));
                assert_eq!(pool.open().next(), open);
                if let Some(place) = open {
                    assert_eq!(pool.at(place), model[place]);
                    closed.push(model[place]);
                    assert_eq!(pool.close(place), model[place] | 1);
                }
            }
            assert!(pool.open().is_sorted());
        }
    }
}
