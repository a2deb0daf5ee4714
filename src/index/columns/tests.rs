use super::*;
use crate::domain::{Payload, Range, Scalars, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Some moments, told by different clocks, and what only looks like one.
fn time() -> impl Strategy<Value = String> {
    let offset = prop::sample::select(vec!["Z", "+01:00", "-02:00", ""]);
    (10..14, offset).prop_map(|(hour, offset)| format!("2026-11-27T{hour}:00:00{offset}"))
}

/// A row's label and payload.
fn item() -> impl Strategy<Value = (Option<Label>, Payload)> {
    let value = prop_oneof![
        Just(json!(null)),
        (0..4).prop_map(|n| json!(n)),
        "[ab]{1,2}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        time().prop_map(Value::from),
        prop::collection::vec(time(), 0..3).prop_map(Value::from),
        prop::collection::vec(0..4, 0..3).prop_map(|list| json!(list)),
        Just(json!({"c": 1})),
    ];
    let fields = prop::collection::hash_map("[xy]", value, 0..3);
    let label = prop::option::of("[pqr]".prop_map(|l| Label::new(l).unwrap()));
    let payload = fields.prop_map(|fields| Payload::new(fields.into_iter().collect()).unwrap());
    (label, payload)
}

fn condition() -> impl Strategy<Value = Filter> {
    let path = || "[xyz]";
    let value = || {
        prop_oneof![
            (0..4).prop_map(|n| json!(n)),
            Just(json!("a")),
            Just(json!(true))
        ]
    };
    let bound = || prop::option::of((0..4).prop_map(f64::from));
    let moment = || prop::option::of(time()).prop_map(|time| Timestamp::parse(&time?));
    let leaf = prop_oneof![
        prop::collection::hash_set("[pqrs]", 0..3).prop_map(|labels| Filter::LabelIn(
            labels.into_iter().map(|l| Label::new(l).unwrap()).collect()
        )),
        Just(Filter::HasLabel),
        (path(), prop::collection::vec(value(), 0..3))
            .prop_map(|(path, values)| Filter::In(path, Scalars::from_iter(values))),
        (path(), bound(), bound(), bound(), bound()).prop_map(|(path, gt, gte, lt, lte)| {
            Filter::Within(path, Range { gt, gte, lt, lte })
        }),
        (path(), moment(), moment()).prop_map(|(path, gte, lt)| {
            let range = Range {
                gte,
                lt,
                ..Range::default()
            };
            Filter::During(path, range)
        }),
        (path(), "(a|b|2026-11-27T1)?[abc3]?")
            .prop_map(|(path, prefix)| Filter::StartsWith(path, prefix)),
        path().prop_map(Filter::Exists),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::Or),
            inner.prop_map(|part| Filter::Not(Box::new(part))),
        ]
    })
}

proptest! {
    /// Of the fields, x and y are indexed; z is not, and no row has it.
    #[test]
    fn columns_answer_as_the_filter_does(
        items in prop::collection::vec(item(), 1..40),
        filter in condition(),
        dead in 0..40_usize,
    ) {
        let fields = ["x", "y"].map(Arc::from);
        let facets: Vec<Option<Facets>> = items
            .iter()
            .enumerate()
            .map(|(row, (label, payload))| {
                (row != dead).then(|| Facets::of(label.as_ref(), payload, &fields))
            })
            .collect();
        let columns = Columns::of(&facets);
        let asked = columns.asked(&filter, 7);
        let all: Vec<u32> = (0..).take(items.len()).filter(|row| *row as usize != dead).collect();
        let mut met = Vec::new();
        for row in &all {
            let (label, payload) = &items[*row as usize];
            let matches = filter.matches(label.as_ref(), payload);
            let holds = asked.holds(*row);
            prop_assert!(holds || !matches, "{row} matches");
            prop_assert!(matches || !holds || !asked.complete, "{row} does not match");
            if holds {
                met.push(*row);
            }
            if !fields.is_empty() {
                let known = columns.facets(*row);
                prop_assert_eq!(Some(known), facets[*row as usize].clone());
            }
        }
        prop_assert!((0.0..=1.0).contains(&asked.share()));
        if let Some(most) = asked.most() {
            let mut rows = asked.rows();
            prop_assert!(rows.len() <= most);
            rows.retain(|row| *row as usize != dead);
            rows.sort_unstable();
            prop_assert_eq!(rows, met);
        }
    }
}

#[test]
fn a_column_made_later_is_not_for_earlier_snapshots() {
    let fields = ["x".into()];
    let payload = Payload::new(json!({"x": 3}).as_object().unwrap().clone()).unwrap();
    let known = Facets::of(None, &payload, &fields);
    let unknown = Facets::of(None, &payload, &[]);
    let mut columns = Columns::of(&[Some(known.clone()), Some(unknown)]);
    assert!(!columns.has("x"));
    columns.add(&fields[0], [Some(&known), Some(&known)].into_iter(), 5);
    let filter = Filter::Exists("x".into());
    assert!(columns.asked(&filter, 5).complete);
    assert!(!columns.asked(&filter, 4).complete);
    columns.remove("x");
    assert!(!columns.asked(&filter, 5).complete);
}
