//! How sure a measured figure is.

/// 97.5 % quantile of the standard normal distribution.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// The 95 % confidence interval of a rate of `errors` in `trials` (Wilson 1927); all of 0..=1
/// without trials.
#[must_use]
pub fn wilson(errors: u64, trials: u64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of trials")]
    let (n, rate) = (trials as f64, errors as f64 / trials as f64);
    wilson_of(rate, n)
}

/// The same of a rate in 0..=1 that is as sure as if it came from `n` independent trials, more
/// than 0.
#[must_use]
pub fn wilson_of(rate: f64, n: f64) -> (f64, f64) {
    let z2 = Z * Z;
    let centre = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let reach = Z * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
    ((centre - reach).max(0.0), (centre + reach).min(1.0))
}

/// An error rate with what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Trials that went wrong.
    pub errors: u64,
    /// Trials.
    pub trials: u64,
}

impl Rate {
    /// Counts a trial.
    pub fn add(&mut self, failed: bool) {
        self.errors += u64::from(failed);
        self.trials += 1;
    }

    /// Errors a trial, in 0..=1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of trials")]
    pub fn rate(&self) -> f64 {
        self.errors as f64 / self.trials.max(1) as f64
    }

    /// Its 95 % confidence interval.
    #[must_use]
    pub fn ci95(&self) -> (f64, f64) {
        wilson(self.errors, self.trials)
    }
}

/// A figure with its 95 % confidence interval; none where too little is there to tell one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Lower and upper end.
    pub ci95: Option<(f64, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_as_in_the_text_books() {
        let (low, high) = wilson(10, 100);
        assert!(
            (low - 0.0552).abs() < 1e-4 && (high - 0.1744).abs() < 1e-4,
            "{low} {high}"
        );
        let (low, high) = wilson(0, 20);
        assert!(low.abs() < 1e-12 && (high - 0.1611).abs() < 1e-4);
    }
}
