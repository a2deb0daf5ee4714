//! A filter asked of a part's columns.

use super::column::Column;
use super::places::Places;
use super::{Columns, Field, text};
use crate::domain::{Filter, Scalar};
use std::ops::Range;

/// A condition on rows, answered from columns.
#[derive(Debug)]
enum Condition<'a> {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    /// Some value is among these.
    Within(&'a Places, Range<u32>),
    /// Some value is one of these, ascending.
    OneOf(&'a Places, Vec<u32>),
    There(&'a Places),
}

/// A filter, as far as columns answer it.
#[derive(Debug)]
pub(in crate::index) struct Asked<'a> {
    condition: Condition<'a>,
    rows: usize,
    /// Whether rows that meet the condition match the filter; else only they may.
    pub(in crate::index) complete: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn of(columns: &'a Columns, filter: &Filter, at: u64) -> Self {
        let (condition, complete) = Condition::of(columns, filter, at);
        Self {
            condition,
            rows: columns.rows,
            complete,
        }
    }

    /// What nothing is asked of.
    pub(in crate::index) fn nothing() -> Self {
        Self {
            condition: Condition::All(Vec::new()),
            rows: 0,
            complete: true,
        }
    }

    /// Whether a row meets the condition.
    #[inline]
    pub(in crate::index) fn holds(&self, row: u32) -> bool {
        self.condition.holds(row)
    }

    /// About which part of the rows meets it: that of each field does not depend on another's.
    pub(in crate::index) fn share(&self) -> f64 {
        self.condition.share(self.rows.max(1))
    }

    /// One row in about so many meets it, up to a hundred.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1 to 100"
    )]
    pub(in crate::index) fn one_in(&self) -> usize {
        (1.0 / self.share().clamp(0.01, 1.0)) as usize
    }

    /// How many rows meet it at most; `None` where they are not listed.
    pub(in crate::index) fn most(&self) -> Option<usize> {
        self.condition.most(self.rows)
    }

    /// The rows that meet it, where they are listed, in no order, each once.
    pub(in crate::index) fn rows(&self) -> Vec<u32> {
        self.condition.rows()
    }
}

impl<'a> Condition<'a> {
    /// That of a filter, and whether it says all that the filter does.
    fn of(columns: &'a Columns, filter: &Filter, at: u64) -> (Self, bool) {
        let unknown = || (Self::All(Vec::new()), false);
        let of = |part: &Filter| Self::of(columns, part, at);
        let on = |path: &str, condition: &dyn Fn(&'a Field) -> Self| {
            let field = columns.field(path, at);
            field.map_or_else(unknown, |field| (condition(field), true))
        };
        match filter {
            Filter::And(all) => {
                let (parts, complete): (Vec<_>, Vec<bool>) = all.iter().map(of).unzip();
                (Self::All(parts), complete.into_iter().all(|c| c))
            }
            Filter::Or(any) => {
                let (parts, complete): (Vec<_>, Vec<bool>) = any.iter().map(of).unzip();
                (Self::Any(parts), complete.into_iter().all(|c| c))
            }
            Filter::Not(part) => match of(part) {
                (part, true) => (Self::Not(Box::new(part)), true),
                _ => unknown(),
            },
            Filter::LabelIn(labels) => {
                let labels = labels.iter().map(text);
                (Self::one_of(&columns.labels, labels), true)
            }
            Filter::HasLabel => (Self::There(&columns.labels.places), true),
            Filter::In(path, values) => on(path, &|f| Self::one_of(&f.column, values.iter())),
            Filter::Within(path, range) => {
                on(path, &|f| Self::among(&f.column, f.column.within(range)))
            }
            Filter::During(path, range) => on(path, &|f| match &f.times {
                Some(times) => Self::among(times, times.during(range)),
                // What no row meets.
                None => Self::Any(Vec::new()),
            }),
            Filter::StartsWith(path, prefix) => {
                on(path, &|f| Self::among(&f.column, f.column.starting(prefix)))
            }
            Filter::Exists(path) => on(path, &|f| Self::There(&f.column.places)),
        }
    }

    fn among<V>(column: &'a Column<V>, places: Range<u32>) -> Self {
        Self::Within(&column.places, places)
    }

    fn one_of(column: &'a Column, values: impl Iterator<Item = Scalar>) -> Self {
        let mut places: Vec<u32> = values.filter_map(|v| column.place(&v)).collect();
        places.sort_unstable();
        match places.as_slice() {
            [place] => Self::among(column, *place..place + 1),
            _ => Self::OneOf(&column.places, places),
        }
    }

    fn holds(&self, row: u32) -> bool {
        match self {
            Self::All(all) => all.iter().all(|part| part.holds(row)),
            Self::Any(any) => any.iter().any(|part| part.holds(row)),
            Self::Not(part) => !part.holds(row),
            Self::Within(all, places) => all.any(row, |place| places.contains(&place)),
            Self::OneOf(all, places) => all.any(row, |place| places.binary_search(&place).is_ok()),
            Self::There(all) => all.is_there(row),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn share(&self, rows: usize) -> f64 {
        let part = |n: usize| (n as f64 / rows as f64).min(1.0);
        match self {
            Self::All(all) => all.iter().map(|part| part.share(rows)).product(),
            Self::Any(any) => {
                let none = any.iter().map(|part| 1.0 - part.share(rows));
                1.0 - none.product::<f64>()
            }
            Self::Not(one) => 1.0 - one.share(rows),
            Self::Within(all, places) => part(all.posted(places.clone()).len()),
            Self::OneOf(all, places) => part(posted(all, places)),
            Self::There(all) => part(all.there()),
        }
    }

    /// No more rows than that meet it; `None` where they are not listed.
    fn most(&self, rows: usize) -> Option<usize> {
        match self {
            Self::All(all) => all.iter().filter_map(|part| part.most(rows)).min(),
            Self::Any(any) => {
                let most: Option<usize> = any.iter().map(|part| part.most(rows)).sum();
                Some(most?.min(rows))
            }
            Self::Within(all, places) => Some(all.posted(places.clone()).len()),
            Self::OneOf(all, places) => Some(posted(all, places)),
            Self::Not(_) | Self::There(_) => None,
        }
    }

    /// The rows that meet it, where they are listed.
    fn rows(&self) -> Vec<u32> {
        let (mut rows, once) = match self {
            Self::All(all) => {
                let listed = all
                    .iter()
                    .filter_map(|part| Some((part.most(usize::MAX)?, part)));
                let Some((_, fewest)) = listed.min_by_key(|(most, _)| *most) else {
                    return Vec::new();
                };
                let mut rows = fewest.rows();
                rows.retain(|row| self.holds(*row));
                (rows, true)
            }
            Self::Any(any) => (any.iter().flat_map(Self::rows).collect(), any.len() < 2),
            Self::Within(all, places) => {
                let once = all.is_single();
                (all.posted(places.clone()).to_vec(), once)
            }
            Self::OneOf(all, places) => {
                let of = |place: &u32| all.posted(*place..place + 1);
                (
                    places.iter().flat_map(of).copied().collect(),
                    all.is_single(),
                )
            }
            Self::Not(_) | Self::There(_) => (Vec::new(), true),
        };
        if !once {
            rows.sort_unstable();
            rows.dedup();
        }
        rows
    }
}

fn posted(all: &Places, places: &[u32]) -> usize {
    let each = places.iter().map(|p| all.posted(*p..p + 1).len());
    each.sum()
}
