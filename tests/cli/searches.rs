use super::support::{Serving, twindex};
use super::{glyphs, json, text};

#[test]
fn recall_is_measured_with_what_was_asked_of_late() {
    let dir = tempfile::tempdir().unwrap();
    let folder = glyphs(&dir.path().join("images"), 4, 3);
    let serving = Serving::start(&dir.path().join("data"));
    let url = serving.url();
    text(&["import", "g", &folder, "--server", &url]);
    let image = format!("{folder}/glyphs/character01/hand01.png");
    text(&["search", "g", "--image", &image, "--server", &url]);

    let measured = json(&["recall", "g", "-k", "3", "--server", &url]);
    assert_eq!(measured["recall"], 1.0, "{measured}");
    assert_eq!(measured["interval"][1], 1.0);
    assert!(measured["interval"][0].as_f64().unwrap() < 0.9);
    let asked = (&measured["recent_queries"], &measured["stored_items"]);
    assert_eq!(asked, (&1.into(), &12.into()));
    let told = text(&["recall", "g", "--server", &url]);
    assert!(told.contains("recall@10 1.0000 (95 %: 0.7"), "{told}");
    assert!(told.contains("aimed at 0.98"), "{told}");
    let told = text(&["recall", "g", "--ef", "40", "--server", &url]);
    assert!(told.contains("ef 40") && told.contains("13 questions to 12 items"));
    let refused = twindex(&["recall", "g", "--questions", "2001", "--server", &url]);
    assert_eq!(refused.status.code(), Some(5));
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn the_nearest_labels_are_found_with_their_nearest_items() {
    let dir = tempfile::tempdir().unwrap();
    let folder = glyphs(&dir.path().join("images"), 4, 3);
    let serving = Serving::start(&dir.path().join("data"));
    let url = serving.url();
    text(&["import", "g", &folder, "--server", &url]);
    let first = "glyphs/character01/hand01.png";
    let search = ["search", "g", "--item", first, "-k", "3", "--server", &url];
    let found = json(&[&search[..], &["--group-by-label", "2"]].concat());
    assert_eq!(found["groups"].as_array().unwrap().len(), 3, "{found}");
    let nearest = &found["groups"][0];
    assert_eq!(nearest["label"], "glyphs/character01");
    assert_eq!(nearest["hits"].as_array().unwrap().len(), 2);
    let told = text(&[&search[..], &["--group-by-label", "2"]].concat());
    assert_eq!(told.lines().count(), 7, "{told}");
    assert!(told.lines().nth(6).unwrap().starts_with("3 "), "{told}");
    let none = [&search[..], &["--group-by-label", "0"]].concat();
    assert_eq!(twindex(&none).status.code(), Some(2));
    assert_eq!(serving.stop(), Some(0));
}
