//! `twindex eval calibrate`: whether a calibration keeps its promise on classes held out.

use super::data::Data;
use super::figures::Found;
use super::{Measured, Setting, Shared};
use crate::cli::decide::{self, percent};
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::report::{Section, Table};
use crate::domain::calibration::{Bin, Targets};
use crate::training::evaluate::calibration::{Held, HeldScale, Realised, held_out, repeated};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Options of `eval calibrate`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of images, …/LABEL/image.png at any depth
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Target false accept rate
    #[arg(long, value_name = "RATE", default_value_t = 0.01, value_parser = decide::rate)]
    far: f64,
    /// Target false-positive identification rate; by default the least of 0.01, 0.02, 0.05 and
    /// 0.1 that the labels are enough for
    #[arg(long, value_name = "RATE", value_parser = decide::rate)]
    fpir: Option<f64>,
    /// Also split at random so many times, and count how often the rates lie in their intervals
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u64).range(..=10_000))]
    repetitions: u64,
    #[command(flatten)]
    pub shared: Shared,
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, or too few classes for a target.
pub fn run(args: &Args, setting: &Setting) -> Result<Measured, CliError> {
    let data = Data::open(setting, &args.data)?;
    let targets = Targets {
        far: args.far,
        fpir: args.fpir,
        ..Targets::default()
    };
    let held = held_out(&data.classes, &targets, setting.seed)?;
    let mut found = Found::default();
    split(&held, &mut found);
    if args.repetitions > 0 {
        let bar = Bar::new(setting.out, "splitting", args.repetitions);
        let all = repeated(&data.classes, &targets, args.repetitions, &|n| {
            bar.add(n as u64);
        })?;
        bar.finish();
        repetitions(&all, &mut found);
    }
    data.describe(&args.data, &mut found)?;
    Ok(Measured {
        found,
        files: data.files(),
    })
}

fn split(held: &Held, found: &mut Found) {
    let halves = [
        ("learnt on", "learnt_on", held.learnt),
        ("judged on", "judged_on", held.judged),
    ];
    for (name, member, (labels, items)) in halves {
        found.row(name, format!("{labels} labels, {items} items"));
        found.member(member, json!({ "labels": labels, "items": items }));
    }
    for (name, scale) in [("pairs", &held.pairs), ("claims", &held.nearest)] {
        let text = format!("{}, FRR {}", realised(&scale.far), percent(scale.frr));
        found.row(format!("{name}: FAR {}", percent(scale.far.target)), text);
        let text = format!("{:.4}, by {}", scale.ece, scale.curve);
        found.row(format!("{name}: calibration error"), text);
        found.member(name, scale_json(scale));
    }
    for (labels, rate) in &held.open {
        let name = format!("open set, {labels} labels: FPIR {}", percent(rate.target));
        found.row(name, realised(rate));
    }
    let open = held.open.iter().map(|(labels, rate)| {
        let mut object = realised_json(rate);
        object.insert("labels".into(), json!(labels));
        Value::Object(object)
    });
    found.member("open_set", open.collect::<Vec<_>>());
    let row = |bin: &Bin| {
        vec![
            format!("{:.3}", bin.told),
            percent(bin.found),
            percent(bin.weight),
        ]
    };
    let scales = [("pairs", &held.pairs), ("claims", &held.nearest)];
    found.sections = scales
        .into_iter()
        .map(|(name, scale)| {
            Section::Table(Table {
                title: format!("Reliability of {name}"),
                note: "On held-out labels, genuine and impostor weighing the same.".into(),
                header: vec!["probability told", "share genuine", "share of all"],
                rows: scale.bins.iter().map(row).collect(),
            })
        })
        .collect();
}

fn realised(rate: &Realised) -> String {
    let place = if rate.holds() { "inside" } else { "outside" };
    format!(
        "{} on held-out labels, {place} {} to {}",
        percent(rate.found),
        percent(rate.stated.low),
        percent(rate.stated.high)
    )
}

fn realised_json(rate: &Realised) -> Map<String, Value> {
    let value = json!({
        "target": rate.target,
        "threshold": rate.threshold,
        "interval": [rate.stated.low, rate.stated.high],
        "realised": rate.found,
        "inside": rate.holds(),
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn scale_json(scale: &HeldScale) -> Value {
    let bins = scale
        .bins
        .iter()
        .map(|b| json!([b.told, b.found, b.weight]));
    json!({
        "far": realised_json(&scale.far),
        "frr": scale.frr,
        "curve": scale.curve,
        "calibration_error": scale.ece,
        "reliability": bins.collect::<Vec<_>>(),
    })
}

/// How often the rates lay in their intervals, and the largest calibration error.
fn repetitions(all: &[Held], found: &mut Found) {
    let open = |place: usize| {
        let rates = all.iter().filter_map(move |h| h.open.get(place));
        rates.map(|(_, rate)| rate.holds()).collect::<Vec<_>>()
    };
    let counts: [(&str, Vec<bool>); 4] = [
        (
            "pairs_far",
            all.iter().map(|h| h.pairs.far.holds()).collect(),
        ),
        (
            "claims_far",
            all.iter().map(|h| h.nearest.far.holds()).collect(),
        ),
        ("fpir_small_gallery", open(0)),
        ("fpir_ten_times_larger", open(2)),
    ];
    let mut told = Map::new();
    for (name, inside) in counts {
        let (of, inside) = (inside.len(), inside.iter().filter(|i| **i).count());
        found.row(
            name.replace('_', " "),
            format!("{inside} of {of} splits inside"),
        );
        told.insert(name.to_owned(), json!({ "inside": inside, "of": of }));
    }
    let most = |of: fn(&Held) -> f64| all.iter().map(of).fold(0.0, f64::max);
    let errors = [most(|h| h.pairs.ece), most(|h| h.nearest.ece)];
    let text = format!("pairs {:.4}, claims {:.4}", errors[0], errors[1]);
    found.row("largest calibration error", text);
    told.insert("largest_calibration_error".into(), json!(errors));
    found.member("repetitions", Value::Object(told));
}
