//! Rows of several parts, compared as if they were of one.

use super::best::Best;
use super::compared::compared_first;
use super::inverted::Inverted;
use super::search::Search;
use super::walk::Keys;
use crate::simd;

/// Parts, and where the rows of each begin among those of all: in the order of their lists, if those
/// are given.
pub(super) struct Together<'a, 's, 'q, T> {
    parts: Vec<Member<'a, 's, 'q, T>>,
}

/// A part among others.
pub(super) struct Member<'a, 's, 'q, T> {
    pub(super) from: usize,
    pub(super) search: &'a Search<'s, 'q, T>,
    pub(super) lists: Option<&'s Inverted>,
}

impl<T> Member<'_, '_, '_, T> {
    fn row(&self, place: u32) -> u32 {
        let nth = place as usize - self.from;
        // A row's number fits: a part has fewer than 2^31.
        let itself = || u32::try_from(nth).unwrap_or(u32::MAX);
        self.lists.map_or_else(itself, |lists| lists.order()[nth])
    }
}

impl<'a, 's, 'q, T> Together<'a, 's, 'q, T> {
    pub(super) fn of(
        parts: impl Iterator<Item = (&'a Search<'s, 'q, T>, Option<&'s Inverted>)>,
    ) -> Self {
        let members = parts.scan(0, |from, (search, lists)| {
            let begin = *from;
            *from += search.part.len();
            Some(Member {
                from: begin,
                search,
                lists,
            })
        });
        Self {
            parts: members.collect(),
        }
    }

    pub(super) fn parts(&self) -> &[Member<'a, 's, 'q, T>] {
        &self.parts
    }

    /// Rows of all parts.
    pub(super) fn rows(&self) -> usize {
        let last = self.parts.last();
        last.map_or(0, |last| last.from + last.search.part.len())
    }

    /// The part of a place, and the row there.
    fn at(&self, place: u32) -> (&'a Search<'s, 'q, T>, u32) {
        let after = self
            .parts
            .partition_point(|part| part.from <= place as usize);
        let part = &self.parts[after - 1];
        (part.search, part.row(place))
    }

    /// Of places, ascending, those that may be among the `k` nearest, and within a limit: with exact
    /// keys, nearest first. They are compared by codes of their parts first.
    pub(super) fn nearest(
        &self,
        k: usize,
        limit: f32,
        mut places: Vec<(f32, u32)>,
    ) -> Vec<(f32, u32)> {
        self.rekey(&mut places);
        places.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        compared_first(self, k, limit, places).0
    }

    /// Offers places, by their exact keys.
    pub(super) fn offer(&self, near: &[(f32, u32)], best: &mut Best<'s, T>) {
        for (key, place) in near {
            let (search, row) = self.at(*place);
            search.offer(best, *key, row as usize);
        }
    }

    /// Gives places, ascending, the keys by their parts' own codes, or exact ones where there are none.
    fn rekey(&self, mut near: &mut [(f32, u32)]) {
        let mut keys = Vec::new();
        for part in &self.parts {
            let search = part.search;
            let end = part.from + search.part.len();
            let here = near.partition_point(|(_, place)| (*place as usize) < end);
            let (some, rest) = near.split_at_mut(here);
            near = rest;
            if some.is_empty() {
                continue;
            }
            let places = || some.iter().map(|(_, place)| *place);
            let query = &search.vector[..search.part.rows.dim()];
            match search.part.codes().and_then(|codes| codes.query(query)) {
                Some(coded) => {
                    let rows: Vec<u32> = places().map(|place| part.row(place)).collect();
                    for row in &rows {
                        coded.prefetch(*row);
                    }
                    coded.keys(&rows, &mut keys);
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
