//! Statements about many rows at once. Over a network each statement takes a round trip, so a thousand rows must not take a thousand
//! statements.

use std::fmt::Write as _;

use super::{Error, Transaction, Value};

/// The numbers of rows in one statement. There are only a few, so that the same texts are prepared once and used again.
const PORTIONS: [usize; 4] = [64, 16, 4, 1];

/// Divides rows into portions, each for one statement.
pub fn portions<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let size = PORTIONS.into_iter().find(|size| *size <= left.len())?;
        let (portion, rest) = left.split_at(size);
        left = rest;
        Some(portion)
    })
}

/// Returns the list of `count` parameters that begins with number `first`, for `IN`: `($3, $4)`.
pub fn list(first: usize, count: usize) -> String {
    let mut list = String::with_capacity(count * 5 + 2);
    for number in first..first + count {
        list.push(if number == first { '(' } else { ',' });
        let _ = write!(list, "${number}");
    }
    list + ")"
}

impl Transaction<'_> {
    /// Inserts rows into `table`, which names the columns. `conflict` may say what happens to a row that is there already.
    pub fn insert<const N: usize>(&self, table: &str, rows: &[[Value<'_>; N]], conflict: &str) -> Result<(), Error> {
        portions(rows).try_for_each(|portion| self.insert_portion(table, N, portion.as_flattened(), conflict))
    }

    /// Inserts rows of `width` columns with one statement. Their values follow one another in `values`, of which there must be some.
    pub(super) fn insert_portion(
        &self,
        table: &str,
        width: usize,
        values: &[Value<'_>],
        conflict: &str,
    ) -> Result<(), Error> {
        let lists: Vec<String> = (0..values.len() / width).map(|row| list(row * width + 1, width)).collect();
        let sql = format!("INSERT INTO {table} VALUES {} {conflict}", lists.join(","));
        self.execute(&sql, values).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_of_few_sizes_and_hold_every_row_once_in_order() {
        let rows: Vec<u32> = (0..1000).collect();
        for count in 0..rows.len() {
            let portions: Vec<&[u32]> = portions(&rows[..count]).collect();
            assert_eq!(portions.concat(), &rows[..count]);
            assert!(portions.iter().all(|portion| PORTIONS.contains(&portion.len())));
            assert!(portions.len() <= count / 64 + 9, "{count}: {}", portions.len());
        }
    }

    #[test]
    fn a_list_counts_on_from_its_first_parameter() {
        assert_eq!(list(1, 1), "($1)");
        assert_eq!(list(9, 3), "($9,$10,$11)");
    }
}
