//! Statements over several rows at once.
//!
//! A statement costs a hop to the database's thread regardless of its size, so rows go in as few statements as possible. A
//! statement is prepared once per text, so there is one text for each number of rows up to [`MAX_ROWS`].

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::db::DatabaseKind;

/// Most rows in one statement.
pub(super) const MAX_ROWS: usize = 64;

/// One statement text for each number of rows.
pub(super) struct MultiRowStatement {
    sqlite: Vec<Arc<str>>,
    postgres: Vec<Arc<str>>,
}

impl MultiRowStatement {
    /// Returns the statements that consist of `head`, then `row` once per row, then `tail`. Each `?` in `row` is a bind
    /// parameter.
    ///
    /// For SQLite the parameters stay without numbers: it looks up a numbered one (`$1`) by name in a list of all of them,
    /// which took a twentieth of the CPU time of the whole process at full load. PostgreSQL knows only numbered ones.
    pub(super) fn new(head: &str, row: &str, tail: &str) -> Self {
        let text = |rows| format!("{head} {} {tail}", vec![format!("({row})"); rows].join(", "));
        Self {
            sqlite: (1..=MAX_ROWS).map(|rows| text(rows).into()).collect(),
            postgres: (1..=MAX_ROWS).map(|rows| numbered(&text(rows)).into()).collect(),
        }
    }

    /// Splits `rows` into statements: the text and the rows to bind, in order.
    pub(super) fn split<'r, T>(
        &self,
        kind: DatabaseKind,
        rows: &'r [T],
    ) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, &'r [T])> {
        let texts = match kind {
            DatabaseKind::Sqlite => &self.sqlite,
            DatabaseKind::Postgres => &self.postgres,
        };
        rows.chunks(MAX_ROWS).filter_map(|rows| Some((AssertSqlSafe(texts.get(rows.len() - 1)?.clone()), rows)))
    }
}

/// Replaces the `?`s by `$1`, `$2` and so on.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.zip(1..).fold(first, |text, (part, number)| format!("{text}${number}{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_text_repeats_the_row() {
        let statement = MultiRowStatement::new("INSERT INTO t VALUES", "?, 0, ?", "RETURNING a");
        assert_eq!(&*statement.sqlite[1], "INSERT INTO t VALUES (?, 0, ?), (?, 0, ?) RETURNING a");
        assert_eq!(&*statement.postgres[1], "INSERT INTO t VALUES ($1, 0, $2), ($3, 0, $4) RETURNING a");
    }

    #[test]
    fn statements_cover_every_row_once_and_in_order() {
        let rows: Vec<usize> = (0..205).collect();
        let statement = MultiRowStatement::new("", "?", "");
        for count in 0..rows.len() {
            let statements: Vec<_> = statement.split(DatabaseKind::Sqlite, &rows[..count]).collect();
            assert_eq!(statements.iter().flat_map(|(_, rows)| rows.iter().copied()).collect::<Vec<_>>(), rows[..count]);
            assert_eq!(statements.len(), count.div_ceil(MAX_ROWS));
            assert!(statements.iter().all(|(sql, rows)| sql.0.matches('?').count() == rows.len()));
        }
    }
}
