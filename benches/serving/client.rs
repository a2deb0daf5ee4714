//! Connections, and what is asked over them.

use crate::set::{K, uniform};
use prost_types::value::Kind;
use std::collections::BTreeMap;
use tonic::transport::Channel;
use twindex::grpc::pb;
use twindex::grpc::pb::collection_service_client::CollectionServiceClient;
use twindex::grpc::pb::item_service_client::ItemServiceClient;
use twindex::grpc::pb::search_service_client::SearchServiceClient;

pub(crate) const COLLECTION: &str = "bench";
/// The payload field that filters ask for.
pub(crate) const FIELD: &str = "u";

/// A connection.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) collections: CollectionServiceClient<Channel>,
    pub(crate) items: ItemServiceClient<Channel>,
    pub(crate) searches: SearchServiceClient<Channel>,
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        let endpoint = Channel::from_shared(url.to_owned()).unwrap();
        let channel = endpoint.tcp_nodelay(true).connect().await.unwrap();
        Self {
            collections: CollectionServiceClient::new(channel.clone()),
            items: ItemServiceClient::new(channel.clone()),
            searches: SearchServiceClient::new(channel),
        }
    }

    /// The rows nearest to a vector, and what the server tells of its time.
    pub(crate) async fn search(&mut self, request: pb::SearchRequest) -> (Vec<u64>, Told) {
        let answer = self.searches.search(request).await.unwrap();
        let told = answer.metadata().get("server-timing");
        let told = told.map_or_else(Told::default, |told| Told::parse(told.to_str().unwrap()));
        let hits = answer.into_inner().hits.into_iter();
        (hits.map(|hit| hit.id.parse().unwrap()).collect(), told)
    }
}

/// How long the server says that it took, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    pub(crate) index: f64,
    pub(crate) total: f64,
}

impl Told {
    fn parse(told: &str) -> Self {
        let of = |name: &str| {
            let mut parts = told.split(", ").filter_map(|part| part.split_once(";dur="));
            let found = parts.find(|(n, _)| *n == name);
            found.map_or(0.0, |(_, dur)| dur.parse().unwrap())
        };
        Self {
            index: of("index"),
            total: of("total"),
        }
    }

    pub(crate) fn outside(self) -> f64 {
        self.total - self.index
    }
}

fn vector(values: &[f32]) -> pb::Vector {
    pb::Vector {
        values: values.to_vec(),
        ..Default::default()
    }
}

/// The nearest rows, or those of which the field is less than something.
pub(crate) fn search(values: &[f32], below: Option<f64>) -> pb::SearchRequest {
    let filter = below.map(|below| {
        let range = pb::RangeFilter {
            field: FIELD.into(),
            lt: Some(below),
            ..Default::default()
        };
        let condition = Some(pb::filter::Condition::Range(range));
        pb::Filter { condition }
    });
    pb::SearchRequest {
        collection: COLLECTION.into(),
        probe: Some(pb::Probe {
            content: Some(pb::probe::Content::Vector(vector(values))),
            ..Default::default()
        }),
        k: K as u32,
        filter,
        ..Default::default()
    }
}

/// A row as an item: its id is its number.
pub(crate) fn item(row: u64, values: &[f32]) -> pb::Item {
    let u = prost_types::Value {
        kind: Some(Kind::NumberValue(uniform(row))),
    };
    pb::Item {
        id: row.to_string(),
        payload: Some(prost_types::Struct {
            fields: BTreeMap::from([(FIELD.into(), u)]),
        }),
        content: Some(pb::item::Content::Vector(vector(values))),
        ..Default::default()
    }
}

/// A vector near another one, a different one for each number.
pub(crate) fn moved(values: &[f32], number: u64) -> Vec<f32> {
    let places = number.wrapping_mul(1 << 16)..;
    let each = values.iter().zip(places);
    each.map(|(x, place)| x * (0.9 + 0.2 * uniform(place) as f32))
        .collect()
}
