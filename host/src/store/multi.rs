//! Statements over many rows at once.
//!
//! A statement costs a hop to the database's thread whatever it holds, so rows go in as few statements as possible;
//! and a statement is only prepared once per text, so they come in a few fixed sizes.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

const SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// One statement in every size.
pub(super) struct Multi(Vec<(usize, Arc<str>)>);

impl Multi {
    /// `head`, then `row` once per row, then `tail`. Each `?` in `row` becomes a bind parameter.
    pub(super) fn new(head: &str, row: &str, tail: &str) -> Self {
        Self(SIZES.map(|size| (size, Arc::from(text(head, row, tail, size)))).to_vec())
    }

    /// Cuts `rows` into statements: the text and the rows to bind, in order.
    pub(super) fn cut<'r, T>(&self, mut rows: &'r [T]) -> Vec<(AssertSqlSafe<Arc<str>>, &'r [T])> {
        let mut cuts = Vec::new();
        for (size, text) in &self.0 {
            while let Some((now, later)) = rows.split_at_checked(*size).filter(|_| !rows.is_empty()) {
                cuts.push((AssertSqlSafe(text.clone()), now));
                rows = later;
            }
        }
        cuts
    }
}

fn text(head: &str, row: &str, tail: &str, size: usize) -> String {
    let mut text = String::from(head);
    let mut parameter = 0;
    for index in 0..size {
        text.push_str(if index == 0 { " (" } else { ", (" });
        for part in row.chars() {
            if part == '?' {
                parameter += 1;
                text.push_str(&format!("${parameter}"));
            } else {
                text.push(part);
            }
        }
        text.push(')');
    }
    text.push(' ');
    text.push_str(tail);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_parameters_across_rows() {
        assert_eq!(
            text("INSERT INTO t VALUES", "?, 0, ?", "RETURNING a", 2),
            "INSERT INTO t VALUES ($1, 0, $2), ($3, 0, $4) RETURNING a"
        );
    }

    #[test]
    fn cuts_cover_every_row_once_and_in_order() {
        let rows: Vec<usize> = (0..205).collect();
        let multi = Multi::new("", "?", "");
        for count in 0..rows.len() {
            let cuts = multi.cut(&rows[..count]);
            assert_eq!(cuts.iter().flat_map(|(_, rows)| rows.iter().copied()).collect::<Vec<_>>(), rows[..count]);
            assert!(cuts.len() <= 3 + 6, "{count} rows in {} statements", cuts.len());
        }
    }
}
