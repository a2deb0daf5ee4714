//! Normalise, ReLU and 2x2 max pooling of one channels-last image, there and back.
//!
//! `raw` is `[height, width, c]`; an odd last row or column is left out. `scale` and `offset`
//! are `[c]`.
#![expect(
    clippy::many_single_char_names,
    reason = "p q over r s are the corners of a square"
)]

/// `y` `[height / 2, width / 2, c]`: the largest of `raw * scale + offset`, or 0.
pub(super) fn forward(raw: &[f32], width: usize, scale: &[f32], offset: &[f32], y: &mut [f32]) {
    let c = scale.len();
    let (scale, offset) = (&scale[..c], &offset[..c]);
    let rows = raw.chunks_exact(2 * width * c);
    for (y, rows) in y.chunks_exact_mut(width / 2 * c).zip(rows) {
        let (upper, lower) = rows.split_at(width * c);
        let squares = upper.chunks_exact(2 * c).zip(lower.chunks_exact(2 * c));
        for (y, (upper, lower)) in y.chunks_exact_mut(c).zip(squares) {
            let ((p, q), (r, s)) = (upper.split_at(c), lower.split_at(c));
            let (p, q, r, s) = (&p[..c], &q[..c], &r[..c], &s[..c]);
            for j in 0..c {
                let at = |v: f32| v * scale[j] + offset[j];
                let largest = at(p[j]).max(at(q[j])).max(at(r[j]).max(at(s[j])));
                y[j] = largest.max(0.0);
            }
        }
    }
}

/// `d`, of `raw`'s shape: the gradient of `raw * scale + offset`. It goes to the largest
/// of a square, to the first of equals, and nowhere where all are negative.
pub(super) fn backward(
    raw: &[f32],
    width: usize,
    scale: &[f32],
    offset: &[f32],
    gradient: &[f32],
    d: &mut [f32],
) {
    let c = scale.len();
    let (scale, offset) = (&scale[..c], &offset[..c]);
    let line = width * c;
    if width % 2 == 1 || !d.len().is_multiple_of(2 * line) {
        d.fill(0.0);
    }
    let rows = d.chunks_exact_mut(2 * line).zip(raw.chunks_exact(2 * line));
    for ((d, raw), g) in rows.zip(gradient.chunks_exact(width / 2 * c)) {
        let (upper, lower) = raw.split_at(line);
        let (d_upper, d_lower) = d.split_at_mut(line);
        let squares = upper.chunks_exact(2 * c).zip(lower.chunks_exact(2 * c));
        let d_squares = d_upper
            .chunks_exact_mut(2 * c)
            .zip(d_lower.chunks_exact_mut(2 * c));
        for (((upper, lower), (d_upper, d_lower)), g) in
            squares.zip(d_squares).zip(g.chunks_exact(c))
        {
            let ((p, q), (r, s)) = (upper.split_at(c), lower.split_at(c));
            let (p, q, r, s) = (&p[..c], &q[..c], &r[..c], &s[..c]);
            let (dp, dq) = d_upper.split_at_mut(c);
            let (dr, ds) = d_lower.split_at_mut(c);
            let (dp, dq) = (&mut dp[..c], &mut dq[..c]);
            let (dr, ds) = (&mut dr[..c], &mut ds[..c]);
            for j in 0..c {
                let at = |v: f32| v * scale[j] + offset[j];
                let (vp, vq, vr, vs) = (at(p[j]), at(q[j]), at(r[j]), at(s[j]));
                let largest = vp.max(vq).max(vr.max(vs));
                // `largest` is one of the four, so comparing is exact.
                let mut left = if largest > 0.0 { g[j] } else { 0.0 };
                dp[j] = if vp >= largest { left } else { 0.0 };
                left -= dp[j];
                dq[j] = if vq >= largest { left } else { 0.0 };
                left -= dq[j];
                dr[j] = if vr >= largest { left } else { 0.0 };
                ds[j] = left - dr[j];
            }
        }
    }
}
