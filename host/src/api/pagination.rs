//! Pages of lists.

use serde::Serialize;

use super::problem::{Problem, ProblemKind};

/// One page of a list; every list but `GET /webhooks` answers with one.
#[derive(Serialize)]
pub(super) struct ListPage<T> {
    pub(super) data: Vec<T>,
    /// The `cursor` of the next page; null on the last page.
    pub(super) next_cursor: Option<String>,
}

/// Most rows of one page.
const MAX_LIMIT: u32 = 100;

/// Checks `?limit=`: 1 to 100, by default 100.
///
/// # Errors
/// 422 for any other number.
pub(super) fn page_limit(given: Option<u32>) -> Result<u32, Problem> {
    match given {
        None => Ok(MAX_LIMIT),
        Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::new(ProblemKind::Rule, format!("limit: from 1 to {MAX_LIMIT}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_1_to_100_rows() {
        assert_eq!([None, Some(1), Some(100)].map(|given| page_limit(given).unwrap()), [100, 1, 100]);
        for bad in [0, 101, u32::MAX] {
            assert_eq!(page_limit(Some(bad)).unwrap_err().kind(), ProblemKind::Rule);
        }
    }
}
