//! Models by the command line; a server killed while it takes one in.

use super::{Serving, code, glyphs, json, text, twindex};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::Channel;
use twindex::encoder::{Card, Plan};
use twindex::grpc::pb;
use twindex::grpc::pb::model_service_client::ModelServiceClient;
use twindex::training::init;

/// An untrained model in a file.
fn model(dir: &Path, name: &str, width: usize) -> PathBuf {
    let plan = Plan {
        widths: [width; 3],
        ..Plan::default()
    };
    let file = dir.join(format!("{name}.safetensors"));
    let weights = init::initial(plan, 1);
    let bytes = weights.to_file(&Card::new(name, plan)).unwrap();
    std::fs::write(&file, bytes).unwrap();
    file
}

fn versions(listed: &Value) -> Vec<&str> {
    let all = listed["models"].as_array().unwrap();
    all.iter().map(|m| m["version"].as_str().unwrap()).collect()
}

#[test]
fn models_go_in_serve_and_go_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Serving::start(&dir.path().join("data"));
    let url = server.url();
    let file = model(dir.path(), "tiny", 3);
    let path = file.to_str().unwrap();
    let on = |args: &[&str]| json(&[args, &["--server", &url]].concat());
    let refused = |args: &[&str]| code(&[args, &["--server", &url]].concat());

    let offline = json(&["model", "show", "--file", path]);
    let imported = on(&["model", "import", path]);
    assert_eq!(imported["version"], offline["version"]);
    let version = imported["version"].as_str().unwrap();
    assert!(version.starts_with("tiny-"));
    let listed = on(&["model", "list"]);
    assert_eq!(versions(&listed).len(), 2);
    assert_eq!(listed["models"][0]["default"], true);
    let renamed = on(&["model", "import", path, "--name", "other"]);
    assert!(renamed["version"].as_str().unwrap().starts_with("other-"));

    let made = on(&["collection", "create", "c", "--model", version]);
    assert_eq!(made["model"], version);
    let images = glyphs(&dir.path().join("images"), 3, 2);
    on(&["import", "c", &images]);
    let shown = on(&["model", "show", version]);
    assert_eq!(shown["pinned_by"], serde_json::json!(["c"]));
    assert_eq!(shown["card"]["plan"], offline["card"]["plan"]);
    assert!(shown["card"]["training"].is_object());
    let table = text(&["model", "show", version, "--server", &url]);
    assert!(
        table.contains("widths") && table.contains("pinned_by"),
        "{table}"
    );
    assert!(text(&["model", "list", "--server", &url]).contains("default"));

    let out = dir.path().join("out.safetensors");
    let out = out.to_str().unwrap();
    on(&["model", "export", version, "--out", out]);
    assert_eq!(std::fs::read(out).unwrap(), std::fs::read(&file).unwrap());
    // A file that is there is not written over.
    assert_eq!(refused(&["model", "export", version, "--out", out]), 5);

    assert_eq!(refused(&["model", "delete", version, "--yes"]), 5);
    assert_eq!(refused(&["model", "delete", version]), 2);
    assert_eq!(refused(&["model", "show", "none-1"]), 3);
    assert_eq!(refused(&["model", "show"]), 2);
    assert_eq!(
        refused(&["collection", "create", "d", "--model", "none-1"]),
        3
    );
    assert_eq!(refused(&["model", "import", "/nowhere"]), 5);
    let other = renamed["version"].as_str().unwrap();
    assert_eq!(on(&["model", "delete", other, "--yes"])["deleted"], other);
    assert_eq!(versions(&on(&["model", "list"])).len(), 2);

    // A picture is no model; neither the server nor its files mind.
    let picture = glob(Path::new(&images));
    let output = twindex(&["model", "import", &picture, "--server", &url]);
    assert_eq!(output.status.code(), Some(5));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains(&picture) && told.contains("safetensors"),
        "{told}"
    );
}

/// The first file below a folder.
fn glob(folder: &Path) -> String {
    let first = std::fs::read_dir(folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    if first.is_dir() {
        return glob(&first);
    }
    first.to_str().unwrap().to_owned()
}

/// What lies in the directory of the models, but for those of the server's own.
fn files(data: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(data.join("models")) else {
        return Vec::new();
    };
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with("omniglot")).collect()
}

fn messages(file: &[u8]) -> Vec<pb::ImportModelRequest> {
    use pb::import_model_request::Content;
    let header = Content::Header(pb::ImportModelHeader::default());
    let pieces = file.chunks(100_000);
    let pieces = pieces.map(|piece| Content::Data(bytes::Bytes::copy_from_slice(piece)));
    let message = |content| pb::ImportModelRequest {
        content: Some(content),
    };
    std::iter::once(header).chain(pieces).map(message).collect()
}

async fn client(server: &Serving) -> ModelServiceClient<Channel> {
    ModelServiceClient::connect(server.url()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_an_import_keeps_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut acknowledged = Vec::new();
    let mut interrupted = 0;
    for round in 0..8_u64 {
        let server = Serving::start(&data);
        let mut models = client(&server).await;
        let request = pb::ListModelsRequest::default();
        let listed = models
            .list_models(request)
            .await
            .unwrap()
            .into_inner()
            .models;
        let there: Vec<_> = listed.iter().filter(|m| !m.built_in).collect();
        // Every model that is shown is whole, every file is a model's, and none that was
        // acknowledged is gone.
        for model in &there {
            assert_eq!(model.damage, "");
            let version = model.version.clone();
            let request = pb::ExportModelRequest { version };
            let mut pieces = models.export_model(request).await.unwrap().into_inner();
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.message().await.unwrap() {
                bytes.extend_from_slice(&piece.data);
            }
            assert_eq!(blake3::hash(&bytes).to_hex().as_str(), model.hash);
        }
        let mut expected: Vec<_> = there
            .iter()
            .map(|m| format!("{}.safetensors", m.version))
            .collect();
        let mut found = files(&data);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{round}");
        for version in &acknowledged {
            assert!(there.iter().any(|m| m.version == *version), "{version}");
        }

        let name = format!("m{round}");
        let file = std::fs::read(model(dir.path(), &name, 200)).unwrap();
        let killed = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5 + round * 37 % 200)).await;
            drop(server);
        });
        let sent = models.import_model(tokio_stream::iter(messages(&file)));
        match sent.await {
            Ok(answer) => acknowledged.push(answer.into_inner().model.unwrap().version),
            Err(_) => interrupted += 1,
        }
        killed.await.unwrap();
    }
    eprintln!(
        "{interrupted} imports interrupted, {} done",
        acknowledged.len()
    );
    assert!(interrupted > 0);
}

/// The nice value of every thread of a process, by name.
#[cfg(target_os = "linux")]
fn priorities(pid: u32) -> Vec<(String, i32)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let read = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let nice = rest.split_whitespace().nth(16)?.parse().ok()?;
        Some((name.to_owned(), nice))
    };
    tasks.filter_map(|task| read(task.unwrap())).collect()
}

#[test]
fn a_training_in_the_server_gives_way_and_a_kill_aborts_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let images = glyphs(&dir.path().join("images"), 8, 3);
    let server = Serving::start(&data);
    let url = server.url();
    let on = |args: &[&str]| json(&[args, &["--server", &url]].concat());
    on(&["import", "c", &images]);
    let trained = on(&["model", "train", "c", "--steps", "2", "--name", "own"]);
    let version = trained["model"].as_str().unwrap();
    assert!(version.starts_with("own-") && trained["done"] == true);
    assert!(versions(&on(&["model", "list"])).contains(&version));
    let name = trained["operation"].as_str().unwrap();
    assert_eq!(on(&["operation", "show", name]), trained);
    assert_eq!(on(&["operation", "wait", name]), trained);
    assert!(text(&["operation", "list", "--server", &url]).contains(version));
    on(&["operation", "delete", name]);
    assert_eq!(code(&["operation", "show", name, "--server", &url]), 3);
    assert_eq!(code(&["model", "train", "none", "--server", &url]), 3);
    assert_eq!(
        code(&["model", "train", "c", "--loss", "x", "--server", &url]),
        5
    );

    // From where a folder would be learnt from, the file is written, too.
    let file = dir.path().join("written.safetensors");
    let file = file.to_str().unwrap();
    let learn = ["train", "--collection", "c", "--steps", "2", "--out", file];
    let learnt = on(&learn);
    let shown = json(&["model", "show", "--file", file]);
    assert_eq!(shown["version"], learnt["model"]);
    assert_eq!(code(&[&learn[..], &["--server", &url]].concat()), 5);
    assert_eq!(code(&[&learn[..], &["--data", &images]].concat()), 2);

    let long = ["model", "train", "c", "--minutes", "600", "--detach"];
    let cancelled = on(&long)["operation"].as_str().unwrap().to_owned();
    on(&["operation", "cancel", &cancelled]);
    let wait = ["operation", "wait", &cancelled, "--server", &url];
    assert_eq!(code(&wait), 130);

    let aborted = on(&long)["operation"].as_str().unwrap().to_owned();
    while on(&["operation", "show", &aborted])["step"] == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    #[cfg(target_os = "linux")]
    {
        let all = priorities(server.pid());
        let of = |start: &str| {
            let mut threads = all.iter().filter(|(name, _)| name.starts_with(start));
            threads
                .next()
                .unwrap_or_else(|| panic!("{start} in {all:?}"))
                .1
        };
        let usual = of("twindex-writer");
        assert!(
            of("twindex-operat") > usual && of("batches") > usual,
            "{all:?}"
        );
        assert_eq!(of("encoder-0"), usual);
    }
    // SIGKILL.
    drop(server);
    assert!(data.join("scratch").is_dir());
    let server = Serving::start(&data);
    let url = server.url();
    let shown = json(&["operation", "show", &aborted, "--server", &url]);
    assert_eq!(
        (&shown["done"], &shown["model"]),
        (&true.into(), &Value::Null)
    );
    assert!(
        shown["error"].as_str().unwrap().contains("stopped"),
        "{shown}"
    );
    assert!(!data.join("scratch").exists());
    let listed = json(&["model", "list", "--server", &url]);
    assert!(versions(&listed).contains(&version));
}
