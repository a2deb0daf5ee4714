//! Search by groups: the labels whose nearest items are nearest, each with its nearest items.
//!
//! More rows than wanted are searched for, four times as many from one try to the next, until
//! they show every group whole. What is missing then is found by one look at the labels of all
//! rows, which compares those of the groups in question only.

use super::collection::RowTag;
use super::error::Error;
use super::matching::Matching;
use super::probe::Probe;
use super::search::{Ask, Hit, Nearest, Search, filter_cost};
use super::state::State;
use super::{Engine, count};
use crate::domain::{CollectionName, Invalid, Label};
use crate::index;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A label found.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The label.
    pub label: Label,
    /// Its nearest items, nearest first; at least one.
    pub hits: Vec<Hit>,
}

/// How many times the rows wanted are searched for, from one try to the next.
const TRIES: [usize; 3] = [2, 8, 32];
/// And at most so many: beyond, one look at all rows costs less.
const MOST_TRIED: usize = 4_000;

impl Engine {
    /// The `k` labels whose nearest items are nearest, by these, each with up to `hits_per_group`
    /// of them (0 takes 1). Items without a label are left out.
    ///
    /// # Errors
    /// As [`Engine::search`]; more hits in all than a search may ask for.
    pub async fn search_groups(
        &self,
        collection: &CollectionName,
        probe: Probe,
        search: Search,
        hits_per_group: usize,
    ) -> Result<Nearest<Group>, Error> {
        let collection = self.inner.collection(collection)?;
        let k = count("k", search.k, 10, self.limits().max_k)?;
        let each = per_group(hits_per_group, k, self.limits().max_k)?;
        let ask = self.ask(&collection, probe, search).await?;
        // At worst every row is looked at.
        let row = filter_cost(ask.search.filter.as_ref());
        let records = ask.records_cost(k * each);
        let cost = records + row * collection.snapshot().len();
        let grouped = Grouped { ask, each };
        self.read(collection, cost, move |state| grouped.run(state))
            .await
    }
}

fn per_group(given: usize, k: usize, max: usize) -> Result<usize, Invalid> {
    let most = max / k;
    match given {
        0 => Ok(1),
        n if n <= most => Ok(n),
        n => Err(Invalid::new(
            "group_by_label.hits_per_group",
            n.to_string(),
            format!("1 to {most} are allowed with k {k}: at most {max} hits in all"),
        )),
    }
}

/// A row found.
type Row = index::Hit<RowTag>;

/// The rows of a label, nearest first.
#[derive(Debug, Default)]
struct Rows {
    /// How many were seen, the probe itself included.
    seen: usize,
    /// The nearest, without it.
    nearest: Vec<Row>,
}

impl Rows {
    /// Where the group stands among others.
    fn place(&self) -> (f32, u64) {
        let first = self.nearest.first();
        first.map_or((f32::INFINITY, u64::MAX), |hit| (hit.distance, hit.seq))
    }

    fn label(&self) -> Option<&Label> {
        self.nearest.first()?.tag.label.as_ref()
    }
}

/// A checked search by groups.
struct Grouped {
    ask: Ask,
    /// Hits wanted of each group.
    each: usize,
}

impl Grouped {
    fn run(&self, state: &State<'_>) -> Result<Nearest<Group>, Error> {
        let (mut groups, mut bytes) = (Vec::new(), 0);
        for rows in self.groups(state) {
            let hits = self.ask.hits(state, &rows.nearest, &mut bytes)?;
            let label = hits.first().and_then(|hit| hit.label.clone());
            // Past the threshold there are no more.
            let Some(label) = label else { break };
            groups.push(Group { label, hits });
        }
        Ok(state.nearest(groups))
    }

    /// The groups wanted, nearest first.
    fn groups(&self, state: &State<'_>) -> Vec<Rows> {
        let (mut found, matching) = (Vec::new(), self.ask.matching(state));
        let tries = TRIES.map(|times| self.ask.k * self.each * times);
        for wanted in tries {
            if state.is_given_up() || wanted > MOST_TRIED {
                break;
            }
            let rows = self.ask.nearest(&matching, wanted);
            let all = rows.len() < wanted;
            found = self.gathered(rows);
            if all || self.is_whole(state, &found) {
                found.truncate(self.ask.k);
                return found;
            }
        }
        self.completed(&matching, found)
    }

    /// Rows, nearest first, by their labels; the groups in the order of their nearest.
    fn gathered(&self, rows: Vec<Row>) -> Vec<Rows> {
        let mut groups: HashMap<Label, Rows> = HashMap::new();
        for row in rows {
            let Some(label) = &row.tag.label else {
                continue;
            };
            let group = match groups.get_mut(label) {
                Some(group) => group,
                None => groups.entry(label.clone()).or_default(),
            };
            group.seen += 1;
            if group.nearest.len() < self.each
                && self.ask.probe.itself.as_ref() != Some(&row.tag.id)
            {
                group.nearest.push(row);
            }
        }
        by_place(groups.into_values().collect())
    }

    /// Whether the groups found are as many as there can be, and each is whole.
    fn is_whole(&self, state: &State<'_>, found: &[Rows]) -> bool {
        let wanted = &found[..found.len().min(self.ask.k)];
        let counted = state
            .collection()
            .counted_at(state.snapshot().at(), |counts| {
                let labels = self.ask.k.min(counts.len());
                found.len() >= labels && wanted.iter().all(|rows| self.is_full(rows, Some(counts)))
            });
        // A writer is ahead of this state, or it is ahead of the counts.
        counted.unwrap_or_else(|| {
            found.len() >= self.ask.k && wanted.iter().all(|rows| self.is_full(rows, None))
        })
    }

    /// Whether a group has all the hits that are wanted, or all that there are.
    fn is_full(&self, rows: &Rows, counts: Option<&BTreeMap<Label, u64>>) -> bool {
        let there = || counts?.get(rows.label()?).copied();
        rows.nearest.len() >= self.each || there().is_some_and(|n| n <= rows.seen as u64)
    }

    /// What was found, with what is missing: if enough groups were found, of those that are not
    /// full; else of all others.
    fn completed<'s>(&self, matching: &Matching<'s>, mut found: Vec<Rows>) -> Vec<Rows> {
        let open = found.len() < self.ask.k;
        found.truncate(self.ask.k);
        let (full, short): (Vec<Rows>, Vec<Rows>) =
            found.into_iter().partition(|rows| self.is_full(rows, None));
        let labels = |groups: &[Rows]| -> HashSet<Label> {
            let labels = groups.iter().filter_map(|rows| rows.label().cloned());
            labels.collect()
        };
        let (done, missing) = (labels(&full), labels(&short));
        let wanted = |label: &Label| {
            if open {
                !done.contains(label)
            } else {
                missing.contains(label)
            }
        };
        let state = matching.state;
        let itself = self.ask.probe.itself.as_ref();
        let group = |seq: u64, tag: &'s RowTag| {
            let label = tag.label.as_ref().filter(|label| wanted(label))?;
            let counts =
                itself != Some(&tag.id) && !state.is_given_up() && matching.holds(seq, tag);
            counts.then_some(label)
        };
        let vector = &self.ask.probe.vector;
        let rest = state.timed(|snapshot| snapshot.nearest_of_each(vector, self.each, group));
        let rest = rest.into_iter().map(|(_, nearest)| Rows {
            seen: nearest.len(),
            nearest,
        });
        let mut groups = by_place(full.into_iter().chain(rest).collect());
        groups.truncate(self.ask.k);
        groups
    }
}

/// Those of which there are hits, nearest first.
fn by_place(mut groups: Vec<Rows>) -> Vec<Rows> {
    groups.retain(|rows| !rows.nearest.is_empty());
    groups.sort_by(|a, b| {
        let (a, b) = (a.place(), b.place());
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
    });
    groups
}
