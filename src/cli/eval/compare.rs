//! `twindex eval compare`: two encoders on the same trials.

use super::data::{embedded, files};
use super::figures::{Found, percent, plain};
use super::{Measured, Setting, Shared};
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::report::{Section, Table};
use crate::cli::serve;
use crate::encoder::Encoder;
use crate::training::dataset::Folder;
use crate::training::evaluate::compare::{self, Difference};
use crate::training::evaluate::{EvalError, bootstrap, fingerprint, nway, pairs};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of `eval compare`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The one encoder: a weights file, or `bundled`
    a: String,
    /// The other
    b: String,
    /// Folder of images, …/LABEL/image.png at any depth
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Classes of a trial
    #[arg(long, value_name = "N", default_value_t = 20)]
    ways: usize,
    /// Examples of each class
    #[arg(long, value_name = "K", default_value_t = 1)]
    shots: usize,
    /// Trials
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    trials: u64,
    /// Pairs to verify, half of them genuine, 2 to 10 million
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pairs: usize,
    /// Trials and impostor pairs within one parent folder (one alphabet)
    #[arg(long)]
    within_parent: bool,
    #[command(flatten)]
    pub shared: Shared,
}

/// Loads an encoder.
///
/// # Errors
/// It cannot be read.
pub fn encoder(name: &str) -> Result<Arc<Encoder>, CliError> {
    match name {
        "bundled" => serve::encoder(None),
        file => Encoder::load(Path::new(file))
            .map(Arc::new)
            .map_err(|e| CliError::invalid(format!("{file}: {e}"))),
    }
}

impl Args {
    /// Both encoders.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn encoders(&self) -> Result<[Arc<Encoder>; 2], CliError> {
        Ok([encoder(&self.a)?, encoder(&self.b)?])
    }
}

/// Runs the command: A is the setting's encoder.
///
/// # Errors
/// Data that cannot be read, or parameters that do not fit them.
pub fn run(args: &Args, other: &Encoder, setting: &Setting) -> Result<Measured, CliError> {
    let task = nway::Task {
        ways: args.ways,
        shots: args.shots,
        trials: args.trials,
        within_parent: args.within_parent,
        seed: setting.seed,
    };
    task.check()?;
    let folder = Folder::open_whole(&args.data).map_err(EvalError::from)?;
    let a = embedded(setting, setting.encoder, &folder)?;
    let b = embedded(setting, other, &folder)?;
    let trials = compare::nway(&a, &b, &task)?;
    let task = pairs::Task {
        pairs: args.pairs,
        within_parent: args.within_parent,
        seed: setting.seed,
    };
    let bar = Bar::new(setting.out, "resampling", bootstrap::RESAMPLES);
    let [auc, eer] = compare::verification(&a, &b, &task, &|n| bar.add(n))?;
    bar.finish();

    let name = format!("{}-way {}-shot error", args.ways, args.shots);
    let mcnemar = "McNemar, mid-p; these classes";
    let over_classes = "bootstrap over classes";
    let told = [
        Told::error(name.clone(), mcnemar, trials.trials),
        Told::error(name, over_classes, trials.classes),
        Told::error("EER".into(), over_classes, eer),
        Told {
            name: "AUC".into(),
            test: over_classes,
            difference: auc,
            share: false,
        },
    ];
    let mut found = Found::default();
    found.row("A", format!("{} ({})", args.a, setting.encoder.version()));
    found.row("B", format!("{} ({})", args.b, other.version()));
    for one in &told {
        found.row(&one.name, one.words());
    }
    let model = |file: &str, encoder: &Encoder| json!({ "file": file, "model": encoder.version() });
    found.member("a", model(&args.a, setting.encoder));
    found.member("b", model(&args.b, other));
    found.member("trials", trials.discordant.trials);
    found.member("wrong_by_a_alone", trials.discordant.only_a);
    found.member("wrong_by_b_alone", trials.discordant.only_b);
    found.member("pairs", args.pairs);
    let hash = fingerprint(&folder)?;
    let data = json!({
        "path": args.data.display().to_string(), "classes": a.len(),
        "images": folder.labelled(), "fingerprint": hash,
    });
    found.row("data", format!("{}: {}", args.data.display(), hash));
    found.member("data", data);
    found.member(
        "differences",
        told.iter().map(Told::json).collect::<Value>(),
    );
    found.sections.push(table(&told));
    Ok(Measured {
        found,
        files: files(&folder),
    })
}

/// A difference with its name and its test.
struct Told {
    name: String,
    test: &'static str,
    difference: Difference,
    /// Whether it is a share of errors.
    share: bool,
}

impl Told {
    fn error(name: String, test: &'static str, difference: Difference) -> Self {
        Self {
            name,
            test,
            difference,
            share: true,
        }
    }

    fn json(&self) -> Value {
        let d = &self.difference;
        json!({
            "figure": self.name, "test": self.test, "a": d.a, "b": d.b, "difference": d.value(),
            "ci95": d.ci95, "p": d.p, "real": d.is_real(),
        })
    }

    fn words(&self) -> String {
        let d = &self.difference;
        let points = |v: f64| {
            if self.share {
                format!("{:.2} points", 100.0 * v)
            } else {
                plain(v)
            }
        };
        let shown = if self.share { percent } else { plain };
        let both = format!("A {}, B {}", shown(d.a), shown(d.b));
        let (Some((low, high)), Some(p)) = (d.ci95, d.p) else {
            return format!("{both}: too few classes for a test ({})", self.test);
        };
        let p = if p < 0.001 {
            "p < 0.001".to_owned()
        } else {
            format!("p = {p:.3}")
        };
        if !d.is_real() {
            let (low, high) = (points(low), points(high));
            return format!(
                "{both}: no difference shown (B less A 95 % within {low} to {high}, {p}; {})",
                self.test
            );
        }
        let verb = match (self.share, d.value() < 0.0) {
            (true, true) => "B errs less",
            (true, false) => "B errs more",
            (false, true) => "B is lower",
            (false, false) => "B is higher",
        };
        let ends = [low.abs(), high.abs()];
        let (least, most) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        let (by, least, most) = (points(d.value().abs()), points(least), points(most));
        let across = low < 0.0 && high > 0.0;
        let interval = if across {
            format!("at most {most}")
        } else {
            format!("{least} to {most}")
        };
        format!(
            "{both}: {verb}, by {by} (95 %: {interval}), {p}: real ({})",
            self.test
        )
    }
}

fn table(told: &[Told]) -> Section {
    let row = |one: &Told| vec![one.name.clone(), one.words()];
    Section::Table(Table {
        title: "Differences".into(),
        note: "Both encoders saw the same trials and pairs. A difference is called real where \
               p < 0.05: McNemar's test speaks of other trials of these classes, the bootstrap \
               of other classes of this kind."
            .into(),
        header: vec!["figure", "difference"],
        rows: told.iter().map(row).collect(),
    })
}
