//! Lists, replays and cancellations of deliveries that a selection names.

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Host, Receiver, until};
use serde_json::{Value, json};

const EVER: &str = "2020-01-01T00:00:00Z";

async fn subscribe(host: &Host, receiver: &Receiver, path: &str, more: Value) -> String {
    let mut hook = json!({"target_url": receiver.url(path)});
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.subscribe(&hook).await
}

/// Publishes an event and waits until each of its deliveries has ended. Returns its id.
async fn ended(host: &Host, event_type: &str) -> String {
    let answer = host.post("/events", &json!({"type": event_type, "data": 1})).await.expect(202);
    for id in answer["delivery_ids"].as_array().unwrap() {
        host.delivery_when(id.as_str().unwrap(), "it has ended", |one| one["status"] != "pending").await;
    }
    answer["id"].as_str().unwrap().to_owned()
}

/// Returns the event, label and type of each delivery of a list, newest first.
async fn list(host: &Host, query: &str) -> Vec<(String, Value, String)> {
    let page = host.get(&format!("/deliveries?{query}")).await.expect(200);
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    let data = page["data"].as_array().unwrap();
    data.iter().map(|one| (text(one, "event_id"), one["label"].clone(), text(one, "type"))).collect()
}

async fn two_receivers() -> (Host, Receiver, [String; 3]) {
    let (host, receiver) = (Host::with(&["--retry-schedule=1ms"]).await, Receiver::start().await);
    receiver.answer(|_, arrival| match arrival.path.as_str() {
        "/refusing" => (StatusCode::CONFLICT, "no").into_response(),
        _ => StatusCode::OK.into_response(),
    });
    subscribe(&host, &receiver, "/", json!({"type": "a/b"})).await;
    subscribe(&host, &receiver, "/refusing", json!({"type": "a/*", "label": "refusing"})).await;
    let events = [ended(&host, "a/b").await, ended(&host, "a/c").await, ended(&host, "a/b").await];
    (host, receiver, events)
}

#[tokio::test]
async fn deliveries_are_listed_by_event_label_types_statuses_and_error() {
    let (host, _receiver, [first, second, third]) = two_receivers().await;
    let events = async |query: String| list(&host, &query).await.into_iter().map(|one| one.0).collect::<Vec<_>>();
    assert_eq!(list(&host, &format!("event={second}")).await, [(second.clone(), json!("refusing"), "a/c".to_owned())]);
    let of_first = list(&host, &format!("event={first}")).await;
    assert_eq!(of_first.iter().map(|one| &one.1).collect::<Vec<_>>(), [&json!("refusing"), &Value::Null]);
    assert_eq!(events("label=refusing".into()).await, [&*third, &*second, &*first]);
    assert_eq!(events("type=a/c,nobody".into()).await, [&*second]);
    assert_eq!(events("type=a/b,a/c&status=failed".into()).await, [&*third, &*second, &*first]);
    assert_eq!(events("status=failed,delivered".into()).await.len(), 5);
    assert_eq!(events("error=answered%20409".into()).await.len(), 3);
    assert_eq!(events("error=Answered&type=a/c".into()).await, [&*second]);
    assert_eq!(events("error=timeout".into()).await, [""; 0]);
    assert_eq!(events("event=nobody".into()).await, [""; 0]);
    for (query, part) in
        [("status=lost,failed", "status: `lost` is not a status"), ("error=", "error: a text of 1 to 200")]
    {
        let text = host.get(&format!("/deliveries?{query}")).await.problem(422);
        assert!(text.contains(part), "{text}");
    }
    let many = (0..21).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    host.get(&format!("/deliveries?type={many}")).await.problem(422);
}

#[tokio::test]
async fn selection_is_counted_before_it_is_replayed() {
    let (host, receiver, [first, ..]) = two_receivers().await;
    receiver.answer_status(200);
    let seen = receiver.arrivals().len();
    let asked = json!({"since": EVER, "label": "refusing", "type": ["a/b", "a/c"], "status": "failed", "error": "409"});
    let with = |more: Value| {
        let mut body = asked.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let counted = host.post("/deliveries/replay", &with(json!({"dry_run": true}))).await.expect(200);
    assert_eq!(counted, json!({"count": 3, "id": null}));
    assert_eq!(host.get("/deliveries/replays").await.expect(200)["data"], json!([]));
    let of_event = host.post("/deliveries/replay", &with(json!({"event": first}))).await.expect(202);
    assert_eq!(of_event["count"], 1);
    receiver.wait_for(seen + 1).await;
    let rest = host.post("/deliveries/replay", &asked).await.expect(202);
    assert_eq!(rest["count"], 2);
    receiver.wait_for(seen + 3).await;
    until("all are delivered", async || (list(&host, "status=delivered").await.len() == 5).then_some(())).await;
    assert_eq!(host.post("/deliveries/replay", &with(json!({"dry_run": true}))).await.expect(200)["count"], 0);
    for (more, pointer) in [
        (json!({"only": "all"}), "/only"),
        (json!({"only": "missing"}), "/webhook"),
        (json!({"type": 3}), "a text, or a list of texts"),
        (json!({"status": ["failed", "lost"]}), "/status"),
    ] {
        let text = host.post("/deliveries/replay", &with(more)).await.problem(422);
        assert!(text.contains(pointer), "{text}");
    }
    for (dry_run, status) in [(true, 200), (false, 202)] {
        let answer =
            host.post("/deliveries/replay", &json!({"event": "nobody", "dry_run": dry_run})).await.expect(status);
        assert_eq!(answer, json!({"count": 0, "id": null}));
    }
    let unknown = json!({"since": EVER, "only": "missing", "webhook": "wh_1"});
    assert!(host.post("/deliveries/replay", &unknown).await.problem(422).contains("no such webhook"));
}

#[tokio::test]
async fn webhook_gets_the_events_that_it_lacks() {
    let (host, receiver, events) = two_receivers().await;
    let unmatched = ended(&host, "other").await;
    let late = subscribe(&host, &receiver, "/late", json!({"type": "*", "label": "late"})).await;
    let missing = json!({"since": EVER, "only": "missing", "webhook": late});
    let mut counted = missing.clone();
    counted["dry_run"] = json!(true);
    assert_eq!(host.post("/deliveries/replay", &counted).await.expect(200)["count"], 4);
    assert_eq!(host.post("/deliveries/replay", &missing).await.expect(202)["count"], 4);
    until("they arrive", async || {
        let late = receiver.arrivals().into_iter().filter(|arrival| arrival.path == "/late").count();
        (late == 4).then_some(())
    })
    .await;
    let arrivals = receiver.arrivals();
    let arrived: Vec<_> =
        arrivals.iter().filter(|one| one.path == "/late").map(|one| one.header("webhook-id")).collect();
    assert!(events.iter().chain([&unmatched]).all(|id| arrived.contains(&&**id)), "{arrived:?}");
    for event in events.iter().chain([&unmatched]) {
        let shown = host.get(&format!("/events/{event}")).await.expect(200);
        let labels = shown["deliveries"].as_array().unwrap().iter().filter(|one| one["label"] == "late").count();
        assert_eq!(labels, 1, "{shown}");
    }
    assert_eq!(host.get("/events?unmatched=true").await.expect(200)["data"], json!([]));
    // It lacks nothing more, and what it has is not sent twice.
    assert_eq!(host.post("/deliveries/replay", &missing).await.expect(202), json!({"count": 0, "id": null}));
}

#[tokio::test]
async fn selection_is_counted_before_it_is_cancelled() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    receiver.answer_status(500);
    let slow = subscribe(&host, &receiver, "/", json!({"type": "t"})).await;
    subscribe(&host, &receiver, "/", json!({"type": "t", "label": "other"})).await;
    let mut events = Vec::new();
    for _ in 0..3 {
        let answer = host.post("/events", &json!({"type": "t", "data": 1})).await.expect(202);
        for id in answer["delivery_ids"].as_array().unwrap() {
            host.delivery_when(id.as_str().unwrap(), "it waits", |one| !one["next_attempt_at"].is_null()).await;
        }
        events.push(answer["id"].as_str().unwrap().to_owned());
    }
    let cancel =
        async |body: Value, status: u16| host.post("/deliveries/cancel", &body).await.expect(status)["count"].clone();
    let by_error =
        json!({"since": EVER, "webhook": slow, "status": "retrying", "error": "answered 500", "dry_run": true});
    assert_eq!(cancel(by_error.clone(), 200).await, 3);
    assert_eq!(cancel(json!({"event": events[0], "label": "other"}), 202).await, 1);
    assert_eq!(cancel(json!({"event": "nobody"}), 202).await, 0);
    assert_eq!(cancel(json!({"event": "nobody", "dry_run": true}), 200).await, 0);
    let mut order = by_error;
    order["dry_run"] = json!(false);
    assert_eq!(cancel(order, 202).await, 3);
    until("they are cancelled", async || (list(&host, "status=cancelled").await.len() == 4).then_some(())).await;
    assert_eq!(list(&host, "status=pending").await.len(), 2);
    let text =
        host.post("/deliveries/cancel", &json!({"since": EVER, "status": ["pending", "failed"]})).await.problem(422);
    assert!(text.contains("only waiting deliveries"), "{text}");
}
