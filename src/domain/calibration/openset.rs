//! How often a probe of no enrolled label finds one: the false-positive identification rate.
//!
//! FPIR (ISO/IEC 19795-1) grows with the gallery. Comparisons of one probe depend on one another
//! (some probes look like many labels), so that `1 - (1 - FAR)^N` is too high. Measured instead:
//! a probe whose similarity to `k` of `M` labels reaches the threshold finds one of them in
//! `1 - C(M-k, N) / C(M, N)` of all galleries of N of these labels: the mean over all galleries
//! without drawing one. Beyond the labels there are, the largest of N similarities moves with
//! `ln N` (extreme values, Gumbel 1958) as it did from a quarter of them to all.

use super::estimate::{Estimate, Interval};
use super::point::LEAST_EFFECTIVE;
use super::{Comparison, Shortage, beyond};
use crate::domain::Invalid;
use serde::{Deserialize, Serialize};

/// Each probe's similarity to each label.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Labels.
    pub labels: u16,
    /// The label of each probe.
    pub probes: Vec<u16>,
    /// A row a probe, a similarity a label; NaN where there is no example to compare with.
    pub scores: Vec<f32>,
}

impl Table {
    /// Its comparisons: genuine and impostor.
    #[must_use]
    pub fn comparisons(&self) -> [Vec<Comparison>; 2] {
        let mut out = [Vec::new(), Vec::new()];
        for (own, row) in self.rows() {
            for (label, similarity) in (0..self.labels).zip(row) {
                if !similarity.is_nan() {
                    out[usize::from(label != own)].push(Comparison {
                        similarity: *similarity,
                        classes: [own, label],
                    });
                }
            }
        }
        out
    }

    fn rows(&self) -> impl Iterator<Item = (u16, &[f32])> {
        let rows = self.scores.chunks(usize::from(self.labels).max(1));
        self.probes.iter().copied().zip(rows)
    }
}

/// A threshold for one size of gallery.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OpenPoint {
    /// The rate asked for, in 0..1.
    pub target: f64,
    /// Labels of the gallery.
    pub labels: u32,
    /// Below this similarity of the best label the probe is unknown.
    pub threshold: f32,
    /// What the rate lies in with other probes and labels.
    pub interval: Interval,
}

/// Thresholds by target and size of gallery, as far as the data support them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenSet {
    /// By target, falling, then by labels, rising.
    points: Vec<OpenPoint>,
}

/// The targets between which thresholds are interpolated.
const TARGETS: [f64; 7] = [0.3, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001];
/// A gallery may grow to so many times the labels it was calibrated with.
pub const GROWTH: usize = 10;

impl OpenSet {
    /// Calibrates; `wanted` must be supported for as many labels as there are.
    ///
    /// # Errors
    /// It is not: how many labels it would take.
    pub fn fit(table: &Table, wanted: f64) -> Result<Self, Shortage> {
        let model = Model::new(table);
        let mut points = Vec::new();
        let mut targets = TARGETS.to_vec();
        targets.push(wanted);
        targets.sort_unstable_by(|a, b| b.total_cmp(a));
        targets.dedup();
        for target in targets {
            let slope = model.slope(target);
            for labels in model.sizes() {
                match model.point(target, labels, slope) {
                    Ok(point) => points.push(point),
                    Err(short) if target.total_cmp(&wanted).is_eq() && labels <= model.direct() => {
                        return Err(short);
                    }
                    Err(_) => break,
                }
            }
        }
        Ok(Self { points })
    }

    /// The threshold for a target rate and a gallery. A gallery beyond the sizes supported has
    /// the largest one's threshold and no interval.
    ///
    /// # Errors
    /// The target is finer or coarser than the calibration supports.
    pub fn at(&self, field: &str, target: f64, labels: usize) -> Result<OpenPoint, Invalid> {
        self.find(target, labels).ok_or_else(|| {
            let ends = [self.points.last(), self.points.first()];
            beyond(field, target, ends.map(|p| p.map_or(0.0, |p| p.target)))
        })
    }

    fn find(&self, target: f64, labels: usize) -> Option<OpenPoint> {
        let labels = u32::try_from(labels.max(1)).unwrap_or(u32::MAX);
        let mut targets: Vec<f64> = self.points.iter().map(|p| p.target).collect();
        targets.dedup();
        let above = *targets.iter().rfind(|t| **t >= target)?;
        let below = *targets.iter().find(|t| **t <= target)?;
        let (a, b) = (self.of(above, labels)?, self.of(below, labels)?);
        let share = if above > below {
            (above / target).ln() / (above / below).ln()
        } else {
            0.0
        };
        Some(between(&a, &b, share, target, labels))
    }

    /// For one of the targets.
    fn of(&self, target: f64, labels: u32) -> Option<OpenPoint> {
        let points = || {
            self.points
                .iter()
                .filter(move |p| p.target.total_cmp(&target).is_eq())
        };
        let after = points().find(|p| p.labels >= labels);
        let before = points().rfind(|p| p.labels <= labels);
        match (before, after) {
            (Some(a), Some(b)) if a.labels < b.labels => {
                let ln = |n: u32| f64::from(n).ln();
                let share = (ln(labels) - ln(a.labels)) / (ln(b.labels) - ln(a.labels));
                Some(between(a, b, share, target, labels))
            }
            (_, Some(point)) => Some(*point),
            (Some(last), None) => Some(OpenPoint {
                interval: Interval::ANY,
                labels,
                ..*last
            }),
            (None, None) => None,
        }
    }
}

fn between(a: &OpenPoint, b: &OpenPoint, share: f64, target: f64, labels: u32) -> OpenPoint {
    let mix = |a: f64, b: f64| a + (b - a) * share;
    let relative = |of: fn(&Interval) -> f64| {
        let ratio = |p: &OpenPoint| of(&p.interval) / p.target;
        target * mix(ratio(a), ratio(b))
    };
    #[expect(clippy::cast_possible_truncation, reason = "between two f32")]
    let threshold = mix(a.threshold.into(), b.threshold.into()) as f32;
    let known = a.interval != Interval::ANY && b.interval != Interval::ANY;
    let interval = Interval {
        low: relative(|i| i.low),
        high: relative(|i| i.high).min(1.0),
    };
    OpenPoint {
        target,
        labels,
        threshold,
        interval: if known { interval } else { Interval::ANY },
    }
}

/// Impostor similarities, ready to be counted.
#[derive(Debug)]
pub struct Model {
    labels: usize,
    probes: Vec<u16>,
    /// A probe's similarities to other labels, and the labels, most similar first.
    rows: Vec<Vec<(f32, u16)>>,
}

impl Model {
    /// Sorts a table.
    #[must_use]
    pub fn new(table: &Table) -> Self {
        let row = |(own, row): (u16, &[f32])| {
            let others = (0..table.labels).zip(row.iter().copied());
            let mut others: Vec<(f32, u16)> = others
                .filter(|(label, s)| *label != own && !s.is_nan())
                .map(|(label, s)| (s, label))
                .collect();
            others.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
            others
        };
        Self {
            labels: usize::from(table.labels),
            probes: table.probes.clone(),
            rows: table.rows().map(row).collect(),
        }
    }

    /// The largest gallery that can be measured, and measured again without any one label.
    #[must_use]
    pub fn direct(&self) -> usize {
        self.labels.saturating_sub(2).max(1)
    }

    /// Sizes of gallery, rising about by halves, to [`GROWTH`] times the labels.
    fn sizes(&self) -> Vec<usize> {
        let most = GROWTH * self.labels;
        let mut sizes: Vec<usize> =
            std::iter::successors(Some(1), |n: &usize| Some(n + n.div_ceil(2)))
                .take_while(|n| *n < most)
                .collect();
        sizes.extend([self.direct(), self.labels, most]);
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The rate at a threshold in galleries of `n` labels, at most [`Model::direct`].
    #[must_use]
    pub fn rate(&self, n: usize, threshold: f32) -> f64 {
        let found = self
            .rows
            .iter()
            .map(|row| found(reached(row, threshold), self.labels - 1, n));
        mean(found.sum(), self.rows.len())
    }

    /// The same with its error, by leaving out every label in turn, as probe and as gallery.
    #[must_use]
    pub fn estimate(&self, n: usize, threshold: f32) -> Estimate {
        let mut lost = vec![(0.0, 0_usize); self.labels];
        let mut gained = vec![0.0; self.labels];
        let mut total = 0.0;
        for (own, row) in self.probes.iter().zip(&self.rows) {
            let k = reached(row, threshold);
            let all = found(k, self.labels - 2, n);
            total += all;
            let of_own = &mut lost[usize::from(*own)];
            *of_own = (of_own.0 + all, of_own.1 + 1);
            if k > 0 {
                let change = found(k - 1, self.labels - 2, n) - all;
                row[..k]
                    .iter()
                    .for_each(|(_, label)| gained[usize::from(*label)] += change);
            }
        }
        let probes = self.rows.len();
        let without = lost
            .iter()
            .zip(&gained)
            .map(|((lost, own), gained)| mean(total - lost + gained, probes - own));
        Estimate::jackknife(self.rate(n, threshold), &without.collect::<Vec<_>>())
    }

    /// The lowest threshold at which galleries of `n` labels stay within a rate.
    #[must_use]
    pub fn solve(&self, n: usize, target: f64) -> f32 {
        let ends = |of: fn(&[(f32, u16)]) -> Option<&(f32, u16)>| {
            self.rows
                .iter()
                .filter_map(move |row| of(row))
                .map(|(s, _)| *s)
        };
        let mut low = ends(|row| row.last()).fold(f32::MAX, f32::min);
        let mut high = ends(|row| row.first()).fold(f32::MIN, f32::max).next_up();
        for _ in 0..48 {
            let middle = f32::midpoint(low, high);
            if self.rate(n, middle) <= target {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }

    /// How far the threshold for a rate moves when the gallery grows e times.
    #[must_use]
    pub fn slope(&self, target: f64) -> f64 {
        let all = self.direct();
        let quarter = all.div_ceil(4);
        if quarter == all {
            return 0.0;
        }
        let moved = self.solve(all, target) - self.solve(quarter, target);
        (f64::from(moved) / ln_ratio(all, quarter)).max(0.0)
    }

    fn point(&self, target: f64, labels: usize, slope: f64) -> Result<OpenPoint, Shortage> {
        let measured = labels.min(self.direct());
        let threshold = self.solve(measured, target);
        let estimate = self.estimate(measured, threshold);
        let effective = estimate.effective();
        if effective < LEAST_EFFECTIVE {
            let probes = self.rows.len();
            #[expect(clippy::cast_precision_loss, reason = "a count of probes")]
            let (events, probes) = (target * probes as f64, probes as f64);
            let worth = if effective > 0.0 { effective } else { events };
            let times = LEAST_EFFECTIVE / worth.clamp(0.01, LEAST_EFFECTIVE);
            return Err(Shortage::new("fpir", target, self.labels, times, probes));
        }
        let shift = slope * ln_ratio(labels, measured);
        #[expect(clippy::cast_possible_truncation, reason = "a similarity")]
        let threshold = (f64::from(threshold) + shift) as f32;
        Ok(OpenPoint {
            target,
            labels: u32::try_from(labels).unwrap_or(u32::MAX),
            threshold,
            interval: estimate.interval(),
        })
    }
}

/// How many of a row reach the threshold.
fn reached(row: &[(f32, u16)], threshold: f32) -> usize {
    row.partition_point(|(s, _)| *s >= threshold)
}

/// The chance that a gallery of `n` of `m` labels holds one of `k`.
#[expect(clippy::cast_precision_loss, reason = "counts of labels")]
fn found(k: usize, m: usize, n: usize) -> f64 {
    if k == 0 {
        return 0.0;
    }
    if k + n > m {
        return 1.0;
    }
    let mut none = 1.0;
    for r in 0..k.min(n) {
        // Over the smaller of both: C(m-k, n) / C(m, n) = C(m-n, k) / C(m, k).
        none *= (m - k.max(n) - r) as f64 / (m - r) as f64;
        if none < 1e-9 {
            return 1.0;
        }
    }
    1.0 - none
}

#[expect(clippy::cast_precision_loss, reason = "counts of probes")]
fn mean(sum: f64, n: usize) -> f64 {
    sum / n.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts of labels")]
fn ln_ratio(a: usize, b: usize) -> f64 {
    (a.max(1) as f64 / b.max(1) as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn galleries_are_counted_not_drawn() {
        // 2 of 5 labels, galleries of 2: 3 of 10 hold neither.
        assert!((found(2, 5, 2) - 0.7).abs() < 1e-12);
        assert!((found(1, 4, 3) - 0.75).abs() < 1e-12);
        assert!((found(3, 4, 1) - 0.75).abs() < 1e-12);
        assert!(found(0, 4, 4).abs() < 1e-12 && (found(1, 4, 4) - 1.0).abs() < 1e-12);
        assert!((found(3, 4, 2) - 1.0).abs() < 1e-12);
    }
}
