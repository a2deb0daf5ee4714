//! ROC and DET curves and score histograms, as charts and as JSON.

use super::figures::percent;
use crate::cli::error::CliError;
use crate::cli::report::{Axis, Chart, Section, Series, Table, write as write_file};
use crate::training::evaluate::pairs::Scores;
use crate::training::evaluate::roc::{Point, deviate, thinned};
use crate::training::evaluate::verify::Verification;
use serde_json::{Value, json};
use std::path::Path;

/// Bars of a histogram, over -1 to 1.
const BARS: usize = 80;
/// Shares on the axes of a DET curve, in percent.
const SHARES: [f64; 9] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0];

/// ROC, DET and histograms.
pub fn charts(found: &Verification, scores: &Scores) -> Vec<Chart> {
    let curve = thinned(&found.curve);
    vec![roc(&curve), det(&curve), histogram(scores)]
}

fn ticks(values: &[f64]) -> Vec<(f64, String)> {
    values.iter().map(|v| (*v, v.to_string())).collect()
}

fn roc(curve: &[Point]) -> Chart {
    let axis = |label: &str| Axis {
        label: label.into(),
        from: 0.0,
        to: 1.0,
        ticks: ticks(&[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    };
    Chart {
        title: "ROC curve".into(),
        name: "roc",
        x: axis("impostor pairs accepted (FAR)"),
        y: axis("genuine pairs accepted (1 - FRR)"),
        series: vec![
            Series {
                points: curve.iter().map(|p| (p.far, 1.0 - p.frr)).collect(),
                ..Series::default()
            },
            Series {
                points: vec![(0.0, 0.0), (1.0, 1.0)],
                faint: true,
                ..Series::default()
            },
        ],
    }
}

/// On normal-deviate axes (Martin et al. 1997) scores of two normal distributions make a
/// straight line, and what is near an error of 0 is not squeezed into a corner.
fn det(curve: &[Point]) -> Chart {
    let axis = |label: &str| Axis {
        label: label.into(),
        from: deviate(0.0005),
        to: deviate(0.5),
        ticks: SHARES
            .iter()
            .map(|s| (deviate(s / 100.0), s.to_string()))
            .collect(),
    };
    // Beyond the axes nothing is known: a line there would run along the frame.
    let inside = |p: &&Point| (0.0005..=0.5).contains(&p.far) && (0.0005..=0.5).contains(&p.frr);
    let inside = curve.iter().filter(inside);
    Chart {
        title: "DET curve".into(),
        name: "det",
        x: axis("FAR, %, by normal deviate"),
        y: axis("FRR, %, by normal deviate"),
        series: vec![
            Series {
                points: inside.map(|p| (deviate(p.far), deviate(p.frr))).collect(),
                ..Series::default()
            },
            Series {
                points: vec![(-4.0, -4.0), (0.0, 0.0)],
                faint: true,
                ..Series::default()
            },
        ],
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "clamped to few bars"
)]
fn counts(scores: &[f32]) -> Vec<u64> {
    let mut counts = vec![0; BARS];
    for score in scores {
        let bar = f64::midpoint(f64::from(*score), 1.0) * BARS as f64;
        counts[(bar.max(0.0) as usize).min(BARS - 1)] += 1;
    }
    counts
}

/// The similarity at which a bar begins.
#[expect(clippy::cast_precision_loss, reason = "few bars")]
fn edge(bar: usize) -> f64 {
    2.0 * bar as f64 / BARS as f64 - 1.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of pairs")]
fn histogram(scores: &Scores) -> Chart {
    let series = |name: &str, scores: &[f32]| {
        let of = scores.len().max(1) as f64;
        let steps = counts(scores)
            .into_iter()
            .enumerate()
            .flat_map(|(bar, count)| {
                let share = 100.0 * count as f64 / of;
                [(edge(bar), share), (edge(bar + 1), share)]
            });
        Series {
            name: name.into(),
            points: steps.collect(),
            filled: true,
            faint: false,
        }
    };
    let series = vec![
        series("genuine pairs", &scores.genuine),
        series("impostor pairs", &scores.impostor),
    ];
    let highest = series
        .iter()
        .flat_map(|s| &s.points)
        .fold(1.0_f64, |m, p| m.max(p.1));
    let top = (highest / 5.0).ceil() * 5.0;
    Chart {
        title: "Scores".into(),
        name: "scores",
        x: Axis {
            label: "similarity".into(),
            from: -1.0,
            to: 1.0,
            ticks: ticks(&[-1.0, -0.5, 0.0, 0.5, 1.0]),
        },
        y: Axis {
            label: "share of the pairs, %".into(),
            from: 0.0,
            to: top,
            ticks: ticks(&[0.0, top / 2.0, top]),
        },
        series,
    }
}

/// FAR and FRR over thresholds.
pub fn table(found: &Verification) -> Section {
    let rows = (0..=20_u8).rev().map(|step| {
        let threshold = f32::from(step) / 20.0;
        // The strictest point that accepts no less than the threshold says.
        let at = found
            .curve
            .iter()
            .take_while(|p| p.threshold >= threshold)
            .last();
        let (far, frr) = at.map_or((0.0, 1.0), |p| (p.far, p.frr));
        vec![format!("{threshold:.2}"), percent(far), percent(frr)]
    });
    Section::Table(Table {
        title: "FAR and FRR by threshold".into(),
        note: "A pair is accepted if its similarity is at least the threshold.".into(),
        header: vec!["threshold", "FAR", "FRR"],
        rows: rows.collect(),
    })
}

/// Writes the charts and their numbers.
///
/// # Errors
/// The folder cannot be made, or a file not be written.
pub fn write(
    dir: &Path,
    charts: &[Chart],
    found: &Verification,
    scores: &Scores,
) -> Result<(), CliError> {
    let failed = |e| CliError::failed(format!("making {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    for chart in charts {
        let file = dir.join(format!("{}.svg", chart.name));
        write_file(&file, chart.file().as_bytes())?;
    }
    // Where nothing is accepted the threshold is infinite, which JSON writes as null.
    let point = |p: &Point| json!({ "threshold": p.threshold, "far": p.far, "frr": p.frr });
    let points: Value = thinned(&found.curve).iter().map(point).collect();
    let edges: Vec<f64> = (0..=BARS).map(edge).collect();
    let numbers = json!({
        "points": points,
        "auc": found.auc.value,
        "eer": found.eer.value,
        "scores": {
            "edges": edges,
            "genuine": counts(&scores.genuine),
            "impostor": counts(&scores.impostor),
        },
    });
    write_file(
        &dir.join("curves.json"),
        format!("{numbers:#}\n").as_bytes(),
    )
}
