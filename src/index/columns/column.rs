//! One field of all rows: a dictionary of its values, the place in it of each row's value, and the
//! rows of each value (what search engines call doc values and postings).

use crate::domain::{At, Range as Bounds, Scalar};
use std::collections::HashMap;
use std::ops::Range;

/// Of a row without the field.
const NOTHING: u32 = u32::MAX;
/// Of a row whose field holds no scalar.
const BARE: u32 = u32::MAX - 1;
/// Of a row with several values: the rest is their place in `lists`.
const SEVERAL: u32 = 1 << 31;

/// A field's values by row, and rows by value.
#[derive(Debug, Default)]
pub(super) struct Column {
    /// Every value that a row has, ascending.
    values: Vec<Scalar>,
    /// Where in `rows` those of each value begin, and at last where all end.
    starts: Vec<u32>,
    rows: Vec<u32>,
    /// A place in `values` a row, or one of the above.
    places: Vec<u32>,
    lists: Vec<Box<[u32]>>,
    /// Rows with the field.
    there: usize,
}

impl Column {
    /// Of what each row has.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a part has fewer than 2^31 rows"
    )]
    pub(super) fn of<'a>(rows: impl Iterator<Item = Option<&'a [Scalar]>>) -> Self {
        let mut known: HashMap<&Scalar, u32> = HashMap::new();
        let mut met: Vec<&Scalar> = Vec::new();
        let mut column = Self::default();
        for row in rows {
            column.there += usize::from(row.is_some());
            let mut place = |value: &'a Scalar| {
                *known.entry(value).or_insert_with(|| {
                    met.push(value);
                    met.len() as u32 - 1
                })
            };
            let code = match row {
                None => NOTHING,
                Some([]) => BARE,
                Some([value]) => place(value),
                Some(several) => {
                    column.lists.push(several.iter().map(place).collect());
                    SEVERAL | (column.lists.len() as u32 - 1)
                }
            };
            column.places.push(code);
        }
        let mut order: Vec<u32> = (0..met.len() as u32).collect();
        order.sort_unstable_by_key(|first| met[*first as usize]);
        column.values = order.iter().map(|f| met[*f as usize].clone()).collect();
        let mut sorted = vec![0; met.len()];
        for (place, first) in order.iter().enumerate() {
            sorted[*first as usize] = place as u32;
        }
        for place in column.places.iter_mut().filter(|p| **p < SEVERAL) {
            *place = sorted[*place as usize];
        }
        for place in column.lists.iter_mut().flatten() {
            *place = sorted[*place as usize];
        }
        column.post();
        column
    }

    /// Writes down the rows of each value.
    fn post(&mut self) {
        let mut starts = vec![0_u32; self.values.len() + 1];
        let rows = 0..u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        for row in rows.clone() {
            for place in self.places_of(row) {
                starts[*place as usize + 1] += 1;
            }
        }
        for place in 1..starts.len() {
            starts[place] += starts[place - 1];
        }
        let mut next = starts.clone();
        let mut posted = vec![0; starts.last().map_or(0, |n| *n as usize)];
        for row in rows {
            for place in self.places_of(row) {
                posted[next[*place as usize] as usize] = row;
                next[*place as usize] += 1;
            }
        }
        (self.starts, self.rows) = (starts, posted);
    }

    /// Where a row's values are.
    fn places_of(&self, row: u32) -> &[u32] {
        let place = &self.places[row as usize];
        match *place {
            NOTHING | BARE => &[],
            several if several & SEVERAL != 0 => &self.lists[(several & !SEVERAL) as usize],
            _ => std::slice::from_ref(place),
        }
    }

    /// Whether any value of a row is at a place that is asked for.
    #[inline]
    pub(super) fn any(&self, row: u32, asked: impl Fn(u32) -> bool) -> bool {
        self.places_of(row).iter().any(|place| asked(*place))
    }

    /// Whether a row has the field.
    pub(super) fn is_there(&self, row: u32) -> bool {
        self.places[row as usize] != NOTHING
    }

    /// How many rows have the field.
    pub(super) fn there(&self) -> usize {
        self.there
    }

    /// Where a value is, if any row has it.
    pub(super) fn place(&self, value: &Scalar) -> Option<u32> {
        let place = self.values.binary_search(value).ok()?;
        u32::try_from(place).ok()
    }

    /// The places of the numbers within a range.
    pub(super) fn within(&self, range: &Bounds) -> Range<u32> {
        let before = |value: &Scalar| match value {
            Scalar::Boolean(_) => true,
            Scalar::Number(n) => !range.is_above(n.get()),
            Scalar::Text(_) => false,
        };
        let not_beyond = |value: &Scalar| match value {
            Scalar::Boolean(_) => true,
            Scalar::Number(n) => range.is_below(n.get()),
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

    /// The places from the first value that is not before a range to the last that is not beyond.
    fn between(
        &self,
        before: impl Fn(&Scalar) -> bool,
        not_beyond: impl Fn(&Scalar) -> bool,
    ) -> Range<u32> {
        let place = |at| u32::try_from(at).unwrap_or(u32::MAX);
        let first = self.values.partition_point(before);
        let end = self.values.partition_point(not_beyond).max(first);
        place(first)..place(end)
    }

    /// The rows with values at these places, ascending for each; a row of several values may
    /// come several times.
    pub(super) fn posted(&self, places: Range<u32>) -> &[u32] {
        let [from, to] = [places.start, places.end].map(|at| self.starts[at as usize] as usize);
        &self.rows[from..to]
    }

    /// Whether no row has several values.
    pub(super) fn is_single(&self) -> bool {
        self.lists.is_empty()
    }

    /// What a row has.
    pub(super) fn at(&self, row: u32) -> At {
        let values = self.places_of(row).iter();
        self.is_there(row)
            .then(|| values.map(|p| self.values[*p as usize].clone()).collect())
    }

    /// Memory, in bytes; texts are shared with others.
    pub(super) fn bytes(&self) -> usize {
        let numbers = self.starts.len() + self.rows.len() + self.places.len();
        let lists = self.lists.iter().map(|list| 4 * list.len() + 16);
        4 * numbers + lists.sum::<usize>() + self.values.len() * size_of::<Scalar>()
    }
}
