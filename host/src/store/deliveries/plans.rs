//! The look-ups that run all the time must not slow down with what waits or with how long the log has grown: their
//! plans, on the statements themselves.

use sqlx::AssertSqlSafe;

use super::super::db::{self, Connection};
use super::log::list_sql;
use super::waiting::{DUE, FIRST_SCHEDULED, NEXT_DUE, PARKED, claim_sql};
use crate::domain::delivery::Status;
use crate::store::backend::Backend;

async fn database() -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("plans.db").display());
    let connection = Backend::open(&url).await.unwrap().connect().await.unwrap();
    (folder, connection)
}

async fn plan(connection: &mut Connection, sql: &str) -> String {
    let rows = db::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("detail").unwrap() + "\n").collect()
}

#[tokio::test]
async fn what_is_due_is_found_by_the_partial_index_in_its_order() {
    let (_folder, mut connection) = database().await;
    let claim = plan(&mut connection, &claim_sql(DUE)).await;
    assert!(claim.contains("USING INDEX deliveries_due (due<?)"), "{claim}");
    let next = plan(&mut connection, NEXT_DUE).await;
    assert!(next.contains("deliveries_due"), "{next}");
    for plan in [claim, next] {
        assert!(!plan.contains("SCAN deliveries\n") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn what_is_parked_for_one_webhook_is_found_by_its_partial_index_in_its_order() {
    let (_folder, mut connection) = database().await;
    let claim = plan(&mut connection, &claim_sql(PARKED)).await;
    assert!(claim.contains("deliveries_waiting (webhook_id=? AND parked=? AND id<?)"), "{claim}");
    assert!(!claim.contains("SCAN deliveries\n") && !claim.contains("TEMP B-TREE"), "{claim}");
    let first = plan(&mut connection, FIRST_SCHEDULED).await;
    assert!(first.contains("deliveries_waiting (webhook_id=? AND parked=?)"), "{first}");
}

#[tokio::test]
async fn what_failed_is_found_by_its_partial_index_and_all_else_by_the_primary_key() {
    let (_folder, mut connection) = database().await;
    let failed = plan(&mut connection, &list_sql(Some(Status::Failed))).await;
    assert!(failed.contains("USING INDEX deliveries_failed (company=? AND id>? AND id<?)"), "{failed}");
    let any = plan(&mut connection, &list_sql(None)).await;
    assert!(any.contains("deliveries_1 (company=? AND id>? AND id<?)"), "{any}");
    assert!(!failed.contains("TEMP B-TREE") && !any.contains("TEMP B-TREE"), "{failed}{any}");
}
