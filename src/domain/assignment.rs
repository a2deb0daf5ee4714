//! One-to-one assignment: who is who, where everyone is there once.
//!
//! The Hungarian method by shortest augmenting paths (Jonker and Volgenant 1987), in
//! O(rows² · columns).

/// The column of each row, each column at most once, so that the sum of costs is least.
/// `cost(row, column)` is finite; there are at least as many columns as rows, or no row is
/// assigned.
#[must_use]
pub fn assign(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    if rows > columns {
        return Vec::new();
    }
    // Potentials keep every reduced cost at or above zero. Column 0 is where a new row enters.
    let mut row_potential = vec![0.0; rows + 1];
    let mut column_potential = vec![0.0; columns + 1];
    let mut row_of = vec![0; columns + 1];
    for row in 1..=rows {
        row_of[0] = row;
        let mut at = 0;
        let mut slack = vec![f64::INFINITY; columns + 1];
        let mut from = vec![0; columns + 1];
        let mut reached = vec![false; columns + 1];
        while row_of[at] != 0 {
            reached[at] = true;
            let current = row_of[at];
            let (mut least, mut next) = (f64::INFINITY, at);
            for column in 1..=columns {
                if reached[column] {
                    continue;
                }
                let reduced = cost(current - 1, column - 1)
                    - row_potential[current]
                    - column_potential[column];
                if reduced < slack[column] {
                    (slack[column], from[column]) = (reduced, at);
                }
                if slack[column] < least {
                    (least, next) = (slack[column], column);
                }
            }
            for column in 0..=columns {
                if reached[column] {
                    row_potential[row_of[column]] += least;
                    column_potential[column] -= least;
                } else {
                    slack[column] -= least;
                }
            }
            at = next;
        }
        while at != 0 {
            row_of[at] = row_of[from[at]];
            at = from[at];
        }
    }
    let mut columns_of = vec![0; rows];
    for (column, row) in row_of.iter().enumerate().skip(1) {
        if let Some(place) = row.checked_sub(1) {
            columns_of[place] = column - 1;
        }
    }
    columns_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The least sum, by trying everything.
    fn brute(costs: &[Vec<f64>], row: usize, used: &mut Vec<bool>) -> f64 {
        let Some(line) = costs.get(row) else {
            return 0.0;
        };
        let mut least = f64::INFINITY;
        for column in 0..line.len() {
            if !used[column] {
                used[column] = true;
                least = least.min(line[column] + brute(costs, row + 1, used));
                used[column] = false;
            }
        }
        least
    }

    fn matrices() -> impl Strategy<Value = Vec<Vec<f64>>> {
        (1..=6_usize, 0..=2_usize).prop_flat_map(|(rows, more)| {
            // Few different costs, so that ties are common.
            let cost = (-3..6_i8).prop_map(f64::from);
            let line = prop::collection::vec(cost, rows + more);
            prop::collection::vec(line, rows)
        })
    }

    proptest! {
        #[test]
        fn is_as_good_as_trying_everything(costs in matrices()) {
            let columns = costs[0].len();
            let found = assign(costs.len(), columns, |r, c| costs[r][c]);
            let mut used = found.clone();
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(used.len(), costs.len());
            let sum: f64 = found.iter().zip(&costs).map(|(c, line)| line[*c]).sum();
            let least = brute(&costs, 0, &mut vec![false; columns]);
            prop_assert!((sum - least).abs() < 1e-9, "{} {}", sum, least);
        }
    }

    #[test]
    fn more_rows_than_columns_have_no_assignment() {
        assert!(assign(2, 1, |_, _| 0.0).is_empty());
        assert!(assign(0, 3, |_, _| 0.0).is_empty());
    }
}
