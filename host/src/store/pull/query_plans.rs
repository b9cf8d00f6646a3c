//! The query plans of the statements of pull webhooks: their cost must not grow with what waits, or with the log.

use super::acknowledge::{BEFORE_TAKEN_BACK, DELIVER, LAST_DELIVERED, TAKE_BACK};
use super::read::ENTRIES;
use super::{COUNT, RELEASE, REMOVE, WITHOUT_CONSUMER};
use crate::store::deliveries::query_plans::{KIND, database, plan};

/// The entries of a range of positions.
const RANGE: &str = "INDEX sqlite_autoindex_pull_entries_1 (webhook_id=? AND position>? AND position<?)";
const DELIVERY: &str = "SEARCH event_deliveries USING INDEX sqlite_autoindex_event_deliveries_1 (company=? AND id=?)";

#[tokio::test]
async fn entries_are_read_along_their_positions() {
    let (_folder, mut connection) = database().await;
    let plan = plan(&mut connection, ENTRIES).await;
    for used in [
        "SEARCH pull_entries USING INDEX sqlite_autoindex_pull_entries_1 (webhook_id=? AND position>?)",
        "SEARCH d USING INDEX sqlite_autoindex_event_deliveries_1 (company=? AND id=?)",
        "SEARCH v USING INDEX sqlite_autoindex_events_1 (company=? AND id=?)",
    ] {
        assert!(plan.contains(used), "{plan}");
    }
}

#[tokio::test]
async fn place_is_moved_along_the_positions_and_finds_deliveries_by_their_ids() {
    let (_folder, mut connection) = database().await;
    for (sql, used) in [
        (LAST_DELIVERED, vec![RANGE]),
        (BEFORE_TAKEN_BACK, vec![RANGE]),
        (DELIVER, vec![RANGE, DELIVERY]),
        (TAKE_BACK, vec![RANGE, DELIVERY]),
    ] {
        let plan = plan(&mut connection, sql).await;
        assert!(used.iter().all(|used| plan.contains(used)), "{plan}");
        assert!(!plan.contains("SCAN pull_entries") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn entries_are_counted_and_removed_by_their_keys() {
    let (_folder, mut connection) = database().await;
    let count = plan(&mut connection, COUNT).await;
    assert!(count.contains("SEARCH webhooks USING INDEX sqlite_autoindex_webhooks_1 (id=?)"), "{count}");
    for rows in [1, 64] {
        for (sql, _) in REMOVE.split(KIND, &vec!["a"; rows]) {
            let plan = plan(&mut connection, &sql.0).await;
            let used = "SEARCH pull_entries USING COVERING INDEX pull_entries_delivery (company=? AND delivery_id=?)";
            assert!(plan.contains(used), "{plan}");
        }
    }
}

#[tokio::test]
async fn entries_without_a_consumer_are_found_and_released_along_their_positions() {
    let (_folder, mut connection) = database().await;
    let found = plan(&mut connection, WITHOUT_CONSUMER).await;
    for used in [
        "SEARCH e USING COVERING INDEX sqlite_autoindex_pull_entries_1 (webhook_id>?)",
        "SEARCH w USING INDEX sqlite_autoindex_webhooks_1 (id=?)",
    ] {
        assert!(found.contains(used), "{found}");
    }
    let release = plan(&mut connection, RELEASE).await;
    assert!(release.contains("sqlite_autoindex_pull_entries_1 (webhook_id=? AND position<?)"), "{release}");
    assert!(release.contains("sqlite_autoindex_pull_entries_1 (webhook_id=?)"), "{release}");
    for plan in [found, release] {
        assert!(!plan.contains("SCAN pull_entries") && !plan.contains("SCAN w") && !plan.contains("TEMP"), "{plan}");
    }
}
