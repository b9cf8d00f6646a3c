//! The query plans of the statements that run all the time: their cost must not grow with the backlog or the log.

use sqlx::AssertSqlSafe;

use super::claim::{FIRST_SCHEDULED, claim_backlog_sql, claim_due_sql, next_due_sql};
use super::events::events_sql;
use super::log::list_sql;
use crate::domain::delivery::{Status, StatusFilter};
use crate::store::backend::Backend;
use crate::store::db::{self, DatabaseConnection, DatabaseKind};

async fn database() -> (tempfile::TempDir, DatabaseConnection) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("plans.db").display());
    let connection = Backend::open(&url).await.unwrap().connect().await.unwrap();
    (folder, connection)
}

async fn plan(connection: &mut DatabaseConnection, sql: &str) -> String {
    let rows = db::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("detail").unwrap() + "\n").collect()
}

#[tokio::test]
async fn due_deliveries_are_found_by_the_partial_index_in_its_order() {
    let (_folder, mut connection) = database().await;
    let claim = plan(&mut connection, &claim_due_sql(DatabaseKind::Sqlite)).await;
    assert!(claim.contains("USING INDEX deliveries_due (due<?)"), "{claim}");
    let next = plan(&mut connection, &next_due_sql()).await;
    assert!(next.contains("deliveries_due"), "{next}");
    for plan in [claim, next] {
        assert!(!plan.contains("SCAN deliveries\n") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn backlog_of_a_webhook_is_found_by_its_partial_index_in_its_order() {
    let (_folder, mut connection) = database().await;
    let claim = plan(&mut connection, &claim_backlog_sql(DatabaseKind::Sqlite)).await;
    assert!(claim.contains("deliveries_waiting (webhook_id=? AND parked=? AND id<?)"), "{claim}");
    assert!(!claim.contains("SCAN deliveries\n") && !claim.contains("TEMP B-TREE"), "{claim}");
    let first = plan(&mut connection, FIRST_SCHEDULED).await;
    assert!(first.contains("deliveries_waiting (webhook_id=? AND parked=?)"), "{first}");
}

#[tokio::test]
async fn failed_deliveries_are_found_by_their_partial_index_and_all_others_by_the_primary_key() {
    let (_folder, mut connection) = database().await;
    let failed = plan(&mut connection, &list_sql(Some(StatusFilter::Is(Status::Failed)))).await;
    assert!(failed.contains("USING INDEX deliveries_failed (company=? AND id>? AND id<?)"), "{failed}");
    let any = plan(&mut connection, &list_sql(None)).await;
    assert!(any.contains("deliveries_1 (company=? AND id>? AND id<?)"), "{any}");
    assert!(any.contains("SEARCH a USING") && any.contains("(delivery_id=? AND number=?)"), "{any}");
    assert!(!failed.contains("TEMP B-TREE") && !any.contains("TEMP B-TREE"), "{failed}{any}");
}

#[tokio::test]
async fn unmatched_events_are_found_by_their_partial_index_and_all_others_by_the_primary_key() {
    let (_folder, mut connection) = database().await;
    let unmatched = plan(&mut connection, &events_sql(true)).await;
    assert!(unmatched.contains("USING INDEX deliveries_unmatched (company=? AND id>? AND id<?)"), "{unmatched}");
    let any = plan(&mut connection, &events_sql(false)).await;
    assert!(any.contains("deliveries_1 (company=? AND id>? AND id<?)"), "{any}");
    assert!(!unmatched.contains("TEMP B-TREE") && !any.contains("TEMP B-TREE"), "{unmatched}{any}");
}
