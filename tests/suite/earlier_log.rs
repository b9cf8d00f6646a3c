//! The log of the version before, in which an event and its delivery were one row.

use posthaste_tests::{Host, Kind, Receiver, until};
use serde_json::{Value, json};

const NEWEST: i64 = 1_780_000_000_000;

fn delivery(number: i64) -> String {
    format!("dlv_{:012x}70000000000000000000", NEWEST + number)
}

#[tokio::test]
async fn log_of_the_version_before_is_delivered_and_shown() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let webhook = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    host.stop().await;
    let bytes = if host.home().kind() == Kind::Sqlite { "BLOB" } else { "BYTEA" };
    // Ended, unmatched, in the backlog, due, and in the memory of an ended process.
    let rows = [
        format!("'{webhook}', 'delivered', 1, NULL, NULL, 0"),
        "NULL, 'unrouted', 0, NULL, NULL, 0".to_owned(),
        format!("'{webhook}', 'pending', 0, NULL, NULL, 1"),
        format!("'{webhook}', 'pending', 1, {NEWEST}, NULL, 0"),
        format!("'{webhook}', 'pending', 0, {NEWEST}, 'gone', 0"),
    ];
    for (number, row) in (0..).zip(&rows) {
        let id = delivery(number);
        let insert = format!(
            "INSERT INTO deliveries (company, id, event_id, event_type, attempt_base, created_at, occurred_at, webhook_id, \
             status, attempt_count, due, lease, parked, headers, data) \
             VALUES ('acme', '{id}', 'e{number}', 't', 0, {NEWEST} + {number}, 5, {row}, '[]', CAST('{number}' AS {bytes}))"
        );
        host.home().sql(&insert).await;
    }
    host.restart().await;
    let mut texts: Vec<_> = receiver.wait_for(3).await.iter().map(|arrival| arrival.text()).collect();
    texts.sort();
    assert_eq!(texts, ["2", "3", "4"]);
    until("the ended one is moved", async || {
        (host.get(&format!("/deliveries/{}", delivery(0))).await.status == 200).then_some(())
    })
    .await;
    for number in [0, 2, 3, 4] {
        let shown = host.delivery(&delivery(number), "delivered").await;
        assert_eq!((&shown["payload"], &shown["event_id"]), (&json!(number), &json!(format!("e{number}"))));
    }
    let unmatched = host.get("/events?unmatched=true").await.expect(200);
    assert_eq!((unmatched["data"].as_array().unwrap().len(), &unmatched["data"][0]["id"]), (1, &json!("e1")));
    // An id is accepted once, whichever version stored its event.
    let again = host.post("/events", &json!({"type": "t", "data": 0, "id": "e0"})).await.expect(202);
    assert_eq!((&again["duplicate"], &again["delivery_id"]), (&json!(true), &json!(delivery(0))));
    let unmatched = host.post("/events", &json!({"type": "t", "data": 1, "id": "e1"})).await.expect(202);
    assert_eq!((&unmatched["duplicate"], &unmatched["delivery_id"]), (&json!(true), &Value::Null));
    host.post("/events", &json!({"type": "t", "data": 9, "id": "e0"})).await.problem(409);
    assert_eq!(host.home().value::<i64>("SELECT COUNT(*) FROM deliveries").await, 0);
}
