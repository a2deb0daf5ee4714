//! The rows of a tail that have codes in the space of sealed ones, searched together: whatever the
//! number of parts, the query is put into the space once, and the nearest of all are compared exactly.

use super::best::Best;
use super::inverted::Space;
use super::nearest::Nearest;
use super::search::Search;
use super::together::Together;
use std::sync::Arc;

/// Of all rows so many, or so many times `k`, or one in so many are compared by codes of their own, and
/// exactly as far as that may matter.
const MOST: usize = 256;
const TIMES: usize = 4;
const ONE_IN: usize = 16;
/// Where that does not settle which are the nearest, so many times more.
const MORE: usize = 8;

/// Offers what is near in parts of a tail, each of which is in some space.
pub(super) fn run<'s, T>(searches: &[Search<'s, '_, T>], best: &mut Best<'s, T>) {
    let mut spaces: Vec<&Arc<Space>> = Vec::new();
    for fresh in searches.iter().filter_map(|search| search.part.fresh()) {
        if !spaces.iter().any(|space| Arc::ptr_eq(space, fresh.space())) {
            spaces.push(fresh.space());
        }
    }
    for space in spaces {
        let filed = searches.iter().filter_map(|search| {
            let fresh = search.part.fresh()?;
            Arc::ptr_eq(fresh.space(), space).then_some((search, Some(fresh)))
        });
        let together = Together::of(filed);
        let rows = together.rows();
        let mut most = MOST
            .max(TIMES.saturating_mul(best.wanted()))
            .max(rows / ONE_IN)
            .min(rows + 1);
        while !nearest(&together, space, most, best) {
            most = most.saturating_mul(MORE).min(rows + 1);
        }
    }
}

/// Offers those of the `most` nearest by their codes that are the nearest; answers whether none can
/// have been missed, and offers nothing otherwise.
fn nearest<'s, T>(
    together: &Together<'_, 's, '_, T>,
    space: &Space,
    most: usize,
    best: &mut Best<'s, T>,
) -> bool {
    let Some(first) = together.parts().first() else {
        return true;
    };
    let (query, k) = (first.search.vector, best.wanted());
    let sought = space.sought(query);
    let mut limit = first.search.view.options.key_of(best.limit());
    let mut nearest = Nearest::within(most, space.rough_limit(query, limit));
    for part in together.parts() {
        let counts = |row: u32| part.search.counts(row as usize).is_some();
        if let Some(lists) = part.lists {
            lists.offer_all(&sought, part.from, counts, &mut nearest);
        }
    }
    let mut near: Vec<(f32, u32)> = nearest.found().collect();
    // Where there may be more.
    let farthest = near.iter().map(|(key, _)| *key).max_by(f32::total_cmp);
    let farthest = farthest.filter(|_| near.len() >= most);
    near.sort_unstable_by_key(|(_, place)| *place);
    let near = together.nearest(k, limit, near);
    let last = near.get(k.saturating_sub(1));
    limit = last.map_or(limit, |(key, _)| key.min(limit));
    if farthest.is_some_and(|key| key <= space.rough_limit(query, limit)) {
        return false;
    }
    together.offer(&near, best);
    true
}
