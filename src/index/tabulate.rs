//! Columns for fields that were not known when the rows came.

use super::Index;
use super::part::Part;
use crate::domain::Facets;
use std::sync::Arc;

impl<T: Clone + Send + Sync + 'static> Index<T> {
    /// Gives sealed parts that have none a column for a field, from what is known of the rows that
    /// live at `since`. A part with a living row of which nothing is known gets none.
    pub fn tabulate_sealed(
        &self,
        field: &Arc<str>,
        since: u64,
        known: impl Fn(u64, &T) -> Option<Facets>,
    ) {
        // What work under way puts in their place takes their columns over.
        let sealed = self.parts().sealed.clone();
        for part in sealed {
            fill(&part, field, since, &known);
        }
    }

    /// The same for all parts; answers whether all have the column now. No row may be born
    /// meanwhile.
    pub fn tabulate(
        &self,
        field: &Arc<str>,
        since: u64,
        known: impl Fn(u64, &T) -> Option<Facets>,
    ) -> bool {
        let parts = self.parts();
        let mut all = true;
        for part in parts.all() {
            all &= fill(part, field, since, &known);
        }
        all
    }

    /// Takes a field's columns away.
    pub fn untabulate(&self, field: &str) {
        for part in self.parts().all() {
            let mut columns = (*part.columns()).clone();
            columns.remove(field);
            part.set_columns(columns);
        }
    }
}

/// Whether a part has the column, now at the latest.
fn fill<T>(
    part: &Part<T>,
    field: &Arc<str>,
    since: u64,
    known: &impl Fn(u64, &T) -> Option<Facets>,
) -> bool {
    let mut columns = (*part.columns()).clone();
    if columns.has(field) {
        return true;
    }
    let mut rows = Vec::with_capacity(part.len());
    for (row, seq) in part.seqs.iter().enumerate() {
        let facets = match part.visible(row, since) {
            Some(tag) => match known(*seq, tag) {
                None => return false,
                known => known,
            },
            None => None,
        };
        rows.push(facets);
    }
    columns.add(field, rows.iter().map(Option::as_ref), since);
    part.set_columns(columns);
    true
}
