//! The search of rows by way of the largest segment: those kept with what a walk there found.

use super::annex::Annex;
use super::best::Best;
use super::search::Search;
use super::snapshot::Query;
use super::together::Together;

/// Where more are kept with what was found, or so many times as many, parts are searched themselves.
const MOST: (usize, usize) = (2_048, 4);
/// Of the rows found, so many are asked, and twice as many as are wanted; all where it was said how many
/// a walk should find.
const WALKED: usize = 44;
/// Distances that finding rows of a part so is worth.
pub(super) const COST: usize = 100;
/// The greatest recall that doors are good enough for.
const RECALL: f32 = 0.99;

/// Whether a query is one to find rows by their doors.
pub(super) fn is_for(query: &Query<'_>) -> bool {
    let near_enough = query.ef.is_some() || query.recall.get() <= RECALL;
    near_enough && query.filter.is_none() && !query.exact && query.k > 0
}

/// Offers those rows of parts that are kept with what a walk found; answers whether that was done.
pub(super) fn run<'s, T>(
    annex: &Annex,
    walked: &[u32],
    searches: &[Search<'s, '_, T>],
    best: &mut Best<'s, T>,
) -> bool {
    let k = best.wanted();
    let most = match searches.first() {
        None => return true,
        Some(search) if search.query.ef.is_some() => usize::MAX,
        Some(_) => k.saturating_mul(2).saturating_add(WALKED),
    };
    let walked = &walked[..walked.len().min(most)];
    let most = MOST.0.max(MOST.1 * walked.len());
    let Some(seqs) = annex.behind(walked, most) else {
        return false;
    };
    let together = Together::of(searches.iter().map(|search| (search, None)));
    let mut places = Vec::with_capacity(seqs.len());
    for member in together.parts() {
        let (search, part) = (member.search, member.search.part);
        let from = part
            .seqs
            .first()
            .map_or(0, |first| seqs.partition_point(|seq| seq < first));
        let to = part
            .seqs
            .last()
            .map_or(0, |last| seqs.partition_point(|seq| seq <= last));
        let rows = seqs[from..to].iter().filter_map(|seq| part.place(*seq));
        let rows = rows.filter(|row| search.counts(*row).is_some());
        // A row's number fits: a part has fewer than 2^31.
        places.extend(rows.map(|row| (0.0, u32::try_from(member.from + row).unwrap_or(u32::MAX))));
    }
    let limit = searches
        .first()
        .map_or(f32::INFINITY, |s| s.view.options.key_of(best.limit()));
    let near = together.nearest(k, limit, places);
    together.offer(&near, best);
    true
}
