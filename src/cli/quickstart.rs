//! `twindex quickstart`: the whole story in ten seconds, on real gRPC.

use super::client::{Client, ServerArgs, ViewArgs, image_probe};
use super::error::CliError;
use super::output::{Output, quoted};
use super::{contact_sheet, import, serve};
use crate::grpc::pb;
use crate::training::dataset::{File, Folder};
use crate::training::glyphs::Alphabet;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of `quickstart`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Your own images, …/LABEL/image.png; a drawn alphabet if not given
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Stop after the tour instead of serving on
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    serve: serve::Args,
}

/// Where one example a label is enrolled.
const ENROLLED: &str = "quickstart";
/// Where everything is, for retrieval.
const GALLERY: &str = "quickstart-gallery";
const CHARACTERS: usize = 30;
const HANDS: usize = 10;
const SEED: u64 = 1;
/// Of one's own images: labels, and images a label.
const MOST: (usize, usize) = (200, 20);
/// Classifications under way at once.
const AT_ONCE: usize = 16;
/// Rows and hits of the contact sheet.
const SHEET: (usize, u32) = (8, 6);
/// Files left out that are shown.
const SHOWN: usize = 10;

/// Runs the command.
///
/// # Errors
/// See [`serve::open`]; the images cannot be read.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let began = Instant::now();
    let server = serve::open(&args.serve).await?;
    let address = server
        .address()
        .map_err(|e| CliError::failed(e.to_string()))?;
    let url = format!("http://{address}");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async move {
        tokio::select! {
            _ = stopped => {}
            () = serve::asked_to_stop() => {}
        }
    }));
    let toured = tour(&args, &url, out).await;
    if let Ok(summary) = &toured {
        if out.is_json() {
            out.json(summary)?;
        } else {
            let seconds = began.elapsed().as_secs_f64();
            out.line(&format!("\nAll of it took {seconds:.1} s."))?;
        }
    }
    if args.exit || toured.is_err() {
        let _ = stop.send(());
    } else {
        next(&url, out)?;
        std::mem::forget(stop);
    }
    let served = serving.await.map_err(|e| CliError::failed(e.to_string()))?;
    served.map_err(|e| CliError::failed(e.to_string()))?;
    toured.map(|_| ())
}

async fn tour(args: &Args, url: &str, out: &Output) -> Result<serde_json::Value, CliError> {
    let say = |text: String| {
        if out.is_json() {
            Ok(())
        } else {
            out.line(&text)
        }
    };
    let place = args.serve.data.join("quickstart");
    let folder = folder(args, &place)?;
    let server = ServerArgs {
        server: url.to_owned(),
    };
    let mut client = Client::connect(&server).await?;
    say(format!(
        "twindex serves {} on {url}\n",
        args.serve.data.display()
    ))?;

    // Everything goes into the gallery first: what it refuses has no part in the tour.
    let chosen = chosen(&folder);
    fresh(&mut client, GALLERY).await?;
    let anew = import::How {
        overwrite: true,
        ..import::How::default()
    };
    let report = import::import(&mut client, GALLERY, chosen.concat(), anew, out).await?;
    let refused = folder.refused().iter();
    let mut left_out: Vec<_> = refused.map(|r| (r.path.clone(), r.why.clone())).collect();
    left_out.extend(report.refused);
    tell(&left_out, out);
    let labels = without(chosen, &left_out);
    if labels.len() < 2 {
        let dir = args.images.as_deref().unwrap_or(&place).display();
        let error = CliError::invalid(format!("{dir}: fewer than 2 labels with 2 images"));
        return Err(error.with_hint("a label is a folder with its images: DIR/LABEL/image.png"));
    }
    let first: Vec<File> = labels.iter().map(|files| files[0].clone()).collect();
    let rest: Vec<File> = labels.iter().flat_map(|f| f[1..].iter().cloned()).collect();

    fresh(&mut client, ENROLLED).await?;
    let enrolled = import::import(&mut client, ENROLLED, first.clone(), anew, out).await?;
    say(format!(
        "1. Enrolled one example of each of {} labels.",
        enrolled.imported
    ))?;

    let right = classify(&client, &rest).await?;
    #[expect(clippy::cast_precision_loss, reason = "hundreds of images")]
    let accuracy = right as f64 / rest.len().max(1) as f64;
    say(format!(
        "2. Classified {} other images by that one example: {:.1} % right.",
        rest.len(),
        100.0 * accuracy
    ))?;

    let sheet = place.join("retrieval.png");
    retrieve(&mut client, &labels.concat(), &rest, &sheet).await?;
    say(format!(
        "3. Searched all of them: {} shows the nearest of a few (green: same label).",
        sheet.display()
    ))?;

    let (same, different) = pairs(&mut client, &first, &rest).await?;
    say(format!(
        "4. Compared a pair of one label (similarity {same:.2}) and one of two (similarity {different:.2})."
    ))?;
    let left_out = left_out.iter();
    let left_out = left_out.map(|(file, why)| json!({ "file": file, "error": why }));
    let left_out: Vec<_> = left_out.collect();
    Ok(json!({
        "url": url,
        "labels": first.len(),
        "left_out": left_out,
        "classified": rest.len(),
        "accuracy": accuracy,
        "contact_sheet": sheet,
        "similarity_same": same,
        "similarity_different": different,
    }))
}

/// The folder of one's own images, or of an alphabet drawn here.
fn folder(args: &Args, place: &Path) -> Result<Folder, CliError> {
    let failed = |e: std::io::Error| CliError::failed(format!("{}: {e}", place.display()));
    std::fs::create_dir_all(place).map_err(failed)?;
    if args.images.is_none() {
        let alphabet = Alphabet::new(SEED, CHARACTERS);
        let written = alphabet.write_folder(place, HANDS);
        written.map_err(|e| CliError::failed(e.to_string()))?;
    }
    let dir = args.images.as_deref().unwrap_or(place);
    Folder::open(dir).map_err(|e| CliError::invalid(e.to_string()))
}

/// Some images of some labels, label by label.
fn chosen(folder: &Folder) -> Vec<Vec<File>> {
    let classes = folder.classes().iter().filter(|c| c.images.len() > 1);
    let files = classes.map(|c| c.files().take(MOST.1).collect());
    files.take(MOST.0).collect()
}

/// The labels that have two files or more apart from those left out.
fn without(labels: Vec<Vec<File>>, left_out: &[(String, String)]) -> Vec<Vec<File>> {
    let left_out: HashSet<&str> = left_out.iter().map(|(id, _)| id.as_str()).collect();
    let kept = labels.into_iter().map(|mut files| {
        files.retain(|f| !left_out.contains(f.id.as_str()));
        files
    });
    kept.filter(|files| files.len() > 1).collect()
}

fn tell(left_out: &[(String, String)], out: &Output) {
    if left_out.is_empty() {
        return;
    }
    let mut text = format!("{} files are left out:", left_out.len());
    for (file, why) in left_out.iter().take(SHOWN) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {file}: {why}");
    }
    if left_out.len() > SHOWN {
        text.push_str("\n  …");
    }
    out.note(&text);
}

/// An empty collection, whatever an earlier tour left.
async fn fresh(client: &mut Client, name: &str) -> Result<(), CliError> {
    let request = pb::DeleteCollectionRequest {
        name: name.to_owned(),
        request_id: String::new(),
    };
    if let Err(status) = client.collections.delete_collection(request).await
        && status.code() != tonic::Code::NotFound
    {
        return Err(status.into());
    }
    import::make(client, name, 0).await
}

/// How many of the files get their own label.
async fn classify(client: &Client, files: &[File]) -> Result<usize, CliError> {
    stream::iter(files)
        .map(|file| {
            let mut client = client.decisions.clone();
            async move {
                let request = pb::ClassifyRequest {
                    collection: ENROLLED.to_owned(),
                    probe: Some(image_probe(&file.path, ViewArgs::default())?),
                    max_labels: 1,
                    ..pb::ClassifyRequest::default()
                };
                let answer = client.classify(request).await?.into_inner();
                Ok::<_, CliError>(usize::from(answer.label == file.label))
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_fold(0, |sum, right| async move { Ok(sum + right) })
        .await
}

/// Draws a few probes and what is nearest to them. The pictures are read from where they came:
/// an answer has no room for several photographs.
async fn retrieve(
    client: &mut Client,
    gallery: &[File],
    probes: &[File],
    sheet: &Path,
) -> Result<(), CliError> {
    let paths = gallery.iter().map(|f| (f.id.as_str(), f.path.as_path()));
    let paths: HashMap<&str, &Path> = paths.collect();
    let step = (probes.len() / SHEET.0).max(1);
    let mut rows = Vec::new();
    for probe in probes.iter().step_by(step).take(SHEET.0) {
        let request = pb::SearchRequest {
            collection: GALLERY.to_owned(),
            probe: Some(pb::Probe {
                content: Some(pb::probe::Content::ItemId(probe.id.clone())),
                views: 0,
            }),
            k: SHEET.1,
            ..pb::SearchRequest::default()
        };
        let hits = client.search.search(request).await?.into_inner().hits;
        let found = hits.iter().filter_map(|hit| {
            let path = paths.get(hit.id.as_str())?;
            Some((*path, hit.label == probe.label))
        });
        rows.push((probe.path.as_path(), found.collect()));
    }
    contact_sheet::write(&rows, sheet)
}

/// The similarity of two images of one label, and of two labels.
async fn pairs(client: &mut Client, first: &[File], rest: &[File]) -> Result<(f32, f32), CliError> {
    let mut similar = Vec::new();
    let same = rest
        .iter()
        .find(|f| f.label == first[0].label)
        .unwrap_or(&rest[0]);
    for (a, b) in [(&first[0], same), (&first[0], &first[1])] {
        let request = pb::CompareRequest {
            collection: ENROLLED.to_owned(),
            a: Some(image_probe(&a.path, ViewArgs::default())?),
            b: Some(image_probe(&b.path, ViewArgs::default())?),
            ..pb::CompareRequest::default()
        };
        similar.push(
            client
                .decisions
                .compare(request)
                .await?
                .into_inner()
                .similarity,
        );
    }
    Ok((similar[0], similar[1]))
}

fn next(url: &str, out: &Output) -> Result<(), CliError> {
    if out.is_json() {
        return Ok(());
    }
    let host = url.trim_start_matches("http://");
    // It need not be on the path, and the other terminal may be elsewhere.
    let program = std::env::current_exe();
    let program = program.map_or("twindex".into(), |p| quoted(&p.display().to_string()));
    out.line(&format!(
        "\nTry next, in another terminal:
  {program} import my-images DIR --server {url}      (DIR/LABEL/image.png)
  {program} classify my-images --image FILE --server {url}
  {program} search my-images --image FILE -k 5 --server {url}
  grpcurl -plaintext {host} list
  grpcurl -plaintext {host} describe twindex.v1.SearchService
  grpcurl -plaintext -d '{{\"name\": \"{ENROLLED}\"}}' {host} twindex.v1.CollectionService/GetCollectionStats

Serving until Ctrl-C."
    ))
}
