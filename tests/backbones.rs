//! Heads on ready-made backbones: small nets of every family, with weights of our own making.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

use candle_core::{DType, Device, Tensor, safetensors};
use image::{ImageFormat, Rgb, RgbImage};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use twindex::encoder::backbone::{self, Backbone, Family, Fingerprint};
use twindex::encoder::{Encoder, ImageLimits, Raster, Weights};
use twindex::training::random::Random;
use twindex::training::seen::{self, Looked};
use twindex::training::{Recipe, TrainOptions, train_corpus};

type Tensors = HashMap<String, Tensor>;

/// Width of the transformers.
const D: usize = 64;

/// Weights as an untrained net has them.
struct Maker {
    random: Random,
    tensors: Tensors,
}

impl Maker {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed, 0),
            tensors: Tensors::new(),
        }
    }

    fn random(&mut self, name: &str, shape: &[usize]) {
        let inputs: usize = shape[1..].iter().product();
        let deviation = (1.0 / inputs.max(1) as f32).sqrt();
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| deviation * self.random.normal())
            .collect();
        self.put(name, values, shape);
    }

    fn even(&mut self, name: &str, value: f32, length: usize) {
        self.put(name, vec![value; length], &[length]);
    }

    fn put(&mut self, name: &str, values: Vec<f32>, shape: &[usize]) {
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        self.tensors.insert(name.to_owned(), tensor);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.even(&format!("{name}.weight"), 1.0, width);
        self.even(&format!("{name}.bias"), 0.0, width);
    }

    fn batch_norm(&mut self, name: &str, width: usize) {
        self.norm(name, width);
        self.even(&format!("{name}.running_mean"), 0.0, width);
        self.even(&format!("{name}.running_var"), 1.0, width);
        let count = Tensor::new(&[7_i64], &Device::Cpu).unwrap();
        let name = format!("{name}.num_batches_tracked");
        self.tensors.insert(name, count);
    }

    fn linear(&mut self, name: &str, from: usize, to: usize) {
        self.random(&format!("{name}.weight"), &[to, from]);
        self.even(&format!("{name}.bias"), 0.0, to);
    }

    fn resnet18(mut self) -> Tensors {
        self.random("conv1.weight", &[64, 3, 7, 7]);
        self.batch_norm("bn1", 64);
        let mut from = 64;
        for (layer, to) in [(1, 64), (2, 128), (3, 256), (4, 512)] {
            for unit in 0..2 {
                let name = format!("layer{layer}.{unit}");
                self.random(&format!("{name}.conv1.weight"), &[to, from, 3, 3]);
                self.batch_norm(&format!("{name}.bn1"), to);
                self.random(&format!("{name}.conv2.weight"), &[to, to, 3, 3]);
                self.batch_norm(&format!("{name}.bn2"), to);
                if from != to {
                    self.random(&format!("{name}.downsample.0.weight"), &[to, from, 1, 1]);
                    self.batch_norm(&format!("{name}.downsample.1"), to);
                }
                from = to;
            }
        }
        self.linear("fc", 512, 1000);
        self.tensors
    }

    fn dino_v2(mut self) -> Tensors {
        self.random("patch_embed.proj.weight", &[D, 3, 14, 14]);
        self.even("patch_embed.proj.bias", 0.0, D);
        self.random("cls_token", &[1, 1, D]);
        self.random("pos_embed", &[1, 1370, D]);
        for block in 0..2 {
            let name = format!("blocks.{block}");
            self.norm(&format!("{name}.norm1"), D);
            self.norm(&format!("{name}.norm2"), D);
            self.linear(&format!("{name}.attn.qkv"), D, 3 * D);
            self.linear(&format!("{name}.attn.proj"), D, D);
            self.even(&format!("{name}.ls1.gamma"), 0.5, D);
            self.even(&format!("{name}.ls2.gamma"), 0.5, D);
            self.linear(&format!("{name}.mlp.fc1"), D, 4 * D);
            self.linear(&format!("{name}.mlp.fc2"), 4 * D, D);
        }
        self.norm("norm", D);
        self.tensors
    }

    /// What the two pairs have in common: patches of 32 pixels, `tokens` places.
    fn vision(&mut self, tokens: usize) {
        let at = "vision_model";
        self.random(
            &format!("{at}.embeddings.patch_embedding.weight"),
            &[D, 3, 32, 32],
        );
        self.random(
            &format!("{at}.embeddings.position_embedding.weight"),
            &[tokens, D],
        );
        for layer in 0..2 {
            let name = format!("{at}.encoder.layers.{layer}");
            for part in ["k_proj", "v_proj", "q_proj", "out_proj"] {
                self.linear(&format!("{name}.self_attn.{part}"), D, D);
            }
            self.norm(&format!("{name}.layer_norm1"), D);
            self.norm(&format!("{name}.layer_norm2"), D);
            self.linear(&format!("{name}.mlp.fc1"), D, 2 * D);
            self.linear(&format!("{name}.mlp.fc2"), 2 * D, D);
        }
        self.norm(&format!("{at}.post_layernorm"), D);
    }

    fn clip(mut self) -> Tensors {
        self.vision(50);
        self.random("vision_model.embeddings.class_embedding", &[D]);
        self.norm("vision_model.pre_layrnorm", D);
        self.random("visual_projection.weight", &[48, D]);
        self.tensors
    }

    fn sig_lip(mut self) -> Tensors {
        self.vision(49);
        self.even("vision_model.embeddings.patch_embedding.bias", 0.0, D);
        let head = "vision_model.head";
        self.random(&format!("{head}.probe"), &[1, 1, D]);
        self.random(&format!("{head}.attention.in_proj_weight"), &[3 * D, D]);
        self.even(&format!("{head}.attention.in_proj_bias"), 0.0, 3 * D);
        self.linear(&format!("{head}.attention.out_proj"), D, D);
        self.norm(&format!("{head}.layernorm"), D);
        self.linear(&format!("{head}.mlp.fc1"), D, 2 * D);
        self.linear(&format!("{head}.mlp.fc2"), 2 * D, D);
        self.tensors
    }
}

fn made(family: Family, seed: u64) -> Tensors {
    let maker = Maker::new(seed);
    match family {
        Family::Resnet => maker.resnet18(),
        Family::DinoV2 => maker.dino_v2(),
        Family::Clip => maker.clip(),
        Family::SigLip => maker.sig_lip(),
    }
}

fn written(tensors: &Tensors, dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    safetensors::save(tensors, &path).unwrap();
    path
}

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
        let backbone = Backbone::load(&path).unwrap();
        assert_eq!(
            (backbone.frozen().family, backbone.frozen().features),
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
            let alone = alone.to_vec2::<f32>().unwrap().remove(0);
            let apart = alone
                .iter()
                .zip(seen)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(apart < 1e-4, "{family}: {apart}");
        }
        assert_ne!(together[0], together[1], "{family}");
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
        let backbone = Backbone::load(&written(tensors, dir.path(), name)).unwrap();
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
    let kept = dir.path().join("kept.seen");
    let limits = ImageLimits::default();
    let last = std::cell::Cell::new(None);
    let tell = |looked: Looked| last.set(Some(looked));
    let cancel = AtomicBool::new(false);
    let look = || seen::corpus(&data, &backbone, &kept, (&limits, 1 << 20), &tell, &cancel);
    let corpus = look().unwrap();
    assert_eq!(
        last.get(),
        Some(Looked {
            done: 240,
            of: 240,
            known: 0
        })
    );
    // The second time everything is known; what is learnt from is the same.
    assert_eq!(look().unwrap().fingerprint(), corpus.fingerprint());
    assert_eq!(last.get().map(|looked| looked.known), Some(240));
    let few = seen::corpus(&data, &backbone, &kept, (&limits, 1 << 10), &tell, &cancel);
    assert!(few.unwrap_err().to_string().contains("at most 8 fit"));

    let options = |name: &str, steps| TrainOptions {
        recipe: Recipe {
            dim: 32,
            ..Recipe::named("photographs").unwrap().on(&backbone)
        },
        steps: Some(steps),
        threads: 2,
        ..TrainOptions::new(&data, dir.path().join(name))
    };
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
    let learnt = options("learnt", 300);
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
        Backbone::load(&path).unwrap_err().to_string()
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
    assert!(Backbone::load(&path).is_err());
    assert!(Backbone::load(&dir.path().join("nowhere")).is_err());
}

#[test]
fn the_command_line_trains_and_measures_a_head() {
    let dir = tempfile::tempdir().unwrap();
    let backbone = written(&made(Family::Clip, 6), dir.path(), "clip.safetensors");
    let (data, unseen) = (dir.path().join("data"), dir.path().join("unseen"));
    folder(&data, 0..12, 5);
    folder(&unseen, 50..62, 4);
    let out = dir.path().join("head.safetensors");
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twindex"));
        let done = command.args(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (backbone, data, unseen, out) = (path(&backbone), path(&data), path(&unseen), path(&out));
    let words = [
        "--backbone",
        &backbone,
        "train",
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
