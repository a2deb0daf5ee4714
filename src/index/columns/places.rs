//! Where the values of rows are in an order of values, and the rows of each.

use std::ops::Range;

/// Of a row without the field.
const NOTHING: u32 = u32::MAX;
/// Of a row whose field holds no value.
const BARE: u32 = u32::MAX - 1;
/// Of a row with several values: the rest is their place in `lists`.
const SEVERAL: u32 = 1 << 31;

/// The places of values by row, and rows by place.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Where in `rows` those of each value begin, and at last where all end.
    starts: Vec<u32>,
    rows: Vec<u32>,
    /// That of a row's value, or one of the above.
    of_row: Vec<u32>,
    lists: Vec<Box<[u32]>>,
    /// Rows with the field.
    there: usize,
}

impl Places {
    /// Adds a row without the field, or with values at these places.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a part has fewer than 2^31 rows"
    )]
    pub(super) fn push(&mut self, row: Option<&[u32]>) {
        self.there += usize::from(row.is_some());
        self.of_row.push(match row {
            None => NOTHING,
            Some([]) => BARE,
            Some([place]) => *place,
            Some(several) => {
                self.lists.push(several.into());
                SEVERAL | (self.lists.len() as u32 - 1)
            }
        });
    }

    /// The same rows, with `values` values in another order: `to` tells the new place of each that
    /// is still there.
    pub(super) fn moved(&self, to: &[Option<u32>], values: usize) -> Self {
        let (mut moved, mut row_places) = (Self::default(), Vec::new());
        for row in self.numbers() {
            row_places.clear();
            row_places.extend(self.of(row).iter().filter_map(|place| to[*place as usize]));
            row_places.sort_unstable();
            row_places.dedup();
            moved.push(self.is_there(row).then_some(&row_places));
        }
        moved.post(values);
        moved
    }

    /// Writes down the rows of each value.
    fn post(&mut self, values: usize) {
        let mut starts = vec![0_u32; values + 1];
        for place in self.numbers().flat_map(|row| self.of(row)) {
            starts[*place as usize + 1] += 1;
        }
        for place in 1..starts.len() {
            starts[place] += starts[place - 1];
        }
        let mut next = starts.clone();
        let mut posted = vec![0; starts.last().map_or(0, |n| *n as usize)];
        for row in self.numbers() {
            for place in self.of(row) {
                posted[next[*place as usize] as usize] = row;
                next[*place as usize] += 1;
            }
        }
        (self.starts, self.rows) = (starts, posted);
    }

    fn numbers(&self) -> Range<u32> {
        0..u32::try_from(self.of_row.len()).unwrap_or(u32::MAX)
    }

    /// Those of a row's values, ascending.
    pub(super) fn of(&self, row: u32) -> &[u32] {
        let place = &self.of_row[row as usize];
        match *place {
            NOTHING | BARE => &[],
            several if several & SEVERAL != 0 => &self.lists[(several & !SEVERAL) as usize],
            _ => std::slice::from_ref(place),
        }
    }

    /// Whether any value of a row is at a place that is asked for.
    #[inline]
    pub(super) fn any(&self, row: u32, asked: impl Fn(u32) -> bool) -> bool {
        self.of(row).iter().any(|place| asked(*place))
    }

    /// Whether a row has the field.
    pub(super) fn is_there(&self, row: u32) -> bool {
        self.of_row[row as usize] != NOTHING
    }

    /// How many rows have the field.
    pub(super) fn there(&self) -> usize {
        self.there
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

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let numbers = self.starts.len() + self.rows.len() + self.of_row.len();
        let lists = self.lists.iter().map(|list| 4 * list.len() + 16);
        4 * numbers + lists.sum::<usize>()
    }
}
