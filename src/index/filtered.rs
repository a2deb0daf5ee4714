//! How a part is searched for the rows that a filter lets through: those few are compared one by
//! one, or many are met on the way that was learnt for as many.

use super::columns::Asked;
use super::part::Part;
use super::plan::Way;
use super::search::every_list;
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
#[derive(Debug)]
pub(super) enum Course {
    /// Compare these rows.
    Rows(Vec<u32>),
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
    let plan = part.plan();
    let step = if whole {
        plan.filtered(query.recall, asked.share())
    } else {
        None
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a number of rows"
    )]
    let listed = match step {
        Some(step) => (step.nanos as f32 / plan.row_nanos.max(0.1)) as usize,
        None if whole => part.len(),
        None => ASKED,
    };
    if !query.exact
        && let Some(rows) = asked.rows(listed.max(FEW))
    {
        return Course::Rows(rows);
    }
    Course::Way(match (step, part.inverted()) {
        _ if query.exact || query.recall == Recall::ALL && query.ef.is_none() => Way::Scan,
        (Some(step), _) => step.way.thorough(query.k),
        // No way was found to reach the recall.
        (None, Some(_)) if whole => Way::Scan,
        (None, Some(lists)) => every_list(lists, UNKNOWN),
        (None, None) => Way::Walk {
            ef: MORE * query.ef.unwrap_or(query.k).max(query.k),
        },
    })
}
