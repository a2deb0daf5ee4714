//! `twindex import`: a folder of labelled images into a collection.

use super::client::{Client, ServerArgs};
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
    #[command(flatten)]
    server: ServerArgs,
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
    make(&mut client, &args.collection).await?;
    let files: Vec<File> = folder.files().collect();
    let mut report = import(&mut client, &args.collection, files, args.overwrite, out).await?;
    let unreadable = folder.refused().iter();
    report
        .refused
        .extend(unreadable.map(|r| (r.path.clone(), r.why.clone())));
    report.refused.sort();
    tell(&report, out)
}

fn tell(report: &Report, out: &Output) -> Result<(), CliError> {
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
            "imported {} images in {:.1} s ({rate:.0} a second), skipped {} that were there",
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

/// Creates a collection of images, unless there is one of this name.
///
/// # Errors
/// What the server answers.
pub async fn make(client: &mut Client, name: &str) -> Result<(), CliError> {
    let request = pb::CreateCollectionRequest {
        collection: Some(pb::Collection {
            name: name.to_owned(),
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
    overwrite: bool,
    out: &Output,
) -> Result<Report, CliError> {
    let began = Instant::now();
    let (files, refused) = sendable(files);
    let mut report = Report {
        refused,
        ..Report::default()
    };
    let total = files.len();
    let files = if overwrite {
        files
    } else {
        missing(client, collection, files).await?
    };
    report.skipped = total - files.len();

    let bar = Bar::new(out, "importing", files.len() as u64);
    let names: Vec<String> = files.iter().map(|f| f.id.clone()).collect();
    let (messages, stream) = mpsc::channel(AHEAD);
    let (unsent, mut unsendable) = mpsc::unbounded_channel();
    let name = collection.to_owned();
    let reader = tokio::task::spawn_blocking(move || {
        for (tag, file) in files.into_iter().enumerate() {
            let id = file.id.clone();
            let message = match message(&name, tag, file) {
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
        let next = if overwrite {
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
fn sendable(files: Vec<File>) -> (Vec<File>, Vec<(String, String)>) {
    let check = |file: &File| -> Result<(), Invalid> {
        ItemId::new(&*file.id)?;
        if !file.label.is_empty() {
            Label::new(&*file.label)?;
        }
        Ok(())
    };
    let (mut good, mut bad) = (Vec::with_capacity(files.len()), Vec::new());
    for file in files {
        match check(&file) {
            Ok(()) => good.push(file),
            Err(why) => bad.push((file.id, why.to_string())),
        }
    }
    (good, bad)
}

/// A file as a message; or why it cannot be one, which would end the stream.
fn message(
    collection: &str,
    tag: usize,
    file: File,
) -> Result<pb::StreamUpsertItemsRequest, String> {
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
    files: Vec<File>,
) -> Result<Vec<File>, CliError> {
    let mut absent = HashSet::new();
    for some in files.chunks(ASK) {
        let request = pb::BatchGetItemsRequest {
            collection: collection.to_owned(),
            ids: some.iter().map(|f| f.id.clone()).collect(),
            view: None,
        };
        let answer = client.items.batch_get_items(request).await?.into_inner();
        absent.extend(answer.missing);
    }
    Ok(files
        .into_iter()
        .filter(|f| absent.contains(&f.id))
        .collect())
}
