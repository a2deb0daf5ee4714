//! Test-time views from the command line, and what they do to errors.

use super::support::Serving;
use super::{code, glyphs, json, text};

#[test]
fn views_at_enrolment_and_query() {
    let dir = tempfile::tempdir().unwrap();
    let folder = glyphs(&dir.path().join("images"), 3, 2);
    let serving = Serving::start(&dir.path().join("data"));
    let url = serving.url();
    let with = |args: &[&str]| -> Vec<String> {
        let args = [args, &["--server", &url]].concat();
        args.into_iter().map(str::to_owned).collect()
    };
    let json = |args: &[&str]| json(&with(args).iter().map(String::as_str).collect::<Vec<_>>());
    let text = |args: &[&str]| text(&with(args).iter().map(String::as_str).collect::<Vec<_>>());
    let code = |args: &[&str]| code(&with(args).iter().map(String::as_str).collect::<Vec<_>>());

    // A collection that an import makes has its views.
    json(&["import", "g", &folder, "--views", "3"]);
    assert_eq!(json(&["collection", "show", "g"])["views"], 3);
    let first = "glyphs/character01/hand01.png";
    let image = format!("{folder}/{first}");
    let similarity = |more: &[&str]| {
        let found = json(&[&["search", "g", "--image", &image, "-k", "1"], more].concat());
        assert_eq!(found["hits"][0]["id"], first);
        found["hits"][0]["similarity"].as_f64().unwrap()
    };
    assert!(similarity(&[]) > 0.999_99);
    assert!(similarity(&["--views", "1"]) < 0.999_9);
    let classified = json(&["classify", "g", "--image", &image, "--views", "2"]);
    assert_eq!(classified["label"], "glyphs/character01");
    let claim = ["verify", "g", "glyphs/character01", "--image", &image];
    let verified = [&claim[..], &["--views", "9", "--min-similarity", "0.5"]].concat();
    assert_eq!(json(&verified)["decision"], "same");
    let compared = json(&["compare", "g", &image, &image, "--views", "5"]);
    assert!(compared["similarity"].as_f64().unwrap() > 0.999_99);
    let embedded = |more: &[&str]| json(&[&["embed", &image], more].concat())["embeddings"].take();
    assert_eq!(
        embedded(&["--collection", "g"]),
        embedded(&["--views", "3"])
    );
    assert_ne!(embedded(&[]), embedded(&["--views", "3"]));

    // Views stored one by one: again, nothing is left to do.
    let store = ["import", "s", &folder, "--store-views", "4"];
    assert!(text(&store).contains("imported 24 views"));
    let again = json(&store);
    assert_eq!(
        (&again["imported"], &again["skipped"]),
        (&0.into(), &24.into())
    );
    let view = json(&["get", "s", &format!("{first}~4")]);
    assert_eq!(view["payload"]["view_of"], first);
    assert_eq!(view["label"], "glyphs/character01");

    let create = ["collection", "create", "c", "--views"];
    assert_eq!(json(&[&create[..], &["32"]].concat())["views"], 32);
    for bad in ["0", "33", "x"] {
        assert_eq!(code(&[&create[..], &[bad]].concat()), 2, "{bad}");
        assert_eq!(code(&["search", "g", "--image", &image, "--views", bad]), 2);
    }
    let of_item = ["search", "g", "--item", first, "--views", "2"];
    assert_eq!(code(&of_item), 5);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn views_do_not_add_errors() {
    let dir = tempfile::tempdir().unwrap();
    let data = glyphs(&dir.path().join("images"), 24, 6);
    let nway = |views: &str| {
        let found = json(&[
            "eval", "nway", "--data", &data, "--trials", "2000", "--views", views,
        ]);
        assert_eq!(found["views"].to_string(), views);
        let ends = &found["ci95"];
        let ends = [&ends[0], &ends[1]].map(|v| v.as_f64().unwrap());
        (found["error_rate"].as_f64().unwrap(), ends)
    };
    let (one, nine) = (nway("1"), nway("9"));
    assert!(nine.0 <= one.1[1], "{one:?} {nine:?}");
    let sizes = ["--data", &data, "--views", "3", "--pairs", "1000"];
    let verified = json(&[&["eval", "verify"], &sizes[..]].concat());
    assert_eq!(verified["views"], 3);
    let sizes = [&sizes[..], &["--trials", "100"]].concat();
    let compared = json(&[&["eval", "compare", "bundled", "bundled"], &sizes[..]].concat());
    assert_eq!(compared["views"], 3);
    let retrieved = text(&["eval", "retrieval", "--data", &data, "--views", "2"]);
    assert!(retrieved.contains("views"), "{retrieved}");
    assert_eq!(code(&["eval", "nway", "--data", &data, "--views", "33"]), 2);
}
