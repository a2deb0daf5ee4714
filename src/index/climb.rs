//! Ways tried, more thorough from one to the next, as long as that may pay.

use super::plan::{Step, Way};

/// By one of so many questions, but by no more than so many, and once, all ways are tried first.
const FEW_OF: usize = 8;
const FEW: usize = 50;
/// A way that finds all by few questions finds all by all in so many times the time at most.
const BY_ALL: u32 = 4;
/// A way is clearly better that finds as much in a time so many times shorter; and without another
/// look where it is so many times.
const CLEARLY: f32 = 1.5;
const AT_ONCE: f32 = 2.5;
/// A ladder of lists is put off where so many steps in a row found no more than those before: what
/// is compared of them ends what they find. Walks may always find more.
const IN_VAIN: usize = 2;
/// A way that finds so much is thorough enough: those beyond are not tried.
pub(super) const THOROUGH: f32 = 0.9995;

/// Who tells what a way achieves.
pub(super) trait Ask {
    /// By one in so many questions.
    fn ask(&self, way: Way, one_in: usize) -> Step;

    /// How many there are.
    fn questions(&self) -> usize;

    /// What it takes to compare a row by its code.
    fn row_nanos(&self) -> f32;
}

/// Tries the ways of each ladder until one takes longer than `most` nanoseconds, or far longer
/// than another that finds all: by few questions first, and then those worth it by all.
pub(super) fn climb(asked: &impl Ask, ladders: Vec<Vec<Way>>, most: u32) -> Vec<Step> {
    let few_of = asked.questions().div_ceil(FEW).max(FEW_OF);
    let mut ladders: Vec<_> = ladders.into_iter().map(Vec::into_iter).collect();
    let (mut tried, mut enough): (Vec<Step>, u32) = (Vec::new(), most);
    for ladder in &mut ladders {
        let (mut most_found, mut in_vain) = (-1.0, 0);
        while let Some(way) = ladder.next() {
            let step = asked.ask(way, few_of);
            tried.push(step);
            let is_walk = matches!(way, Way::Walk { .. });
            let gains = step.recall > most_found || most_found <= 0.0 || is_walk;
            in_vain = if gains { 0 } else { in_vain + 1 };
            most_found = step.recall.max(most_found);
            if step.recall >= THOROUGH {
                enough = enough.min(step.nanos.saturating_mul(BY_ALL));
            }
            if step.nanos > most {
                *ladder = Vec::new().into_iter();
            } else if step.nanos > enough || in_vain == IN_VAIN {
                break;
            }
        }
    }
    // Others on the machine may have slowed what was tried in a row.
    let again: Vec<usize> = (0..tried.len())
        .filter(|at| !tried[*at].is_beaten(AT_ONCE, &tried))
        .collect();
    for at in again {
        tried[at].nanos = tried[at].nanos.min(asked.ask(tried[at].way, few_of).nanos);
    }
    tried.sort_by_key(|step| step.nanos);
    let by_all = |few: &Step| {
        let all = asked.ask(few.way, 1);
        let nanos = all.nanos.min(few.nanos);
        Step { nanos, ..all }
    };
    let mut steps: Vec<Step> = Vec::new();
    let promising = |step: &&Step| step.is_promising() && !step.is_beaten(CLEARLY, &tried);
    for step in tried.iter().filter(promising) {
        let step = by_all(step);
        steps.push(step);
        if step.recall >= THOROUGH {
            return steps;
        }
    }
    // Some questions are harder than those few were.
    for ladder in ladders {
        for way in ladder {
            let step = asked.ask(way, few_of);
            if step.nanos > most {
                break;
            }
            if step.is_beaten(CLEARLY, &steps) {
                continue;
            }
            let step = by_all(&step);
            steps.push(step);
            if step.recall >= THOROUGH {
                return steps;
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Recall and nanoseconds of walks, by `ef`; and what was asked by all questions.
    struct Known(Vec<(usize, f32, u32)>, RefCell<Vec<usize>>);

    impl Ask for Known {
        fn ask(&self, way: Way, one_in: usize) -> Step {
            let Way::Walk { ef } = way else {
                unreachable!("only walks are on the ladders")
            };
            if one_in == 1 {
                self.1.borrow_mut().push(ef);
            }
            let known = self.0.iter().find(|known| known.0 == ef).unwrap();
            Step {
                way,
                recall: known.1,
                nanos: known.2,
            }
        }

        fn questions(&self) -> usize {
            400
        }

        fn row_nanos(&self) -> f32 {
            1.0
        }
    }

    fn asked_by_all(ladders: &[&[(usize, f32, u32)]], most: u32) -> Vec<usize> {
        let known = Known(ladders.concat(), RefCell::default());
        let walks = |ladder: &&[(usize, f32, u32)]| {
            let walks = ladder.iter().map(|(ef, ..)| Way::Walk { ef: *ef });
            walks.collect()
        };
        let steps = climb(&known, ladders.iter().map(walks).collect(), most);
        let asked = known.1.into_inner();
        assert_eq!(steps.len(), asked.len());
        asked
    }

    #[test]
    fn what_is_beaten_finds_little_or_comes_too_late_is_not_tried_by_all() {
        let fast: &[_] = &[(1, 0.3, 5), (2, 0.9, 10), (3, 0.95, 20)];
        let slow: &[_] = &[(4, 0.9, 16), (5, 0.96, 30), (6, 0.99, 90), (7, 1.0, 200)];
        assert_eq!(asked_by_all(&[fast, slow], 100), [2, 3, 5, 6, 7]);
        // A ladder ends with the first that takes longer than anybody waits.
        assert_eq!(asked_by_all(&[fast, slow], 50), [2, 3, 5, 6]);
    }

    #[test]
    fn one_that_finds_all_ends_the_climb_and_a_plateau_does_not() {
        let plateau: &[_] = &[(1, 0.8, 10), (2, 0.8, 11), (3, 0.8, 12), (4, 0.9, 13)];
        assert_eq!(asked_by_all(&[plateau], 100), [1, 2, 3, 4]);
        let all: &[_] = &[(5, 0.99, 20), (6, 1.0, 30), (7, 1.0, 40)];
        assert_eq!(asked_by_all(&[all], 100), [5, 6]);
    }
}
