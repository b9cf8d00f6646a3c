//! Statements over many rows at once.
//!
//! A statement costs a hop to the database's thread whatever it holds, so rows go in as few statements as possible; and
//! a statement is only prepared once per text, so there is one text for every number of rows up to [`MOST`].

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::db::Kind;

/// Most rows in one statement.
pub(super) const MOST: usize = 64;

/// One statement for every number of rows.
pub(super) struct Multi {
    sqlite: Vec<Arc<str>>,
    postgres: Vec<Arc<str>>,
}

impl Multi {
    /// `head`, then `row` once per row, then `tail`. Each `?` in `row` is a bind parameter.
    ///
    /// For SQLite they stay without numbers: it looks a numbered one (`$1`) up by name in a list of all of them, which
    /// was a twentieth of the whole process at full load. PostgreSQL knows only numbered ones.
    pub(super) fn new(head: &str, row: &str, tail: &str) -> Self {
        let text = |rows| format!("{head} {} {tail}", vec![format!("({row})"); rows].join(", "));
        Self {
            sqlite: (1..=MOST).map(|rows| text(rows).into()).collect(),
            postgres: (1..=MOST).map(|rows| numbered(&text(rows)).into()).collect(),
        }
    }

    /// Cuts `rows` into statements: the text and the rows to bind, in order.
    pub(super) fn cut<'r, T>(
        &self,
        kind: Kind,
        rows: &'r [T],
    ) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, &'r [T])> {
        let texts = match kind {
            Kind::Sqlite => &self.sqlite,
            Kind::Postgres => &self.postgres,
        };
        rows.chunks(MOST).filter_map(|rows| Some((AssertSqlSafe(texts.get(rows.len() - 1)?.clone()), rows)))
    }
}

/// Each `?` as `$1` and so on.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.zip(1..).fold(first, |text, (part, number)| format!("{text}${number}{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_rows() {
        let multi = Multi::new("INSERT INTO t VALUES", "?, 0, ?", "RETURNING a");
        assert_eq!(&*multi.sqlite[1], "INSERT INTO t VALUES (?, 0, ?), (?, 0, ?) RETURNING a");
        assert_eq!(&*multi.postgres[1], "INSERT INTO t VALUES ($1, 0, $2), ($3, 0, $4) RETURNING a");
    }

    #[test]
    fn cuts_cover_every_row_once_and_in_order() {
        let rows: Vec<usize> = (0..205).collect();
        let multi = Multi::new("", "?", "");
        for count in 0..rows.len() {
            let cuts: Vec<_> = multi.cut(Kind::Sqlite, &rows[..count]).collect();
            assert_eq!(cuts.iter().flat_map(|(_, rows)| rows.iter().copied()).collect::<Vec<_>>(), rows[..count]);
            assert_eq!(cuts.len(), count.div_ceil(MOST));
            assert!(cuts.iter().all(|(sql, rows)| sql.0.matches('?').count() == rows.len()));
        }
    }
}
