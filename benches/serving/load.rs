//! Connections that ask again as soon as they are answered.

use crate::client::{COLLECTION, Client, Told, item, moved, search};
use crate::figures::{Figures, Spent};
use crate::set::{K, Set, uniform};
use crate::support::Serving;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::Code;
use twindex::grpc::pb;

/// Queries whose answers are compared with those of exact searches.
const COMPARED: usize = 200;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    /// The filters, taken in turns.
    filters: &'static [Option<f64>],
    below: Option<f64>,
    /// The share of upserts, and that of deletes.
    writes: f64,
}

impl Mix {
    /// Searches, each with the same filter.
    pub(crate) fn searches(below: Option<f64>) -> Self {
        Self {
            filters: &[],
            below,
            writes: 0.0,
        }
    }

    /// Searches, half of them with a filter, and for 90 of them 5 upserts and 5 deletes.
    pub(crate) fn with_writes() -> Self {
        Self {
            filters: &[None, Some(0.5), None, Some(0.01)],
            below: None,
            writes: 0.05,
        }
    }

    fn name(&self) -> String {
        match self.below {
            _ if self.writes > 0.0 => "mix".into(),
            None => "search".into(),
            Some(below) => format!("u < {below}"),
        }
    }

    fn op(&self, nth: u64) -> Op {
        let chance = uniform(nth ^ 0x5EED);
        match self.filters {
            _ if chance < self.writes => Op::Upsert,
            _ if chance < 2.0 * self.writes => Op::Delete,
            [] => Op::Search(self.below),
            several => Op::Search(several[nth as usize % several.len()]),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Search(Option<f64>),
    Upsert,
    Delete,
}

/// One that was answered.
struct Done {
    op: Op,
    milliseconds: f64,
    told: Told,
    /// The share of the true nearest that was found, where they are known.
    recall: Option<f64>,
}

/// A server under load.
pub(crate) struct Load<'a> {
    server: &'a Serving,
    set: &'a Arc<Set>,
    time: Duration,
    /// Of the first queries, the true nearest.
    truth: Arc<Vec<Vec<u64>>>,
    next: Arc<AtomicU64>,
}

impl<'a> Load<'a> {
    pub(crate) fn new(server: &'a Serving, set: &'a Arc<Set>, time: Duration) -> Self {
        Self {
            server,
            set,
            time,
            truth: Arc::new(set.truth.clone()),
            next: Arc::default(),
        }
    }

    /// Answers are compared with what the set says, or what exact searches with a filter find.
    pub(crate) async fn compare_with_exact(&mut self, below: Option<f64>) {
        let mut truth = self.set.truth.clone();
        if below.is_some() {
            let mut client = Client::connect(&self.server.url()).await;
            truth.clear();
            for vector in self.set.queries.iter().take(COMPARED) {
                let mut request = search(vector.as_slice(), below);
                request.exact = true;
                truth.push(client.search(request).await.0);
            }
        }
        self.truth = Arc::new(truth);
    }

    /// Asks for a while from some connections, and prints what came of it.
    pub(crate) async fn run(&self, connections: usize, mix: Mix) {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Client::connect(&self.server.url()).await);
        }
        let spent = Spent::since_now(self.server.pid());
        let began = Instant::now();
        let end = began + self.time;
        let asking = clients.into_iter().map(|mut client| {
            let (set, truth) = (Arc::clone(self.set), Arc::clone(&self.truth));
            let next = Arc::clone(&self.next);
            tokio::spawn(async move {
                let mut done = Vec::new();
                while Instant::now() < end {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    done.push(ask(&mut client, &set, &truth, mix.op(nth), nth).await);
                }
                done
            })
        });
        let asking: Vec<_> = asking.collect();
        let mut done = Vec::new();
        for task in asking {
            done.extend(task.await.unwrap());
        }
        let seconds = began.elapsed().as_secs_f64();
        print(connections, mix, &done, seconds, spent.seconds());
    }
}

async fn ask(client: &mut Client, set: &Set, truth: &[Vec<u64>], op: Op, nth: u64) -> Done {
    let row = (uniform(nth) * set.base.len() as f64) as u64 + 1;
    let query = nth as usize % set.queries.len();
    let began;
    let (mut told, mut recall) = (Told::default(), None);
    match op {
        Op::Search(below) => {
            let request = search(set.queries[query].as_slice(), below);
            began = Instant::now();
            let found;
            (found, told) = client.search(request).await;
            assert_eq!(found.len(), K);
            recall = truth.get(query).map(|truth| {
                let right = found.iter().filter(|row| truth.contains(row));
                right.count() as f64 / K as f64
            });
        }
        Op::Upsert => {
            let vector = moved(set.base[row as usize - 1].as_slice(), nth);
            let request = pb::UpsertItemRequest {
                collection: COLLECTION.into(),
                item: Some(item(row, &vector)),
                ..Default::default()
            };
            began = Instant::now();
            client.items.upsert_item(request).await.unwrap();
        }
        Op::Delete => {
            let request = pb::DeleteItemRequest {
                collection: COLLECTION.into(),
                id: row.to_string(),
                ..Default::default()
            };
            began = Instant::now();
            let deleted = client.items.delete_item(request).await;
            assert!(deleted.is_ok_and_code(Code::NotFound));
        }
    }
    Done {
        op,
        milliseconds: began.elapsed().as_secs_f64() * 1e3,
        told,
        recall,
    }
}

trait OrCode {
    fn is_ok_and_code(&self, code: Code) -> bool;
}

impl<T> OrCode for Result<T, tonic::Status> {
    fn is_ok_and_code(&self, code: Code) -> bool {
        self.as_ref().err().is_none_or(|e| e.code() == code)
    }
}

fn print(connections: usize, mix: Mix, done: &[Done], seconds: f64, spent: [f64; 3]) {
    let searches = || done.iter().filter(|d| matches!(d.op, Op::Search(_)));
    let writes = done.iter().filter(|d| !matches!(d.op, Op::Search(_)));
    let took: Figures = searches().map(|d| d.milliseconds).collect();
    let wrote: Figures = writes.map(|d| d.milliseconds).collect();
    let index: Figures = searches().map(|d| d.told.index * 1e3).collect();
    let outside: Figures = searches().map(|d| d.told.outside() * 1e3).collect();
    print!(
        "{:<9} {connections:>2} connections {:>6.0} a second, p50 {:.2} ms, p99 {:.2} ms",
        mix.name(),
        done.len() as f64 / seconds,
        took.at(0.5),
        took.at(0.99)
    );
    if wrote.len() > 0 {
        print!(
            ", writes p50 {:.2}, p99 {:.2}",
            wrote.at(0.5),
            wrote.at(0.99)
        );
    } else {
        let recall: Figures = searches().filter_map(|d| d.recall).collect();
        print!(", recall@10 {:.4}", recall.mean());
    }
    println!(
        "; us a query: index p50 {:.0} (mean {:.0}), outside of it p50 {:.0} p99 {:.0}; CPU: server {:.0}, client {:.0}; others took {:.2} cores",
        index.at(0.5),
        index.mean(),
        outside.at(0.5),
        outside.at(0.99),
        spent[0] / done.len() as f64 * 1e6,
        spent[1] / done.len() as f64 * 1e6,
        spent[2] / seconds
    );
}
