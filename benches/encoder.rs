//! Images a second through the tower, ours against the same net in candle's own
//! operations, on one thread, on the bundled weights. `cargo bench --bench encoder`
//!
//! `cargo bench --bench encoder -- train THREADS` and `-- infer BATCH` print one figure as
//! JSON, which `benches/peers/encoder.py` sets beside PyTorch's and ONNX Runtime's.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench may panic and print"
)]

use candle_core::{D, Device, Result, Tensor};
use image::{GrayImage, ImageFormat, Luma};
use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};
use twindex::encoder::tower::EPSILON;
use twindex::encoder::{Encoder, Plan, Pool, PoolOptions, Prepared, Weights};
use twindex::training::Loss;
use twindex::training::init::initial;
use twindex::training::net::Net;
use twindex::training::optim::{Method, Optimiser};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The tower in candle's operations, channels first; normalisation folded in as well.
struct Plain {
    plan: Plan,
    convolutions: Vec<(Tensor, Tensor)>,
    head: Tensor,
    bias: Tensor,
}

impl Plain {
    fn new(weights: &Weights) -> Result<Self> {
        let cpu = &Device::Cpu;
        let mut convolutions = Vec::new();
        for (block, step) in weights.blocks.iter().zip(weights.plan.steps()) {
            let (from, to) = (step.size.from, step.size.to);
            let vector = |values: &[f32]| Tensor::from_slice(values, to, cpu);
            let deviation = (vector(&block.variance)? + f64::from(EPSILON))?.sqrt()?;
            let scale = (vector(&block.gain)? / deviation)?;
            let shift = (vector(&block.shift)? - (vector(&block.mean)? * &scale)?)?;
            let kernel = Tensor::from_slice(&block.kernel, (3, 3, from, to), cpu)?;
            let kernel = kernel.broadcast_mul(&scale)?.permute((3, 2, 0, 1))?;
            convolutions.push((kernel.contiguous()?, shift.reshape((1, to, 1, 1))?));
        }
        let plan = weights.plan;
        Ok(Self {
            plan,
            convolutions,
            head: Tensor::from_slice(&weights.head, (plan.features(), plan.dim), cpu)?,
            bias: Tensor::from_slice(&weights.bias, plan.dim, cpu)?,
        })
    }

    fn embed(&self, images: &[Prepared]) -> Result<Tensor> {
        let n = images.len();
        let values: Vec<f32> = images
            .iter()
            .flat_map(|image| image.as_slice().to_vec())
            .collect();
        let fold = self.plan.folds();
        let (side, channels) = (self.plan.side / fold, fold * fold);
        let mut x = Tensor::from_vec(values, (n, side, fold, side, fold), &Device::Cpu)?
            .permute((0, 2, 4, 1, 3))?
            .reshape((n, channels, side, side))?;
        for ((kernel, bias), step) in self.convolutions.iter().zip(self.plan.steps()) {
            x = x.conv2d(kernel, 1, 1, 1, 1)?.broadcast_add(bias)?.relu()?;
            if step.pool {
                x = x.max_pool2d(2)?;
            }
        }
        let x = x.permute((0, 2, 3, 1))?.flatten_from(1)?;
        let x = x.matmul(&self.head)?.broadcast_add(&self.bias)?;
        x.broadcast_div(&x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
    }
}

fn drawing(nth: u32) -> Vec<u8> {
    let draw = |x: u32, y: u32| {
        let ink = x.abs_diff(20 + nth % 60) < 3 || (x * y + nth * 7).is_multiple_of(97);
        Luma([if ink { 0 } else { 255 }])
    };
    let mut file = Vec::new();
    GrayImage::from_fn(105, 105, draw)
        .write_to(&mut Cursor::new(&mut file), ImageFormat::Png)
        .unwrap();
    file
}

/// Images a second: the best of five rounds of at least 0.4 seconds.
fn rate(images: usize, mut work: impl FnMut()) -> f64 {
    work();
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let (begun, mut rounds) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_millis(400) {
            work();
            rounds += 1;
        }
        best = best.max((rounds * images) as f64 / begun.elapsed().as_secs_f64());
    }
    best
}

fn threads(n: usize) {
    // Candle's own parallelism is held to as many threads as ours is.
    rayon::ThreadPoolBuilder::new()
        .num_threads(n)
        .build_global()
        .unwrap();
}

fn bundled() -> Weights {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/models/omniglot.safetensors");
    Weights::parse(&std::fs::read(file).unwrap()).unwrap().0
}

/// Images a second of whole training steps of the bundled tower from nothing, batch 256 of
/// four drawings a class.
fn train() -> f64 {
    const BATCH: usize = 256;
    let plan = bundled().plan;
    let mut net = Net::new(&initial(plan, 7), &Device::Cpu).unwrap();
    let mut optimiser = Optimiser::new(Method::AdamW, f32::INFINITY, net.parameters());
    let (side, channels) = (plan.side / plan.folds(), plan.folds().pow(2));
    let shape = (BATCH, side, side, channels);
    let batch = Tensor::rand(0.0_f32, 1.0, shape, &Device::Cpu).unwrap();
    let labels: Vec<u32> = (0..BATCH as u32).map(|i| i / 4).collect();
    rate(BATCH, || {
        let z = net.forward(&batch, 0).unwrap();
        let loss = Loss::SupCon.of(&z, &labels, 0.1).unwrap();
        optimiser.step(&loss.backward().unwrap(), 1e-3).unwrap();
    })
}

/// Prints a figure, and what net it is of.
fn told(images_per_second: f64) {
    let Plan {
        architecture,
        side,
        dim,
        widths,
        ..
    } = bundled().plan;
    let fold = bundled().plan.folds();
    println!(
        "{}",
        serde_json::json!({
            "images_per_second": images_per_second,
            "net": [architecture.to_string(), side, fold, widths, dim],
        })
    );
}

fn main() {
    // Cargo adds an argument of its own.
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    match asked.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => whole(),
        ["train", n] => {
            threads(n.parse().unwrap());
            told(train());
        }
        ["infer", batch] => {
            threads(1);
            let batch: u32 = batch.parse().unwrap();
            let encoder = Encoder::bundled().unwrap();
            let images = (0..batch).map(|n| encoder.prepare(&drawing(n)).unwrap());
            let images: Vec<Prepared> = images.collect();
            let rate = rate(images.len(), || drop(encoder.embed(&images).unwrap()));
            told(rate);
        }
        _ => panic!("train THREADS, infer BATCH or nothing is expected, not {asked:?}"),
    }
}

fn whole() {
    threads(1);
    let encoder = Encoder::bundled().unwrap();
    let plain = Plain::new(&bundled()).unwrap();
    let files: Vec<Vec<u8>> = (0..64).map(drawing).collect();
    let images: Vec<Prepared> = files.iter().map(|f| encoder.prepare(f).unwrap()).collect();

    let ours = encoder.embed(&images).unwrap();
    let theirs = plain.embed(&images).unwrap().to_vec2::<f32>().unwrap();
    let pairs = ours.iter().zip(&theirs);
    let worst = pairs
        .flat_map(|(a, b)| a.as_slice().iter().zip(b))
        .fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 1e-4, "the two nets differ by {worst}");
    println!("{}: largest difference {worst:.1e}", encoder.version());

    for batch in [1, 8, 64] {
        let images = &images[..batch];
        let fused = rate(batch, || drop(encoder.embed(images).unwrap()));
        let theirs = rate(batch, || drop(plain.embed(images).unwrap()));
        println!(
            "batch {batch:2}: ours {fused:6.0} images/s, candle's own {theirs:6.0} images/s, \
             {:.1} times, one thread",
            fused / theirs
        );
    }
    let decode = rate(64, || {
        for file in &files {
            encoder.prepare(file).unwrap();
        }
    });
    println!("decode and prepare 105 x 105 PNG: {decode:6.0} images/s, one thread");

    let options = PoolOptions::default();
    let threads = options.threads;
    let pool = Arc::new(Pool::new(options));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let whole = rate(512, || {
        runtime.block_on(async {
            let mut callers = tokio::task::JoinSet::new();
            for nth in 0..512 {
                let (pool, file) = (Arc::clone(&pool), files[nth % 64].clone());
                let encoder = Arc::clone(&encoder);
                callers.spawn(async move {
                    pool.embed(encoder, bytes::Bytes::from(file)).await.unwrap()
                });
            }
            while callers.join_next().await.is_some() {}
        });
    });
    println!("pool, 512 callers, PNG to embedding: {whole:6.0} images/s, {threads} threads");
}
