//! The nearest of rows: by codes first, and then exactly, as far as that may matter.

use super::codes::Coded;
use super::nearest::Nearest;
use super::walk::{Exact, Keys};

/// So many rows are fetched while as many are compared.
const AHEAD: usize = 32;
/// All rows of a part are compared by their codes, so many together.
const TOGETHER: usize = 256;
/// So many more are compared exactly at a time, as long as that may change what is nearest.
const SOME: usize = 6;
/// An error of codes is hardly so many standard deviations below their mean.
const DEVIATIONS: f32 = 4.0;

/// Of many rows, the nearest, in no order.
pub(super) fn nearest_by(by: &impl Keys, rows: &[u32], most: usize) -> Vec<(f32, u32)> {
    let (mut nearest, mut keys) = (Nearest::new(most), Vec::with_capacity(AHEAD));
    let mut parts = rows.chunks(AHEAD).peekable();
    while let Some(part) = parts.next() {
        for row in parts.peek().into_iter().flat_map(|next| next.iter()) {
            by.prefetch(*row);
        }
        by.keys(part, &mut keys);
        for (key, row) in keys.iter().zip(part) {
            if *key <= nearest.limit() {
                nearest.offer(*key, *row);
            }
        }
    }
    nearest.found().collect()
}

/// Of all rows, the nearest that count, in no order.
pub(super) fn nearest_of_all(
    coded: &Coded<'_>,
    rows: usize,
    most: usize,
    counts: &dyn Fn(u32) -> bool,
) -> Vec<(f32, u32)> {
    let (mut nearest, mut keys) = (Nearest::new(most), [0.0; TOGETHER]);
    for first in (0..rows).step_by(TOGETHER) {
        let keys = &mut keys[..TOGETHER.min(rows - first)];
        coded.keys_from(first, keys);
        // A row's number fits: a part has fewer than 2^31.
        for (key, row) in keys.iter().zip(u32::try_from(first).unwrap_or(u32::MAX)..) {
            if *key <= nearest.limit() && counts(row) {
                nearest.offer(*key, row);
            }
        }
    }
    nearest.found().collect()
}

/// Gives rows other keys.
pub(super) fn rekey(by: &impl Keys, rows: &mut [(f32, u32)]) {
    let (mut nodes, mut keys) = (Vec::with_capacity(AHEAD), Vec::with_capacity(AHEAD));
    for (_, row) in rows.iter().take(AHEAD) {
        by.prefetch(*row);
    }
    let mut parts = rows.chunks_mut(AHEAD).peekable();
    while let Some(part) = parts.next() {
        for (_, row) in parts.peek().into_iter().flat_map(|next| next.iter()) {
            by.prefetch(*row);
        }
        nodes.clear();
        nodes.extend(part.iter().map(|(_, row)| *row));
        by.keys(&nodes, &mut keys);
        for ((key, _), new) in part.iter_mut().zip(&keys) {
            *key = *new;
        }
    }
}

/// With exact keys, nearest first.
pub(super) fn compared(exact: &Exact<'_>, mut rows: Vec<(f32, u32)>) -> Vec<(f32, u32)> {
    rekey(exact, &mut rows);
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    rows
}

/// Of rows by keys of codes, nearest first, those that may be among the `k` nearest, and within a
/// limit, if codes err on the others as on the first: with exact keys, nearest first. Also whether
/// none of the rows left can be.
pub(super) fn compared_first(
    exact: &impl Keys,
    k: usize,
    limit: f32,
    mut rows: Vec<(f32, u32)>,
) -> (Vec<(f32, u32)>, bool) {
    let prefetch = |rows: &[(f32, u32)]| rows.iter().for_each(|(_, row)| exact.prefetch(*row));
    let farthest = rows.last().map_or(f32::INFINITY, |(by_code, _)| *by_code);
    let (mut near, mut errors) = (Vec::with_capacity(rows.len()), Vec::new());
    let some = if limit < f32::INFINITY {
        SOME
    } else {
        // Fewer do not tell how codes err.
        SOME.max(k + k / 2 + 1)
    };
    let (mut done, mut next) = (0, some.min(rows.len()));
    let mut settled = true;
    prefetch(&rows[..next]);
    while done < next {
        let after = (next + SOME.max(k / 2)).min(rows.len());
        prefetch(&rows[next..after]);
        let some = &mut rows[done..next];
        errors.extend(some.iter().map(|(by_code, _)| -by_code));
        rekey(exact, some);
        let both = errors[done..].iter_mut().zip(some.iter());
        both.for_each(|(error, (key, _))| *error += key);
        near.extend_from_slice(some);
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let last = near
            .get(k.saturating_sub(1))
            .map_or(limit, |n| n.0.min(limit));
        let by_code = rows.get(next).map_or(farthest, |(by_code, _)| *by_code);
        settled = by_code + least(&errors) > last;
        // One that is beyond shows that there are no more as near.
        if settled && near.last().is_some_and(|(key, _)| *key > last) {
            break;
        }
        (done, next) = (next, after);
    }
    (near, settled)
}

/// About the least that such errors are.
#[expect(clippy::cast_precision_loss, reason = "few")]
fn least(errors: &[f32]) -> f32 {
    let n = errors.len().max(1) as f32;
    let mean = errors.iter().sum::<f32>() / n;
    let squares = errors.iter().map(|e| (e - mean) * (e - mean));
    mean - DEVIATIONS * (squares.sum::<f32>() / n).sqrt()
}
