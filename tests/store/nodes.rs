//! Several nodes on one PostgreSQL database.

use std::time::Duration;

use futures_util::future::join_all;
use posthaste::store::{Change, DeliveryFilter, PageRequest, StoreError};
use posthaste_tests::{Home, Kind, PATIENCE, until};
use tokio::time::timeout;

use crate::case::{Case, open_store, webhook};

#[tokio::test]
async fn ten_nodes_start_at_once_on_an_empty_database() {
    let home = Home::of(Kind::Postgres).await;
    let open = || open_store(&home, 7);
    for opened in join_all((0..10).map(|_| open())).await {
        assert_eq!(opened.unwrap().0.webhooks("acme", None, 9).await.unwrap().webhooks.len(), 0);
    }
}

#[tokio::test]
async fn change_reaches_the_other_nodes() {
    let one = Case::on(Kind::Postgres).await;
    let other = one.beside().await;
    let mut changes = other.changes().unwrap();
    assert!(other.changes().is_none(), "one receiver gets them");
    // The listener starts with this.
    assert_eq!(timeout(PATIENCE, changes.recv()).await.unwrap(), Some(Change::Everything));
    assert!(other.webhook_for("acme", "t").await.unwrap().is_none());
    one.put_webhook(webhook("wh_1", "t")).await.unwrap();
    let expected = Change::Webhook { company: "acme".into(), event_type: "t".into() };
    assert_eq!(timeout(PATIENCE, changes.recv()).await.unwrap(), Some(expected));
    assert!(other.webhook_for("acme", "t").await.unwrap().is_some());
}

#[tokio::test]
async fn lost_listener_reports_that_anything_may_have_changed() {
    let case = Case::on(Kind::Postgres).await;
    let mut changes = case.changes().unwrap();
    assert_eq!(timeout(PATIENCE, changes.recv()).await.unwrap(), Some(Change::Everything));
    case.home
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    assert_eq!(timeout(PATIENCE, changes.recv()).await.unwrap(), Some(Change::Everything));
    // The writer and the readers reconnect as well.
    until("the store takes writes again", || async { case.put_webhook(webhook("wh_1", "t")).await.ok() }).await;
    assert!(case.webhook_for("acme", "t").await.unwrap().is_some());
}

#[tokio::test]
async fn statement_of_a_reader_is_interrupted_by_the_server() {
    let case = Case::on(Kind::Postgres).await;
    let list =
        || async { case.deliveries("acme", &DeliveryFilter::default(), &PageRequest { limit: 1, after: None }).await };
    let home = case.home.clone();
    let held = tokio::spawn(async move {
        home.sql("BEGIN; LOCK TABLE event_deliveries IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3600)").await;
    });
    let locked = "SELECT COUNT(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' \
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until("the lock", || async { (case.home.value::<i64>(locked).await > 0).then_some(()) }).await;
    assert!(matches!(list().await, Err(StoreError::TooSlow)));
    // More callers than connections give up meanwhile.
    for _ in 0..10 {
        assert!(timeout(Duration::from_millis(1), list()).await.is_err());
    }
    assert!(case.key("phk_unknown", 0).await.unwrap().is_none(), "look-ups have connections of their own");
    let end = "SELECT pg_terminate_backend(pid)::int::bigint FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK TABLE event_deliveries%' \
               AND datname = current_database() AND pid <> pg_backend_pid()";
    case.home.value::<i64>(end).await;
    assert!(held.await.is_err(), "it was terminated");
    until("the log is read again", || async { list().await.ok() }).await;
}
