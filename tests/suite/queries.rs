//! The delivery log: lists, filters, growth and retention.

use posthaste_tests::{Host, Receiver};
use serde_json::json;

#[tokio::test]
async fn deliveries_are_listed_newest_first_in_pages_and_filtered() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for kind in ["a", "b"] {
        host.post("/webhooks", &json!({"type": kind, "target_url": receiver.url("/")})).await.expect(201);
    }
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.insert(0, host.publish(if number % 2 == 0 { "a" } else { "b" }, &json!(number)).await);
    }
    for id in &ids {
        host.delivery(id, "delivered").await;
    }
    let (mut listed, mut query) = (Vec::new(), String::from("?limit=3"));
    loop {
        let page = host.get(&format!("/deliveries{query}")).await.expect(200);
        listed.extend(page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(listed, ids);
    let count = |query: &str| {
        let (host, query) = (&host, query.to_owned());
        async move { host.get(&format!("/deliveries?{query}")).await.expect(200)["data"].as_array().unwrap().len() }
    };
    assert_eq!(
        (count("type=a").await, count("type=b&status=delivered").await, count("status=failed").await),
        (4, 3, 0)
    );
    let fourth = host.get(&format!("/deliveries/{}", ids[3])).await.expect(200);
    let at = fourth["created_at"].as_str().unwrap();
    assert!((1..7).contains(&count(&format!("since={at}")).await));
    assert_eq!(count(&format!("since={at}")).await + count(&format!("until={at}")).await, 7);
    assert_eq!(count(&format!("webhook={}", fourth["webhook"].as_str().unwrap())).await, 3);
}

#[tokio::test]
async fn invalid_limits_cursors_and_instants_are_refused() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let id = host.publish("t", &json!(1)).await;
    let at = host.delivery(&id, "delivered").await["created_at"].as_str().unwrap().to_owned();
    for (query, part) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.5", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=", "limit"),
        ("status=lost", "pending, delivered, filtered, failed, cancelled"),
        ("status=", "status"),
        ("since=yesterday", "since"),
        ("until=2026-13-01T00:00:00Z", "until"),
        ("until=2026-01-01", "until"),
        ("colour=red", "colour"),
    ] {
        let text = host.get(&format!("/deliveries?{query}")).await.problem(422);
        assert!(text.contains(part), "{query}: {text}");
    }
    let count = async |query: &str| {
        host.get(&format!("/deliveries?{query}")).await.expect(200)["data"].as_array().unwrap().len()
    };
    for cursor in ["", "zzz", "%00", "%27%20OR%201=1--", "%F0%9F%90%8E", "dlv_", "dlv_0", "dlv_~~", &"x".repeat(4000)] {
        assert!(count(&format!("cursor={cursor}")).await <= 1, "{cursor}");
    }
    assert_eq!((count(&format!("cursor={id}")).await, count("limit=1").await, count("limit=100").await), (0, 1, 1));
    // `since` includes its instant, `until` does not.
    let [since, until] = ["since", "until"].map(|field| format!("{field}={at}"));
    assert_eq!((count(&since).await, count(&until).await, count(&format!("{since}&{until}")).await), (1, 0, 0));
    assert_eq!((count("since=0001-01-01T00:00:00Z").await, count("until=9999-12-01T00:00:00Z").await), (1, 1));
    assert_eq!((count("since=9999-12-01T00:00:00Z").await, count("until=0001-01-01T00:00:00Z").await), (0, 0));
    assert_eq!(count("since=2020-01-01T00:00:00+02:00").await, 1);
    assert_eq!((count("webhook=wh_nobody").await, count("type=%00").await), (0, 0));
    host.company("other").await.get(&format!("/deliveries/{id}")).await.problem(404);
    assert_eq!(
        host.company("third").await.get("/deliveries").await.expect(200),
        json!({"data": [], "next_cursor": null})
    );
}

#[tokio::test]
async fn new_event_is_delivered_beside_a_million_waiting_rows() {
    let mut host = Host::start().await;
    host.stop().await;
    let id = host.home().kind().hex("i", 12);
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999) \
        INSERT INTO deliveries (company, id, event_id, event_type, webhook_id, status, attempt_count, attempt_base, due, \
        parked, created_at, occurred_at, headers, data) SELECT 'acme', 'dlv_' || {id}, 'e' || i, 't', \
        'wh_' || (i % 1000), 'pending', 0, 0, CASE WHEN i % 2 = 1 THEN 4000000000000 + i END, 1 - i % 2, 0, 0, '[]', '1' \
        FROM n"
    );
    host.home().sql(&fill).await;
    host.restart().await;
    let receiver = Receiver::start().await;
    host.post("/webhooks", &json!({"type": "live", "target_url": receiver.url("/")})).await.expect(201);
    let id = host.publish("live", &json!(1)).await;
    host.delivery(&id, "delivered").await;
}

#[tokio::test]
async fn retention_removes_old_deliveries() {
    let (mut host, receiver) = (Host::with(&["--retention=1ms"]).await, Receiver::start().await);
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    let id = host.publish("t", &json!(1)).await;
    receiver.first().await;
    host.restart().await;
    posthaste_tests::until("it is gone", || async {
        (host.get(&format!("/deliveries/{id}")).await.status == 404).then_some(())
    })
    .await;
}
