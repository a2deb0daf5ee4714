//! `twindex quickstart`: the whole story in ten seconds, on real gRPC.

use super::client::{Client, ServerArgs, image_probe};
use super::error::CliError;
use super::output::Output;
use super::{contact_sheet, import, serve};
use crate::grpc::pb;
use crate::training::dataset::{Class, File, Folder};
use crate::training::glyphs::Alphabet;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of `quickstart`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    serve: serve::Args,
    /// Your own images, …/LABEL/image.png; a drawn alphabet if not given
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Stop after the tour instead of serving on
    #[arg(long)]
    exit: bool,
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
    let classes = classes(args, &place)?;
    let server = ServerArgs {
        server: url.to_owned(),
    };
    let mut client = Client::connect(&server).await?;
    say(format!(
        "twindex serves {} on {url}\n",
        args.serve.data.display()
    ))?;

    let file = |class: &Class, path: &PathBuf| File {
        id: format!("{}/{}", class.label, name(path)),
        label: class.label.clone(),
        path: path.clone(),
    };
    let first = classes
        .iter()
        .filter_map(|c| Some(file(c, c.images.first()?)));
    let rest = classes
        .iter()
        .flat_map(|c| c.images.iter().skip(1).map(|p| file(c, p)));
    let (first, rest): (Vec<File>, Vec<File>) = (first.collect(), rest.collect());

    fresh(&mut client, ENROLLED).await?;
    import::import(&mut client, ENROLLED, first.clone(), true, out).await?;
    say(format!(
        "1. Enrolled one example of each of {} labels.",
        first.len()
    ))?;

    let right = classify(&client, &rest).await?;
    #[expect(clippy::cast_precision_loss, reason = "hundreds of images")]
    let accuracy = right as f64 / rest.len().max(1) as f64;
    say(format!(
        "2. Classified {} other images by that one example: {:.1} % right.",
        rest.len(),
        100.0 * accuracy
    ))?;

    fresh(&mut client, GALLERY).await?;
    let all = first.iter().chain(&rest).cloned().collect();
    import::import(&mut client, GALLERY, all, true, out).await?;
    let sheet = place.join("retrieval.png");
    retrieve(&mut client, &rest, &sheet).await?;
    say(format!(
        "3. Searched all of them: {} shows the nearest of a few (green: same label).",
        sheet.display()
    ))?;

    let (same, different) = pairs(&mut client, &first, &rest).await?;
    say(format!(
        "4. Compared a pair of one label (similarity {same:.2}) and one of two (similarity {different:.2})."
    ))?;
    Ok(json!({
        "url": url,
        "labels": first.len(),
        "classified": rest.len(),
        "accuracy": accuracy,
        "contact_sheet": sheet,
        "similarity_same": same,
        "similarity_different": different,
    }))
}

fn classes(args: &Args, place: &Path) -> Result<Vec<Class>, CliError> {
    let failed = |e: std::io::Error| CliError::failed(format!("{}: {e}", place.display()));
    std::fs::create_dir_all(place).map_err(failed)?;
    let dir = args.images.clone().unwrap_or_else(|| place.to_owned());
    if args.images.is_none() {
        let alphabet = Alphabet::new(SEED, CHARACTERS);
        let written = alphabet.write_folder(place, HANDS);
        written.map_err(|e| CliError::failed(e.to_string()))?;
    }
    let folder = Folder::open(&dir).map_err(|e| CliError::invalid(e.to_string()))?;
    let classes = folder
        .classes()
        .iter()
        .filter(|c| c.images.len() > 1)
        .take(MOST.0);
    let classes = classes.cloned().map(|mut class| {
        class.images.truncate(MOST.1);
        class
    });
    let classes: Vec<Class> = classes.collect();
    if classes.len() < 2 {
        let error = CliError::invalid(format!(
            "{}: fewer than 2 labels with 2 images",
            dir.display()
        ));
        return Err(error.with_hint("a label is a folder with its images: DIR/LABEL/image.png"));
    }
    Ok(classes)
}

fn name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
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
    import::make(client, name).await
}

/// How many of the files get their own label.
async fn classify(client: &Client, files: &[File]) -> Result<usize, CliError> {
    stream::iter(files)
        .map(|file| {
            let mut client = client.decisions.clone();
            async move {
                let request = pb::ClassifyRequest {
                    collection: ENROLLED.to_owned(),
                    probe: Some(image_probe(&file.path)?),
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

/// Draws a few probes and what is nearest to them.
async fn retrieve(client: &mut Client, files: &[File], sheet: &Path) -> Result<(), CliError> {
    let step = (files.len() / SHEET.0).max(1);
    let mut rows = Vec::new();
    for file in files.iter().step_by(step).take(SHEET.0) {
        let request = pb::SearchRequest {
            collection: GALLERY.to_owned(),
            probe: Some(pb::Probe {
                content: Some(pb::probe::Content::ItemId(file.id.clone())),
            }),
            k: SHEET.1,
            with_image: true,
            ..pb::SearchRequest::default()
        };
        let hits = client.search.search(request).await?.into_inner().hits;
        let hits = hits
            .into_iter()
            .map(|h| (h.image.to_vec(), h.label == file.label));
        let probe = std::fs::read(&file.path).map_err(|e| CliError::failed(e.to_string()))?;
        rows.push((probe, hits.collect()));
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
            a: Some(image_probe(&a.path)?),
            b: Some(image_probe(&b.path)?),
            min_similarity: None,
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
    out.line(&format!(
        "\nTry next, in another terminal:
  twindex import my-images DIR --server {url}      (DIR/LABEL/image.png)
  twindex classify my-images --image FILE --server {url}
  twindex search my-images --image FILE -k 5 --server {url}
  grpcurl -plaintext {host} list
  grpcurl -plaintext {host} describe twindex.v1.SearchService
  grpcurl -plaintext -d '{{\"name\": \"{ENROLLED}\"}}' {host} twindex.v1.CollectionService/GetCollectionStats

Serving until Ctrl-C."
    ))
}
