//! What filters are answered from: a column for the labels of a part's rows, and one for each
//! indexed field of their payloads.

mod asked;
mod column;
mod places;
#[cfg(test)]
mod tests;

pub(super) use asked::Asked;

use crate::domain::{Facets, Filter, Label, Scalar, Timestamp};
use column::Column;
use std::sync::Arc;

/// The columns of a part.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    rows: usize,
    labels: Arc<Column>,
    fields: Vec<Field>,
}

/// An indexed field.
#[derive(Debug, Clone)]
struct Field {
    path: Arc<str>,
    column: Arc<Column>,
    /// Where texts tell moments, those.
    times: Option<Arc<Column<Timestamp>>>,
    /// It was made from the rows that lived then: earlier snapshots see others too.
    since: u64,
}

impl Columns {
    /// Of rows, `None` for dead ones. A field has a column where it is known of all that live.
    pub(super) fn of(rows: &[Option<Facets>]) -> Self {
        let labels: Vec<Option<[Scalar; 1]>> = rows
            .iter()
            .map(|row| Some([text(row.as_ref()?.label.as_ref()?)]))
            .collect();
        let labels = labels.iter().map(|l| l.as_ref().map(<[_; 1]>::as_slice));
        let mut columns = Self {
            rows: rows.len(),
            labels: Arc::new(Column::of(labels)),
            fields: Vec::new(),
        };
        let live = || rows.iter().flatten();
        let first = live().next();
        for (path, _) in first.map_or(&[][..], |first| &first.fields) {
            if live().all(|facets| facets.knows(path)) {
                columns.add(path, rows.iter().map(Option::as_ref), 0);
            }
        }
        columns
    }

    /// Adds the column of a field, from the rows that live at `since`.
    pub(super) fn add<'a>(
        &mut self,
        path: &Arc<str>,
        rows: impl Iterator<Item = Option<&'a Facets>>,
        since: u64,
    ) {
        self.remove(path);
        let column = Column::of(rows.map(|row| row?.at(path)));
        self.fields.push(Field {
            path: Arc::clone(path),
            times: column.times().map(Arc::new),
            column: Arc::new(column),
            since,
        });
    }

    /// Forgets a field.
    pub(super) fn remove(&mut self, path: &str) {
        self.fields.retain(|field| *field.path != *path);
    }

    /// Whether there is a column for a field.
    pub(super) fn has(&self, path: &str) -> bool {
        self.fields.iter().any(|field| *field.path == *path)
    }

    /// What is known of a row.
    pub(super) fn facets(&self, row: u32) -> Facets {
        let label = match self.labels.at(row).as_deref() {
            Some([Scalar::Text(label)]) => Label::new(&**label).ok(),
            _ => None,
        };
        let fields = self.fields.iter();
        Facets {
            label,
            fields: fields
                .map(|field| (Arc::clone(&field.path), field.column.at(row)))
                .collect(),
        }
    }

    /// A filter, as far as it can be answered from here for a snapshot.
    pub(super) fn asked(&self, filter: &Filter, at: u64) -> Asked<'_> {
        Asked::of(self, filter, at)
    }

    fn field(&self, path: &str, at: u64) -> Option<&Field> {
        let mut fields = self.fields.iter();
        fields.find(|field| *field.path == *path && field.since <= at)
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let fields = self.fields.iter().map(|field| {
            let times = field.times.as_ref().map_or(0, |times| times.bytes());
            field.column.bytes() + times
        });
        self.labels.bytes() + fields.sum::<usize>()
    }
}

fn text(label: &Label) -> Scalar {
    Scalar::Text(label.as_str().into())
}
