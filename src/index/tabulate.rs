//! Columns for fields that were not known when the rows came.

use super::Index;
use super::part::Part;
use crate::domain::Facets;
use std::sync::Arc;

impl<T: Clone + Send + Sync + 'static> Index<T> {
    /// Gives every part that has none a column for a field, from what is known of the rows that
    /// lived at `since`; rows born later must come with it. No job may be under way.
    pub fn tabulate<'a>(
        &self,
        field: &Arc<str>,
        since: u64,
        known: impl Fn(u64) -> Option<&'a Facets>,
    ) {
        let add = |part: &Arc<Part<T>>| {
            let mut columns = (*part.columns()).clone();
            if !columns.has(field) {
                columns.add(field, part.seqs.iter().map(|seq| known(*seq)), since);
                part.set_columns(columns);
            }
        };
        // Only a job would put others in the place of sealed parts, which take long.
        let sealed = self.parts().sealed.clone();
        sealed.iter().for_each(add);
        self.parts().all().for_each(add);
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
