//! A small random generator whose numbers follow from a seed alone, on every machine.
//!
//! xoshiro256++ (Blackman and Vigna 2019), seeded by `SplitMix64`. Not for secrets.

use std::f32::consts::TAU;

/// The generator.
#[derive(Debug, Clone)]
pub struct Random([u64; 4]);

impl Random {
    /// A generator for `stream` (a step, a trial) of a seeded whole: no state need be kept
    /// to go on from any step.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut state = seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Self([(); 4].map(|()| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// In 0..1.
    #[expect(clippy::cast_precision_loss, reason = "24 bits")]
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// In -reach..reach.
    pub fn within(&mut self, reach: f32) -> f32 {
        (2.0 * self.unit() - 1.0) * reach
    }

    /// In 0..n, where n is at least 1; n 0 gives 0.
    pub fn below(&mut self, n: usize) -> usize {
        // Lemire 2019, without the rejection: the bias is below n / 2^64.
        #[expect(clippy::cast_possible_truncation, reason = "below n")]
        let index = ((u128::from(self.next()) * n as u128) >> 64) as usize;
        index
    }

    /// Normal, mean 0, deviation 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// `count` different numbers of 0..n, in random order; all of them where n is fewer.
    pub fn distinct(&mut self, n: usize, count: usize) -> Vec<usize> {
        // Floyd's algorithm: no list of all n.
        let count = count.min(n);
        let mut chosen = Vec::with_capacity(count);
        for last in n - count..n {
            let pick = self.below(last + 1);
            chosen.push(if chosen.contains(&pick) { last } else { pick });
        }
        for i in (1..chosen.len()).rev() {
            chosen.swap(i, self.below(i + 1));
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [(); 4].map(|()| random.unit().to_bits())
        };
        assert_eq!(draw(7, 3), draw(7, 3));
        assert_ne!(draw(7, 3), draw(7, 4));
        assert_ne!(draw(7, 3), draw(8, 3));
    }

    #[test]
    fn moments_are_right() {
        let mut random = Random::new(1, 0);
        let n = 60_000_u16;
        let (mut sum, mut squares, mut uniform) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let x = f64::from(random.normal());
            sum += x;
            squares += x * x;
            uniform += f64::from(random.within(1.0));
        }
        let n = f64::from(n);
        assert!((sum / n).abs() < 0.02);
        assert!((squares / n - 1.0).abs() < 0.03);
        assert!((uniform / n).abs() < 0.02);
    }

    #[test]
    fn distinct_numbers_are_distinct_and_all_come_up() {
        let mut random = Random::new(1, 0);
        let mut seen = [0; 10];
        for _ in 0..1000 {
            let mut some = random.distinct(10, 4);
            for i in &some {
                seen[*i] += 1;
            }
            some.sort_unstable();
            some.dedup();
            assert_eq!(some.len(), 4);
        }
        assert!(seen.iter().all(|n| (320..480).contains(n)), "{seen:?}");
        assert_eq!(random.distinct(3, 9).len(), 3);
    }
}
