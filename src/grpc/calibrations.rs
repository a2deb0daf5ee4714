//! `CalibrationService`.

use super::convert;
use super::pb::{self, calibration_service_server::CalibrationService};
use crate::domain::CollectionName;
use crate::domain::calibration::{Calibration, Curve, Scale, Targets};
use crate::engine::{Calibrate, Engine, OperatingPoint};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Debug)]
pub(super) struct Calibrations(pub(super) Arc<Engine>);

fn scale(scale: &Scale) -> pb::CalibratedScale {
    let curve = match scale.chosen.curve {
        Curve::Platt(_) => pb::CalibrationCurve::Platt,
        Curve::Isotonic(_) => pb::CalibrationCurve::Isotonic,
    };
    let points = scale.points.iter().copied().map(OperatingPoint::from);
    let [platt_loss, isotonic_loss] = scale.chosen.losses;
    pb::CalibratedScale {
        curve: curve.into(),
        platt_loss,
        isotonic_loss,
        calibration_error: scale.chosen.ece,
        genuine: scale.genuine,
        impostor: scale.impostor,
        points: points.map(convert::operating_point).collect(),
    }
}

impl Calibrations {
    fn to_message(
        &self,
        name: &CollectionName,
        kept: &Calibration,
        valid: bool,
    ) -> Result<pb::Calibration, Status> {
        let point = |scale: &Scale| {
            let point = scale.at("far", kept.far).ok().map(OperatingPoint::from);
            point.map(convert::operating_point)
        };
        let classify_point = self.0.open_point(name)?;
        let origin = &kept.origin;
        Ok(pb::Calibration {
            model_version: origin.model.clone().unwrap_or_default(),
            valid,
            create_time: Some(convert::time(origin.created_ms)),
            labels: origin.labels,
            items: origin.items,
            fingerprint: origin.fingerprint.clone(),
            seed: origin.seed,
            source_collection: origin.source.clone().unwrap_or_default(),
            far: kept.far,
            fpir: kept.fpir.unwrap_or(0.0),
            prior: kept.prior,
            pairs: Some(scale(&kept.pairs)),
            nearest: Some(scale(&kept.nearest)),
            prototype: Some(scale(&kept.prototype)),
            verify_point: point(&kept.nearest),
            compare_point: point(&kept.pairs),
            classify_point: classify_point.map(convert::operating_point),
        })
    }
}

#[tonic::async_trait]
impl CalibrationService for Calibrations {
    async fn calibrate_collection(
        &self,
        request: Request<pb::CalibrateCollectionRequest>,
    ) -> Result<Response<pb::CalibrateCollectionResponse>, Status> {
        let request = request.into_inner();
        let name = convert::collection(request.collection)?;
        let source = (!request.source_collection.is_empty()).then_some(request.source_collection);
        let defaults = Targets::default();
        let calibrate = Calibrate {
            targets: Targets {
                far: request.far.unwrap_or(defaults.far),
                fpir: request.fpir,
                prior: request.prior.unwrap_or(defaults.prior),
            },
            source: source.map(convert::collection).transpose()?,
            seed: request.seed,
        };
        let kept = self.0.calibrate(&name, calibrate, &request.request_id);
        let kept = self.to_message(&name, &kept.await?, true)?;
        Ok(Response::new(pb::CalibrateCollectionResponse {
            calibration: Some(kept),
        }))
    }

    async fn get_calibration(
        &self,
        request: Request<pb::GetCalibrationRequest>,
    ) -> Result<Response<pb::GetCalibrationResponse>, Status> {
        let name = convert::collection(request.into_inner().collection)?;
        let (kept, valid) = self.0.calibration(&name)?;
        Ok(Response::new(pb::GetCalibrationResponse {
            calibration: Some(self.to_message(&name, &kept, valid)?),
        }))
    }

    async fn delete_calibration(
        &self,
        request: Request<pb::DeleteCalibrationRequest>,
    ) -> Result<Response<pb::DeleteCalibrationResponse>, Status> {
        let request = request.into_inner();
        let name = convert::collection(request.collection)?;
        self.0
            .delete_calibration(&name, &request.request_id)
            .await?;
        Ok(Response::new(pb::DeleteCalibrationResponse {}))
    }
}
