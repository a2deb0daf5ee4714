//! Losses with parameters of their own, which the trained encoder does not keep.

use super::{mates, share};
use candle_core::{D, Result, Tensor};

/// Additive angular margin softmax (Deng et al. 2019, `ArcFace`): the cross-entropy of each
/// row's class among all classes by `scale * cos(angle)`, its own angle widened by `margin`
/// radians. `z` `[n, d]` and `centres` `[classes, d]` are of unit length.
///
/// Where the widened angle would pass 180 degrees, the cosine falls on in a straight line.
///
/// # Errors
/// Shapes that do not fit, or a class that is not there.
pub fn arc_face(
    z: &Tensor,
    centres: &Tensor,
    classes: &[u32],
    scale: f64,
    margin: f64,
) -> Result<Tensor> {
    let cosines = z.matmul(&centres.t()?)?;
    let at = Tensor::from_slice(classes, (classes.len(), 1), z.device())?;
    let own = cosines.gather(&at, 1)?;
    // Kept off 1, where the angle has no slope.
    let safe = own.clamp(-1.0 + 1e-5, 1.0 - 1e-5)?;
    let sine = (1.0 - safe.sqr()?)?.sqrt()?;
    let widened = ((&safe * margin.cos())? - (sine * margin.sin())?)?;
    let beyond = (&safe - (margin.sin() * margin))?;
    let turned = safe.ge(-margin.cos())?;
    let widened = turned.where_cond(&widened, &beyond)?;
    // Of all logits, shifted so that none exceeds 0, one's own is exchanged.
    let logits = |cosines: &Tensor| (cosines - 1.0)? * scale;
    let others = logits(&cosines)?.exp()?.sum_keepdim(D::Minus1)?;
    let others = (others - logits(&own)?.exp()?)?.relu()?;
    let own = logits(&widened)?;
    ((others + own.exp()?)?.log()? - own)?.mean_all()
}

/// Koch, Zemel and Salakhutdinov (2015): `p(same) = sigmoid(sum over k of w_k |a_k - b_k| +
/// c)`, its cross-entropy over all pairs of the batch, genuine and impostor ones weighing the
/// same. `head` `[d + 1]` holds the weights, then `c`.
///
/// # Errors
/// Shapes that do not fit.
pub fn weighted_l1(z: &Tensor, labels: &[u32], head: &Tensor) -> Result<Tensor> {
    let (n, d) = z.dims2()?;
    let genuine: Vec<(usize, usize)> = mates(labels).filter(|(i, j)| i < j).collect();
    let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    let all: Vec<(usize, usize)> = pairs.filter(|(i, j)| labels[*i] != labels[*j]).collect();
    // As many impostors as four for each genuine pair, spread evenly over all.
    let wanted = (4 * genuine.len()).max(1);
    let impostors = all.iter().step_by((all.len() / wanted).max(1));
    let chosen: Vec<((usize, usize), f32)> = genuine
        .iter()
        .map(|pair| (*pair, 1.0))
        .chain(impostors.map(|pair| (*pair, -1.0)))
        .collect();
    let rows = |of: &dyn Fn(&(usize, usize)) -> usize| {
        let at = chosen.iter().map(|(pair, _)| u32::try_from(of(pair)));
        let at: Vec<u32> = at
            .collect::<std::result::Result<_, _>>()
            .map_err(candle_core::Error::wrap)?;
        z.index_select(&Tensor::from_vec(at, chosen.len(), z.device())?, 0)
    };
    let apart = (rows(&|pair| pair.0)? - rows(&|pair| pair.1)?)?.abs()?;
    let weights = head.narrow(0, 0, d)?.reshape((d, 1))?;
    let claims = apart.matmul(&weights)?.flatten_all()?;
    let claims = claims.broadcast_add(&head.narrow(0, d, 1)?)?;
    // softplus(-s x), the cross-entropy: x for genuine pairs, -x for impostors.
    let signs: Vec<f32> = chosen.iter().map(|(_, sign)| *sign).collect();
    let count = |sign: f32| signs.iter().filter(|s| **s * sign > 0.0).count();
    let (of_genuine, of_impostors) = (share(2 * count(1.0)), share(2 * count(-1.0)));
    let weigh = |s: &f32| if *s > 0.0 { of_genuine } else { of_impostors };
    let weights: Vec<f32> = signs.iter().map(weigh).collect();
    let vector = |v: Vec<f32>| Tensor::from_vec(v, chosen.len(), z.device())?.to_dtype(z.dtype());
    let x = (claims * vector(signs)?)?;
    let softplus = ((x.abs()?.neg()?.exp()? + 1.0)?.log()? + x.neg()?.relu()?)?;
    (softplus * vector(weights)?)?.sum_all()
}
