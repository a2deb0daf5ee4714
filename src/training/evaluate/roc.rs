//! Error rates over all thresholds: the ROC curve and what is read off it.
//!
//! A pair is accepted if its similarity is at least a threshold. FAR is the share of impostor
//! pairs accepted, FRR the share of genuine pairs refused (ISO/IEC 19795-1).

use super::pairs::{Pairs, Scores};

/// FARs at which the FRR is told.
pub const FARS: [f64; 3] = [0.1, 0.01, 0.001];
/// AUC, EER, and the FRR at each of [`FARS`].
pub const FIGURES: usize = 2 + FARS.len();

/// A point of the curve: what happens at a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The lowest similarity that is accepted; infinite where nothing is.
    pub threshold: f32,
    /// Share of impostor pairs accepted.
    pub far: f64,
    /// Share of genuine pairs refused.
    pub frr: f64,
}

/// Scored pairs, the most alike first. Sorted once; each figure then takes one pass, also
/// where classes count more than once.
#[derive(Debug, Clone)]
pub struct Ranked(Vec<Scored>);

#[derive(Debug, Clone, Copy)]
struct Scored {
    score: f32,
    genuine: bool,
    classes: [u32; 2],
}

impl Scored {
    /// How often it counts where each class was drawn so many times.
    fn weight(&self, drawn: &[u32]) -> f64 {
        let [a, b] = self.classes.map(|class| f64::from(drawn[class as usize]));
        if self.genuine { a } else { a * b }
    }
}

impl Ranked {
    /// Sorts the pairs by their scores.
    #[must_use]
    pub fn new(pairs: &Pairs, scores: &Scores) -> Self {
        let genuine = pairs.genuine.iter().zip(&scores.genuine);
        let impostor = pairs.impostor.iter().zip(&scores.impostor);
        let genuine = genuine.map(|(pair, score)| (pair, *score, true));
        let impostor = impostor.map(|(pair, score)| (pair, *score, false));
        let scored = genuine
            .chain(impostor)
            .map(|(pair, score, genuine)| Scored {
                // -0 and 0 are one score.
                score: score + 0.0,
                genuine,
                classes: pair.map(|place| place.class),
            });
        let mut all: Vec<Scored> = scored.collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self(all)
    }

    /// AUC, EER and the FRRs at [`FARS`], where each class was drawn so many times; `None`
    /// if no genuine or no impostor pair was. AUC: how often a genuine pair is more alike
    /// than an impostor pair. EER: the error where FAR and FRR are equal. FRR at a FAR: at
    /// the lowest threshold that keeps it.
    #[must_use]
    pub fn figures(&self, drawn: &[u32]) -> Option<[f64; FIGURES]> {
        let mut frr_at = [1.0; FARS.len()];
        let (mut area, mut eer) = (0.0, None);
        let mut before = Point {
            threshold: f32::INFINITY,
            far: 0.0,
            frr: 1.0,
        };
        self.walk(drawn, |point| {
            area += (point.far - before.far) * (1.0 - f64::midpoint(before.frr, point.frr));
            for (frr, far) in frr_at.iter_mut().zip(FARS) {
                if point.far <= far {
                    *frr = point.frr;
                }
            }
            if eer.is_none() && point.far >= point.frr {
                eer = Some(crossing(&before, &point));
            }
            before = point;
        })?;
        let mut figures = [area, eer.unwrap_or(0.5), 0.0, 0.0, 0.0];
        figures[2..].copy_from_slice(&frr_at);
        Some(figures)
    }

    /// Every point of the curve, from the strictest threshold on: FAR rises, FRR falls.
    #[must_use]
    pub fn curve(&self) -> Vec<Point> {
        let classes = self.0.iter().flat_map(|s| s.classes).max().unwrap_or(0);
        let mut curve = vec![Point {
            threshold: f32::INFINITY,
            far: 0.0,
            frr: 1.0,
        }];
        let _ = self.walk(&vec![1; classes as usize + 1], |point| curve.push(point));
        curve
    }

    /// Equal scores are accepted together.
    fn walk(&self, drawn: &[u32], mut see: impl FnMut(Point)) -> Option<()> {
        let (mut genuine, mut impostor) = (0.0, 0.0);
        for scored in &self.0 {
            let total = if scored.genuine {
                &mut genuine
            } else {
                &mut impostor
            };
            *total += scored.weight(drawn);
        }
        if genuine <= 0.0 || impostor <= 0.0 {
            return None;
        }
        let (mut right, mut wrong) = (0.0, 0.0);
        for same in self.0.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq()) {
            for scored in same {
                let accepted = if scored.genuine {
                    &mut right
                } else {
                    &mut wrong
                };
                *accepted += scored.weight(drawn);
            }
            see(Point {
                threshold: same[0].score,
                far: wrong / impostor,
                frr: 1.0 - right / genuine,
            });
        }
        Some(())
    }
}

/// Where FAR and FRR meet between two points.
fn crossing(before: &Point, after: &Point) -> f64 {
    let (above, below) = (before.frr - before.far, after.far - after.frr);
    let share = if above + below > 0.0 {
        above / (above + below)
    } else {
        0.0
    };
    before.far + share * (after.far - before.far)
}

/// The first point whose FAR is no less than its FRR: the operating point of equal errors.
#[must_use]
pub fn equal_errors(curve: &[Point]) -> Option<&Point> {
    curve.iter().find(|p| p.far >= p.frr)
}

/// The point of the lowest threshold that keeps a FAR.
#[must_use]
pub fn at_far(curve: &[Point], far: f64) -> Option<&Point> {
    curve.iter().take_while(|p| p.far <= far).last()
}

/// Few enough points to draw, each still one of the curve: those that the last one kept is a
/// step away from, on straight or on normal-deviate axes, and both ends.
#[must_use]
pub fn thinned(curve: &[Point]) -> Vec<Point> {
    let far_apart = |a: &Point, b: &Point| {
        let straight = (a.far - b.far).abs() + (a.frr - b.frr).abs();
        let deviates = |x: f64, y: f64| (deviate(x) - deviate(y)).abs();
        straight > 0.004 || deviates(a.far, b.far) + deviates(a.frr, b.frr) > 0.02
    };
    let mut kept: Vec<Point> = Vec::new();
    for (nth, point) in curve.iter().enumerate() {
        let ends = nth == 0 || nth + 1 == curve.len();
        if ends || kept.last().is_some_and(|last| far_apart(last, point)) {
            kept.push(*point);
        }
    }
    kept
}

/// The normal deviate of a share, the axis of DET curves (Martin et al. 1997), held within
/// ±4.3, a share of one in 100,000: the quantile by Wichura's PPND7 (1988, AS 241).
#[must_use]
pub fn deviate(share: f64) -> f64 {
    let p = share.clamp(1e-5, 1.0 - 1e-5);
    let q = p - 0.5;
    let over = |r: f64, above: [f64; 4], below: [f64; 4]| {
        let at = |[a, b, c, d]: [f64; 4]| ((d * r + c) * r + b) * r + a;
        at(above) / at(below)
    };
    if q.abs() <= 0.425 {
        let above = [
            3.387_132_717_9,
            50.434_271_938,
            159.291_132_02,
            59.109_374_72,
        ];
        let below = [1.0, 17.895_169_469, 78.757_757_664, 67.187_563_6];
        return q * over(0.180_625 - q * q, above, below);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt() - 1.6;
    let above = [
        1.423_437_277_7,
        2.756_815_39,
        1.306_728_481_6,
        0.170_238_211_03,
    ];
    let below = [1.0, 0.737_001_642_5, 0.120_211_329_75, 0.0];
    over(r, above, below).copysign(q)
}

#[cfg(test)]
mod tests {
    use super::super::pairs::Place;
    use super::*;
    use crate::training::random::Random;

    /// Pairs of the scores: the genuine ones of class 0 and 1 in turn.
    fn ranked(genuine: &[f32], impostor: &[f32]) -> Ranked {
        let pair = |a, b| [Place::new(a, 0), Place::new(b, 1)];
        let pairs = Pairs {
            genuine: (0..genuine.len()).map(|n| pair(n % 2, n % 2)).collect(),
            impostor: impostor.iter().map(|_| pair(0, 1)).collect(),
        };
        let scores = Scores {
            genuine: genuine.to_vec(),
            impostor: impostor.to_vec(),
        };
        Ranked::new(&pairs, &scores)
    }

    fn count(n: usize) -> f64 {
        f64::from(u32::try_from(n).unwrap())
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn figures_by_hand() {
        let apart = ranked(&[0.9, 0.8], &[0.1, 0.2]).figures(&[1, 1]).unwrap();
        assert!(near(apart[0], 1.0) && apart[1..].iter().all(|v| near(*v, 0.0)));
        let tied = ranked(&[0.5; 4], &[0.5; 4]).figures(&[1, 1]).unwrap();
        assert!(near(tied[0], 0.5) && near(tied[1], 0.5));
        // One of four genuine pairs is below one of four impostor pairs.
        let mixed = ranked(&[0.9, 0.8, 0.7, 0.3], &[0.4, 0.2, 0.1, 0.0]);
        let figures = mixed.figures(&[1, 1]).unwrap();
        assert!(near(figures[0], 15.0 / 16.0) && near(figures[1], 0.25));
        assert!(near(figures[3], 0.25), "{figures:?}");
        assert_eq!(mixed.figures(&[2, 0]), None, "no impostor pair was drawn");
    }

    #[test]
    fn curves_match_counts_and_weights_match_copies() {
        let mut random = Random::new(5, 0);
        let mut some = |n: usize, shift: f32| -> Vec<f32> {
            let coarse = |v: f32| (v * 20.0).round() / 20.0;
            (0..n).map(|_| coarse(random.normal() + shift)).collect()
        };
        let (genuine, impostor) = (some(300, 1.0), some(200, 0.0));
        let all = ranked(&genuine, &impostor);
        let curve = all.curve();
        assert!(
            curve
                .windows(2)
                .all(|w| w[0].far <= w[1].far && w[0].frr >= w[1].frr)
        );
        for point in &curve {
            let share = |scores: &[f32]| {
                let accepted = scores.iter().filter(|s| **s >= point.threshold).count();
                count(accepted) / count(scores.len())
            };
            assert!(near(point.far, share(&impostor)));
            assert!(near(point.frr, 1.0 - share(&genuine)));
        }
        let wins = |(g, i): (&f32, &f32)| match g.partial_cmp(i).unwrap() {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        };
        let won = genuine
            .iter()
            .flat_map(|g| impostor.iter().map(move |i| wins((g, i))));
        let auc = won.sum::<f64>() / (300.0 * 200.0);
        assert!((all.figures(&[1, 1]).unwrap()[0] - auc).abs() < 1e-9);
        // Class 0 three times is each of its genuine pairs three times, class 1 twice.
        let copied = genuine
            .iter()
            .enumerate()
            .flat_map(|(n, s)| vec![*s; 3 - n % 2]);
        let copies: Vec<f32> = copied.collect();
        let copies = ranked(&copies, &impostor).figures(&[1, 1]).unwrap();
        let weighted = all.figures(&[3, 2]).unwrap();
        let pairs = copies.iter().zip(weighted);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-9));
        let thin = thinned(&curve);
        assert!(thin.iter().all(|p| curve.contains(p)) && thin.len() > 20);
        assert_eq!((thin.first(), thin.last()), (curve.first(), curve.last()));
    }

    #[test]
    fn deviates_as_in_the_tables() {
        for (share, z) in [
            (0.5, 0.0),
            (0.975, 1.959_964),
            (0.001, -3.090_232),
            (0.1, -1.281_552),
        ] {
            assert!((deviate(share) - z).abs() < 1e-5, "{share}");
        }
        assert!((deviate(0.0) + 4.264_891).abs() < 1e-4);
    }
}
