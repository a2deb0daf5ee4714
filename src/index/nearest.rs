//! The rows with the least keys so far, of a great many that are offered.

/// Rows and their keys, at most so many, in no order until the end.
#[derive(Debug)]
pub(in crate::index) struct Nearest {
    most: usize,
    /// Above their keys nothing is wanted any more.
    limit: f32,
    /// A key in the high half, ordered as an integer; the row in the low one.
    all: Vec<u64>,
}

/// How many more are gathered before the far ones are thrown away.
const SLACK: usize = 64;

impl Nearest {
    pub(in crate::index) fn new(most: usize) -> Self {
        Self {
            most,
            limit: f32::INFINITY,
            all: Vec::with_capacity((2 * most + SLACK).min(1 << 16)),
        }
    }

    /// The same, of those within a limit.
    pub(in crate::index) fn within(most: usize, limit: f32) -> Self {
        let mut nearest = Self::new(most);
        nearest.limit = limit;
        nearest
    }

    /// Keys must be below this, or equal, to count.
    pub(in crate::index) fn limit(&self) -> f32 {
        self.limit
    }

    pub(in crate::index) fn offer(&mut self, key: f32, row: u32) {
        self.all
            .push(u64::from(ordered(key)) << 32 | u64::from(row));
        if self.all.len() >= 2 * self.most + SLACK {
            self.cut();
            if let Some(last) = self.all.last() {
                self.limit = key_of(*last);
            }
        }
    }

    /// So many of more, nearer than the farthest of these: those are among them already. `None` if
    /// they are not as many as wanted.
    pub(in crate::index) fn among(mut self, most: usize) -> Option<Self> {
        self.cut();
        let last = self.all.iter().max().copied();
        let last = last.filter(|_| self.all.len() == self.most)?;
        let mut nearest = Self::new(most);
        nearest.limit = key_of(last);
        nearest.all.append(&mut self.all);
        Some(nearest)
    }

    /// How many were gathered.
    pub(in crate::index) fn len(&self) -> usize {
        self.all.len()
    }

    /// Keeps the nearest, the farthest of them last.
    fn cut(&mut self) {
        if self.all.len() > self.most {
            self.all.select_nth_unstable(self.most.saturating_sub(1));
            self.all.truncate(self.most);
        }
    }

    /// The nearest, as keys and rows, in no order.
    pub(in crate::index) fn found(mut self) -> impl Iterator<Item = (f32, u32)> {
        self.cut();
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        let row = |both: u64| both as u32;
        self.all
            .into_iter()
            .map(move |both| (key_of(both), row(both)))
    }
}

/// Orders as the number does.
fn ordered(key: f32) -> u32 {
    let bits = key.to_bits();
    if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    }
}

fn key_of(both: u64) -> f32 {
    let bits = (both >> 32) as u32;
    f32::from_bits(if bits >> 31 == 1 {
        bits & !(1 << 31)
    } else {
        !bits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_keys_are_kept() {
        let key = |row: u32| f32::from(u16::try_from(row * 7_919 % 1_009).unwrap()) - 500.5;
        let mut nearest = Nearest::new(10);
        for row in 0..1_000 {
            if key(row) <= nearest.limit() {
                nearest.offer(key(row), row);
            }
        }
        let mut found: Vec<_> = nearest.found().collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut all: Vec<_> = (0..1_000).map(|row| (key(row), row)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert_eq!(found, all[..10]);
        assert_eq!(Nearest::new(0).found().count(), 0);
    }
}
