//! Filters from their messages.

use super::pb::{self, filter::Condition};
use super::structs;
use crate::domain::{Filter, Invalid, Label, MAX_FILTER_DEPTH, Range, Scalars, Timestamp};
use serde_json::Value;

const MAX_PARTS: usize = 1_000;
const MAX_VALUES: usize = 10_000;

/// A filter from its message, if there is one.
pub(super) fn optional(message: Option<pb::Filter>) -> Result<Option<Filter>, Invalid> {
    let Some(message) = message else {
        return Ok(None);
    };
    let filter = filter(message, "filter", 1)?;
    filter.check_size()?;
    Ok(Some(filter))
}

fn filter(message: pb::Filter, at: &str, depth: usize) -> Result<Filter, Invalid> {
    if depth > MAX_FILTER_DEPTH {
        return Err(Filter::too_deep());
    }
    let Some(condition) = message.condition else {
        return Err(Invalid::new(
            at,
            "empty",
            "exactly one condition must be set",
        ));
    };
    Ok(match condition {
        Condition::And(list) => Filter::And(parts(list, &format!("{at}.and"), depth)?),
        Condition::Or(list) => Filter::Or(parts(list, &format!("{at}.or"), depth)?),
        Condition::Not(inner) => {
            let inner = filter(*inner, &format!("{at}.not"), depth + 1)?;
            Filter::Not(Box::new(inner))
        }
        Condition::Label(label) if label.any_of.is_empty() => Filter::HasLabel,
        Condition::Label(label) => {
            at_most(
                &format!("{at}.label.any_of"),
                label.any_of.len(),
                MAX_VALUES,
            )?;
            let labels = label.any_of.into_iter().map(Label::new);
            let labels = labels.collect::<Result<_, _>>();
            Filter::LabelIn(labels.map_err(|e| e.within(at))?)
        }
        Condition::Equals(equals) => {
            let at = format!("{at}.equals");
            let value = scalar(equals.value, &format!("{at}.value"))?;
            Filter::In(path(equals.field, &at)?, Scalars::from_iter([value]))
        }
        Condition::In(list) => {
            let at = format!("{at}.in");
            at_most(&format!("{at}.values"), list.values.len(), MAX_VALUES)?;
            let values = list.values.into_iter();
            let values = values.map(|v| scalar(Some(v), &format!("{at}.values")));
            Filter::In(path(list.field, &at)?, values.collect::<Result<_, _>>()?)
        }
        Condition::Range(range) => number_range(range, &format!("{at}.range"))?,
        Condition::TimeRange(range) => time_range(range, &format!("{at}.time_range"))?,
        Condition::StartsWith(starts) => {
            let at = format!("{at}.starts_with");
            if starts.prefix.is_empty() {
                let rule = "the beginning of a string is required";
                return Err(Invalid::new(format!("{at}.prefix"), "empty", rule));
            }
            Filter::StartsWith(path(starts.field, &at)?, starts.prefix)
        }
        Condition::Exists(exists) => Filter::Exists(path(exists.field, &format!("{at}.exists"))?),
    })
}

fn number_range(range: pb::RangeFilter, at: &str) -> Result<Filter, Invalid> {
    let bounds = Range {
        gt: range.gt,
        gte: range.gte,
        lt: range.lt,
        lte: range.lte,
    };
    check_bounded(&bounds, at)?;
    let given = [range.gt, range.gte, range.lt, range.lte];
    if let Some(nan) = given.iter().flatten().find(|b| b.is_nan()) {
        let rule = "a bound must be a number";
        return Err(Invalid::new(at, nan.to_string(), rule));
    }
    Ok(Filter::Within(path(range.field, at)?, bounds))
}

fn time_range(range: pb::TimeRangeFilter, at: &str) -> Result<Filter, Invalid> {
    let bound = |name, bound: Option<prost_types::Timestamp>| {
        let time =
            |b: prost_types::Timestamp| Timestamp::new(&format!("{at}.{name}"), b.seconds, b.nanos);
        bound.map(time).transpose()
    };
    let bounds = Range {
        gt: bound("gt", range.gt)?,
        gte: bound("gte", range.gte)?,
        lt: bound("lt", range.lt)?,
        lte: bound("lte", range.lte)?,
    };
    check_bounded(&bounds, at)?;
    Ok(Filter::During(path(range.field, at)?, bounds))
}

fn check_bounded<T: PartialOrd>(range: &Range<T>, at: &str) -> Result<(), Invalid> {
    if range.is_bounded() {
        return Ok(());
    }
    let rule = "at least one bound must be set";
    Err(Invalid::new(at, "no bound", rule))
}

fn parts(list: pb::FilterList, at: &str, depth: usize) -> Result<Vec<Filter>, Invalid> {
    at_most(at, list.filters.len(), MAX_PARTS)?;
    let parts = list.filters.into_iter().enumerate();
    parts
        .map(|(nth, part)| filter(part, &format!("{at}[{nth}]"), depth + 1))
        .collect()
}

fn at_most(field: &str, n: usize, max: usize) -> Result<(), Invalid> {
    if n <= max {
        return Ok(());
    }
    let was = format!("{n} entries");
    Err(Invalid::new(
        field,
        was,
        format!("at most {max} are allowed"),
    ))
}

fn path(field: String, at: &str) -> Result<String, Invalid> {
    if field.is_empty() {
        let at = format!("{at}.field");
        return Err(Invalid::new(
            at,
            "empty",
            "the path of a payload field is required",
        ));
    }
    Ok(field)
}

fn scalar(value: Option<prost_types::Value>, at: &str) -> Result<Value, Invalid> {
    let here = |e| Invalid {
        field: at.to_owned(),
        ..e
    };
    let value = structs::value(value.unwrap_or_default(), 1).map_err(here)?;
    if matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_)) {
        return Ok(value);
    }
    Err(Invalid::new(
        at,
        value.to_string(),
        "a string, number or boolean is allowed",
    ))
}
