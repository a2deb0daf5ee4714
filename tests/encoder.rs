//! The encoder through its public API: what it accepts, what it refuses, what it promises.
#![allow(clippy::pedantic, clippy::unwrap_used, reason = "a test may panic")]

use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageEncoder, ImageFormat, Luma, Rgba, RgbaImage};
use std::io::Cursor;
use twindex::encoder::{
    Architecture, Card, Encoder, Error, ImageError, ImageLimits, Input, Plan, Prepared, Weights,
};
use twindex::training::init;

fn png(picture: &DynamicImage) -> Vec<u8> {
    let mut file = Vec::new();
    picture
        .write_to(&mut Cursor::new(&mut file), ImageFormat::Png)
        .unwrap();
    file
}

/// A shape without symmetry, dark on white, not square.
fn glyph() -> GrayImage {
    GrayImage::from_fn(90, 70, |x, y| {
        let ink = (20..26).contains(&x) && (10..60).contains(&y)
            || (20..70).contains(&x) && (10..16).contains(&y)
            || (50..56).contains(&x) && (16..30).contains(&y);
        Luma([if ink { 0 } else { 255 }])
    })
}

/// One that sees ink wherever it stands on the page.
fn ink() -> Encoder {
    let plan = Plan::default();
    Encoder::new(&init::initial(plan, 1), Card::new("ink", plan)).unwrap()
}

fn prepare(file: &[u8]) -> Prepared {
    ink().prepare(file).unwrap()
}

fn refuse(file: &[u8]) -> ImageError {
    ink().prepare(file).unwrap_err()
}

fn near(a: &Prepared, b: &Prepared, tolerance: f32) -> bool {
    let pairs = a.as_slice().iter().zip(b.as_slice());
    pairs.fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs())) <= tolerance
}

/// An EXIF block (TIFF, little-endian) with nothing but tag 0x0112.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

#[test]
fn the_bundled_encoder_says_what_it_is() {
    let encoder = Encoder::bundled().unwrap();
    assert_eq!(encoder.dim(), 64);
    assert!(encoder.version().starts_with(&encoder.card().name));
    let readable = include_str!("../models/omniglot.json");
    assert_eq!(readable.trim_end(), encoder.card().to_json());
}

#[test]
fn a_batch_equals_singles_bit_for_bit() {
    let encoder = Encoder::bundled().unwrap();
    let images: Vec<Prepared> = (0..7)
        .map(|i| {
            let turned = DynamicImage::from(glyph()).huerotate(i).rotate90();
            let file = png(&turned.crop_imm(0, 0, 60 + i.unsigned_abs(), 80));
            encoder.prepare(&file).unwrap()
        })
        .collect();
    let together = encoder.embed(&images).unwrap();
    for (image, embedding) in images.iter().zip(&together) {
        let alone = encoder.embed(std::slice::from_ref(image)).unwrap();
        assert_eq!(&alone[0], embedding);
        let length: f32 = embedding.as_slice().iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
    assert!(encoder.embed(&[]).unwrap().is_empty());
}

#[test]
fn all_eight_exif_orientations_are_turned_upright() {
    let stored = DynamicImage::from(glyph());
    for tag in 1..=8 {
        let mut upright = stored.clone();
        upright.apply_orientation(Orientation::from_exif(tag).unwrap());
        let expected = prepare(&png(&upright));

        let mut file = Vec::new();
        let mut encoder = PngEncoder::new(&mut file);
        encoder.set_exif_metadata(exif(tag)).unwrap();
        stored.write_with_encoder(encoder).unwrap();
        assert!(near(&prepare(&file), &expected, 1e-5), "PNG, {tag}");

        let mut jpeg = Vec::new();
        stored
            .write_to(&mut Cursor::new(&mut jpeg), ImageFormat::Jpeg)
            .unwrap();
        let mut block = b"Exif\0\0".to_vec();
        block.extend(exif(tag));
        let length = u16::try_from(block.len() + 2).unwrap().to_be_bytes();
        let segment = [&[0xff, 0xe1][..], &length, &block].concat();
        jpeg.splice(2..2, segment);
        assert!(near(&prepare(&jpeg), &expected, 0.1), "JPEG, {tag}");
    }
}

#[test]
fn black_on_white_and_white_on_black_are_the_same() {
    let dark = DynamicImage::from(glyph());
    let mut light = dark.clone();
    light.invert();
    assert_eq!(prepare(&png(&dark)), prepare(&png(&light)));
    let ink = prepare(&png(&dark));
    assert!(ink.as_slice().iter().sum::<f32>() > 0.0);
}

#[test]
fn the_background_is_the_median_of_all_four_sides() {
    // As much black on the left as white on the right: grey is in the middle.
    let picture = GrayImage::from_fn(30, 300, |x, _| match x {
        0 => Luma([0]),
        29 => Luma([255]),
        _ => Luma([128]),
    });
    let image = prepare(&png(&picture.into()));
    let row = &image.as_slice()[..32];
    assert!(row[14] > 0.1 && row[17] < -0.1 && row[0] == 0.0, "{row:?}");
    assert!((row[14] + row[17]).abs() < 0.02, "{row:?}");
}

#[test]
fn every_kind_of_pixel_is_read() {
    let grey = DynamicImage::from(glyph());
    let expected = prepare(&png(&grey));
    let transparent = RgbaImage::from_fn(90, 70, |x, y| {
        let [v] = glyph().get_pixel(x, y).0;
        // The colour of what is transparent must not matter.
        Rgba([0, 0, 0, 255 - v])
    });
    let kinds = [
        (
            "8-bit grey with alpha",
            DynamicImage::from(grey.to_luma_alpha8()),
        ),
        ("8-bit colour", grey.to_rgb8().into()),
        ("8-bit colour with alpha", grey.to_rgba8().into()),
        ("16-bit grey", grey.to_luma16().into()),
        ("16-bit grey with alpha", grey.to_luma_alpha16().into()),
        ("16-bit colour", grey.to_rgb16().into()),
        ("16-bit colour with alpha", grey.to_rgba16().into()),
        ("transparent paper", transparent.into()),
    ];
    for (kind, picture) in kinds {
        assert!(near(&prepare(&png(&picture)), &expected, 1e-4), "{kind}");
    }
}

#[test]
fn portable_maps_are_read_like_any_other_file() {
    let picture = DynamicImage::from(glyph());
    let expected = prepare(&png(&picture));
    let (width, height) = (picture.width(), picture.height());
    let grey = picture.to_luma8().into_raw();
    let colour = picture.to_rgb8().into_raw();
    let binary = |magic: &str, pixels: &[u8]| {
        let header = format!("{magic}\n# a comment\n{width} {height}\n255\n");
        [header.as_bytes(), pixels].concat()
    };
    let words: Vec<String> = grey.iter().map(u8::to_string).collect();
    let plain = format!("P2 {width} {height} 255\n{}\n", words.join(" "));
    for file in [
        binary("P5", &grey),
        binary("P6", &colour),
        plain.into_bytes(),
    ] {
        assert!(near(&prepare(&file), &expected, 1e-6));
        for cut in (0..file.len()).step_by(97) {
            let _ = Encoder::bundled().unwrap().prepare(&file[..cut]);
        }
    }
    let huge = refuse(b"P5 60000 60000 255\n\x00");
    assert!(matches!(huge, ImageError::TooManyPixels { .. }), "{huge}");
    assert!(matches!(
        refuse(b"P5 8 8 255\n\x00"),
        ImageError::Corrupt(_)
    ));
    assert!(matches!(refuse(b"P7 8 8"), ImageError::Unsupported { .. }));
}

#[test]
fn towers_of_every_kind_embed_alike_alone_and_together() {
    let colours = |n: u8| {
        let pixel = |x: u32, y: u32| image::Rgb([(x * 5) as u8, (y * 3) as u8 ^ n, n * 40]);
        png(&image::RgbImage::from_fn(50, 40, pixel).into())
    };
    for architecture in Architecture::ALL {
        for (input, side) in [(Input::Ink, 24), (Input::Grey, 32), (Input::Colour, 120)] {
            let plan = Plan {
                widths: [4, 5, 6],
                dim: 16,
                input,
                side,
                ..Plan::of(architecture)
            };
            let weights = init::initial(plan, 3);
            let card = twindex::encoder::Card::new("some", plan);
            let encoder = Encoder::from_bytes(&weights.to_file(&card).unwrap()).unwrap();
            assert_eq!(encoder.card().plan, plan);
            let images: Vec<Prepared> = (0..5)
                .map(|n| encoder.prepare(&colours(n)).unwrap())
                .collect();
            assert!(images.iter().all(|i| i.as_slice().len() == plan.pixels()));
            let together = encoder.embed(&images).unwrap();
            assert_ne!(together[0], together[1]);
            for (image, embedding) in images.iter().zip(&together) {
                let alone = encoder.embed(std::slice::from_ref(image)).unwrap();
                assert_eq!(&alone[0], embedding);
            }
            if plan.pixels() != 32 * 32 {
                let refused = Encoder::bundled().unwrap().embed(&images).unwrap_err();
                assert!(refused.to_string().contains("another model"), "{refused}");
            }
        }
    }
}

#[test]
fn white_ink_on_nothing_is_read_as_ink() {
    let glyph = glyph();
    let turned = image::imageops::rotate180(&glyph);
    for glyph in [glyph, turned] {
        let expected = prepare(&png(&glyph.clone().into()));
        let white = RgbaImage::from_fn(90, 70, |x, y| {
            let [v] = glyph.get_pixel(x, y).0;
            Rgba([255, 255, 255, 255 - v])
        });
        assert!(near(&prepare(&png(&white.into())), &expected, 1e-4));
        // A page with a margin of nothing is still a page: the margin is white as well.
        let page = RgbaImage::from_fn(110, 90, |x, y| {
            let within = (10..100).contains(&x) && (10..80).contains(&y);
            let [v] = if within {
                glyph.get_pixel(x - 10, y - 10).0
            } else {
                [255]
            };
            Rgba([v, v, v, if within { 255 } else { 0 }])
        });
        let mut opaque = page.clone();
        opaque.pixels_mut().for_each(|p| p.0[3] = 255);
        assert_eq!(prepare(&png(&page.into())), prepare(&png(&opaque.into())));
    }
}

#[test]
fn palettes_and_single_bits_are_read() {
    let glyph = glyph();
    let expected = prepare(&png(&glyph.clone().into()));
    let (width, height) = glyph.dimensions();
    for (colour, depth) in [
        (png::ColorType::Indexed, png::BitDepth::Eight),
        (png::ColorType::Indexed, png::BitDepth::One),
        (png::ColorType::Grayscale, png::BitDepth::One),
    ] {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        encoder.set_palette(vec![0, 0, 0, 255, 255, 255]);
        let bit = |v: &u8| u8::from(*v > 0);
        let rows = glyph.as_raw().chunks(width as usize);
        let data: Vec<u8> = match depth {
            png::BitDepth::One => rows
                .flat_map(|row| row.chunks(8))
                .map(|bits| {
                    let ones = bits.iter().enumerate();
                    ones.fold(0, |byte, (i, v)| byte | bit(v) << (7 - i))
                })
                .collect(),
            _ => glyph.as_raw().iter().map(bit).collect(),
        };
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&data).unwrap();
        writer.finish().unwrap();
        assert!(
            near(&prepare(&file), &expected, 1e-5),
            "{colour:?} {depth:?}"
        );
    }
}

#[test]
fn tiny_blank_and_thin_images_embed() {
    let encoder = Encoder::bundled().unwrap();
    for (width, height) in [(1, 1), (3, 2), (1, 65_535), (65_535, 1)] {
        for value in [0, 128, 255] {
            let picture = GrayImage::from_pixel(width, height, Luma([value]));
            let image = encoder.prepare(&png(&picture.into())).unwrap();
            assert!(image.as_slice().iter().all(|v| *v == 0.0));
            let embedding = encoder.embed(&[image]).unwrap().remove(0);
            let length: f32 = embedding.as_slice().iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn what_is_no_image_is_refused_with_reasons() {
    assert_eq!(refuse(b""), ImageError::Empty);
    assert!(
        matches!(refuse(b"GIF89a......"), ImageError::Unsupported { begins } if begins == "4749463839612e2e")
    );
    assert!(matches!(
        refuse(b"\x89PNG\r\n\x1a\n"),
        ImageError::Corrupt(_)
    ));
    assert!(matches!(refuse(b"\xff\xd8\xff"), ImageError::Corrupt(_)));
    let limit = ImageLimits::default().max_bytes;
    assert_eq!(
        refuse(&vec![0; limit + 1]),
        ImageError::TooManyBytes {
            bytes: limit + 1,
            limit
        }
    );
}

#[test]
fn truncated_and_altered_files_never_panic() {
    let whole = png(&glyph().into());
    assert!(matches!(
        refuse(&whole[..whole.len() / 2]),
        ImageError::Corrupt(_)
    ));
    let encoder = Encoder::bundled().unwrap();
    let mut jpeg = Vec::new();
    glyph()
        .write_to(&mut Cursor::new(&mut jpeg), ImageFormat::Jpeg)
        .unwrap();
    for file in [&whole, &jpeg] {
        for at in (0..file.len()).step_by(3) {
            let mut altered = file.clone();
            altered[at] ^= 0x55;
            let _ = encoder.prepare(&altered);
            let _ = encoder.prepare(&file[..at]);
        }
    }
}

/// A PNG that says it is so large and holds `data` bytes of zeros, compressed.
fn bomb(width: u32, height: u32, data: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = png::Encoder::new(&mut file, width, height);
    let mut writer = encoder.write_header().unwrap();
    if data > 0 {
        let mut stream = writer.stream_writer().unwrap();
        let _ = std::io::copy(
            &mut std::io::Read::take(std::io::repeat(0), data as u64),
            &mut stream,
        );
        let _ = stream.finish();
    }
    drop(writer);
    file
}

#[test]
fn too_many_pixels_are_refused_before_they_are_decoded() {
    // There are no pixels to decode: whoever tried would find the file corrupt.
    let expected = ImageError::TooManyPixels {
        width: 10_000,
        height: 10_000,
        limit: 50_000_000,
        side: 65_535,
    };
    assert_eq!(refuse(&bomb(10_000, 10_000, 0)), expected);
    assert_eq!(
        expected.to_string(),
        "image: 10000 x 10000 pixels; at most 50000000 pixels and 65535 a side are allowed"
    );
    assert!(matches!(
        refuse(&bomb(u32::MAX / 2, u32::MAX / 2, 0)),
        ImageError::TooManyPixels { .. } | ImageError::Corrupt(_)
    ));
    for (width, height) in [(65_536, 1), (1, 65_536)] {
        let refused = refuse(&bomb(width, height, 0));
        assert!(matches!(refused, ImageError::TooManyPixels { .. }));
    }

    let strict = Encoder::clone(&Encoder::bundled().unwrap()).with_limits(ImageLimits {
        max_pixels: 100,
        ..ImageLimits::default()
    });
    assert!(strict.prepare(&png(&glyph().into())).is_err());
}

/// The most memory that this process has ever had, in MiB.
#[cfg(target_os = "linux")]
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

#[cfg(target_os = "linux")]
#[test]
fn a_colour_profile_of_zeros_costs_no_more_than_its_file() {
    // 400 MB of zeros, compressed: the pixels of a large picture are the profile of a small.
    let mut zeros = Vec::new();
    let large = bomb(20_000, 20_000, 400_000_000);
    let mut at = 8;
    while let Some(length) = large.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        if &large[at + 4..at + 8] == b"IDAT" {
            zeros.extend(&large[at + 8..at + 8 + length]);
        }
        at += length + 12;
    }
    let mut file = Vec::new();
    let mut writer = png::Encoder::new(&mut file, 1, 1).write_header().unwrap();
    let profile = [b"zeros\0\0", &zeros[..]].concat();
    writer.write_chunk(png::chunk::iCCP, &profile).unwrap();
    writer.write_image_data(&[0]).unwrap();
    writer.finish().unwrap();
    assert!(file.len() < 8 << 20, "{}", file.len());
    let before = peak_memory();
    assert!(prepare(&file).as_slice().iter().all(|v| *v == 0.0));
    let more = peak_memory() - before;
    assert!(more < 100, "{more} MiB more");
}

fn weights() -> Weights {
    init::initial(
        Plan {
            widths: [4, 4, 4],
            dim: 8,
            ..Plan::default()
        },
        1,
    )
}

fn file_of(weights: &Weights) -> Vec<u8> {
    let card = twindex::encoder::Card::new("small-1", weights.plan);
    weights.to_file(&card).unwrap()
}

#[test]
fn weights_come_back_as_they_were_and_the_version_tells_them_apart() {
    let weights = weights();
    let file = file_of(&weights);
    let (read, card) = Weights::parse(&file).unwrap();
    assert_eq!(read, weights);
    assert_eq!(card.name, "small-1");
    let version = |w: &Weights| {
        Encoder::from_bytes(&file_of(w))
            .unwrap()
            .version()
            .to_owned()
    };
    let mut other = weights.clone();
    other.bias[0] = 0.25;
    assert!(version(&weights).starts_with("small-1-"));
    assert_ne!(version(&weights), version(&other));
}

#[test]
fn broken_weights_are_refused() {
    let good = weights();
    let broken = |change: &dyn Fn(&mut Weights)| {
        let mut weights = good.clone();
        change(&mut weights);
        Encoder::from_bytes(&file_of(&weights)).unwrap_err()
    };
    let named = |error: Error| match error {
        Error::Tensor { name, .. } => name,
        other => panic!("{other}"),
    };
    let nan = broken(&|w| w.head[3] = f32::NAN);
    assert!(nan.to_string().contains("element 3 is NaN"), "{nan}");
    assert_eq!(named(nan), "head.weight");
    let negative = broken(&|w| w.blocks[2].variance[0] = -1.0);
    assert_eq!(named(negative), "block2.variance");
    let overflow = broken(&|w| {
        w.blocks[1].gain[0] = f32::MAX;
        w.blocks[1].variance[0] = 0.0;
    });
    assert_eq!(named(overflow), "block1.kernel");

    let file = file_of(&good);
    let replaced = |from: &str, to: &str| {
        let at = file
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .unwrap();
        let mut altered = file.clone();
        altered.splice(at..at + from.len(), to.bytes());
        Encoder::from_bytes(&altered).unwrap_err()
    };
    assert_eq!(named(replaced("head.bias", "head.bild")), "head.bias");
    assert!(matches!(replaced("s2d-s", "s2d-x"), Error::Card(_)));
    assert!(matches!(replaced("\"card\"", "\"cord\""), Error::Card(_)));
    for length in [0, 7, 8, 100, file.len() - 1] {
        let error = Encoder::from_bytes(&file[..length]).unwrap_err();
        assert!(
            matches!(error, Error::NotSafetensors(_)),
            "{length}: {error}"
        );
    }
    let error = Encoder::load(std::path::Path::new("/nowhere/x.safetensors")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/x.safetensors: "));
}

#[test]
fn altered_weights_files_never_panic() {
    let file = file_of(&weights());
    for at in 0..file.len().min(3000) {
        let mut altered = file.clone();
        altered[at] ^= 0x41;
        let _ = Encoder::from_bytes(&altered);
    }
}
