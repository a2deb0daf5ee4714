//! What came of many trials: who errs, and whom is taken for whom.

use super::pairs::Place;
use super::stats::Rate;
use std::collections::BTreeMap;

/// An image that is further away than any: where there is none.
pub const NOBODY: (Place, f32) = (Place { class: 0, image: 0 }, f32::MIN);

/// A trial: a probe, and the nearest image of its own class and of the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The probe.
    pub probe: Place,
    /// The nearest example of its class, and how alike it is.
    pub right: (Place, f32),
    /// The nearest of all others.
    pub rival: (Place, f32),
}

impl Outcome {
    /// Whether the nearest is of another class; a tie fails.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.rival.1 >= self.right.1
    }

    /// How much more alike the rival is.
    #[must_use]
    pub fn margin(&self) -> f32 {
        self.rival.1 - self.right.1
    }
}

/// A class taken for another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Confusion {
    /// How often.
    pub times: u64,
    /// The trial where the other was more alike by the widest margin.
    pub worst: Outcome,
}

/// Counts of trials.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// Of all.
    pub total: Rate,
    /// By class of the probe, in the order of the classes.
    pub classes: Vec<Rate>,
    confused: BTreeMap<(u32, u32), Confusion>,
}

impl Tally {
    /// No trials yet, of so many classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self {
            total: Rate::default(),
            classes: vec![Rate::default(); classes],
            confused: BTreeMap::new(),
        }
    }

    /// Counts a trial.
    pub fn add(&mut self, outcome: &Outcome) {
        let failed = outcome.failed();
        self.total.add(failed);
        self.classes[outcome.probe.class as usize].add(failed);
        if failed {
            let one = Confusion {
                times: 1,
                worst: *outcome,
            };
            self.confuse((outcome.probe.class, outcome.rival.0.class), one);
        }
    }

    /// Both together.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        let rates = self.classes.iter_mut().zip(&other.classes);
        for (mine, theirs) in rates.chain([(&mut self.total, &other.total)]) {
            mine.errors += theirs.errors;
            mine.trials += theirs.trials;
        }
        for (who, confusion) in other.confused {
            self.confuse(who, confusion);
        }
        self
    }

    fn confuse(&mut self, who: (u32, u32), more: Confusion) {
        let Some(known) = self.confused.get_mut(&who) else {
            self.confused.insert(who, more);
            return;
        };
        known.times += more.times;
        // By place among equals: whatever the order they came in.
        let rank = |o: &Outcome| {
            (
                o.margin(),
                std::cmp::Reverse((o.probe, o.rival.0, o.right.0)),
            )
        };
        if rank(&more.worst) > rank(&known.worst) {
            known.worst = more.worst;
        }
    }

    /// Every confusion, the most frequent first: the class, what it is taken for.
    #[must_use]
    pub fn worst(&self) -> Vec<((u32, u32), Confusion)> {
        let mut all: Vec<_> = self.confused.iter().map(|(who, c)| (*who, *c)).collect();
        let margin = |c: &Confusion| c.worst.margin();
        all.sort_by(|(a, x), (b, y)| {
            let times = y.times.cmp(&x.times);
            times.then(margin(y).total_cmp(&margin(x))).then(a.cmp(b))
        });
        all
    }
}
