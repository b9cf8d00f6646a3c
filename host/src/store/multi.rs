//! Statements over many rows at once.
//!
//! A statement costs a hop to the database's thread whatever it holds, so rows go in as few statements as possible; and
//! a statement is only prepared once per text, so there is one text for every number of rows up to [`MOST`].

use std::sync::Arc;

use sqlx::AssertSqlSafe;

/// Most rows in one statement.
pub(super) const MOST: usize = 64;

/// One statement for every number of rows.
pub(super) struct Multi(Vec<Arc<str>>);

impl Multi {
    /// `head`, then `row` once per row, then `tail`. Each `?` in `row` is a bind parameter.
    ///
    /// The parameters have no numbers: SQLite looks a numbered one (`$1`) up by name in a list of all of them, which
    /// was a twentieth of the whole process at full load.
    pub(super) fn new(head: &str, row: &str, tail: &str) -> Self {
        let text = |rows| format!("{head} {} {tail}", vec![format!("({row})"); rows].join(", ")).into();
        Self((1..=MOST).map(text).collect())
    }

    /// Cuts `rows` into statements: the text and the rows to bind, in order.
    pub(super) fn cut<'r, T>(&self, rows: &'r [T]) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, &'r [T])> {
        rows.chunks(MOST).filter_map(|rows| Some((AssertSqlSafe(self.0.get(rows.len() - 1)?.clone()), rows)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_rows() {
        let multi = Multi::new("INSERT INTO t VALUES", "?, 0, ?", "RETURNING a");
        assert_eq!(&*multi.0[1], "INSERT INTO t VALUES (?, 0, ?), (?, 0, ?) RETURNING a");
    }

    #[test]
    fn cuts_cover_every_row_once_and_in_order() {
        let rows: Vec<usize> = (0..205).collect();
        let multi = Multi::new("", "?", "");
        for count in 0..rows.len() {
            let cuts: Vec<_> = multi.cut(&rows[..count]).collect();
            assert_eq!(cuts.iter().flat_map(|(_, rows)| rows.iter().copied()).collect::<Vec<_>>(), rows[..count]);
            assert_eq!(cuts.len(), count.div_ceil(MOST));
            assert!(cuts.iter().all(|(sql, rows)| sql.0.matches('?').count() == rows.len()));
        }
    }
}
