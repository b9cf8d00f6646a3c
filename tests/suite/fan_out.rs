//! One event to several webhooks: by label, and by pattern.

use std::collections::BTreeSet;

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use posthaste_tests::{Host, Receiver, shipped, until};
use serde_json::{Value, json};

/// Subscribes with a path of its own at the receiver. Returns the webhook's id.
async fn subscribe(host: &Host, receiver: &Receiver, path: &str, more: Value) -> String {
    let mut hook = json!({"target_url": receiver.url(path)});
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.subscribe(&hook).await
}

/// Publishes an event and returns the answer.
async fn publish(host: &Host, event_type: &str, data: &Value) -> Value {
    host.post("/events", &json!({"type": event_type, "data": data})).await.expect(202)
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["delivery_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect()
}

fn paths(receiver: &Receiver) -> BTreeSet<String> {
    receiver.arrivals().into_iter().map(|arrival| arrival.path).collect()
}

#[tokio::test]
async fn event_goes_to_every_webhook_that_matches_it() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let event_type = "employees/employee/update";
    let exact = subscribe(&host, &receiver, "/exact", json!({"type": event_type})).await;
    for (path, hook) in [
        ("/label", json!({"type": event_type, "label": "crm"})),
        ("/employees", json!({"type": "employees/*"})),
        ("/employee", json!({"type": "employees/employee/*", "label": "b"})),
        ("/all", json!({"type": "*"})),
        ("/other", json!({"type": "contracts/*"})),
        ("/type", json!({"type": "employees/employee"})),
        ("/own", json!({"type": "posthaste.*"})),
    ] {
        subscribe(&host, &receiver, path, hook).await;
    }
    let answer = publish(&host, event_type, &json!({"n": 1})).await;
    assert_eq!(ids(&answer).len(), 5, "{answer}");
    assert_eq!(answer["delivery_id"], ids(&answer)[0]);
    let arrivals = receiver.wait_for(5).await;
    assert_eq!(paths(&receiver), ["/all", "/employee", "/employees", "/exact", "/label"].map(str::to_owned).into());
    for arrival in &arrivals {
        assert_eq!(arrival.header("webhook-id"), answer["id"]);
        assert_eq!((arrival.header("webhook-event-type"), arrival.text()), (event_type, r#"{"n":1}"#.to_owned()));
    }
    for id in ids(&answer) {
        host.delivery(id, "delivered").await;
    }
    let event = host.get(&format!("/events/{}", answer["id"].as_str().unwrap())).await.expect(200);
    let deliveries = event["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.iter().map(|one| one["id"].as_str().unwrap()).collect::<Vec<_>>(), ids(&answer));
    let labels: Vec<_> = deliveries.iter().filter_map(|one| one["label"].as_str()).collect();
    assert_eq!((&deliveries[0]["webhook"], labels), (&json!(exact), vec!["crm", "b"]));
    // Only `*` matches.
    let answer = publish(&host, "Employees::Events::EmployeeUpdated", &json!(2)).await;
    assert_eq!(ids(&answer).len(), 1);
    assert_eq!(receiver.wait_for(6).await[5].path, "/all");
}

#[tokio::test]
async fn each_delivery_has_its_own_plugin_retries_and_end() {
    let (host, receiver) = (Host::with(&["--retry-schedule=2ms"]).await, Receiver::start().await);
    receiver.answer(|_, arrival| match arrival.path.as_str() {
        "/refusing" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => StatusCode::OK.into_response(),
    });
    host.upload("my-mask", &shipped("mask")).await.expect(201);
    let mask = json!({"type": "t", "label": "masked", "plugin": "my-mask", "config": {"fields": ["/iban"]}});
    let plain = subscribe(&host, &receiver, "/plain", json!({"type": "t"})).await;
    subscribe(&host, &receiver, "/masked", mask).await;
    subscribe(&host, &receiver, "/refusing", json!({"type": "t", "label": "refusing"})).await;
    let off = subscribe(&host, &receiver, "/off", json!({"type": "t", "label": "off", "enabled": false})).await;
    let gone = subscribe(&host, &receiver, "/gone", json!({"type": "*", "enabled": false})).await;
    let answer = publish(&host, "t", &json!({"iban": "DE1"})).await;
    let of = async |webhook: &str| {
        let page = host.get(&format!("/deliveries?webhook={webhook}")).await.expect(200);
        page["data"][0]["id"].as_str().unwrap().to_owned()
    };
    host.delivery(&of(&plain).await, "delivered").await;
    host.delete(&format!("/webhooks/{gone}"), &Value::Null).await.expect(200);
    let texts = |path: &str| {
        let arrivals = receiver.arrivals().into_iter().filter(|arrival| arrival.path == path);
        arrivals.map(|arrival| arrival.text()).collect::<Vec<_>>()
    };
    until("one fails", async || (texts("/refusing").len() == 2).then_some(())).await;
    let status = async |number: usize, status: &str| host.delivery(ids(&answer)[number], status).await;
    // In the order of the labels, and the pattern behind them.
    for (number, expected) in [(0, "delivered"), (1, "delivered"), (3, "failed"), (4, "cancelled")] {
        status(number, expected).await;
    }
    assert_eq!(
        (texts("/plain"), texts("/masked")),
        (vec![r#"{"iban":"DE1"}"#.to_owned()], vec![r#"{"iban":"***"}"#.to_owned()])
    );
    assert_eq!(of(&off).await, ids(&answer)[2]);
    host.patch(&format!("/webhooks/{off}"), &json!({"enabled": true})).await.expect(200);
    status(2, "delivered").await;
    // Sent again on request, one alone.
    host.post(&format!("/deliveries/{}/retry", ids(&answer)[1]), &json!({})).await.expect(202);
    until("it arrives again", async || (texts("/masked").len() == 2).then_some(())).await;
    assert_eq!((texts("/plain").len(), texts("/off").len(), texts("/gone").len()), (1, 1, 0));
}

#[tokio::test]
async fn repeated_event_is_answered_with_the_deliveries_that_it_had_at_first() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for label in ["a", "b"] {
        subscribe(&host, &receiver, "/", json!({"type": "t", "label": label})).await;
    }
    let event = json!({"type": "t", "data": 1, "id": "once"});
    let first = host.post("/events", &event).await.expect(202);
    subscribe(&host, &receiver, "/", json!({"type": "t", "label": "c"})).await;
    let again = host.post("/events", &event).await.expect(202);
    assert_eq!((&again["delivery_ids"], &again["duplicate"]), (&first["delivery_ids"], &json!(true)));
    let batch = format!("{event}\n{event}\n{}", json!({"type": "t", "data": 2, "id": "twice"}));
    let answer = host.call(Method::POST, "/events/batch", &[("content-type", "application/x-ndjson")], batch).await;
    let answer = answer.expect(202);
    assert_eq!((&answer["duplicates"], ids(&answer["results"][2]).len()), (&json!(2), 3));
    assert_eq!(answer["results"][1]["delivery_ids"], first["delivery_ids"]);
    receiver.wait_for(5).await;
    host.publish("t", &json!("marker")).await;
    assert_eq!(receiver.wait_for(8).await.len(), 8);
}

#[tokio::test]
async fn event_is_stored_with_all_its_deliveries_or_not_at_all() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for label in ["a", "b", "c"] {
        subscribe(&host, &receiver, "/", json!({"type": "t", "label": label})).await;
    }
    host.home().refuse_deliveries("NEW.label = 'c'").await;
    let event = json!({"type": "t", "data": 1, "id": "whole"});
    host.post("/events", &event).await.problem(503);
    host.get("/events/whole").await.problem(404);
    assert_eq!(host.get("/deliveries").await.expect(200)["data"], json!([]));
    host.home().accept_deliveries().await;
    // The writer may still be refusing the events of the failed commit.
    until("it is accepted", async || (host.post("/events", &event).await.status == 202).then_some(())).await;
    assert_eq!(receiver.wait_for(3).await.len(), 3);
}

#[tokio::test]
async fn hundred_webhooks_get_one_event() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for number in 0..100 {
        subscribe(&host, &receiver, &format!("/{number}"), json!({"type": "t", "label": format!("l{number}")})).await;
    }
    let answer = publish(&host, "t", &json!("x".repeat(10_000))).await;
    assert_eq!(ids(&answer).len(), 100);
    receiver.wait_for(100).await;
    assert_eq!(paths(&receiver).len(), 100);
    for id in ids(&answer) {
        host.delivery(id, "delivered").await;
    }
    // What the page has no room for is on the next.
    let page = host.get("/deliveries?limit=60").await.expect(200);
    let next = page["next_cursor"].as_str().unwrap();
    let rest = host.get(&format!("/deliveries?limit=60&cursor={next}")).await.expect(200);
    let shown = |page: &Value| page["data"].as_array().unwrap().len();
    assert_eq!((shown(&page), shown(&rest), &rest["next_cursor"]), (60, 40, &Value::Null));
    let stored: i64 = host.home().value("SELECT CAST(SUM(LENGTH(data)) AS BIGINT) FROM events").await;
    assert_eq!(stored, 10_002, "its data is stored once");
}
