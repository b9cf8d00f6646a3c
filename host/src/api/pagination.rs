//! Pages of lists.

use serde::Serialize;

use super::problem::{Problem, ProblemKind};
use crate::domain::id;
use crate::store::PageRequest;

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
/// 422 for anything else.
pub(super) fn page_limit(given: Option<&str>) -> Result<u32, Problem> {
    let Some(text) = given else { return Ok(MAX_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Problem::new(ProblemKind::Rule, format!("limit: a whole number from 1 to {MAX_LIMIT}")))
}

/// Reads `?cursor=`, the `next_cursor` of the previous page; an empty one is the first page's.
///
/// # Errors
/// 422 for a text that `parse` does not understand.
pub(super) fn cursor<T>(given: Option<&str>, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
    let unknown = || Problem::new(ProblemKind::Rule, "cursor: use the `next_cursor` of the previous page");
    parse(text).map(Some).ok_or_else(unknown)
}

/// Reads a page of deliveries, or of events: their cursor is the id of a delivery.
///
/// # Errors
/// As [`page_limit`] and [`cursor`].
pub(super) fn delivery_page(limit: Option<&str>, given: Option<&str>) -> Result<PageRequest, Problem> {
    let parse = |text: &str| id::is_delivery_id(text).then(|| text.to_owned());
    Ok(PageRequest { limit: page_limit(limit)?, after: cursor(given, parse)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_empty_or_the_id_of_a_delivery() {
        let after = |given| delivery_page(None, given).map(|page| page.after);
        let id = id::Ids::default().next("dlv", 1_700_000_000_000);
        assert_eq!((after(None).unwrap(), after(Some("")).unwrap()), (None, None));
        assert_eq!(after(Some(&id)).unwrap().as_ref(), Some(&id));
        for bad in ["x", "dlv_", "evt_018bcfe568007000800000000000000a", "dlv_018bcfe56800700080000000000000", "dlv_é"]
        {
            assert_eq!(after(Some(bad)).unwrap_err().kind(), ProblemKind::Rule, "{bad}");
        }
    }

    #[test]
    fn a_page_has_1_to_100_rows() {
        assert_eq!([None, Some("1"), Some("100")].map(|given| page_limit(given).unwrap()), [100, 1, 100]);
        for bad in ["0", "101", "-1", "1.5", "99999999999", "", "all"] {
            let problem = page_limit(Some(bad)).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::Rule);
            assert!(problem.object()["detail"].as_str().unwrap().contains("from 1 to 100"), "{bad}");
        }
    }
}
