//! The rows of a tail that have codes in the space of sealed ones, searched together: whatever the
//! number of parts, the query is put into the space once, and the nearest of all are compared exactly.

use super::best::Best;
use super::compared::compared_first;
use super::inverted::{Inverted, Space};
use super::nearest::Nearest;
use super::search::Search;
use super::walk::Keys;
use crate::simd;
use std::sync::Arc;

/// Of all rows so many, or so many times `k`, or one in so many are compared by codes of their own, and
/// exactly as far as that may matter.
const MOST: usize = 256;
const TIMES: usize = 4;
const ONE_IN: usize = 16;
/// Where that does not settle which are the nearest, so many times more.
const MORE: usize = 8;

/// Parts, and where the rows of each begin among those of all.
struct Together<'a, 's, 'q, T> {
    parts: Vec<(usize, &'a Search<'s, 'q, T>, &'s Inverted)>,
}

impl<'a, 's, 'q, T> Together<'a, 's, 'q, T> {
    /// Those that are in one space.
    fn of(space: &Arc<Space>, searches: &'a [Search<'s, 'q, T>]) -> Self {
        let filed = searches
            .iter()
            .filter_map(|search| Some((search, search.part.fresh()?)));
        let filed = filed.filter(|(_, fresh)| Arc::ptr_eq(fresh.space(), space));
        let parts = filed.scan(0, |from, (search, fresh)| {
            let begin = *from;
            *from += search.part.len();
            Some((begin, search, fresh))
        });
        Self {
            parts: parts.collect(),
        }
    }

    /// The part of a place, and the row there.
    fn at(&self, place: u32) -> (&'a Search<'s, 'q, T>, u32) {
        let place = place as usize;
        let after = self.parts.partition_point(|(from, ..)| *from <= place);
        let (from, search, fresh) = self.parts[after - 1];
        (search, fresh.order()[place - from])
    }

    /// Offers those of the `most` nearest by their codes that are the nearest; answers whether none can
    /// have been missed, and offers nothing otherwise.
    fn run(&self, most: usize, best: &mut Best<'s, T>) -> bool {
        let Some((_, search, fresh)) = self.parts.first() else {
            return true;
        };
        let options = &search.view.options;
        let (query, space) = (search.vector, fresh.space());
        let sought = space.sought(query);
        let mut limit = options.key_of(best.limit());
        let mut nearest = Nearest::within(most, space.rough_limit(query, limit));
        for (from, search, fresh) in &self.parts {
            let counts = |row: u32| search.counts(row as usize).is_some();
            fresh.offer_all(&sought, *from, counts, &mut nearest);
        }
        let mut near: Vec<(f32, u32)> = nearest.found().collect();
        // Where there may be more.
        let farthest = near.iter().map(|(key, _)| *key).max_by(f32::total_cmp);
        let farthest = farthest.filter(|_| near.len() >= most);
        near.sort_unstable_by_key(|(_, place)| *place);
        self.rekey(&mut near);
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (near, _) = compared_first(self, search.query.k, limit, near);
        let last = near.get(search.query.k.saturating_sub(1));
        limit = last.map_or(limit, |(key, _)| key.min(limit));
        if farthest.is_some_and(|key| key <= space.rough_limit(query, limit)) {
            return false;
        }
        for (key, place) in near {
            let (search, row) = self.at(place);
            if let Some(tag) = search.counts(row as usize) {
                let seq = search.part.seqs[row as usize];
                best.offer((options.distance(key), seq, tag));
            }
        }
        true
    }

    /// Gives places, ascending, the keys by their parts' own codes, or exact ones where there are none.
    fn rekey(&self, mut near: &mut [(f32, u32)]) {
        let mut keys = Vec::new();
        for (from, search, fresh) in &self.parts {
            let end = from + search.part.len();
            let here = near.partition_point(|(_, place)| (*place as usize) < end);
            let (some, rest) = near.split_at_mut(here);
            near = rest;
            let places = || some.iter().map(|(_, place)| *place);
            let query = &search.vector[..search.part.rows.dim()];
            match search.part.codes().and_then(|codes| codes.query(query)) {
                Some(_) if some.is_empty() => {}
                Some(coded) => {
                    let rows = places().map(|place| fresh.order()[place as usize - from]);
                    coded.keys(&rows.collect::<Vec<_>>(), &mut keys);
                }
                None => self.keys(&places().collect::<Vec<_>>(), &mut keys),
            }
            some.iter_mut()
                .zip(&keys)
                .for_each(|(one, key)| one.0 = *key);
        }
    }
}

impl<T> Keys for Together<'_, '_, '_, T> {
    fn keys(&self, places: &[u32], out: &mut Vec<f32>) {
        out.clear();
        out.extend(places.iter().map(|place| {
            let (search, row) = self.at(*place);
            let row = search.part.rows.padded(row as usize);
            search.view.options.key(search.vector, row)
        }));
    }

    fn prefetch(&self, place: u32) {
        let (search, row) = self.at(place);
        simd::prefetch(search.part.rows.padded(row as usize));
    }
}

/// Offers what is near in parts of a tail, each of which is in some space.
pub(super) fn run<'s, T>(searches: &[Search<'s, '_, T>], best: &mut Best<'s, T>) {
    let mut spaces: Vec<&Arc<Space>> = Vec::new();
    for fresh in searches.iter().filter_map(|search| search.part.fresh()) {
        if !spaces.iter().any(|space| Arc::ptr_eq(space, fresh.space())) {
            spaces.push(fresh.space());
        }
    }
    for space in spaces {
        let together = Together::of(space, searches);
        let k = together
            .parts
            .first()
            .map_or(0, |(_, search, _)| search.query.k);
        let rows: usize = together
            .parts
            .iter()
            .map(|(_, search, _)| search.part.len())
            .sum();
        let mut most = MOST
            .max(TIMES.saturating_mul(k))
            .max(rows / ONE_IN)
            .min(rows + 1);
        while !together.run(most, best) {
            most = most.saturating_mul(MORE).min(rows + 1);
        }
    }
}
