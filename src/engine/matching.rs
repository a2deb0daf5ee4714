//! Which rows of a state match a filter. Where that takes a row's record, it is read once a query,
//! however often the search comes by.

use super::state::State;
use crate::domain::{Filter, Payload};
use crate::store::Tag;
use roaring::RoaringTreemap;
use std::cell::RefCell;

/// A state, seen through a filter.
pub(super) struct Matching<'a> {
    pub(super) state: &'a State<'a>,
    filter: Option<&'a Filter>,
    known: RefCell<Known>,
}

/// Rows by their sequence numbers.
#[derive(Default)]
struct Known {
    asked: RoaringTreemap,
    matching: RoaringTreemap,
}

impl<'a> Matching<'a> {
    /// Without a filter all rows match.
    pub(super) fn new(state: &'a State<'a>, filter: Option<&'a Filter>) -> Self {
        let known = RefCell::default();
        Self {
            state,
            filter,
            known,
        }
    }

    /// Whether a row matches. What goes wrong on the way fails the query at its end.
    pub(super) fn holds(&self, seq: u64, tag: &Tag) -> bool {
        match self.filter {
            None => true,
            Some(_) if self.state.is_given_up() => false,
            Some(filter) if filter.is_label_only() => {
                filter.matches(tag.label.as_ref(), &Payload::default())
            }
            Some(filter) => self.holds_of_record(filter, seq, tag),
        }
    }

    fn holds_of_record(&self, filter: &Filter, seq: u64, tag: &Tag) -> bool {
        let mut known = self.known.borrow_mut();
        if known.asked.insert(seq)
            && let Some(record) = self.state.readable(seq, tag)
            && filter.matches(record.label.as_ref(), &record.payload)
        {
            known.matching.insert(seq);
        }
        known.matching.contains(seq)
    }
}
