//! `twindex calibrate`: thresholds and probabilities from a collection's own labels.

use super::client::{Client, ServerArgs};
use super::decide::{self, point, point_json};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use serde_json::{Value, json};

/// Options of `calibrate`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection: 10 labels of two examples or more
    collection: String,
    /// Target false accept rate of compare and verify, like 0.01
    #[arg(long, value_name = "RATE", value_parser = decide::rate)]
    far: Option<f64>,
    /// Target false-positive identification rate of classify; by default the least of 0.01, 0.02,
    /// 0.05 and 0.1 that the labels are enough for
    #[arg(long, value_name = "RATE", value_parser = decide::rate)]
    fpir: Option<f64>,
    /// Share of genuine comparisons beforehand; by default 0.5
    #[arg(long, value_name = "P", value_parser = decide::rate)]
    prior: Option<f64>,
    /// Compare the labels of this collection instead, of the same model and metric
    #[arg(long, value_name = "COLLECTION")]
    from: Option<String>,
    /// Seed of what is drawn at random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only show the calibration there is
    #[arg(long, conflicts_with_all = ["reset", "far", "fpir", "prior", "from"])]
    show: bool,
    /// Forget the calibration there is
    #[arg(long, conflicts_with_all = ["far", "fpir", "prior", "from"])]
    reset: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.calibrations;
    let collection = args.collection;
    if args.reset {
        let request = pb::DeleteCalibrationRequest {
            collection: collection.clone(),
            request_id: String::new(),
        };
        client.delete_calibration(request).await?;
        if out.is_json() {
            return out.json(&json!({ "reset": collection }));
        }
        return out.line(&format!("forgot the calibration of {collection}"));
    }
    let found = if args.show {
        let request = pb::GetCalibrationRequest { collection };
        client
            .get_calibration(request)
            .await?
            .into_inner()
            .calibration
    } else {
        let request = pb::CalibrateCollectionRequest {
            collection,
            far: args.far,
            fpir: args.fpir,
            prior: args.prior,
            source_collection: args.from.unwrap_or_default(),
            seed: args.seed,
            request_id: String::new(),
        };
        let answer = client.calibrate_collection(request).await?.into_inner();
        answer.calibration
    };
    let found = found.unwrap_or_default();
    if out.is_json() {
        return out.json(&to_json(&found));
    }
    table(&found, out)
}

fn curve(scale: &pb::CalibratedScale) -> &'static str {
    match scale.curve() {
        pb::CalibrationCurve::Platt => "platt",
        pb::CalibrationCurve::Isotonic => "isotonic",
        pb::CalibrationCurve::Unspecified => "unknown",
    }
}

fn table(found: &pb::Calibration, out: &Output) -> Result<(), CliError> {
    let row = |name: &str, text: String| vec![name.to_owned(), text];
    let at = |p: Option<&pb::OperatingPoint>| {
        p.map_or_else(|| "no threshold: too few labels".to_owned(), point)
    };
    let mut rows = vec![
        row("compare", at(found.compare_point.as_ref())),
        row("verify", at(found.verify_point.as_ref())),
        row("classify", at(found.classify_point.as_ref())),
    ];
    for (name, scale) in [("pairs", &found.pairs), ("claims", &found.nearest)] {
        let Some(scale) = scale else { continue };
        let text = format!(
            "{}; on held-out labels log loss {:.4}, calibration error {:.4}; {} genuine, {} impostor",
            curve(scale),
            scale.platt_loss.min(scale.isotonic_loss),
            scale.calibration_error,
            scale.genuine,
            scale.impostor
        );
        rows.push(row(name, text));
    }
    let from = format!(
        "{} labels, {} items, seed {}",
        found.labels, found.items, found.seed
    );
    rows.push(row("from", from));
    if !found.valid {
        let void = format!(
            "void: it is of the model {}; calibrate again",
            found.model_version
        );
        rows.push(row("state", void));
    }
    out.table(&["", ""], &rows)
}

fn scale_json(scale: Option<&pb::CalibratedScale>) -> Value {
    let Some(s) = scale else { return Value::Null };
    let points = s.points.iter().map(|p| point_json(Some(p)));
    json!({
        "curve": curve(s),
        "platt_loss": s.platt_loss,
        "isotonic_loss": s.isotonic_loss,
        "calibration_error": s.calibration_error,
        "genuine": s.genuine,
        "impostor": s.impostor,
        "points": points.collect::<Vec<_>>(),
    })
}

fn to_json(c: &pb::Calibration) -> Value {
    json!({
        "valid": c.valid,
        "model": c.model_version,
        "labels": c.labels,
        "items": c.items,
        "fingerprint": c.fingerprint,
        "seed": c.seed,
        "source": c.source_collection,
        "far": c.far,
        "fpir": c.fpir,
        "prior": c.prior,
        "compare": point_json(c.compare_point.as_ref()),
        "verify": point_json(c.verify_point.as_ref()),
        "classify": point_json(c.classify_point.as_ref()),
        "pairs": scale_json(c.pairs.as_ref()),
        "nearest": scale_json(c.nearest.as_ref()),
        "prototype": scale_json(c.prototype.as_ref()),
    })
}
