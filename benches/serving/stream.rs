//! Rows that stream in beside searches, each at a rate of its own.

use crate::client::{COLLECTION, Client, item, moved, search};
use crate::figures::{Figures, Spent};
use crate::fill::stats;
use crate::set::Set;
use crate::support::Serving;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::UnboundedReceiverStream;
use twindex::grpc::pb;

const ROWS_A_SECOND: u64 = 5_000;
const QUERIES_A_SECOND: u64 = 500;
/// Of so many rows one is looked for as soon as it is acknowledged.
const LOOKED_FOR: u64 = 50;
const CONNECTIONS: usize = 8;
/// Numbers of the rows begin there.
const FIRST: u64 = 10_000_000;

/// When what comes at a rate should be sent.
#[derive(Clone, Copy)]
struct Schedule {
    began: Instant,
    a_second: u64,
}

impl Schedule {
    fn at(self, nth: u64) -> Instant {
        self.began + Duration::from_nanos(nth * 1_000_000_000 / self.a_second)
    }
}

/// Milliseconds from then.
fn since(then: Instant) -> f64 {
    then.elapsed().as_secs_f64() * 1e3
}

pub(crate) async fn run(server: &Serving, set: &Arc<Set>, time: Duration) {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(&server.url()).await);
    }
    let mut writer = Client::connect(&server.url()).await;
    let spent = Spent::since_now(server.pid());
    let began = Instant::now();
    let rows = Schedule {
        began,
        a_second: ROWS_A_SECOND,
    };
    let queries = tokio::spawn(queries(clients.clone(), Arc::clone(set), began, time));
    let sent = send(set, rows, time);
    let request = UnboundedReceiverStream::new(sent);
    let answers = writer.items.stream_upsert_items(request).await.unwrap();
    let mut answers = answers.into_inner();
    let (mut acknowledged, mut looked) = (Vec::new(), Vec::<JoinHandle<_>>::new());
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.status.unwrap().code, 0);
        let at = rows.at(answer.tag);
        acknowledged.push(since(at));
        if answer.tag % LOOKED_FOR == 0 {
            let client = clients[looked.len() % CONNECTIONS].clone();
            looked.push(tokio::spawn(found(client, Arc::clone(set), answer.tag, at)));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let (mut searchable, mut again) = (Vec::new(), 0);
    for task in looked {
        let (took, tries) = task.await.unwrap();
        searchable.push(took);
        again += tries - 1;
    }
    let answered = queries.await.unwrap();
    let [of_server, of_client, of_others] = spent.seconds().map(|cpu| cpu / seconds);
    println!(
        "stream    {:.0} rows a second by StreamUpsertItems, {:.0} searches a second, {seconds:.0} s; cores: server {of_server:.2}, client {of_client:.2}, others {of_others:.2}",
        acknowledged.len() as f64 / seconds,
        (answered.len() + searchable.len()) as f64 / seconds,
    );
    told("acknowledged", acknowledged);
    told("searchable", searchable);
    println!("          {again} searches did not find their row at once");
    told("searches", answered);
    let stats = stats(&mut writer).await.unwrap();
    println!(
        "          {} segments, {} rows in the tail at the end",
        stats.segments, stats.tail_rows
    );
}

fn told(what: &str, took: Vec<f64>) {
    let took: Figures = took.into_iter().collect();
    println!(
        "          {what:<12} p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms ({})",
        took.at(0.5),
        took.at(0.99),
        took.at(1.0 - 1e-9),
        took.len()
    );
}

fn vector(set: &Set, nth: u64) -> Vec<f32> {
    let near = &set.base[nth as usize % set.base.len()];
    moved(near.as_slice(), FIRST + nth)
}

/// Sends rows one by one when it is their time.
fn send(
    set: &Arc<Set>,
    schedule: Schedule,
    time: Duration,
) -> mpsc::UnboundedReceiver<pb::StreamUpsertItemsRequest> {
    let (sender, sent) = mpsc::unbounded_channel();
    let set = Arc::clone(set);
    tokio::spawn(async move {
        for tag in 0..time.as_secs() * schedule.a_second {
            sleep_until(schedule.at(tag)).await;
            let message = pb::StreamUpsertItemsRequest {
                collection: COLLECTION.into(),
                item: Some(item(FIRST + tag, &vector(&set, tag))),
                tag,
            };
            sender.send(message).unwrap();
        }
    });
    sent
}

/// Searches until a row is found: the time since it should have been sent, and the tries.
async fn found(mut client: Client, set: Arc<Set>, nth: u64, at: Instant) -> (f64, u64) {
    let request = search(&vector(&set, nth), None);
    let mut tries = 0;
    loop {
        tries += 1;
        let (found, _) = client.search(request.clone()).await;
        if found.contains(&(FIRST + nth)) {
            return (since(at), tries);
        }
        assert!(tries < 1_000, "row {nth} is not found");
    }
}

/// Asks at a rate, however long the answers take.
async fn queries(clients: Vec<Client>, set: Arc<Set>, began: Instant, time: Duration) -> Vec<f64> {
    let schedule = Schedule {
        began,
        a_second: QUERIES_A_SECOND,
    };
    let mut asked = Vec::new();
    for nth in 0..time.as_secs() * QUERIES_A_SECOND {
        let at = schedule.at(nth);
        sleep_until(at).await;
        let mut client = clients[nth as usize % CONNECTIONS].clone();
        let vector = &set.queries[nth as usize % set.queries.len()];
        let request = search(vector.as_slice(), None);
        asked.push(tokio::spawn(async move {
            client.search(request).await;
            since(at)
        }));
    }
    let mut took = Vec::new();
    for task in asked {
        took.push(task.await.unwrap());
    }
    took
}
