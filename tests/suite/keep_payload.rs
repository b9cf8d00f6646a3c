//! Webhooks whose events are not kept once they have been delivered.

use axum::response::IntoResponse as _;
use http::StatusCode;
use posthaste_tests::{Client, Host, Kind, Receiver, until};
use serde_json::{Value, json};

use crate::erasure::{MARKER, check_gone, echoing, files_with_marker, marked};

fn hook(receiver: &Receiver, more: Value) -> Value {
    let mut hook = json!({"type": "t", "target_url": receiver.url("/"), "keep_payload": "until_delivered"});
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook
}

/// Publishes an event with the marker, and returns the ids of its deliveries.
async fn publish(client: &Client, id: &str) -> Vec<String> {
    let answer = client.post("/events", &marked(id)).await.expect(202);
    let ids = answer["delivery_ids"].as_array().unwrap().iter();
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// Waits until nothing of the event's data is left of a delivery, and returns it.
async fn erased(client: &Client, delivery: &str) -> Value {
    let shown = client.delivery_when(delivery, "its payload is erased", |shown| !shown["erased_at"].is_null()).await;
    assert_eq!(shown["payload"], Value::Null);
    assert!(!shown.to_string().contains(MARKER), "{shown}");
    shown
}

async fn payload(client: &Client, path: &str) -> Value {
    client.get(path).await.expect(200)["payload"]["name"].clone()
}

#[tokio::test]
async fn payload_is_erased_once_it_has_been_delivered() {
    let (mut host, receiver) = (Host::start().await, echoing().await);
    let webhook = host.post("/webhooks", &hook(&receiver, json!({}))).await.expect(201);
    assert_eq!(webhook["keep_payload"], "until_delivered");
    let ids = publish(&host, "e1").await;
    let shown = erased(&host, &ids[0]).await;
    assert_eq!((&shown["status"], &shown["attempts"][0]["status_code"]), (&json!("delivered"), &json!(200)));
    let event = host.get("/events/e1").await.expect(200);
    assert_eq!((&event["payload"], &event["erased_at"]), (&Value::Null, &shown["erased_at"]));
    check_gone(&host).await;
    assert_eq!(host.get("/limits").await.expect(200)["quotas"]["event-bytes"]["used"], 0);
    // A producer that got no answer publishes again; it is told of the delivery, and nothing is sent again.
    let again = host.post("/events", &marked("e1")).await.expect(202);
    assert_eq!((&again["duplicate"], &again["delivery_ids"]), (&json!(true), &json!(ids)));
    let other = json!({"type": "u", "id": "e1", "data": 1});
    assert!(host.post("/events", &other).await.problem(409).contains("another type"));
    let retried = host.post(&format!("/deliveries/{}/retry", ids[0]), &json!({})).await;
    assert!(retried.problem(409).contains("erased"));
    assert_eq!(receiver.arrivals().len(), 1);
    if host.home().kind() == Kind::Sqlite {
        host.stop().await;
        assert_eq!(files_with_marker(host.home().path()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn failed_delivery_keeps_its_payload_until_it_is_delivered() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1ms"]).await, Receiver::start().await);
    receiver.answer(|_, _| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    host.subscribe(&hook(&receiver, json!({}))).await;
    let ids = publish(&host, "e1").await;
    host.delivery(&ids[0], "failed").await;
    // What is published later is erased after it, so that it had its turn.
    receiver.answer(|_, _| StatusCode::OK.into_response());
    let later = publish(&host, "e2").await;
    erased(&host, &later[0]).await;
    assert_eq!(payload(&host, &format!("/deliveries/{}", ids[0])).await, MARKER);
    host.post(&format!("/deliveries/{}/retry", ids[0]), &json!({})).await.expect(202);
    let shown = erased(&host, &ids[0]).await;
    assert_eq!((&shown["status"], &shown["attempt_count"]), (&json!("delivered"), &json!(3)));
    check_gone(&host).await;
}

#[tokio::test]
async fn payload_stays_for_a_webhook_that_keeps_it_and_for_one_that_waits() {
    let (host, receiver) = (Host::start().await, echoing().await);
    host.subscribe(&hook(&receiver, json!({"label": "transient"}))).await;
    host.subscribe(&hook(&receiver, json!({"label": "kept", "keep_payload": "retention"}))).await;
    let ids = publish(&host, "e1").await;
    let deliveries = host.get("/events/e1").await.expect(200)["deliveries"].clone();
    let of = |label: &str| {
        let found = deliveries.as_array().unwrap().iter().find(|one| one["label"] == label).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(ids.len(), 2);
    erased(&host, &of("transient")).await;
    for path in ["/events/e1".to_owned(), format!("/deliveries/{}", of("kept"))] {
        assert_eq!(payload(&host, &path).await, MARKER, "{path}");
    }
    host.post(&format!("/deliveries/{}/retry", of("kept")), &json!({})).await.expect(202);
    receiver.wait_for(3).await;
    // Once the other one does not keep it either, it stays until both have ended.
    host.subscribe(&hook(&receiver, json!({"label": "kept", "enabled": false}))).await;
    let ids = publish(&host, "e2").await;
    let (one, other) = (&ids[0], &ids[1]);
    let first = until("one of them is erased", || async {
        for id in [one, other] {
            if !host.get(&format!("/deliveries/{id}")).await.expect(200)["erased_at"].is_null() {
                return Some(id.clone());
            }
        }
        None
    });
    let first = first.await;
    assert_eq!(payload(&host, "/events/e2").await, MARKER);
    host.subscribe(&hook(&receiver, json!({"label": "kept"}))).await;
    erased(&host, if first == *one { other } else { one }).await;
    assert_eq!(receiver.arrivals().len(), 5);
    assert_eq!(payload(&host, "/events/e2").await, Value::Null);
    assert_eq!(payload(&host, "/events/e1").await, MARKER);
}

#[tokio::test]
async fn payload_is_erased_however_the_delivery_ends() {
    let (host, receiver) = (Host::start().await, echoing().await);
    let drops = json!({"plugin": "std-filter", "config": {"drop": [{"field": "/name", "is": MARKER}]}});
    host.subscribe(&hook(&receiver, drops)).await;
    let filtered = publish(&host, "filtered").await;
    assert_eq!(erased(&host, &filtered[0]).await["status"], "filtered");
    let off = json!({"enabled": false});
    host.subscribe(&hook(&receiver, off.clone())).await;
    let cancelled = publish(&host, "cancelled").await;
    host.post("/deliveries/cancel", &json!({"event": "cancelled"})).await.expect(202);
    assert_eq!(erased(&host, &cancelled[0]).await["status"], "cancelled");
    let orphaned = publish(&host, "orphaned").await;
    host.delete("/webhooks", &json!({"type": "t"})).await.expect(200);
    assert_eq!(erased(&host, &orphaned[0]).await["status"], "cancelled");
    // An event that is replayed to a webhook which it never had.
    publish(&host, "missing").await;
    let webhook = host.subscribe(&hook(&receiver, json!({}))).await;
    let replay = json!({"webhook": webhook, "event": "missing", "only": "missing"});
    host.post("/deliveries/replay", &replay).await.expect(202);
    let replayed = until("it is delivered", || async {
        let event = host.get("/events/missing").await.expect(200);
        event["deliveries"][0]["id"].as_str().map(str::to_owned)
    });
    assert_eq!(erased(&host, &replayed.await).await["status"], "delivered");
    receiver.wait_for(1).await;
    check_gone(&host).await;
}

#[tokio::test]
async fn acknowledged_event_cannot_be_fetched_again() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let more = json!({"delivery": "pull", "target_url": null});
    let webhook = host.post("/webhooks", &hook(&receiver, more)).await.expect(201);
    // Its deliveries keep the data of the events.
    host.subscribe(&hook(&receiver, json!({"label": "kept", "keep_payload": "retention"}))).await;
    let events = format!("/webhooks/{}/events", webhook["id"].as_str().unwrap());
    let page = async |query: &str| host.get(&format!("{events}{query}")).await.expect(200);
    let start = page("").await["next_cursor"].clone();
    let ids = [&publish(&host, "e1").await[0], &publish(&host, "e2").await[0]].map(String::clone);
    let first = page("?limit=1").await;
    assert!(first["data"][0]["body"].as_str().unwrap().contains(MARKER));
    let acknowledge = async |cursor: &Value| host.post(&format!("{events}/ack"), &json!({"cursor": cursor})).await;
    acknowledge(&first["next_cursor"]).await.expect(200);
    assert_eq!(erased(&host, &ids[0]).await["status"], "delivered");
    // From the start: only the other one is there, whether the place moves back or not.
    let from_start = format!("?cursor={}", start.as_str().unwrap());
    for _ in 0..2 {
        let rest = page(&from_start).await;
        let found: Vec<_> = rest["data"].as_array().unwrap().iter().map(|one| one["delivery_id"].clone()).collect();
        assert_eq!(found, [json!(ids[1])]);
        acknowledge(&start).await.expect(200);
    }
    assert_eq!(host.get(&format!("/deliveries/{}", ids[0])).await.expect(200)["status"], "delivered");
    acknowledge(&page(&from_start).await["next_cursor"]).await.expect(200);
    erased(&host, &ids[1]).await;
    assert_eq!(payload(&host, "/events/e1").await, MARKER);
}

#[tokio::test]
async fn change_concerns_events_that_are_published_after_it() {
    let (mut host, receiver) = (Host::start().await, echoing().await);
    let id = host.subscribe(&hook(&receiver, json!({"keep_payload": null}))).await;
    let path = format!("/webhooks/{id}");
    let change = async |value: &str| {
        let changed = host.patch(&path, &json!({"keep_payload": value})).await.expect(200);
        assert_eq!(changed["keep_payload"], value);
    };
    let before = publish(&host, "before").await;
    host.delivery(&before[0], "delivered").await;
    change("until_delivered").await;
    // A process that stops right after the delivery leaves the erasure to the next one.
    let during = publish(&host, "during").await;
    host.delivery(&during[0], "delivered").await;
    change("retention").await;
    let after = publish(&host, "after").await;
    host.delivery(&after[0], "delivered").await;
    host.restart().await;
    erased(&host, &during[0]).await;
    for event in ["before", "after"] {
        assert_eq!(payload(&host, &format!("/events/{event}")).await, MARKER, "{event}");
    }
    let bad = host.patch(&path, &json!({"keep_payload": "never"})).await;
    assert!(bad.problem(422).contains("until_delivered"));
}

#[tokio::test]
async fn event_of_which_a_delivery_is_erased_is_replayed_and_erased_like_any_other() {
    let (host, receiver) = (Host::start().await, echoing().await);
    for (label, keep) in [("a", "until_delivered"), ("b", "retention"), ("c", "until_delivered")] {
        host.subscribe(&hook(&receiver, json!({"label": label, "keep_payload": keep}))).await;
    }
    publish(&host, "e1").await;
    let transient = async || {
        let deliveries = host.get("/events/e1").await.expect(200)["deliveries"].clone();
        let of = deliveries.as_array().unwrap().iter().filter(|one| one["label"] != "b");
        of.map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for delivery in transient().await {
        erased(&host, &delivery).await;
    }
    let later = host.subscribe(&hook(&receiver, json!({"label": "d"}))).await;
    let count = async |path: &str, body: &Value| host.post(path, body).await.expect(200)["count"].clone();
    let missing = json!({"webhook": later, "since": "2020-01-01T00:00:00Z", "only": "missing", "dry_run": true});
    assert_eq!(count("/deliveries/replay", &missing).await, 1);
    assert_eq!(count("/events/erase", &json!({"type": "t", "dry_run": true})).await, 1);
    host.post("/events/erase", &json!({"pointer": "/name", "equals": MARKER})).await.expect(202);
    until("the event is erased", || async {
        (!host.get("/events/e1").await.expect(200)["erased_at"].is_null()).then_some(())
    })
    .await;
    check_gone(&host).await;
    assert_eq!(count("/deliveries/replay", &missing).await, 0);
    assert_eq!(count("/events/erase", &json!({"type": "t", "dry_run": true})).await, 0);
}
