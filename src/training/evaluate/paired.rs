//! Two encoders, the same trials: does one err less?

/// Trials that only one of two got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discordant {
    /// Wrong by the first alone.
    pub only_a: u64,
    /// Wrong by the second alone.
    pub only_b: u64,
    /// All trials.
    pub trials: u64,
}

impl Discordant {
    /// Two-sided p-value of McNemar's test (1947): exact, by the mid-p (Fagerland, Lydersen
    /// and Laake 2013).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of trials")]
    pub fn mid_p(&self) -> f64 {
        let (fewer, all) = (self.only_a.min(self.only_b), self.only_a + self.only_b);
        if self.only_a == self.only_b {
            // Half of the middle counts on each side.
            return 1.0;
        }
        let (k, n) = (fewer as f64, all as f64);
        let at = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k) - n * 2.0_f64.ln();
        let at = at.exp();
        let (mut term, mut below) = (at, 0.0);
        for j in (1..=fewer).rev() {
            term *= j as f64 / (all - j + 1) as f64;
            below += term;
            if term < 1e-18 * below {
                break;
            }
        }
        (2.0 * below + at).min(1.0)
    }

    /// Errors a trial that the second makes more than the first, with a 95 % interval
    /// (Agresti and Min 2005: Wald's after half a trial more in each of the four cells).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of trials")]
    pub fn difference(&self) -> (f64, (f64, f64)) {
        let (a, b, n) = (self.only_a as f64, self.only_b as f64, self.trials as f64);
        let (a_more, b_more, n_more) = (a + 0.5, b + 0.5, n + 2.0);
        let middle = (b_more - a_more) / n_more;
        let variance = (a_more + b_more) / n_more - middle * middle;
        let reach = super::stats::Z * (variance / n_more).sqrt();
        ((b - a) / n.max(1.0), (middle - reach, middle + reach))
    }
}

/// ln n!, by Stirling's series from 10 on.
fn ln_factorial(n: f64) -> f64 {
    if n < 10.0 {
        let mut product = 1.0;
        let mut factor = n;
        while factor > 1.0 {
            product *= factor;
            factor -= 1.0;
        }
        return product.ln();
    }
    let ln_root = 0.5 * (std::f64::consts::TAU * n).ln();
    n * n.ln() - n + ln_root + 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3))
        + 1.0 / (1260.0 * n.powi(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(only_a: u64, only_b: u64, trials: u64) -> Discordant {
        Discordant {
            only_a,
            only_b,
            trials,
        }
    }

    #[test]
    fn p_values_by_hand() {
        // 2 (1 + 10) / 1024, less the point itself.
        assert!((of(1, 9, 50).mid_p() - 12.0 / 1024.0).abs() < 1e-12);
        assert!((of(9, 1, 50).mid_p() - 12.0 / 1024.0).abs() < 1e-12);
        assert!((of(0, 3, 3).mid_p() - 0.125).abs() < 1e-12);
        assert!((of(0, 0, 9).mid_p() - 1.0).abs() < 1e-12);
        // Against the normal approximation: z = 10.
        let p = of(4_500, 5_500, 100_000).mid_p();
        assert!(p > 1e-24 && p < 1e-22, "{p}");
        let p = of(499_000, 501_000, 2_000_000).mid_p();
        assert!((p - 0.0455).abs() < 1e-4, "{p}");
    }

    #[test]
    fn differences_by_hand() {
        let (difference, (low, high)) = of(30, 10, 1000).difference();
        assert!((difference + 0.02).abs() < 1e-12);
        assert!(low < -0.03 && high > -0.01 && high < 0.0, "{low} {high}");
    }
}
