//! Small nets of every family, with weights of our own making.

use candle_core::{Device, Tensor, safetensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use twindex::encoder::backbone::Family;
use twindex::training::random::Random;

pub type Tensors = HashMap<String, Tensor>;

/// Width of the transformers.
pub const D: usize = 64;

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

pub fn made(family: Family, seed: u64) -> Tensors {
    let maker = Maker::new(seed);
    match family {
        Family::Resnet => maker.resnet18(),
        Family::DinoV2 => maker.dino_v2(),
        Family::Clip => maker.clip(),
        Family::SigLip => maker.sig_lip(),
    }
}

pub fn written(tensors: &Tensors, dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    safetensors::save(tensors, &path).unwrap();
    path
}
