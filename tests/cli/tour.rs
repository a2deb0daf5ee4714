use super::support::BINARY;
use super::{glyphs, json, photograph, text};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_tour_shows_what_it_is_about() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let tour = [
        "quickstart",
        "--exit",
        "--data",
        data,
        "--listen",
        "127.0.0.1:0",
    ];
    let summary = json(&tour);
    assert!(summary["accuracy"].as_f64().unwrap() > 0.9, "{summary}");
    assert!(summary["similarity_same"].as_f64() > summary["similarity_different"].as_f64());
    let sheet = image::open(summary["contact_sheet"].as_str().unwrap()).unwrap();
    assert!(sheet.width() > 500 && sheet.height() > 500);
    // Once more, on what is there, for people, with images of one's own.
    let own = glyphs(&dir.path().join("own"), 4, 3);
    let told = text(&[&tour[..], &["--images", &own]].concat());
    assert!(
        told.contains("of each of 4 labels") && told.contains("All of it took"),
        "{told}"
    );
}

#[test]
fn the_tour_takes_photographs_and_leaves_out_what_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own");
    for label in ["a", "b", "c"] {
        std::fs::create_dir_all(own.join(label)).unwrap();
    }
    photograph(&own.join("a/1.png"), 1_000);
    for copy in [
        "a/2", "a/3", "a/4", "b/1", "b/2", "b/3", "b/4", "c/1", "top",
    ] {
        std::fs::copy(own.join("a/1.png"), own.join(format!("{copy}.png"))).unwrap();
    }
    for broken in ["a/0.png", "b/9.png", "c/0.png"] {
        std::fs::write(own.join(broken), b"no image").unwrap();
    }
    let summary = json(&[
        "quickstart",
        "--exit",
        "--listen",
        "127.0.0.1:0",
        "--data",
        dir.path().join("data").to_str().unwrap(),
        "--images",
        own.to_str().unwrap(),
    ]);
    // Of c one image is left, which has nothing to be compared with; "top" has no label.
    assert_eq!(
        (&summary["labels"], &summary["classified"]),
        (&2.into(), &6.into())
    );
    let left_out: Vec<_> = (0..3).map(|i| &summary["left_out"][i]["file"]).collect();
    assert_eq!(left_out, ["a/0.png", "b/9.png", "c/0.png"]);
    assert!(Path::new(summary["contact_sheet"].as_str().unwrap()).is_file());
}

#[test]
fn what_the_tour_says_to_try_can_be_tried() {
    let dir = tempfile::tempdir().unwrap();
    let mut tour = Command::new(BINARY)
        .args(["quickstart", "--listen", "127.0.0.1:0", "--data"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut lines = BufReader::new(tour.stdout.take().unwrap());
    while !told.contains("Serving until") && lines.read_line(&mut told).unwrap() > 0 {}
    tour.kill().unwrap();
    tour.wait().unwrap();
    let command = told.lines().find(|l| l.contains(" import my-images"));
    let program = command.unwrap().split_whitespace().next().unwrap();
    assert!(Path::new(program).is_absolute(), "{told}");
    let version = Command::new(program).arg("--version").output().unwrap();
    assert!(version.status.success());
}
