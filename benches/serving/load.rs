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
#[derive(Debug, Clone)]
pub(crate) struct Mix {
    name: String,
    /// The filters of searches, taken in turns.
    filters: Vec<Option<f64>>,
    /// The share of upserts, and that of deletes.
    writes: f64,
}

impl Mix {
    /// Searches, each with the same filter.
    pub(crate) fn searches(below: Option<f64>) -> Self {
        Self {
            name: below.map_or("search".into(), |below| format!("u < {below}")),
            filters: vec![below],
            writes: 0.0,
        }
    }

    /// Searches, half of them with a filter, and for 90 of them 5 upserts and 5 deletes.
    pub(crate) fn with_writes() -> Self {
        Self {
            name: "mix".into(),
            filters: vec![None, Some(0.5), None, Some(0.01)],
            writes: 0.05,
        }
    }

    fn op(&self, nth: u64) -> Op {
        let chance = uniform(nth ^ 0x5EED);
        if chance < self.writes {
            Op::Upsert
        } else if chance < 2.0 * self.writes {
            Op::Delete
        } else {
            Op::Search(self.filters[nth as usize % self.filters.len()])
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

    /// Answers are not compared: what is right changes meanwhile.
    pub(crate) fn compare_with_nothing(&mut self) {
        self.truth = Arc::default();
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
            let mix = mix.clone();
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
        print(connections, &mix, &done, seconds, spent.seconds());
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
            // Another one may have deleted it before.
            let refused = deleted.err().map(|why| why.code());
            assert!(refused.is_none_or(|code| code == Code::NotFound));
        }
    }
    Done {
        op,
        milliseconds: began.elapsed().as_secs_f64() * 1e3,
        told,
        recall,
    }
}

/// A heading for what is printed of each.
pub(crate) fn heading() {
    println!(
        "{:<9} {:>5} {:>8} {:>9} {:>9} {:>10}  {:>28}  {:>26}",
        "",
        "from",
        "a second",
        "p50 (ms)",
        "p99 (ms)",
        "recall@10",
        "index, outside p50, p99 (us)",
        "CPU: server, client (us)"
    );
}

fn print(connections: usize, mix: &Mix, done: &[Done], seconds: f64, spent: [f64; 3]) {
    let is_search = |d: &&Done| matches!(d.op, Op::Search(_));
    let searches = || done.iter().filter(is_search);
    let took: Figures = searches().map(|d| d.milliseconds).collect();
    let recall: Figures = searches().filter_map(|d| d.recall).collect();
    let recall = match recall.len() {
        0 => String::new(),
        _ => format!("{:.4}", recall.mean()),
    };
    let index: Figures = searches().map(|d| d.told.index * 1e3).collect();
    let outside: Figures = searches().map(|d| d.told.outside() * 1e3).collect();
    let each = |cpu: f64| cpu / done.len() as f64 * 1e6;
    println!(
        "{:<9} {connections:>5} {:>8.0} {:>9.2} {:>9.2} {recall:>10}  {:>14.0} {:>6.0} {:>6.0}  {:>16.0} {:>9.0}  others took {:.2} cores",
        mix.name,
        done.len() as f64 / seconds,
        took.at(0.5),
        took.at(0.99),
        index.at(0.5),
        outside.at(0.5),
        outside.at(0.99),
        each(spent[0]),
        each(spent[1]),
        spent[2] / seconds
    );
    let writes = done.iter().filter(|d| !is_search(d));
    let wrote: Figures = writes.map(|d| d.milliseconds).collect();
    if wrote.len() > 0 {
        println!(
            "{:<9} {:>5} {:>8.0} {:>9.2} {:>9.2}",
            "  writes",
            "",
            wrote.len() as f64 / seconds,
            wrote.at(0.5),
            wrote.at(0.99)
        );
    }
}
