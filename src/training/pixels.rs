//! Changing the values of a channels-last picture, its places left as they are.

use super::random::Random;

/// Blends every place with the largest of its 3x3 surroundings.
pub(super) fn thicken(image: &mut [f32], side: usize, channels: usize, blend: f32) {
    let line = side * channels;
    let mut wide = image.to_vec();
    for (out, row) in wide.chunks_exact_mut(line).zip(image.chunks_exact(line)) {
        for (i, out) in out.iter_mut().enumerate() {
            let left = if i < channels {
                row[i]
            } else {
                row[i - channels]
            };
            let right = *row.get(i + channels).unwrap_or(&row[i]);
            *out = out.max(left).max(right);
        }
    }
    for (r, row) in image.chunks_exact_mut(line).enumerate() {
        let upper = &wide[r.saturating_sub(1) * line..][..line];
        let middle = &wide[r * line..][..line];
        let lower = &wide[(r + 1).min(side - 1) * line..][..line];
        for (i, v) in row.iter_mut().enumerate() {
            let largest = upper[i].max(middle[i]).max(lower[i]);
            *v += blend * (largest - *v);
        }
    }
}

/// A Gaussian blur of this deviation, in pixels, cut off at twice that; at the edge the
/// nearest places count again.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a few pixels"
)]
pub(super) fn blur(image: &mut [f32], side: usize, channels: usize, deviation: f32) {
    let reach = (2.0 * deviation).ceil() as usize;
    if reach == 0 {
        return;
    }
    let mut weights: Vec<f32> = (0..=2 * reach)
        .map(|i| (-0.5 * ((i as f32 - reach as f32) / deviation).powi(2)).exp())
        .collect();
    let sum: f32 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= sum;
    }
    let mut once = vec![0.0; image.len()];
    let (near, far) = (channels, side * channels);
    pass(image, &mut once, side, channels, [near, far], &weights);
    pass(&once, image, side, channels, [far, near], &weights);
}

/// Sums along lines: `step` leads to the next place of a line, `across` to the next line.
fn pass(
    from: &[f32],
    to: &mut [f32],
    side: usize,
    channels: usize,
    [step, across]: [usize; 2],
    weights: &[f32],
) {
    let reach = weights.len() / 2;
    for line in 0..side {
        for at in 0..side {
            for channel in 0..channels {
                let sum = weights.iter().enumerate().map(|(i, weight)| {
                    let near = (at + i).saturating_sub(reach).min(side - 1);
                    weight * from[line * across + near * step + channel]
                });
                to[line * across + at * step + channel] = sum.sum();
            }
        }
    }
}

/// Other colours: `strength` of a change of saturation and of each channel's factor.
pub(super) fn colour(image: &mut [f32], strength: f32, random: &mut Random) {
    let saturation = 1.0 + random.within(strength);
    let factors = [(); 3].map(|()| 1.0 + random.within(0.5 * strength));
    let (places, _) = image.as_chunks_mut::<3>();
    for place in places {
        let grey = (place[0] + place[1] + place[2]) / 3.0;
        for (v, factor) in place.iter_mut().zip(factors) {
            // Factors are on light, of which -1 is none.
            let light = (1.0 + grey + saturation * (*v - grey)) * factor;
            *v = (light - 1.0).clamp(-1.0, 1.0);
        }
    }
}

/// Sets a square to zero: up to `most` of the side, anywhere.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of the side"
)]
pub(super) fn erase(
    image: &mut [f32],
    side: usize,
    channels: usize,
    most: f32,
    random: &mut Random,
) {
    let square = (random.unit() * most * side as f32) as usize;
    let (top, left) = (
        random.below(side - square + 1),
        random.below(side - square + 1),
    );
    for row in image
        .chunks_exact_mut(side * channels)
        .skip(top)
        .take(square)
    {
        row[left * channels..(left + square) * channels].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_keeps_the_sum_within_and_what_is_even() {
        let mut even = vec![0.5; 9 * 9 * 3];
        blur(&mut even, 9, 3, 1.2);
        assert!(even.iter().all(|v| (v - 0.5).abs() < 1e-5));
        let mut dot = vec![0.0; 9 * 9];
        dot[4 * 9 + 4] = 1.0;
        blur(&mut dot, 9, 1, 1.0);
        assert!((dot.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(dot[4 * 9 + 4] < 0.3 && (dot[3 * 9 + 4] - dot[4 * 9 + 5]).abs() < 1e-6);
    }

    #[test]
    fn a_stroke_grows_by_a_pixel() {
        let mut image = vec![0.0; 25];
        image[12] = 1.0;
        thicken(&mut image, 5, 1, 1.0);
        let ink = image.iter().filter(|v| **v > 0.5).count();
        assert_eq!((ink, image[6], image[0]), (9, 1.0, 0.0));
    }

    #[test]
    fn a_square_is_erased_and_no_more() {
        for seed in 0..50 {
            let mut image = vec![1.0; 10 * 10 * 3];
            erase(&mut image, 10, 3, 0.5, &mut Random::new(seed, 0));
            let gone = image.iter().filter(|v| **v == 0.0).count();
            let square = gone / 3;
            assert!(
                [0, 1, 4, 9, 16].contains(&square) && gone % 3 == 0,
                "{gone}"
            );
        }
    }
}
