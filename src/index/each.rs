//! The nearest rows of each group, by one look at every row.

use super::snapshot::{Hit, Snapshot};
use crate::domain::Embedding;
use crate::simd::AlignedRows;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;

impl<T: Clone> Snapshot<T> {
    /// The `n` nearest rows, at least one, of each group: nearest first, and the groups by their
    /// nearest. Looks at every row, and compares those that `group` puts in one.
    #[must_use]
    pub fn nearest_of_each<'a, G: Hash + Eq>(
        &'a self,
        vector: &Embedding,
        n: usize,
        group: impl Fn(u64, &'a T) -> Option<G>,
    ) -> Vec<(G, Vec<Hit<T>>)> {
        let query = AlignedRows::one(vector.as_slice());
        let options = &self.0.options;
        let mut groups: HashMap<G, Nearest<'a, T>> = HashMap::new();
        for part in &self.0.parts {
            for (row, seq) in part.seqs.iter().enumerate() {
                let Some(tag) = part.visible(row, self.0.at) else {
                    continue;
                };
                let Some(group) = group(*seq, tag) else {
                    continue;
                };
                let key = options.key(query.padded(0), part.rows.padded(row));
                let near = (options.distance(key), *seq, tag);
                let nearest = groups.entry(group).or_insert_with(|| Nearest::new(n));
                nearest.offer(near);
            }
        }
        let groups = groups.into_iter();
        let mut groups: Vec<_> = groups.map(|(g, nearest)| (g, nearest.sorted())).collect();
        groups.sort_by(|(_, a), (_, b)| nearer(&a[0], &b[0]));
        let hit = |(distance, seq, tag): Near<'a, T>| Hit {
            seq,
            distance,
            tag: tag.clone(),
        };
        let groups = groups.into_iter();
        groups
            .map(|(g, rows)| (g, rows.into_iter().map(hit).collect()))
            .collect()
    }
}

/// A row's distance, sequence number and tag.
type Near<'a, T> = (f32, u64, &'a T);

fn nearer<T>(a: &Near<'_, T>, b: &Near<'_, T>) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// The nearest rows so far.
struct Nearest<'a, T> {
    most: usize,
    /// Up to twice as many: far ones are thrown away together.
    rows: Vec<Near<'a, T>>,
    /// What is not nearer is not wanted.
    edge: Option<Near<'a, T>>,
}

impl<'a, T> Nearest<'a, T> {
    fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            rows: Vec::new(),
            edge: None,
        }
    }

    fn offer(&mut self, near: Near<'a, T>) {
        if self.edge.is_some_and(|edge| nearer(&near, &edge).is_gt()) {
            return;
        }
        self.rows.push(near);
        if self.rows.len() >= 2 * self.most {
            let (_, edge, _) = self.rows.select_nth_unstable_by(self.most - 1, nearer);
            self.edge = Some(*edge);
            self.rows.truncate(self.most);
        }
    }

    /// At least one, where one was offered.
    fn sorted(mut self) -> Vec<Near<'a, T>> {
        self.rows.sort_unstable_by(nearer);
        self.rows.truncate(self.most);
        self.rows
    }
}
