//! The `author` of an event, which receivers get in two headers.

use http::Method;
use posthaste_tests::{Arrival, Host, Receiver, guest};
use serde_json::{Value, json};

fn author(arrival: &Arrival) -> (&str, &str) {
    (arrival.header("x-factorial-author-id"), arrival.header("x-factorial-author-type"))
}

fn event(author: &Value) -> Value {
    json!({"type": "t", "data": {"n": 1}, "author": author})
}

/// Publishes an event and returns its id.
async fn published(host: &Host, author: &Value) -> String {
    host.post("/events", &event(author)).await.expect(202)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_post_of_an_event_names_its_author() {
    let (host, receiver) = (Host::with(&["--retry-schedule", "1ms,1h"]).await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "challenge": "c"})).await;
    receiver.answer_status(500);
    published(&host, &json!({"id": 36_893_488_147_419_100_u64, "type": "employee"})).await;
    for arrival in receiver.wait_for(2).await {
        assert_eq!(author(&arrival), ("36893488147419100", "employee"));
        assert_eq!(arrival.header("x-factorial-wh-challenge"), "c");
    }
    let id = published(&host, &json!({"id": "55", "type": "company"})).await;
    let arrival = receiver.wait_for_one(|arrival| arrival.header("webhook-id") == id).await;
    assert_eq!(author(&arrival), ("55", "company"));
}

#[tokio::test]
async fn event_without_an_author_has_no_such_headers() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let id = published(&host, &Value::Null).await;
    assert_eq!(author(&receiver.first().await), ("", ""));
    assert_eq!(host.get(&format!("/events/{id}")).await.expect(200)["author"], Value::Null);
}

#[tokio::test]
async fn stored_event_keeps_its_author() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "enabled": false})).await;
    let sent = json!({"id": "9921", "type": "employee"});
    let id = published(&host, &sent).await;
    assert_eq!(host.get(&format!("/events/{id}")).await.expect(200)["author"], sent);
    host.restart().await;
    host.patch(&format!("/webhooks/{hook}"), &json!({"enabled": true})).await.expect(200);
    assert_eq!(author(&receiver.first().await), ("9921", "employee"));
}

#[tokio::test]
async fn each_line_of_a_batch_has_its_own_author() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "ordered": true})).await;
    let lines = [json!({"id": 1, "type": "employee"}), json!({"id": 1}), Value::Null, json!({"id": "a", "type": "b"})];
    let body = lines.map(|author| event(&author).to_string()).join("\n");
    let headers = [("content-type", "application/x-ndjson")];
    let answer = host.call(Method::POST, "/events/batch", &headers, body).await.expect(202);
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(3), &json!(1)));
    assert_eq!(answer["results"][1]["error"]["errors"][0]["pointer"], "/author/type");
    let arrivals = receiver.wait_for(3).await;
    assert_eq!(arrivals.iter().map(author).collect::<Vec<_>>(), [("1", "employee"), ("", ""), ("a", "b")]);
}

#[tokio::test]
async fn plugin_sees_the_author_among_the_headers_of_the_event() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("first", &guest("first_header")).await.expect(201);
    let hook = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "plugin": "first"})).await;
    let sent = json!({"id": "9921", "type": "employee"});
    published(&host, &sent).await;
    let arrival = receiver.first().await;
    assert_eq!((arrival.text().as_str(), author(&arrival)), ("9921", ("9921", "employee")));
    let run = host.post("/plugins/first/dry-run", &json!({"event": event(&sent)})).await.expect(200);
    assert_eq!(run["body"], "9921", "{run}");
    let test = json!({"event": event(&sent)});
    host.post(&format!("/webhooks/{hook}/test"), &test).await.expect(200);
    let arrival = &receiver.wait_for(2).await[1];
    assert_eq!((arrival.text().as_str(), author(arrival)), ("9921", ("9921", "employee")));
}

#[tokio::test]
async fn nobody_else_sets_the_author() {
    let (host, receiver) =
        (Host::with(&["--challenge-header", "x-factorial-my-challenge"]).await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "challenge": "c"});
    host.subscribe(&hook).await;
    for name in ["x-factorial-author-id", "X-Factorial-Author-Type"] {
        let mut forged = event(&Value::Null);
        forged["headers"] = json!({name: "1"});
        assert!(host.post("/events", &forged).await.problem(422).contains("set by the host"), "{name}");
        let mut forging = hook.clone();
        forging["headers"] = json!({name: "1"});
        assert!(host.post("/webhooks", &forging).await.problem(422).contains("set by the host"), "{name}");
    }
    published(&host, &json!({"id": 1, "type": "employee"})).await;
    let arrival = receiver.first().await;
    assert_eq!((author(&arrival), arrival.header("x-factorial-my-challenge")), (("1", "employee"), "c"));
    host.upload("copies", &guest("copied_headers")).await.expect(201);
    host.subscribe(&json!({"type": "p", "target_url": receiver.url("/"), "plugin": "copies"})).await;
    let forged = json!({"type": "p", "data": 1, "author": {"id": 1, "type": "employee"}});
    let accepted = host.post("/events", &forged).await.expect(202);
    let failed = |delivery: &Value| delivery["attempts"][0]["error"].is_string();
    let delivery = host.delivery_when(accepted["delivery_id"].as_str().unwrap(), "its attempt fails", failed).await;
    assert!(delivery["attempts"][0]["error"].as_str().unwrap().contains("set by the host"), "{delivery}");
}

#[tokio::test]
async fn invalid_author_is_refused_with_every_place() {
    let host = Host::start().await;
    for (author, places) in [
        (json!({}), "[/author/id] [/author/type]"),
        (json!({"id": 1.5, "type": ""}), "[/author/id] [/author/type]"),
        (json!({"id": "x".repeat(129), "type": "x".repeat(65)}), "[/author/id] [/author/type]"),
        (json!({"id": "a\r\nb", "type": "t"}), "[/author/id]"),
        (json!({"id": 1, "type": "t", "name": "n"}), "[/author/name]"),
        (json!("9921"), "[/author]"),
    ] {
        let text = host.post("/events", &event(&author)).await.problem(422);
        for place in places.split(' ') {
            assert!(text.contains(place), "{author}: {text}");
        }
    }
}
