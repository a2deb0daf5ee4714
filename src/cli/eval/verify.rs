//! `twindex eval verify`: same or different.

use super::data::{Data, PAIRS};
use super::figures::{Found, figure, percent, plain};
use super::{Measured, Setting, Shared, curves};
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::report::{Gallery, Section, Table};
use crate::training::evaluate::pairs::{Pairs, Scores, Task};
use crate::training::evaluate::stats::Figure;
use crate::training::evaluate::verify::{self, AtFar, Verification, Worst};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Options of `eval verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of images, …/LABEL/image.png at any depth
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Pairs, half of them genuine, 2 to 10 million
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pairs: usize,
    /// Impostor pairs within one parent folder (one alphabet)
    #[arg(long)]
    within_parent: bool,
    /// Folder to write roc.svg, det.svg, scores.svg and curves.json to
    #[arg(long, value_name = "DIR")]
    curves: Option<PathBuf>,
    #[command(flatten)]
    pub shared: Shared,
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, or parameters that do not fit them.
pub fn run(args: &Args, setting: &Setting) -> Result<Measured, CliError> {
    let data = Data::open(setting, &args.data)?;
    let task = Task {
        pairs: args.pairs,
        within_parent: args.within_parent,
        seed: setting.seed,
    };
    let pairs = Pairs::draw(&data.classes, &task)?;
    let scores = pairs.scores(&data.classes);
    let bar = Bar::new(setting.out, "resampling", verify::resamples(&pairs));
    let resampled = |n| bar.add(n);
    let all = verify::measure(
        &pairs,
        &scores,
        data.classes.len(),
        setting.seed,
        &resampled,
    );
    bar.finish();
    let mut found = figures(&all);
    found.member("pairs", args.pairs);
    found.row("pairs", args.pairs.to_string());
    let charts = curves::charts(&all, &scores);
    if let Some(dir) = &args.curves {
        curves::write(dir, &charts, &all, &scores)?;
    }
    found.sections.push(operating_points(&all));
    found
        .sections
        .extend(charts.into_iter().map(Section::Chart));
    found.sections.push(curves::table(&all));
    found.sections.extend(errors(&data, &pairs, &scores, &all));
    data.describe(&args.data, &mut found)?;
    Ok(Measured {
        found,
        files: data.files(),
    })
}

fn figures(all: &Verification) -> Found {
    let mut found = Found::default();
    for (name, figure) in [("auc", &all.auc), ("eer", &all.eer)] {
        found.member(name, figure.value);
        found.member(&format!("{name}_ci95"), json!(figure.ci95));
    }
    let by_far = |of: &dyn Fn(&AtFar) -> Value| {
        let each = all.at_far.iter().map(|at| (at.far.to_string(), of(at)));
        Value::Object(each.collect::<Map<_, _>>())
    };
    found.member("eer_threshold", json!(all.threshold));
    found.member("frr_at_far", by_far(&|at| json!(at.frr.value)));
    found.member("frr_at_far_ci95", by_far(&|at| json!(at.frr.ci95)));
    found.member("threshold_at_far", by_far(&|at| json!(at.threshold)));
    found.member("interval", "bootstrap over classes");
    found.member("resamples", all.resamples);
    found.row("ROC AUC", figure(&all.auc, plain));
    found.row("EER", figure(&all.eer, percent));
    for at in &all.at_far {
        found.row(
            format!("FRR at FAR {} %", 100.0 * at.far),
            figure(&at.frr, percent),
        );
    }
    found
}

fn operating_points(all: &Verification) -> Section {
    let row = |name: String, threshold: f32, frr: &Figure| {
        vec![name, format!("{threshold:.4}"), figure(frr, percent)]
    };
    let far = |at: &AtFar| row(format!("FAR {} %", 100.0 * at.far), at.threshold, &at.frr);
    let mut rows: Vec<_> = all.at_far.iter().map(far).collect();
    rows.push(row("FAR = FRR".into(), all.threshold, &all.eer));
    Section::Table(Table {
        title: "Operating points".into(),
        note: "The lowest similarity that is accepted, and the share of genuine pairs refused."
            .into(),
        header: vec!["at", "threshold", "FRR"],
        rows,
    })
}

/// The worst pairs, and the classes by their errors at the threshold of equal errors.
fn errors(data: &Data, pairs: &Pairs, scores: &Scores, all: &Verification) -> Vec<Section> {
    let (accepted, refused) = verify::worst(pairs, scores, all.threshold, PAIRS);
    let gallery = |title: &str, note: &str, worst: &[Worst]| {
        let pair = |(places, score): &Worst| data.pair(*places, format!("similarity {score:.4}"));
        Section::Pairs(Gallery {
            title: title.into(),
            note: note.into(),
            pairs: worst.iter().map(pair).collect(),
        })
    };
    let of_class = verify::by_class(pairs, scores, data.classes.len(), all.threshold);
    let mut classes: Vec<_> = (0..).zip(of_class).collect();
    let wrong = |c: &verify::OfClass| c.refused.rate() + c.accepted.rate();
    classes.sort_by(|(a, x), (b, y)| wrong(y).total_cmp(&wrong(x)).then(a.cmp(b)));
    let rows = classes.iter().map(|(class, c)| {
        let of = |rate: &crate::training::evaluate::stats::Rate| {
            let share = percent(rate.rate());
            format!("{share} ({} of {})", rate.errors, rate.trials)
        };
        vec![
            data.label(*class).to_owned(),
            of(&c.refused),
            of(&c.accepted),
        ]
    });
    vec![
        gallery(
            "Worst false accepts",
            "Pairs of two classes that are most alike, above the threshold of equal errors.",
            &accepted,
        ),
        gallery(
            "Worst false rejects",
            "Pairs of one class that are least alike, below the threshold of equal errors.",
            &refused,
        ),
        Section::Table(Table {
            title: "Classes".into(),
            note: "By the sum of both error rates, at the threshold of equal errors.".into(),
            header: vec!["class", "genuine pairs refused", "impostor pairs accepted"],
            rows: rows.collect(),
        }),
    ]
}
