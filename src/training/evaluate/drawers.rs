//! Within a parent folder (an alphabet), over every pair of drawers.
//!
//! For each parent folder of enough classes and each ordered pair of drawers (A, B): N of its
//! classes are drawn, one example of each by A enrolled, and the same classes by B classified
//! by the nearest. As in the published Omniglot runs (Lake et al. 2015) a trial has one hand
//! on each side; here all hands take part, so that there are enough trials to tell encoders
//! apart.

use super::pairs::Place;
use super::stats::Figure;
use super::tally::{NOBODY, Outcome, Tally};
use super::{Embedded, EvalError, bootstrap, cosine, parameter};
use crate::training::dataset::{Class, Folder};
use crate::training::random::Random;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Most drawers of a parent folder: the time grows with their square.
const MAX_DRAWERS: usize = 1_000;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Classes enrolled at once, 2 to 1,000.
    pub ways: usize,
    /// Seed of which classes these are, where a folder has more.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AllPairs {
    /// Errors a trial; the interval is a bootstrap over the classes of the probes.
    pub error: Figure,
    /// Who errs.
    pub tally: Tally,
    /// Parent folders of enough classes.
    pub parents: usize,
    /// Ordered pairs of drawers, of all these folders.
    pub pairs: usize,
}

/// Who drew each image, class by class: the number at the end of the file's name
/// (`0965_07.png`: 7), or, in a class where some file has none or two have the same, the
/// image's place.
#[must_use]
pub fn drawers(folder: &Folder) -> Vec<Vec<u64>> {
    folder.classes().iter().map(of_class).collect()
}

fn of_class(class: &Class) -> Vec<u64> {
    let named: Option<Vec<u64>> = class.images.iter().map(|path| number(path)).collect();
    let differ = |named: &Vec<u64>| named.iter().collect::<BTreeSet<_>>().len() == named.len();
    let places = || (1..=class.images.len() as u64).collect();
    named.filter(differ).unwrap_or_else(places)
}

fn number(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    let digits = stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    stem[digits..].parse().ok()
}

/// Classes of one parent folder with the images of each drawer.
struct Group {
    parent: usize,
    /// Of each class: its number, and the place of each drawer's image.
    classes: Vec<(usize, BTreeMap<u64, usize>)>,
}

/// Runs every trial; `progress` hears of pairs of drawers done, of how many.
///
/// # Errors
/// A parameter out of range, no parent folder of enough classes that two drawers drew, or
/// more than 1,000 drawers.
///
/// # Panics
/// `drawers` is not of these classes.
pub fn run(
    classes: &[Embedded],
    drawers: &[Vec<u64>],
    task: &Task,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<AllPairs, EvalError> {
    if !(2..=1_000).contains(&task.ways) {
        let allowed = "2 to 1000 are allowed over pairs of drawers";
        return Err(parameter("ways", task.ways.to_string(), allowed));
    }
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (nth, (class, drawers)) in classes.iter().zip(drawers).enumerate() {
        let parent = groups.len();
        let group = groups.entry(&class.parent).or_insert(Group {
            parent,
            classes: Vec::new(),
        });
        let images = drawers.iter().copied().zip(0..class.vectors.len());
        group.classes.push((nth, images.collect()));
    }
    let groups = groups.into_values();
    let groups: Vec<Group> = groups.filter(|g| g.classes.len() >= task.ways).collect();
    let mut pairs: Vec<(&Group, u64, u64)> = Vec::new();
    for group in &groups {
        let all: BTreeSet<u64> = group
            .classes
            .iter()
            .flat_map(|c| c.1.keys().copied())
            .collect();
        if all.len() > MAX_DRAWERS {
            let allowed = format!("at most {MAX_DRAWERS} in a parent folder are allowed");
            return Err(parameter("drawers", all.len().to_string(), allowed));
        }
        let both = |a: u64| all.iter().filter(move |b| a != **b).map(move |b| (a, *b));
        pairs.extend(
            all.iter()
                .flat_map(|a| both(*a))
                .map(|(a, b)| (group, a, b)),
        );
    }
    let of = pairs.len();
    let one = |(group, a, b): &(&Group, u64, u64)| {
        let tally = trial(classes, group, *a, *b, task);
        progress(1, of);
        tally
    };
    let empty = || Tally::new(classes.len());
    let tally = pairs.par_iter().map(one).reduce(empty, Tally::merge);
    if tally.total.trials == 0 {
        let allowed = "no parent folder has so many classes that two drawers drew";
        return Err(parameter("ways", task.ways.to_string(), allowed));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of trials")]
    let sums = tally
        .classes
        .iter()
        .map(|c| (c.errors as f64, c.trials as f64));
    Ok(AllPairs {
        error: bootstrap::ratio(&sums.collect::<Vec<_>>(), task.seed),
        tally,
        parents: groups.len(),
        pairs: of,
    })
}

/// Classes by A enrolled, the same by B classified; nothing where both drew too few.
fn trial(classes: &[Embedded], group: &Group, a: u64, b: u64, task: &Task) -> Tally {
    let mut tally = Tally::new(classes.len());
    let by_both = group.classes.iter().filter_map(|(class, images)| {
        let place = |drawer| Some(Place::new(*class, *images.get(&drawer)?));
        Some((place(a)?, place(b)?))
    });
    let by_both: Vec<(Place, Place)> = by_both.collect();
    if by_both.len() < task.ways {
        return tally;
    }
    let stream = (group.parent as u64) << 40 ^ a << 20 ^ b;
    let chosen = Random::new(task.seed, stream).distinct(by_both.len(), task.ways);
    for own in &chosen {
        let probe = by_both[*own].1;
        let similar = |nth: &usize| {
            let enrolled = by_both[*nth].0;
            (enrolled, cosine(probe.of(classes), enrolled.of(classes)))
        };
        let others = chosen.iter().filter(|nth| *nth != own).map(similar);
        let outcome = Outcome {
            probe,
            right: similar(own),
            rival: others.fold(NOBODY, |best, one| if one.1 > best.1 { one } else { best }),
        };
        tally.add(&outcome);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Embedding, Metric};

    #[test]
    fn drawers_are_numbers_or_places() {
        let class = |names: &[&str]| {
            let images = names.iter().map(Into::into).collect();
            of_class(&Class {
                label: "a/b".into(),
                parent: "a".into(),
                images,
            })
        };
        assert_eq!(class(&["0965_02.png", "0965_10.png"]), [2, 10]);
        assert_eq!(class(&["hand3.png", "hand.png"]), [1, 2], "one has none");
        assert_eq!(class(&["a_3.png", "b_3.png"]), [1, 2], "two have the same");
    }

    #[test]
    fn every_pair_of_drawers_by_hand() {
        let at = |degrees: f32| {
            let (y, x) = degrees.to_radians().sin_cos();
            Embedding::new(vec![x, y], 2, Metric::Cosine).unwrap()
        };
        let class = |parent: &str, degrees: &[f32]| Embedded {
            parent: parent.into(),
            vectors: degrees.iter().map(|d| at(*d)).collect(),
        };
        // Drawer 3 draws the second class as the others draw the first, and not the third.
        let classes = [
            class("p", &[0.0, 5.0, 10.0]),
            class("p", &[90.0, 95.0, 2.0]),
            class("q", &[0.0, 0.0, 0.0]),
        ];
        let drawers = vec![vec![1, 2, 3]; 3];
        let task = Task { ways: 2, seed: 0 };
        let found = run(&classes, &drawers, &task, &|_, _| {}).unwrap();
        assert_eq!((found.parents, found.pairs), (1, 6));
        // Both by 1 and 2, each way: none of 4. Enrolled by 3 (10 and 2): probes at 0 and 5
        // are nearer to 2, those at 90 and 95 to 10. Probes by 3: 10 is near 0, 2 not near 90.
        let wrong = found.tally.classes.iter().map(|c| c.errors);
        assert_eq!(wrong.collect::<Vec<_>>(), [2, 4, 0]);
        assert_eq!(found.tally.total.trials, 12);
        assert!((found.error.value - 0.5).abs() < 1e-12);
        let more = Task { ways: 3, ..task };
        let told = run(&classes, &drawers, &more, &|_, _| {}).unwrap_err();
        assert!(told.to_string().starts_with("ways: 3; no parent"), "{told}");
    }
}
