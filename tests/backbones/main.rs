//! Heads on ready-made backbones: small nets of every family, with weights of our own making.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

mod nets;
#[path = "../support/mod.rs"]
mod support;

use candle_core::{DType, Device, Tensor};
use image::{ImageFormat, Rgb, RgbImage};
use nets::{D, Tensors, made, written};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use twindex::encoder::backbone::{self, Family, Fingerprint};
use twindex::encoder::{Encoder, ImageLimits, Raster, Weights};
use twindex::training::features::{self, Extracted, cache_of};
use twindex::training::random::Random;
use twindex::training::{Recipe, TrainOptions, train_corpus};

/// A picture of a class: stripes of its own width and direction, in any two colours.
fn picture(class: u64, image: u64) -> RgbImage {
    let mut own = Random::new(900, class);
    let width = 3.0 + 12.0 * own.unit();
    let (sin, cos) = (std::f32::consts::PI * own.unit()).sin_cos();
    let mut random = Random::new(901, class * 1000 + image);
    let colours = [0, 1].map(|light| [0; 3].map(|_| 120 * light as u8 + random.below(80) as u8));
    let shift = 40.0 * random.unit();
    RgbImage::from_fn(96, 80, |x, y| {
        let at = (x as f32 * cos + y as f32 * sin + shift) / width;
        Rgb(colours[at.floor().rem_euclid(2.0) as usize])
    })
}

fn folder(dir: &Path, classes: std::ops::Range<u64>, images: u64) {
    for class in classes {
        let class_dir = dir.join(format!("c{class:03}"));
        std::fs::create_dir_all(&class_dir).unwrap();
        for image in 0..images {
            let path = class_dir.join(format!("{image}.png"));
            picture(class, image)
                .save_with_format(path, ImageFormat::Png)
                .unwrap();
        }
    }
}

fn file_of(picture: &RgbImage) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

#[test]
fn every_family_sees_an_image_the_same_alone_and_among_others() {
    let dir = tempfile::tempdir().unwrap();
    for (family, features) in [
        (Family::Resnet, 512),
        (Family::DinoV2, D),
        (Family::Clip, 48),
        (Family::SigLip, D),
    ] {
        let path = written(&made(family, 1), dir.path(), family.name());
        let backbone = backbone::offer(&path).unwrap();
        assert_eq!(
            (backbone.id().family, backbone.id().features),
            (family, features)
        );
        let plan = backbone.plan();
        let images: Vec<_> = (0..3)
            .map(|class| {
                let file = file_of(&picture(class, 0));
                Raster::read(&file, &plan, &ImageLimits::default())
                    .unwrap()
                    .prepare()
            })
            .collect();
        let together = backbone
            .features(&images)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        for (image, seen) in images.iter().zip(&together) {
            let length: f32 = seen.iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-4, "{family}: {length}");
            let alone = backbone.features(std::slice::from_ref(image)).unwrap();
            assert_eq!(&alone.to_vec2::<f32>().unwrap()[0], seen, "{family}");
        }
        assert_ne!(together[0], together[1], "{family}");
    }
}

/// What the original implementations give for the same weights and the same numbers of an image:
/// torchvision's `resnet18`, the original DINOv2's layers in PyTorch 2.4, and transformers 4.44's
/// `CLIPVisionModelWithProjection` and `SiglipVisionModel`.
#[test]
fn every_family_agrees_with_the_original() {
    let dir = tempfile::tempdir().unwrap();
    for (family, original) in [
        (
            Family::Resnet,
            [0.012347, 0.080925, 0.012592, 0.005103, 0.016643, 0.00079],
        ),
        (
            Family::DinoV2,
            [
                -0.132595, -0.04739, 0.043153, 0.024373, -0.120203, -0.078865,
            ],
        ),
        (
            Family::Clip,
            [
                0.072641, 0.054458, 0.152347, -0.003765, -0.049089, -0.226755,
            ],
        ),
        (
            Family::SigLip,
            [0.076876, -0.15119, 0.024322, 0.073103, 0.03978, 0.097685],
        ),
    ] {
        let path = written(&made(family, 1), dir.path(), family.name());
        let backbone = backbone::offer(&path).unwrap();
        let file = file_of(&picture(3, 0));
        let raster = Raster::read(&file, &backbone.plan(), &ImageLimits::default()).unwrap();
        let ours = backbone
            .features(&[raster.prepare()])
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        for (ours, original) in ours[0].iter().zip(original) {
            // Candle's normalisation of DINOv2 adds 1e-5 to the variance, the original's 1e-6.
            assert!(
                (ours - original).abs() < 1e-4,
                "{family}: {ours}, {original}"
            );
        }
    }
}

#[test]
fn half_precision_sees_nearly_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let exact = made(Family::Clip, 3);
    let halved = |dtype: DType| {
        let halve = |(name, t): (&String, &Tensor)| (name.clone(), t.to_dtype(dtype).unwrap());
        exact.iter().map(halve).collect::<Tensors>()
    };
    let seen = |tensors: &Tensors, name: &str| {
        let backbone = backbone::offer(&written(tensors, dir.path(), name)).unwrap();
        let file = file_of(&picture(5, 0));
        let raster = Raster::read(&file, &backbone.plan(), &ImageLimits::default()).unwrap();
        let seen = backbone.features(&[raster.prepare()]).unwrap();
        seen.to_vec2::<f32>().unwrap().remove(0)
    };
    let exactly = seen(&exact, "f32");
    for dtype in [DType::F16, DType::BF16] {
        let nearly = seen(&halved(dtype), dtype.as_str());
        let cosine: f32 = exactly.iter().zip(&nearly).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.999, "{dtype:?}: {cosine}");
    }
}

#[test]
fn a_head_learns_on_a_backbone_and_serves_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(&made(Family::DinoV2, 2), dir.path(), "dinov2");
    let backbone = backbone::offer(&path).unwrap();
    let data = dir.path().join("data");
    folder(&data, 0..40, 6);
    let options = |name: &str, steps| TrainOptions {
        recipe: Recipe {
            dim: 32,
            ..Recipe::named("photographs").unwrap().on(&backbone)
        },
        steps: Some(steps),
        threads: 2,
        ..TrainOptions::new(&data, dir.path().join(name))
    };
    let last = std::cell::Cell::new(None);
    let tell = |extracted: Extracted| last.set(Some(extracted));
    let cancel = AtomicBool::new(false);
    let extract = |options: &TrainOptions| features::corpus(options, &backbone, &tell, &cancel);
    let learnt = options("learnt", 300);
    let corpus = extract(&learnt).unwrap();
    let (done, of) = (240, 240);
    assert_eq!(
        last.get(),
        Some(Extracted {
            done,
            of,
            cached: 0
        })
    );
    // The second time all are cached; what is learnt from is the same.
    assert_eq!(
        extract(&learnt).unwrap().fingerprint(),
        corpus.fingerprint()
    );
    assert_eq!(
        last.get(),
        Some(Extracted {
            done,
            of,
            cached: 240
        })
    );
    assert!(cache_of(&learnt.out).ends_with("learnt.features"));
    let refused = |options: TrainOptions| extract(&options).unwrap_err().to_string();
    let few = TrainOptions {
        memory: 1 << 10,
        ..learnt.clone()
    };
    assert!(refused(few).contains("at most 8 fit"));
    let lone = data.join("c000");
    assert!(
        refused(TrainOptions {
            data: lone,
            ..learnt.clone()
        })
        .contains("0 classes")
    );
    cancel.store(true, std::sync::atomic::Ordering::Release);
    assert!(refused(learnt.clone()).contains("cancelled"));
    cancel.store(false, std::sync::atomic::Ordering::Release);

    let error = |encoder: &Encoder| {
        let classes = (100..130_u64).map(|class| {
            let image = |image| encoder.prepare(&file_of(&picture(class, image))).unwrap();
            let vectors = encoder.embed(&[image(0), image(1), image(2)]).unwrap();
            twindex::training::evaluate::Embedded {
                parent: String::new(),
                vectors,
            }
        });
        let classes: Vec<_> = classes.collect();
        twindex::training::oneshot::error(&classes, 10, 2000, 1).unwrap()
    };
    let train = |options: &TrainOptions| {
        train_corpus(corpus.clone(), options, &|_| (), &cancel)
            .unwrap()
            .encoder
    };
    let untrained = error(&train(&options("untrained", 0)));
    let encoder = train(&learnt);
    let trained = error(&encoder);
    println!("10-way one-shot error {trained:.3}, untrained {untrained:.3}");
    assert!(
        trained < 0.7 * untrained,
        "{trained}, untrained {untrained}"
    );

    // From its file it is the same encoder.
    let file = std::fs::read(&learnt.out).unwrap();
    let again = Encoder::from_bytes(&file).unwrap();
    assert_eq!(again.version(), encoder.version());
    let image = again.prepare(&file_of(&picture(7, 0))).unwrap();
    let images = std::slice::from_ref(&image);
    assert_eq!(
        again.embed(images).unwrap()[0].as_slice(),
        encoder.embed(images).unwrap()[0].as_slice()
    );

    // On a backbone that is not there it does not stand.
    let (mut weights, mut card) = Weights::parse(&file).unwrap();
    for plan in [&mut weights.plan, &mut card.plan] {
        plan.backbone.as_mut().unwrap().file = Fingerprint(77);
    }
    let told = Encoder::new(&weights, card).unwrap_err().to_string();
    assert!(told.contains("dinov2 of file 000000000000004d"), "{told}");
    assert!(told.contains("--backbone FILE"), "{told}");
}

#[test]
fn files_that_are_no_backbone_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let told = |tensors: &Tensors| {
        let path = written(tensors, dir.path(), "broken");
        backbone::offer(&path).unwrap_err().to_string()
    };
    for family in [Family::DinoV2, Family::Clip, Family::SigLip] {
        let whole = made(family, 4);
        for name in whole.keys() {
            if name == "visual_projection.weight" {
                continue;
            }
            let mut without = whole.clone();
            without.remove(name);
            // Without a layer's first linear map the net is shallower, and whole.
            let counts = ["layers.1.mlp.fc1.weight", "blocks.1.ls1.gamma"];
            if !counts.iter().any(|c| name.ends_with(c)) {
                assert!(!told(&without).is_empty(), "{name}");
            }
        }
        let name = whole.keys().min().unwrap().clone();
        let mut other = whole.clone();
        let shape: Vec<usize> = whole[&name].dims().iter().map(|d| d + 1).collect();
        let misshapen = Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        other.insert(name.clone(), misshapen);
        assert!(!told(&other).is_empty(), "{name}");
        let mut infinite = whole.clone();
        let nan = (infinite[&name].clone() * f64::NAN).unwrap();
        infinite.insert(name, nan);
        assert!(told(&infinite).contains("must be finite"));
    }
    let changed = |family, name: &str, shape: &[usize]| {
        let mut tensors = made(family, 4);
        let tensor = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        tensors.insert(name.to_owned(), tensor);
        told(&tensors)
    };
    let at = "vision_model.embeddings";
    for family in [Family::Clip, Family::SigLip] {
        let (patches, places) = (
            format!("{at}.patch_embedding.weight"),
            format!("{at}.position_embedding.weight"),
        );
        for shape in [[D, 3, 0, 0], [0, 3, 32, 32], [D, 3, 518, 518], [D, 3, 2, 2]] {
            assert!(!changed(family, &patches, &shape).is_empty());
        }
        assert!(changed(family, &places, &[1_000_000, 1]).contains("images of 3"));
    }
    assert!(
        changed(
            Family::Clip,
            &format!("{at}.patch_embedding.weight"),
            &[1280, 3, 32, 32]
        )
        .contains("1280")
    );
    for shape in [
        [1, 1370, 0],
        [1, 0, D],
        [1, 1, D],
        [1, 50, D],
        [1, 1370, 1024],
    ] {
        assert!(!changed(Family::DinoV2, "pos_embed", &shape).is_empty());
    }
    assert!(changed(Family::DinoV2, "register_tokens", &[1, 4, D]).contains("registers"));
    let mut short = made(Family::Resnet, 4);
    short.remove("layer3.1.conv1.weight");
    let told_of = told(&short);
    assert!(told_of.contains("[2, 2, 1, 2] units"), "{told_of}");
    let none = HashMap::from([(
        "x".to_owned(),
        Tensor::new(&[1.0_f32], &Device::Cpu).unwrap(),
    )]);
    assert!(told(&none).contains("blocks.0.ls1.gamma (dinov2)"));
    let path = dir.path().join("text");
    std::fs::write(&path, "not a file of tensors").unwrap();
    assert!(backbone::offer(&path).is_err());
    assert!(backbone::offer(&dir.path().join("nowhere")).is_err());
}

fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let done = support::twindex(words);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn a_server_serves_a_head_as_long_as_it_has_the_backbone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let backbone = written(&made(Family::Clip, 8), dir.path(), "clip.safetensors");
    let backbone = backbone.to_str().unwrap();
    let (data, images, head, copy) = (path("db"), path("images"), path("head"), path("copy"));
    folder(Path::new(&images), 0..6, 4);
    let learn = [
        "train",
        "--backbone",
        backbone,
        "--data",
        &images,
        "--out",
        &head,
    ];
    let (code, _, stderr) = run(&[&learn[..], &["--steps", "20"]].concat());
    assert_eq!(code, Some(0), "{stderr}");

    let serve = |with: &[&str]| {
        let mut serve = std::process::Command::new(support::BINARY);
        let fixed = [
            "serve",
            "--quiet",
            "--listen",
            "127.0.0.1:0",
            "--data",
            &data,
        ];
        serve.args(fixed).args(with).env_remove("TWINDEX_BACKBONE");
        support::Serving::run(serve)
    };
    let server = serve(&["--backbone", backbone]);
    let url = server.url();
    let on = |words: &[&str]| run(&[words, &["--server", &url]].concat());
    let (code, stdout, stderr) = on(&["model", "import", &head, "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let imported: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let version = imported["version"].as_str().unwrap();
    for words in [
        &["collection", "create", "c", "--model", version][..],
        &["import", "c", &images],
        &["classify", "c", "--image", &format!("{images}/c000/0.png")],
    ] {
        let (code, _, stderr) = on(words);
        assert_eq!(code, Some(0), "{words:?}: {stderr}");
    }
    // Nobody learns from images what a head has learnt from features.
    let (code, _, stderr) = on(&["model", "train", "c", "--steps", "1"]);
    assert_eq!(code, Some(5), "{stderr}");
    assert!(stderr.contains("stands on a backbone"), "{stderr}");
    server.stop();

    let server = serve(&[]);
    let url = server.url();
    let on = |words: &[&str]| run(&[words, &["--server", &url]].concat());
    let (code, _, stderr) = on(&[
        "embed",
        "--collection",
        "c",
        &format!("{images}/c000/0.png"),
    ]);
    assert_ne!(code, Some(0));
    assert!(stderr.contains("the model stands on clip"), "{stderr}");
    // The file is whole all the same.
    let (code, _, stderr) = on(&["model", "export", version, "--out", &copy]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&head).unwrap());
    let (code, stdout, stderr) = run(&["model", "show", "--file", &copy]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("clip"), "{stdout}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_command_line_trains_and_measures_a_head() {
    let dir = tempfile::tempdir().unwrap();
    let backbone = written(&made(Family::Clip, 6), dir.path(), "clip.safetensors");
    let (data, unseen) = (dir.path().join("data"), dir.path().join("unseen"));
    folder(&data, 0..12, 5);
    folder(&unseen, 50..62, 4);
    let out = dir.path().join("head.safetensors");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (backbone, data, unseen, out) = (path(&backbone), path(&data), path(&unseen), path(&out));
    let words = [
        "train",
        "--backbone",
        &backbone,
        "--data",
        &data,
        "--out",
        &out,
    ];
    let (code, stdout, stderr) = run(&[&words[..], &["--steps", "60", "--json"]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("\"objective\""), "{stdout}");
    let card = std::fs::read_to_string(Path::new(&out).with_extension("json")).unwrap();
    assert!(card.contains("\"family\": \"clip\""), "{card}");

    let measure = [
        "eval", "nway", "--data", &unseen, "--model", &out, "--ways", "5",
    ];
    let (code, stdout, stderr) =
        run(&[&measure[..], &["--backbone", &backbone, "--json"]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("error"), "{stdout}");
    let (code, _, stderr) = run(&measure);
    assert_eq!(code, Some(5), "{stderr}");
    assert!(stderr.contains("the model stands on clip"), "{stderr}");
    let (code, _, stderr) = run(&[&words[..], &["--objective", "simclr"]].concat());
    assert_eq!(code, Some(5), "{stderr}");
    assert!(stderr.contains("learns from labels"), "{stderr}");
}
