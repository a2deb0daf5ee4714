//! Some of the rows, the same every time and in no step with the order they came in.

/// What a sample is for: samples for different things are independent.
#[derive(Debug, Clone, Copy)]
pub(super) enum For {
    Axes,
    Lists,
    Codes,
    Layers,
    Questions,
    Filters,
}

/// About so many of `rows` rows, ascending; all of them where there are no more; at least one of
/// any.
#[expect(clippy::cast_precision_loss, reason = "a share may be rounded")]
pub(super) fn sample(rows: usize, most: usize, what: For) -> Vec<u32> {
    let all = 0..u32::try_from(rows).unwrap_or(u32::MAX);
    if rows <= most {
        return all.collect();
    }
    let share = most as f64 / rows as f64;
    let mut some: Vec<u32> = all.filter(|row| is_among(*row, share, what)).collect();
    if some.is_empty() {
        some.push(0);
    }
    some
}

/// Whether a row is among a share of all.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a threshold may be rounded"
)]
pub(super) fn is_among(row: u32, share: f64, what: For) -> bool {
    mixed(row, what) < (share * u64::MAX as f64) as u64
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood 2014).
fn mixed(row: u32, what: For) -> u64 {
    let mut x = u64::from(row) | (what as u64 + 1) << 32;
    x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_of_their_size_and_follow_no_period() {
        for most in [100, 1_000, 10_000] {
            let some = sample(100_000, most, For::Lists);
            assert!(some.len().abs_diff(most) * 10 < 4 * most, "{}", some.len());
            assert!(some.is_sorted_by(|a, b| a < b));
            let of_period = some.iter().filter(|row| row.is_multiple_of(50)).count();
            assert!(of_period * 10 < some.len(), "{of_period}");
        }
        assert_eq!(sample(5, 5, For::Axes), [0, 1, 2, 3, 4]);
        assert!(sample(0, 5, For::Axes).is_empty());
        assert!(!sample(1_000_000, 1, For::Axes).is_empty());
        assert_ne!(sample(999, 99, For::Axes), sample(999, 99, For::Codes));
    }
}
