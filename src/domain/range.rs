//! Bounds on what has an order.

/// Bounds; an absent one does not bound.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Range<T = f64> {
    /// Greater than.
    pub gt: Option<T>,
    /// Greater than or equal.
    pub gte: Option<T>,
    /// Less than.
    pub lt: Option<T>,
    /// Less than or equal.
    pub lte: Option<T>,
}

impl<T: PartialOrd> Range<T> {
    /// Whether there is a bound.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let bounds = [&self.gt, &self.gte, &self.lt, &self.lte];
        bounds.into_iter().any(Option::is_some)
    }

    /// Whether a value is within.
    #[must_use]
    pub fn holds(&self, x: &T) -> bool {
        self.is_above(x) && self.is_below(x)
    }

    /// Whether a value meets the lower bounds; then so do all larger ones.
    #[must_use]
    pub fn is_above(&self, x: &T) -> bool {
        self.gt.as_ref().is_none_or(|b| x > b) && self.gte.as_ref().is_none_or(|b| x >= b)
    }

    /// Whether a value meets the upper bounds; then so do all smaller ones.
    #[must_use]
    pub fn is_below(&self, x: &T) -> bool {
        self.lt.as_ref().is_none_or(|b| x < b) && self.lte.as_ref().is_none_or(|b| x <= b)
    }
}
