//! Galleries counted, not drawn.
//!
//! A probe whose similarity to `k` of `M` labels reaches the threshold finds one of them in
//! `1 - C(M-k, N) / C(M, N)` of all galleries of N of these labels: the mean over all galleries
//! without drawing one. Beyond the labels there are, the threshold goes on as it moved up to
//! there (extreme values, Gumbel 1958).

use super::Comparison;
use super::estimate::Estimate;

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

    /// Labels.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// Probes.
    #[must_use]
    pub fn probes(&self) -> usize {
        self.rows.len()
    }

    /// The largest gallery that can be measured, and measured again without any one label.
    #[must_use]
    pub fn direct(&self) -> usize {
        self.labels.saturating_sub(2).max(1)
    }

    /// The rate at a threshold in galleries of `n` labels, at most [`Model::direct`].
    #[must_use]
    pub fn rate(&self, n: usize, threshold: f32) -> f64 {
        self.mean(&chances(self.labels.saturating_sub(1), n), threshold)
    }

    /// The mean chance, by how many labels reach the threshold.
    fn mean(&self, chances: &[f64], threshold: f32) -> f64 {
        let found = self.rows.iter().map(|row| chances[reached(row, threshold)]);
        mean(found.sum(), self.rows.len())
    }

    /// The same with its error, by leaving out every label in turn, as probe and as gallery.
    #[must_use]
    pub fn estimate(&self, n: usize, threshold: f32) -> Estimate {
        let mut lost = vec![(0.0, 0_usize); self.labels];
        let mut gained = vec![0.0; self.labels];
        let mut total = 0.0;
        let chances = chances(self.labels.saturating_sub(2), n);
        for (own, row) in self.probes.iter().zip(&self.rows) {
            let k = reached(row, threshold);
            let all = chances[k];
            total += all;
            let of_own = &mut lost[usize::from(*own)];
            *of_own = (of_own.0 + all, of_own.1 + 1);
            if k > 0 {
                let change = chances[k - 1] - all;
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
        let scores = |(s, _): &(f32, u16)| *s;
        let lasts = self.rows.iter().filter_map(|row| row.last()).map(scores);
        let firsts = self.rows.iter().filter_map(|row| row.first()).map(scores);
        let mut low = lasts.fold(f32::MAX, f32::min);
        let mut high = firsts.fold(f32::MIN, f32::max).next_up();
        let chances = chances(self.labels.saturating_sub(1), n);
        for _ in 0..32 {
            let middle = f32::midpoint(low, high);
            if self.mean(&chances, middle) <= target {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }

    /// How the threshold for a rate moved as the gallery grew fourfold, twice, up to all labels.
    pub(super) fn growth(&self, target: f64) -> Growth {
        let all = self.direct();
        let solve = |n: usize| f64::from(self.solve(n.max(1), target));
        let [start, middle, end] = [all / (STEP * STEP), all / STEP, all].map(solve);
        let (before, last) = ((middle - start).max(0.0), (end - middle).max(0.0));
        let ratio = if before > 0.0 { last / before } else { 1.0 };
        Growth {
            last,
            ratio: ratio.clamp(0.0, 1.0),
        }
    }
}

/// The largest of N similarities, as N grows: by extreme value theory its steps over equal
/// factors of N are a geometric series, whose ratio is 1 for tails like a normal one's and less
/// for similarities that have a greatest one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// The last step, over a factor of [`STEP`].
    last: f64,
    ratio: f64,
}

/// Factor between the galleries that [`Growth`] is taken from.
pub(super) const STEP: usize = 4;

impl Growth {
    /// How far the threshold moves in so many further steps.
    pub(super) fn shift(&self, steps: f64) -> f64 {
        let Self { last, ratio } = *self;
        if ratio > 0.999 {
            return last * steps;
        }
        last * ratio * (1.0 - ratio.powf(steps)) / (1.0 - ratio)
    }
}

/// How many of a row reach the threshold.
fn reached(row: &[(f32, u16)], threshold: f32) -> usize {
    row.partition_point(|(s, _)| *s >= threshold)
}

/// [`found`] for every k, and for one more than there can be.
fn chances(m: usize, n: usize) -> Vec<f64> {
    (0..=m + 1).map(|k| found(k, m, n)).collect()
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

/// `ln(a / b)`.
#[expect(clippy::cast_precision_loss, reason = "counts of labels")]
pub(super) fn ln_ratio(a: usize, b: usize) -> f64 {
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
