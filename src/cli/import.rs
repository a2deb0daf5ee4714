//! `twindex import`: a folder of labelled images into a collection.

use super::client::{Client, ServerArgs, views};
use super::error::CliError;
use super::output::Output;
use super::progress::Bar;
use crate::domain::{Invalid, ItemId, Label};
use crate::grpc::{MAX_MESSAGE_BYTES, pb};
use crate::training::dataset::{File, Folder};
use prost::Message;
use serde_json::json;
use std::collections::HashSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Options of `import`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection; created, for images, if it is not there
    collection: String,
    /// Folder of images, …/LABEL/image.png at any depth; the id is the path below it
    folder: PathBuf,
    /// Import again what is there already
    #[arg(long)]
    overwrite: bool,
    /// Embed each image by the mean of so many views of it, 1 to 32, at so many times the work;
    /// a collection that is made by this command does so with queries as well
    #[arg(long, value_name = "N", value_parser = views)]
    views: Option<u32>,
    /// Store so many views of each image as items of their own, 1 to 32: ID is the image itself,
    /// ID~2, ID~3 … are the others, without an image and with ID as `view_of` in their payload
    #[arg(long, value_name = "N", value_parser = views, conflicts_with = "views")]
    store_views: Option<u32>,
    #[command(flatten)]
    server: ServerArgs,
}

/// How files are stored.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Again, where they are there already.
    pub overwrite: bool,
    /// By the mean of so many views; 0: as the collection says.
    pub views: u32,
    /// So many views of each as items of their own; 0: one item by the mean.
    pub store_views: u32,
}

/// An item to be: a file, or one view of it.
struct Row {
    file: File,
    view: u32,
    view_of: Option<String>,
}

/// The items that a file becomes.
fn rows(file: &File, how: How) -> Vec<Row> {
    if how.store_views == 0 {
        let (file, view_of) = (file.clone(), None);
        let view = 0;
        return vec![Row {
            file,
            view,
            view_of,
        }];
    }
    let row = |view| {
        let mut row = Row {
            file: file.clone(),
            view,
            view_of: None,
        };
        if view > 1 {
            row.file.id = format!("{}~{view}", file.id);
            row.view_of = Some(file.id.clone());
        }
        row
    };
    (1..=how.store_views).map(row).collect()
}

/// What became of a folder.
#[derive(Debug, Default)]
pub struct Report {
    /// Images stored.
    pub imported: usize,
    /// Images that were there already.
    pub skipped: usize,
    /// Images refused, and why.
    pub refused: Vec<(String, String)>,
    /// How long it took.
    pub seconds: f64,
}

/// Ids asked for at once; no server is set to take fewer.
const ASK: usize = 100;
/// Files read ahead of the stream.
const AHEAD: usize = 64;
/// Most bytes of a file's message.
const LARGEST: u64 = MAX_MESSAGE_BYTES as u64;

/// Runs the command.
///
/// # Errors
/// The folder cannot be read; what the server answers; files were refused.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let folder = Folder::open(&args.folder).map_err(|e| CliError::invalid(e.to_string()))?;
    let mut client = Client::connect(&args.server).await?;
    let files: Vec<File> = folder.files().collect();
    let how = How {
        overwrite: args.overwrite,
        views: args.views.unwrap_or_default(),
        store_views: args.store_views.unwrap_or_default(),
    };
    make(&mut client, &args.collection, how.views).await?;
    let mut report = import(&mut client, &args.collection, files, how, out).await?;
    let unreadable = folder.refused().iter();
    report
        .refused
        .extend(unreadable.map(|r| (r.path.clone(), r.why.clone())));
    report.refused.sort();
    let what = if how.store_views > 1 {
        "views"
    } else {
        "images"
    };
    tell(&report, what, out)
}

fn tell(report: &Report, what: &str, out: &Output) -> Result<(), CliError> {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = report.imported as f64 / report.seconds.max(1e-9);
    if out.is_json() {
        let refused = report.refused.iter();
        let refused = refused.map(|(file, why)| json!({ "file": file, "error": why }));
        out.json(&json!({
            "imported": report.imported,
            "skipped": report.skipped,
            "refused": refused.collect::<Vec<_>>(),
            "seconds": report.seconds,
            "images_per_second": rate,
        }))?;
    } else {
        out.line(&format!(
            "imported {} {what} in {:.1} s ({rate:.0} a second), skipped {} that were there",
            report.imported, report.seconds, report.skipped
        ))?;
    }
    if report.refused.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} files were refused:", report.refused.len());
    for (file, why) in &report.refused {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {file}: {why}");
    }
    Err(CliError::partial(text))
}

/// Creates a collection of images by so many views, unless there is one of this name.
///
/// # Errors
/// What the server answers.
pub async fn make(client: &mut Client, name: &str, views: u32) -> Result<(), CliError> {
    let request = pb::CreateCollectionRequest {
        collection: Some(pb::Collection {
            name: name.to_owned(),
            views,
            ..pb::Collection::default()
        }),
        request_id: String::new(),
    };
    match client.collections.create_collection(request).await {
        Err(status) if status.code() != tonic::Code::AlreadyExists => Err(status.into()),
        _ => Ok(()),
    }
}

/// Streams files into a collection.
///
/// # Errors
/// What the server answers to the stream as a whole.
pub async fn import(
    client: &mut Client,
    collection: &str,
    files: Vec<File>,
    how: How,
    out: &Output,
) -> Result<Report, CliError> {
    let began = Instant::now();
    let rows = files.iter().flat_map(|file| rows(file, how)).collect();
    let (files, refused) = sendable(rows);
    let mut report = Report {
        refused,
        ..Report::default()
    };
    let total = files.len();
    let files = if how.overwrite {
        files
    } else {
        missing(client, collection, files).await?
    };
    report.skipped = total - files.len();

    let bar = Bar::new(out, "importing", files.len() as u64);
    let names: Vec<String> = files.iter().map(|r| r.file.id.clone()).collect();
    let (messages, stream) = mpsc::channel(AHEAD);
    let (unsent, mut unsendable) = mpsc::unbounded_channel();
    let name = collection.to_owned();
    let reader = tokio::task::spawn_blocking(move || {
        for (tag, row) in files.into_iter().enumerate() {
            let id = row.file.id.clone();
            let message = match message(&name, tag, row, how.views) {
                Ok(message) => message,
                Err(why) => {
                    let _ = unsent.send((id, why));
                    continue;
                }
            };
            // The stream has ended; why, its answers tell.
            if messages.blocking_send(message).is_err() {
                return;
            }
        }
    });
    let answers = client
        .items
        .stream_upsert_items(ReceiverStream::new(stream));
    let mut answers = answers.await?.into_inner();
    let broken = |report: &Report, status| {
        let (stored, refused) = (report.imported, report.refused.len());
        let next = if how.overwrite {
            "the same command without --overwrite stores the others"
        } else {
            "the same command goes on from there"
        };
        let hint = format!("{stored} images are stored and {refused} were refused; {next}");
        CliError::from(status).with_hint(hint)
    };
    while let Some(answer) = answers
        .message()
        .await
        .map_err(|status| broken(&report, status))?
    {
        bar.add(1);
        let status = answer.status.unwrap_or_default();
        if status.code == 0 {
            report.imported += 1;
        } else {
            let place = usize::try_from(answer.tag).unwrap_or(usize::MAX);
            let name = names.get(place).cloned().unwrap_or_default();
            report.refused.push((name, status.message));
        }
    }
    let _ = reader.await;
    while let Ok(file) = unsendable.try_recv() {
        report.refused.push(file);
    }
    bar.finish();
    report.refused.sort();
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// The files whose path can be an id and a label, and why others cannot be sent: the server
/// would refuse what is asked along with them.
fn sendable(rows: Vec<Row>) -> (Vec<Row>, Vec<(String, String)>) {
    let check = |file: &File| -> Result<(), Invalid> {
        ItemId::new(&*file.id)?;
        if !file.label.is_empty() {
            Label::new(&*file.label)?;
        }
        Ok(())
    };
    let (mut good, mut bad) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match check(&row.file) {
            Ok(()) => good.push(row),
            Err(why) => bad.push((row.file.id, why.to_string())),
        }
    }
    (good, bad)
}

/// A file as a message; or why it cannot be one, which would end the stream.
fn message(
    collection: &str,
    tag: usize,
    row: Row,
    views: u32,
) -> Result<pb::StreamUpsertItemsRequest, String> {
    let Row {
        file,
        view,
        view_of,
    } = row;
    let fits = |bytes: u64| match bytes {
        0..=LARGEST => Ok(()),
        _ => Err(format!(
            "{bytes} bytes; at most {LARGEST} bytes are allowed, its name included"
        )),
    };
    let size = std::fs::metadata(&file.path).map_err(|e| e.to_string())?;
    fits(size.len())?;
    let image = std::fs::read(&file.path).map_err(|e| e.to_string())?;
    let message = pb::StreamUpsertItemsRequest {
        collection: collection.to_owned(),
        item: Some(pb::Item {
            id: file.id,
            label: file.label,
            content: Some(pb::item::Content::Image(image.into())),
            payload: view_of.map(|id| prost_types::Struct {
                fields: [("view_of".to_owned(), id.into())].into(),
            }),
            views,
            only_view: view,
            ..pb::Item::default()
        }),
        tag: tag as u64,
    };
    fits(message.encoded_len() as u64)?;
    Ok(message)
}

/// Those of the files that the collection does not hold yet.
async fn missing(
    client: &mut Client,
    collection: &str,
    rows: Vec<Row>,
) -> Result<Vec<Row>, CliError> {
    let mut absent = HashSet::new();
    for some in rows.chunks(ASK) {
        let request = pb::BatchGetItemsRequest {
            collection: collection.to_owned(),
            ids: some.iter().map(|r| r.file.id.clone()).collect(),
            view: None,
        };
        let answer = client.items.batch_get_items(request).await?.into_inner();
        absent.extend(answer.missing);
    }
    Ok(rows
        .into_iter()
        .filter(|r| absent.contains(&r.file.id))
        .collect())
}
