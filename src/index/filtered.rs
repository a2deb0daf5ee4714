//! How a part is searched for the rows that a filter lets through: those few are compared one by
//! one, or many are met on the way that was learnt for as many. Those of a filter that is asked often
//! are looked for in lists of their own.

use super::columns::Asked;
use super::inverted::Inverted;
use super::part::Part;
use super::plan::{Step, Way};
use super::search::{by_candidates, every_list};
use super::snapshot::Query;
use crate::domain::{Filter, Recall};
use std::sync::Arc;

/// With what the filter lets through unknown, of what lists hold so many times `k` are compared
/// by codes, and then exactly.
const UNKNOWN: (usize, usize) = (16, 4);
/// So many rows that may match are each asked by their record.
const ASKED: usize = 1_000;
/// Fewer rows are compared one by one, whatever else there is.
const FEW: usize = 256;
/// A walk among unknown ones keeps so many times more.
const MORE: usize = 4;
/// Lists of their own are worth it where they are so many times faster.
const FASTER: f32 = 1.25;
/// All lists of filters of a part take at most one of so many bytes that its rows take.
const ROOM: usize = 16;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Course {
    /// Compare the rows that the columns list; not by codes first, if exactly.
    Rows { exactly: bool },
    /// Look for those that count.
    Way(Way),
}

/// The best course. `whole`: the columns say all that the filter does.
pub(super) fn course<T>(
    part: &Part<T>,
    query: &Query<'_>,
    asked: &Asked<'_>,
    whole: bool,
) -> Course {
    course_and_time(part, query, asked, whole).0
}

/// The lists that a filter has of its own.
pub(super) struct Own {
    pub(super) lists: Arc<Inverted>,
    /// The best way in them.
    pub(super) way: Way,
    /// Whether it is clearly faster than the other course; if not, it is the way to go once that has
    /// found too little.
    pub(super) is_first: bool,
}

/// Of a filter that is asked often, its lists, if they are of use. The columns say all that the filter
/// does.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
pub(super) fn own<T>(
    part: &Part<T>,
    query: &Query<'_>,
    asked: &Asked<'_>,
    filter: &Filter,
) -> Option<Own> {
    let lists = part.inverted()?;
    let step = |share| {
        let step = part.plan().own(query.recall, share);
        step.filter(|_| query.ef.is_none() && !query.exact)
    };
    let (course, nanos) = course_and_time(part, query, asked, true);
    let is_first = |step: &Step| FASTER * (step.nanos as f32) < nanos;
    let lists_rows = matches!(course, Course::Rows { .. });
    let room = part.len() * part.rows.dim() * size_of::<f32>() / ROOM;
    let bytes = (asked.share() * lists.own_bytes() as f64) as usize;
    step(asked.share()).filter(|step| bytes <= room && (is_first(step) || !lists_rows))?;
    let make = || lists.only(|row| asked.holds(row));
    let lists = part.often().lists(filter, room, make)?;
    let step = step(lists.order().len() as f64 / part.len().max(1) as f64)?;
    Some(Own {
        lists,
        way: step.way.thorough(query.k),
        is_first: is_first(&step),
    })
}

/// And about how many nanoseconds it takes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a number of rows"
)]
fn course_and_time<T>(
    part: &Part<T>,
    query: &Query<'_>,
    asked: &Asked<'_>,
    whole: bool,
) -> (Course, f32) {
    let plan = part.plan();
    let step = match query.ef {
        None if whole => plan.filtered(query.recall, asked.share()),
        _ => None,
    };
    let worth_listing = match (step, query.ef) {
        (Some(step), _) => (step.nanos as f32 / plan.row_nanos.max(0.1)) as usize,
        (None, None) if whole => part.len(),
        (None, None) => ASKED,
        (None, Some(_)) => 0,
    };
    let worth_listing = worth_listing.max(FEW);
    let most = asked.most().filter(|most| *most <= worth_listing);
    if let Some(most) = most.filter(|_| !query.exact) {
        let fresh = part.sealed.is_none() && query.recall != Recall::ALL;
        let exactly = !fresh && !plan.is_reached_by_codes(query.recall);
        return (Course::Rows { exactly }, most as f32 * plan.row_nanos);
    }
    let all = query.recall == Recall::ALL && query.ef.is_none();
    let nanos = step.map_or(f32::INFINITY, |step| step.nanos as f32);
    let way = match (step, query.ef, part.inverted()) {
        _ if query.exact || all => Way::Scan,
        (Some(step), ..) => step.way.thorough(query.k),
        // No way was found to reach the recall.
        (None, None, _) if whole => Way::Scan,
        (None, Some(ef), _) if whole => by_candidates(part, ef.max(query.k), query.k),
        (None, _, Some(lists)) => every_list(lists, UNKNOWN),
        (None, ef, None) => Way::Walk {
            ef: MORE * ef.unwrap_or(query.k).max(query.k),
        },
    };
    (Course::Way(way), nanos)
}
