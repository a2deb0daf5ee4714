//! One field of all rows: a dictionary of its values, and the places of each row's values in it (what
//! search engines call doc values and postings).

use super::places::Places;
use crate::domain::{At, Range as Bounds, Scalar, Timestamp};
use std::collections::HashMap;
use std::ops::Range;

/// A field's values by row, and rows by value.
#[derive(Debug)]
pub(super) struct Column<V = Scalar> {
    /// Every value that a row has, ascending.
    values: Vec<V>,
    pub(super) places: Places,
}

impl<V> Default for Column<V> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            places: Places::default(),
        }
    }
}

impl<V> Column<V> {
    /// The places from the first value that is not before a range to the last that is not beyond.
    fn between(&self, before: impl Fn(&V) -> bool, not_beyond: impl Fn(&V) -> bool) -> Range<u32> {
        let first = self.values.partition_point(before);
        let end = self.values.partition_point(not_beyond).max(first);
        number(first)..number(end)
    }

    /// Memory, in bytes; texts are shared with others.
    pub(super) fn bytes(&self) -> usize {
        self.places.bytes() + self.values.len() * size_of::<V>()
    }
}

impl Column {
    /// Of what each row has.
    pub(super) fn of<'a>(rows: impl Iterator<Item = Option<&'a [Scalar]>>) -> Self {
        let mut known: HashMap<&Scalar, u32> = HashMap::new();
        let mut met: Vec<&Scalar> = Vec::new();
        let (mut places, mut row_places) = (Places::default(), Vec::new());
        for row in rows {
            row_places.clear();
            row_places.extend(row.into_iter().flatten().map(|value| {
                *known.entry(value).or_insert_with(|| {
                    met.push(value);
                    number(met.len() - 1)
                })
            }));
            places.push(row.map(|_| &*row_places));
        }
        let mut order: Vec<usize> = (0..met.len()).collect();
        order.sort_unstable_by_key(|first| met[*first]);
        let mut sorted = vec![None; met.len()];
        for (place, first) in order.iter().enumerate() {
            sorted[*first] = Some(number(place));
        }
        Self {
            values: order.into_iter().map(|first| met[first].clone()).collect(),
            places: places.moved(&sorted, met.len()),
        }
    }

    /// The same rows by the moments that their texts tell, if any does.
    pub(super) fn times(&self) -> Option<Column<Timestamp>> {
        let told: Vec<Option<Timestamp>> = self.values.iter().map(time).collect();
        let mut times: Vec<Timestamp> = told.iter().flatten().copied().collect();
        times.sort_unstable();
        times.dedup();
        let place = |time| times.binary_search(&time).ok().map(number);
        let to: Vec<Option<u32>> = told.into_iter().map(|time| place(time?)).collect();
        (!times.is_empty()).then(|| Column {
            places: self.places.moved(&to, times.len()),
            values: times,
        })
    }

    /// Where a value is, if any row has it.
    pub(super) fn place(&self, value: &Scalar) -> Option<u32> {
        self.values.binary_search(value).ok().map(number)
    }

    /// The places of the numbers within a range.
    pub(super) fn within(&self, range: &Bounds) -> Range<u32> {
        let before = |value: &Scalar| match value {
            Scalar::Boolean(_) => true,
            Scalar::Number(n) => !range.is_above(&n.get()),
            Scalar::Text(_) => false,
        };
        let not_beyond = |value: &Scalar| match value {
            Scalar::Boolean(_) => true,
            Scalar::Number(n) => range.is_below(&n.get()),
            Scalar::Text(_) => false,
        };
        self.between(before, not_beyond)
    }

    /// The places of the texts that begin with another: they come one after the other.
    pub(super) fn starting(&self, prefix: &str) -> Range<u32> {
        let before = |value: &Scalar| match value {
            Scalar::Boolean(_) | Scalar::Number(_) => true,
            Scalar::Text(text) => **text < *prefix,
        };
        let not_beyond = |value: &Scalar| match value {
            Scalar::Boolean(_) | Scalar::Number(_) => true,
            Scalar::Text(text) => **text < *prefix || text.starts_with(prefix),
        };
        self.between(before, not_beyond)
    }

    /// What a row has.
    pub(super) fn at(&self, row: u32) -> At {
        let values = self.places.of(row).iter();
        self.places
            .is_there(row)
            .then(|| values.map(|p| self.values[*p as usize].clone()).collect())
    }
}

impl Column<Timestamp> {
    /// The places of the moments within a range.
    pub(super) fn during(&self, range: &Bounds<Timestamp>) -> Range<u32> {
        self.between(|time| !range.is_above(time), |time| range.is_below(time))
    }
}

fn time(value: &Scalar) -> Option<Timestamp> {
    match value {
        Scalar::Text(text) => Timestamp::parse(text),
        Scalar::Boolean(_) | Scalar::Number(_) => None,
    }
}

/// A part has fewer than 2^31 rows.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
