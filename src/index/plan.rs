//! How a sealed part is best searched for a recall: learnt when it is sealed, by asking it
//! questions whose answers an exact scan knows.

use super::Options;
use super::climb::{Ask, THOROUGH, climb};
use super::part::Part;
use super::sample::{For, sample};
use super::trial::{K, Questions, Trial};
use crate::domain::Recall;

/// Questions asked: one in so many rows, but at least and at most so many.
const QUESTIONS: (usize, usize, usize) = (50, 100, 1_000);
/// Of them, so many at most are asked with filters.
const WITH_FILTERS: usize = 160;
/// Candidates that walks keep.
const EF: [usize; 28] = [
    12, 14, 16, 18, 20, 22, 25, 28, 30, 32, 34, 36, 40, 45, 50, 56, 64, 72, 80, 90, 100, 113, 128,
    160, 220, 270, 320, 500,
];
/// Lists that are looked at, as parts of all.
const PARTS_OF_LISTS: [usize; 11] = [60, 40, 26, 18, 12, 9, 7, 5, 4, 3, 2];
/// Rows compared by their codes, and then exactly, as times the rows wanted.
const AGAIN: [(usize, usize); 9] = [
    (8, 2),
    (12, 4),
    (24, 4),
    (40, 4),
    (64, 5),
    (90, 6),
    (120, 6),
    (250, 10),
    (500, 16),
];
/// Where so many are compared, lists are looked at from this part of them on: few do not hold them.
const MANY_OF: (usize, usize) = (250, 9);
/// The shares of rows that filters let through when ways are tried: from the first on, each so many
/// times the one before, as long as more rows than these are left. Fewer are compared one by one.
const SHARES: (f32, f32, f32) = (0.5, 0.5, 2_000.0);
/// Shares are alike up to so many times one another.
const ALIKE: f64 = 1.1;
/// Of the rows that lists show, so many are compared by their codes, and then exactly, where a filter
/// lets only some through.
const AGAIN_WITH_FILTERS: [(usize, usize); 3] = [(40, 4), (64, 5), (120, 6)];
/// Ways that find on average so much less than before are not what they were.
const ABOUT: f32 = 0.02;
/// Nobody can ask for less: `domain::Recall`.
const USEFUL: f32 = 0.5;
/// By few questions, a way that finds so much may turn out to be of use.
const PROMISING: f32 = 0.45;
/// Recall is learnt from questions, and theirs is not that of others: so much of what a target
/// allows to be missing is kept in reserve: more with filters, which are never like those tried.
const RESERVE: f32 = 0.1;
const RESERVE_WITH_FILTERS: f32 = 0.2;

/// A way to search a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Compare every row.
    Scan,
    /// Walk the graph, keeping so many candidates.
    Walk {
        /// How many.
        ef: usize,
    },
    /// Look at the nearest lists.
    Lists {
        /// How many.
        probes: usize,
        /// Compare so many times `k` rows by their codes.
        rough: usize,
        /// And so many times `k` exactly.
        again: usize,
        /// Those of the rows that a filter lets through, or of all rows.
        own: bool,
    },
}

impl Way {
    /// As thorough for `k` as it is for the ten that it was tried with.
    pub(super) fn thorough(self, k: usize) -> Self {
        match self {
            Self::Scan => self,
            Self::Walk { ef } => Self::Walk {
                ef: ef.saturating_add(2 * k.saturating_sub(K)).max(k),
            },
            Self::Lists {
                probes,
                rough,
                again,
                own,
            } => Self::Lists {
                probes: probes.saturating_mul((k / K).isqrt().max(1)),
                rough,
                again,
                own,
            },
        }
    }

    /// Whether it looks at lists that a filter has of its own.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Lists { own: true, .. })
    }

    /// As thorough where some rows are dead: they are walked through, and the more there are, the
    /// more candidates it takes. How many live now says nothing of the moment that a snapshot shows:
    /// it only guides.
    pub(super) fn past_the_dead<T>(self, part: &Part<T>) -> Self {
        match self {
            Self::Walk { ef } => Self::Walk {
                ef: ef.saturating_mul(part.len()).div_ceil(part.live().max(1)),
            },
            way => way,
        }
    }
}

/// What a way achieves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) way: Way,
    /// Mean part of the ten nearest that it found.
    pub(super) recall: f32,
    /// Of a query, in nanoseconds, where the part was sealed.
    pub(super) nanos: u32,
}

impl Step {
    /// Whether another is so many times faster and finds as much; nothing tells which ways that find
    /// all are.
    #[expect(clippy::cast_precision_loss, reason = "a time")]
    pub(super) fn is_beaten(&self, times: f32, others: &[Self]) -> bool {
        let mut others = others.iter().filter(|_| self.recall < THOROUGH);
        others.any(|o| o.recall >= self.recall && times * (o.nanos as f32) < self.nanos as f32)
    }

    /// Whether anybody may want it, for all that few questions tell.
    pub(super) fn is_promising(&self) -> bool {
        self.recall >= PROMISING
    }

    /// A walk takes the longer, the fewer rows count.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time"
    )]
    fn among(self, let_through: f64, share: f64) -> Self {
        let times = match self.way {
            Way::Walk { .. } => let_through / share.max(1e-6),
            Way::Scan | Way::Lists { .. } => 1.0,
        };
        Self {
            nanos: (f64::from(self.nanos) * times) as u32,
            ..self
        }
    }
}

/// The ways worth going: each slower than the one before, and finding more.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Steps(pub(super) Vec<Step>);

/// The ways worth going where a filter lets only some rows through.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filtered {
    /// The share of them.
    pub(super) share: f32,
    pub(super) steps: Steps,
    /// By lists of their own.
    pub(super) own: Steps,
}

/// How a part is best searched.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// Without a filter.
    pub(super) steps: Steps,
    /// With filters, from the greatest share on.
    pub(super) filtered: Vec<Filtered>,
    /// What one row takes that is compared by its code, in nanoseconds.
    pub(super) row_nanos: f32,
}

impl Steps {
    fn of(mut steps: Vec<Step>) -> Self {
        steps.retain(|step| step.recall >= USEFUL);
        steps.sort_by_key(|step| step.nanos);
        let mut most = -1.0;
        steps.retain(|step| {
            let more = step.recall > most;
            most = if more { step.recall } else { most };
            more
        });
        Self(steps)
    }

    /// The fastest way that was found to reach a recall.
    fn to(&self, recall: Recall, reserve: f32) -> Option<Step> {
        if recall == Recall::ALL {
            return None;
        }
        let recall = recall.get();
        let wanted = recall + reserve * (1.0 - recall);
        let mut steps = self.0.iter().copied();
        steps.find(|step| step.recall >= wanted)
    }
}

impl Plan {
    /// The fastest way to a recall; without one that was found to reach it, a scan.
    pub(super) fn way(&self, recall: Recall) -> Way {
        let step = self.steps.to(recall, RESERVE);
        step.map_or(Way::Scan, |step| step.way)
    }

    /// The same where only a share of the rows counts: as it was with the next greater share, or
    /// with a smaller one that is as good as the same.
    pub(super) fn filtered(&self, recall: Recall, share: f64) -> Option<Step> {
        let about = |tried: &&Filtered| ALIKE * f64::from(tried.share) >= share;
        let tried = self.filtered.iter().take_while(about).last();
        let (let_through, steps) = tried.map_or((1.0, &self.steps), |t| (t.share, &t.steps));
        let step = steps.to(recall, RESERVE_WITH_FILTERS)?;
        Some(step.among(f64::from(let_through), share))
    }

    /// The same by lists of their own: as it was with the next smaller share, whose nearest are in no
    /// fewer lists, or with a greater one that is as good as the same.
    pub(super) fn own(&self, recall: Recall, share: f64) -> Option<Step> {
        let mut tried = self.filtered.iter();
        let tried = tried.find(|tried| f64::from(tried.share) <= ALIKE * share)?;
        tried.own.to(recall, RESERVE_WITH_FILTERS)
    }

    /// The ways tried with filters that let just such a share through, or without.
    pub(super) fn among(&self, share: f32) -> Option<&Steps> {
        if share >= 1.0 {
            return Some(&self.steps);
        }
        let same = |tried: &&Filtered| (tried.share - share).abs() < f32::EPSILON;
        self.filtered.iter().find(same).map(|tried| &tried.steps)
    }

    /// Whether a recall was reached by comparing codes first: among fewer rows they do no worse.
    pub(super) fn is_reached_by_codes(&self, recall: Recall) -> bool {
        let step = self.steps.to(recall, RESERVE);
        step.is_some_and(|step| step.way != Way::Scan)
    }

    /// Whether a walk is the way to the default recall, or else what comes nearest to it.
    pub(super) fn prefers_walks(&self) -> bool {
        let mut others = self.steps.0.iter().filter(|step| step.way != Way::Scan);
        let way = match self.way(Recall::default()) {
            Way::Scan => others.next_back().map(|step| step.way),
            way => Some(way),
        };
        matches!(way, Some(Way::Walk { .. }))
    }

    /// Whether any way worth going is a walk.
    pub(super) fn walks(&self) -> bool {
        let filtered = self.filtered.iter().map(|tried| &tried.steps);
        let mut all = filtered.chain([&self.steps]).flat_map(|steps| &steps.0);
        all.any(|step| matches!(step.way, Way::Walk { .. }))
    }

    /// Tries the ways that a part has, by questions: rows that its graph does not lead to.
    pub(super) fn learnt<T: Sync>(options: &Options, part: &Part<T>, questions: &[u32]) -> Self {
        Self::found_by(part, |share| {
            let asked = Questions::Rows(some(questions, share));
            Trial::new(options, part, asked, share)
        })
    }

    /// The same for a part that is much like the one it was learnt for: the ways worth going without a
    /// filter are asked again, half the questions. `None` where they find less.
    pub(super) fn still<T: Sync>(
        &self,
        options: &Options,
        part: &Part<T>,
        questions: &[u32],
    ) -> Option<Self> {
        let some: Vec<u32> = questions.iter().copied().step_by(2).collect();
        let trial = Trial::new(options, part, Questions::Rows(&some), 1.0);
        let before = &self.steps.0;
        let now: Vec<Step> = before.iter().map(|step| trial.ask(step.way, 1)).collect();
        let sum = |steps: &[Step]| steps.iter().map(|step| step.recall).sum::<f32>();
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let less = (sum(before) - sum(&now)) / before.len().max(1) as f32;
        let plan = Self {
            steps: Steps::of(now),
            ..self.clone()
        };
        let is_scanned = |plan: &Self| plan.way(Recall::default()) == Way::Scan;
        (less <= ABOUT && is_scanned(self) == is_scanned(&plan)).then_some(plan)
    }

    /// Tries the ways that a part has, by who tells what they achieve among a share of its rows.
    pub(super) fn found_by<T, A: Ask>(part: &Part<T>, asked: impl Fn(f32) -> A) -> Self {
        let all = asked(1.0);
        let scan = all.ask(Way::Scan, 1);
        let mut steps = climb(&all, ladders(part), scan.nanos);
        steps.push(scan);
        let mut plan = Self {
            steps: Steps::of(steps),
            ..Self::default()
        };
        let (mut share, times, least) = SHARES;
        #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
        while share * part.len() as f32 > least {
            let asked = asked(share);
            plan.row_nanos = plan.row_nanos.max(asked.row_nanos());
            // Then the rows are better compared one by one.
            let limit = share * part.len() as f32 * plan.row_nanos;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a time"
            )]
            let climbed =
                |own| Steps::of(climb(&asked, ladders_with_filters(part, own), limit as u32));
            plan.filtered.push(Filtered {
                share,
                steps: climbed(false),
                own: climbed(true),
            });
            share *= times;
        }
        plan
    }
}

/// Of questions, those asked where filters let a share of the rows through.
pub(super) fn some<Q>(questions: &[Q], share: f32) -> &[Q] {
    let few = if share < 1.0 {
        WITH_FILTERS
    } else {
        usize::MAX
    };
    &questions[..questions.len().min(few)]
}

/// Rows to ask for, none of which a graph may lead to: those of its layers are left out.
pub(super) fn questions(rows: usize, layers: &[u32]) -> Vec<u32> {
    let (one_in, least, most) = QUESTIONS;
    let questions = (rows / one_in).clamp(least, most).min(rows / 2);
    let some = sample(rows, questions, For::Questions);
    let strangers = some.into_iter();
    strangers
        .filter(|row| layers.binary_search(row).is_err())
        .collect()
}

/// The ways a part has, by kind, more thorough from one to the next.
fn ladders<T>(part: &Part<T>) -> Vec<Vec<Way>> {
    let mut ladders = ladders_of_lists(part, false);
    if part.graph().is_some() {
        ladders.insert(0, EF.map(|ef| Way::Walk { ef }).into());
    }
    ladders
}

fn ladders_of_lists<T>(part: &Part<T>, own: bool) -> Vec<Vec<Way>> {
    let mut ladders = Vec::new();
    if let Some(inverted) = part.inverted() {
        let lists = inverted.lists();
        let mut probes: Vec<usize> = PARTS_OF_LISTS.map(|p| lists.div_ceil(p)).into();
        probes.push(lists);
        probes.dedup();
        for (rough, again) in AGAIN {
            let least = if rough >= MANY_OF.0 {
                lists / MANY_OF.1
            } else {
                0
            };
            let enough = probes.iter().filter(|probes| **probes >= least);
            let ways = enough.map(|probes| Way::Lists {
                probes: *probes,
                rough,
                again,
                own,
            });
            ladders.push(ways.collect());
        }
    }
    ladders
}

/// The ways worth trying where a share of the rows counts, or is in lists of its own.
fn ladders_with_filters<T>(part: &Part<T>, own: bool) -> Vec<Vec<Way>> {
    let mut ladders = if own {
        ladders_of_lists(part, true)
    } else {
        ladders(part)
    };
    ladders.retain(|ladder| match ladder.first() {
        Some(Way::Lists { rough, again, .. }) => AGAIN_WITH_FILTERS.contains(&(*rough, *again)),
        _ => true,
    });
    ladders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_way_that_is_good_enough_is_taken() {
        let step = |ef, recall, nanos| Step {
            way: Way::Walk { ef },
            recall,
            nanos,
        };
        let steps = Steps::of(vec![
            step(64, 0.99, 300),
            step(16, 0.90, 100),
            step(24, 0.89, 200),
            step(500, 0.9999, 900),
        ]);
        assert_eq!(steps.0.len(), 3);
        let plan = Plan {
            steps,
            ..Plan::default()
        };
        let way = |recall| plan.way(Recall::new("recall", recall).unwrap());
        assert_eq!(way(0.5), Way::Walk { ef: 16 });
        assert_eq!(way(0.98), Way::Walk { ef: 64 });
        assert_eq!(way(0.99), Way::Walk { ef: 500 });
        assert_eq!(way(1.0), Way::Scan);
        assert_eq!(Plan::default().way(Recall::default()), Way::Scan);
    }
}
