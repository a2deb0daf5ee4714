//! The nets of candle-transformers, sized by the tensors that there are.

use super::super::{Error, Plan};
use super::Family;
use super::positions;
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Func, Linear, Module, VarBuilder};
use candle_transformers::models::clip::text_model::Activation;
use candle_transformers::models::clip::vision_model::{ClipVisionConfig, ClipVisionTransformer};
use candle_transformers::models::dinov2::DinoVisionTransformer;
use candle_transformers::models::{resnet, siglip};
use std::collections::HashMap;

/// Rows and columns that residual nets and `DINOv2` see.
const SIDE: usize = 224;
/// Classes of the head that candle's `DINOv2` always has.
const CLASSES: usize = 1000;

/// Tensors by name.
type Tensors = HashMap<String, Tensor>;

/// A net.
#[derive(Debug)]
pub(super) enum Net {
    Resnet(Func<'static>),
    DinoV2(Box<DinoVisionTransformer>, usize),
    Clip(Box<ClipVisionTransformer>, Option<Linear>),
    SigLip(Box<siglip::VisionModel>),
}

impl Net {
    /// The net of these tensors, its family, and the side of the images that it sees.
    pub fn new(tensors: Tensors) -> std::result::Result<(Family, usize, Self), Error> {
        let Some(family) = Family::of(&tensors) else {
            let marks = Family::ALL.map(|f| format!("{} ({f})", f.mark()));
            return Err(Error::Tensor {
                name: "of the backbone".into(),
                was: format!("{} tensors of no family that is known", tensors.len()),
                allowed: format!("one of {} is needed", marks.join(", ")),
            });
        };
        let (side, net) = match family {
            Family::Resnet => (SIDE, resnet(tensors)?),
            Family::DinoV2 => (SIDE, dino_v2(tensors)?),
            Family::Clip => clip(tensors)?,
            Family::SigLip => sig_lip(tensors)?,
        };
        Ok((family, side, net))
    }

    /// `[1, 3, side, side]` to `[1, features]`: candle's `DINOv2` takes one image at a time, and
    /// of one at a time an image gives the same whatever comes with it.
    pub fn forward(&self, image: &Tensor) -> Result<Tensor> {
        match self {
            Self::Resnet(net) => net.forward(image),
            // Its head passes the class token on.
            Self::DinoV2(net, features) => net.forward(image)?.narrow(1, 0, *features),
            Self::Clip(net, projection) => {
                let seen = net.forward(image)?;
                projection
                    .as_ref()
                    .map_or(Ok(seen.clone()), |p| p.forward(&seen))
            }
            Self::SigLip(net) => net.forward(image),
        }
    }
}

fn builder(tensors: Tensors) -> VarBuilder<'static> {
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// How many there are: `before` 0 `after`, `before` 1 `after`, ...
fn count(tensors: &Tensors, before: &str, after: &str) -> usize {
    let there = |i: &usize| tensors.contains_key(&format!("{before}{i}{after}"));
    (0..tensors.len()).take_while(there).count()
}

fn refuse(was: String, allowed: &str) -> Error {
    Error::Tensor {
        name: "of the backbone".into(),
        was,
        allowed: allowed.into(),
    }
}

/// A tensor's shape, which has so many dimensions.
fn shape<const N: usize>(tensors: &Tensors, name: &str) -> std::result::Result<[usize; N], Error> {
    let found = tensors.get(name).map(Tensor::dims);
    let fits = found.and_then(|dims| <[usize; N]>::try_from(dims).ok());
    fits.ok_or_else(|| Error::Tensor {
        name: name.to_owned(),
        was: found.map_or("missing".into(), |dims| format!("of shape {dims:?}")),
        allowed: format!("{N} dimensions are needed"),
    })
}

fn resnet(tensors: Tensors) -> std::result::Result<Net, Error> {
    let units = [1, 2, 3, 4].map(|i| count(&tensors, &format!("layer{i}."), ".conv1.weight"));
    let deep = tensors.contains_key("layer1.0.conv3.weight");
    let vb = builder(tensors);
    let net = match (units, deep) {
        ([2, 2, 2, 2], false) => resnet::resnet18_no_final_layer(vb),
        ([3, 4, 6, 3], false) => resnet::resnet34_no_final_layer(vb),
        ([3, 4, 6, 3], true) => resnet::resnet50_no_final_layer(vb),
        ([3, 4, 23, 3], true) => resnet::resnet101_no_final_layer(vb),
        ([3, 8, 36, 3], true) => resnet::resnet152_no_final_layer(vb),
        _ => {
            let was = format!("a residual net of {units:?} units");
            return Err(refuse(was, "18, 34, 50, 101 and 152 layers are known"));
        }
    };
    Ok(Net::Resnet(net?))
}

fn dino_v2(mut tensors: Tensors) -> std::result::Result<Net, Error> {
    let [_, tokens, width] = shape(&tensors, "pos_embed")?;
    if width == 0 || !width.is_multiple_of(64) || width > CLASSES {
        let was = format!("{width} channels");
        return Err(refuse(was, "multiples of 64 up to 960 are known (S, B)"));
    }
    if tensors.contains_key("register_tokens") || tokens < 2 {
        let was = format!("DINOv2 with registers, or of {tokens} tokens");
        return Err(refuse(
            was,
            "a class token, patches and no registers are known",
        ));
    }
    let positions = positions::for_side(&tensors["pos_embed"], tokens - 1, SIDE)?;
    tensors.insert("pos_embed".into(), positions);
    // The class token comes first of what the head sees, and is passed on.
    let cells = (0..CLASSES * 2 * width).map(|at| at / (2 * width) == at % (2 * width));
    let pass: Vec<f32> = cells.map(|own| if own { 1.0 } else { 0.0 }).collect();
    let cpu = &Device::Cpu;
    let pass = Tensor::from_vec(pass, (CLASSES, 2 * width), cpu)?;
    tensors.insert("head.weight".into(), pass);
    let none = Tensor::zeros(CLASSES, DType::F32, cpu)?;
    tensors.insert("head.bias".into(), none);
    let depth = count(&tensors, "blocks.", ".ls1.gamma");
    let net = DinoVisionTransformer::new(builder(tensors), depth, width, width / 64)?;
    Ok(Net::DinoV2(Box::new(net), width))
}

/// What a vision transformer of one of the pairs looks like.
struct Vision {
    width: usize,
    inner: usize,
    layers: usize,
    patch: usize,
    side: usize,
}

impl Vision {
    fn of(tensors: &Tensors, class_token: usize) -> std::result::Result<Self, Error> {
        let [width, _, patch, _] =
            shape(tensors, "vision_model.embeddings.patch_embedding.weight")?;
        let [positions, _] = shape(tensors, "vision_model.embeddings.position_embedding.weight")?;
        let [inner, _] = shape(tensors, "vision_model.encoder.layers.0.mlp.fc1.weight")?;
        let layers = "vision_model.encoder.layers.";
        let side = positions.saturating_sub(class_token).isqrt();
        let side = side.saturating_mul(patch);
        if width == 0 || patch == 0 || !(Plan::MIN_SIDE..=Plan::MAX_BACKBONE_SIDE).contains(&side) {
            let was = format!("{width} channels, patches of {patch}, images of {side}");
            let (least, most) = (Plan::MIN_SIDE, Plan::MAX_BACKBONE_SIDE);
            return Err(refuse(
                was,
                &format!("images of {least} to {most} are known"),
            ));
        }
        Ok(Self {
            width,
            inner,
            layers: count(tensors, layers, ".mlp.fc1.weight"),
            patch,
            side,
        })
    }
}

fn clip(tensors: Tensors) -> std::result::Result<(usize, Net), Error> {
    let vision = Vision::of(&tensors, 1)?;
    if vision.width > 1024 {
        let was = format!("CLIP of {} channels", vision.width);
        return Err(refuse(was, "up to 1024 are known (B, L)"));
    }
    let projection = tensors.get("visual_projection.weight").cloned();
    let config = ClipVisionConfig {
        embed_dim: vision.width,
        activation: Activation::QuickGelu,
        intermediate_size: vision.inner,
        num_hidden_layers: vision.layers,
        num_attention_heads: (vision.width / 64).max(1),
        projection_dim: 0,
        num_channels: 3,
        image_size: vision.side,
        patch_size: vision.patch,
    };
    let net = ClipVisionTransformer::new(builder(tensors).pp("vision_model"), &config)?;
    let projection = projection.map(|weight| Linear::new(weight, None));
    Ok((vision.side, Net::Clip(Box::new(net), projection)))
}

fn sig_lip(tensors: Tensors) -> std::result::Result<(usize, Net), Error> {
    let vision = Vision::of(&tensors, 0)?;
    let config = siglip::VisionConfig {
        hidden_size: vision.width,
        intermediate_size: vision.inner,
        num_hidden_layers: vision.layers,
        // So400m alone has heads of 72.
        num_attention_heads: (vision.width / if vision.width == 1152 { 72 } else { 64 }).max(1),
        num_channels: 3,
        image_size: vision.side,
        patch_size: vision.patch,
        hidden_act: candle_nn::Activation::GeluPytorchTanh,
        layer_norm_eps: 1e-6,
    };
    let net = siglip::VisionModel::new(&config, true, builder(tensors).pp("vision_model"))?;
    Ok((vision.side, Net::SigLip(Box::new(net))))
}
