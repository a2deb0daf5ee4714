//! How a part is searched for the rows that a filter lets through: those few are compared one by
//! one, or many are met on the way that was learnt for as many.

use super::columns::Asked;
use super::part::Part;
use super::plan::Way;
use super::search::{by_candidates, every_list};
use super::snapshot::Query;
use crate::domain::Recall;

/// With what the filter lets through unknown, of what lists hold so many times `k` are compared
/// by codes, and then exactly.
const UNKNOWN: (usize, usize) = (16, 4);
/// So many rows that may match are each asked by their record.
const ASKED: usize = 1_000;
/// Fewer rows are compared one by one, whatever else there is.
const FEW: usize = 256;
/// A walk among unknown ones keeps so many times more.
const MORE: usize = 4;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Course {
    /// Compare the rows that the columns list; not by codes first, if exactly.
    Rows { exactly: bool },
    /// Look for those that count.
    Way(Way),
}

/// The best course. `whole`: the columns say all that the filter does.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a number of rows"
)]
pub(super) fn course<T>(
    part: &Part<T>,
    query: &Query<'_>,
    asked: &Asked<'_>,
    whole: bool,
) -> Course {
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
    if !query.exact && asked.most().is_some_and(|most| most <= worth_listing) {
        let fresh = part.sealed.is_none() && query.recall != Recall::ALL;
        let exactly = !fresh && !plan.is_reached_by_codes(query.recall);
        return Course::Rows { exactly };
    }
    let all = query.recall == Recall::ALL && query.ef.is_none();
    Course::Way(match (step, query.ef, part.inverted()) {
        _ if query.exact || all => Way::Scan,
        (Some(step), ..) => step.way.thorough(query.k),
        // No way was found to reach the recall.
        (None, None, _) if whole => Way::Scan,
        (None, Some(ef), _) if whole => by_candidates(part, ef.max(query.k), query.k),
        (None, _, Some(lists)) => every_list(lists, UNKNOWN),
        (None, ef, None) => Way::Walk {
            ef: MORE * ef.unwrap_or(query.k).max(query.k),
        },
    })
}
