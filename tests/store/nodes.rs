//! Several nodes on one PostgreSQL database.

use std::time::Duration;

use futures_util::future::join_all;
use posthaste::domain::webhook::Webhook;
use posthaste::store::{Change, DeliveryFilter, PageRequest, StoreError};
use posthaste_tests::{Home, Kind, PATIENCE, until};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::case::{Case, NOW, id, open_store, several, spilled, webhook};

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
    let announced = async |changes: &mut Receiver<Change>, event_type: &str, id: &str| {
        let expected =
            Change::Webhook { company: "acme".into(), event_type: event_type.into(), id: Some(id.to_owned()) };
        assert_eq!(timeout(PATIENCE, changes.recv()).await.unwrap(), Some(expected));
    };
    let stored = one.put_webhook(webhook("wh_1", "t")).await.unwrap().webhook;
    announced(&mut changes, "t", "wh_1").await;
    assert!(other.webhook_of("acme", "wh_1").await.unwrap().is_some());
    assert_eq!(other.webhooks_for("acme", "t").await.unwrap().len(), 1);
    // A pattern may match a type that is cached already.
    one.put_webhook(Webhook { label: Some("x".into()), ..webhook("wh_2", "*") }).await.unwrap();
    announced(&mut changes, "*", "wh_2").await;
    assert_eq!(other.webhooks_for("acme", "t").await.unwrap().len(), 2);
    one.delete_webhook(&stored).await.unwrap();
    announced(&mut changes, "t", "wh_1").await;
    assert!(other.webhook_of("acme", "wh_1").await.unwrap().is_none());
    assert_eq!(other.webhooks_for("acme", "t").await.unwrap().len(), 1);
}

#[tokio::test]
async fn nodes_that_remove_an_old_log_at_once_leave_no_event() {
    let one = Case::on(Kind::Postgres).await;
    let other = one.beside().await;
    for _ in 0..5 {
        // A step of one node ends between the deliveries of an event, and that of the other begins there.
        for number in 0..100 {
            let row = spilled(&id(NOW + i64::from(number), number));
            one.stored(several(row, &["wh_1", "wh_2", "wh_3"])).await;
        }
        let expire = async |case: &Case| case.expire("acme".into(), NOW + 100).await.unwrap();
        while tokio::join!(expire(&one), expire(&other)) != (false, false) {}
        for table in ["event_deliveries", "events"] {
            assert_eq!(one.home.value::<i64>(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
        }
    }
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
