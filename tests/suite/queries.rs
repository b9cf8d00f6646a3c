//! The delivery log and the events: lists, filters, growth and retention.

use http::Method;
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Host, Receiver};
use serde_json::{Value, json};

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
    for cursor in ["zzz", "%00", "%27%20OR%201=1--", "%F0%9F%90%8E", "dlv_", "dlv_0", "dlv_~~", &"x".repeat(4000)] {
        let text = host.get(&format!("/deliveries?cursor={cursor}")).await.problem(422);
        assert!(text.contains("cursor"), "{cursor}: {text}");
    }
    assert_eq!(count("cursor=").await, 1);
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
    let rows = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999) \
        SELECT 'dlv_' || {id} AS id, 'e' || i AS event_id, 't' AS event_type, 'wh_' || (i % 1000) AS webhook_id, \
        'pending' AS status, 0 AS attempt_count, CASE WHEN i % 2 = 1 THEN 4000000000000 + i END AS due, 1 - i % 2 AS parked, \
        0 AS created_at, CAST(NULL AS BIGINT) AS finished_at, '1' AS data FROM n"
    );
    host.home().fill_log(&rows).await;
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

#[tokio::test]
async fn events_are_found_whether_or_not_somebody_subscribed() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "routed", "target_url": receiver.url("/")})).await;
    let delivery = host.publish("routed", &json!({"a": 1})).await;
    host.delivery(&delivery, "delivered").await;
    for number in 0..3 {
        let event = json!({"type": "nobody", "data": number, "id": format!("lost-{number}")});
        assert_eq!(host.post("/events", &event).await.expect(202)["delivery_id"], Value::Null);
    }
    let ids = async |path: &str| {
        let list = host.get(path).await.expect(200);
        let ids = list["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>(), list["next_cursor"].as_str().map(ToOwned::to_owned))
    };
    assert_eq!(ids("/events?unmatched=true").await, (["lost-2", "lost-1", "lost-0"].map(Into::into).into(), None));
    assert_eq!(ids("/events?unmatched=true&type=other").await.0.len(), 0);
    assert_eq!(ids("/events").await.0.len(), 4);
    let (first, cursor) = ids("/events?limit=3&cursor=").await;
    assert_eq!(first, ["lost-2", "lost-1", "lost-0"]);
    let (second, end) = ids(&format!("/events?limit=3&cursor={}", cursor.unwrap())).await;
    assert_eq!((second.len(), end), (1, None));
    let found = host.get(&format!("/events/{}", second[0])).await.expect(200);
    assert_eq!(
        (&found["payload"], &found["delivery_id"], &found["type"]),
        (&json!({"a": 1}), &json!(delivery), &json!("routed"))
    );
    let deliveries = found["deliveries"].as_array().unwrap();
    assert_eq!(
        (deliveries.len(), &deliveries[0]["id"], &deliveries[0]["status"]),
        (1, &json!(delivery), &json!("delivered"))
    );
    assert_eq!(deliveries[0]["last_status_code"], 200);
    let lost = host.get("/events/lost-1").await.expect(200);
    assert_eq!((&lost["payload"], &lost["deliveries"], &lost["delivery_id"]), (&json!(1), &json!([]), &Value::Null));
    host.company("other").await.get("/events/lost-1").await.problem(404);
    let publisher = host.with_key(host.new_key(Some("acme"), Scopes::parse("deliveries").unwrap()).await);
    publisher.get("/events").await.problem(403);
    let metrics = String::from_utf8(host.get("!/metrics").await.bytes).unwrap();
    assert!(metrics.contains("posthaste_events_unmatched_total 3\n"), "{metrics}");
}

#[tokio::test]
async fn cursor_and_range_of_a_list_are_checked() {
    let host = Host::start().await;
    for path in ["/deliveries", "/events", "/plugins"] {
        host.get(&format!("{path}?cursor=")).await.expect(200);
        let problem = host.get(&format!("{path}?cursor=wrong")).await.problem(422);
        assert!(problem.contains("cursor"), "{path}: {problem}");
    }
    for path in ["/deliveries", "/events"] {
        let later = "since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z";
        let problem = host.get(&format!("{path}?{later}")).await.problem(422);
        assert!(problem.contains("before `since`"), "{path}: {problem}");
        host.get(&format!("{path}?since=2026-01-01%2000:00:00Z&until=9999-12-31T23:59:59Z")).await.expect(200);
    }
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let host = Host::start().await;
    for (path, status) in
        [("/webhooks", 200), ("/webhooks/none", 404), ("!/nothing", 404), ("!/healthz", 200), ("!/metrics", 200)]
    {
        let (one, other) = (host.get(path).await, host.get(path).await);
        assert_eq!(one.status, status, "{path}");
        assert!(one.header("x-request-id").starts_with("req_"), "{path}");
        assert_ne!(one.header("x-request-id"), other.header("x-request-id"), "{path}");
        let given = host.call(Method::GET, path, &[("x-request-id", "a-7")], "").await;
        assert_eq!(given.header("x-request-id"), "a-7", "{path}");
        let unfit = host.call(Method::GET, path, &[("x-request-id", "a b")], "").await;
        assert!(unfit.header("x-request-id").starts_with("req_"), "{path}");
    }
}
