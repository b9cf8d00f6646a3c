//! `GET /deliveries/{id}/transformed`: the bytes that were sent, computed again.

use posthaste_tests::{Host, Receiver, guest, shipped};
use serde_json::{Value, json};

async fn transformed(host: &Host, id: &str) -> posthaste_tests::Answer {
    host.get(&format!("/deliveries/{id}/transformed")).await
}

/// Checks that `transformed` has the body and the content type that arrived.
async fn assert_as_arrived(host: &Host, receiver: &Receiver, id: &str) {
    let event = host.get(&format!("/deliveries/{id}")).await.expect(200)["event_id"].as_str().unwrap().to_owned();
    let arrival = receiver.wait_for_one(|arrival| arrival.header("webhook-id") == event).await;
    let answer = transformed(host, id).await;
    assert_eq!((answer.status, &answer.bytes[..]), (200, &arrival.body[..]), "{}", arrival.text());
    assert_eq!(answer.header("content-type"), arrival.header("content-type"));
}

#[tokio::test]
async fn transformed_equals_the_body_that_arrived_after_plugin_changes() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for name in ["pass", "replace", "error"] {
        host.upload(name, &guest(name)).await.expect(201);
    }
    host.upload("mask", &shipped("mask")).await.expect(201);
    let hook = |plugin: Value, fields: &str, on_error: &str| {
        let config = if plugin.is_null() { Value::Null } else { json!({"fields": [fields]}) };
        json!({"type": "t", "target_url": receiver.url("/"), "plugin": plugin, "config": config,
            "on_error": on_error, "headers": {"x-kind": "a"}})
    };
    let mut ids = Vec::new();
    for webhook in [
        hook(Value::Null, "/a", "retry"),
        hook(json!("pass"), "/a", "retry"),
        hook(json!("replace"), "/a", "retry"),
        hook(json!("mask"), "/secret", "retry"),
        hook(json!("mask"), "/other", "retry"),
        hook(json!("error"), "/a", "send_original"),
    ] {
        host.subscribe(&webhook).await;
        // Bytes that no JSON printer would preserve.
        let text = r#"{"type": "t", "data": {"secret":"x1","other" : "y2", "n":1.50e1,"é":"\u00e9"}}"#;
        let answer = host.call(http::Method::POST, "/events", &[], text).await.expect(202);
        let id = answer["delivery_id"].as_str().unwrap().to_owned();
        host.delivery(&id, "delivered").await;
        assert_as_arrived(&host, &receiver, &id).await;
        ids.push(id);
    }
    let bodies: Vec<_> = receiver.arrivals().iter().map(posthaste_tests::Arrival::text).collect();
    assert!(bodies[3].contains("y2") && !bodies[3].contains("x1") && !bodies[4].contains("y2"), "{bodies:?}");
    // Another version is activated, the webhook loses its plugin, the plugin is removed, the process restarts.
    host.upload("mask", &guest("drop")).await.expect(201);
    host.upload("replace", &guest("trap")).await.expect(201);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/elsewhere")})).await;
    for name in ["mask", "replace", "pass", "error"] {
        host.delete(&format!("/plugins/{name}"), &Value::Null).await;
        host.get(&format!("/plugins/{name}")).await.problem(404);
    }
    let mut host = host;
    host.restart().await;
    for id in &ids {
        assert_as_arrived(&host, &receiver, id).await;
    }
    host.delete("/webhooks", &json!({"type": "t"})).await.expect(200);
    for id in &ids {
        assert_as_arrived(&host, &receiver, id).await;
    }
    assert_eq!(receiver.arrivals().len(), 6, "reading sends nothing");
}

#[tokio::test]
async fn transformed_of_a_filtered_delivery_is_empty() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("drop", &guest("drop")).await.expect(201);
    host.upload("trap", &guest("trap")).await.expect(201);
    for plugin in ["drop", "trap"] {
        let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": plugin, "on_error": "drop"});
        host.subscribe(&hook).await;
        let id = host.publish("t", &json!(1)).await;
        host.delivery(&id, "filtered").await;
        let answer = transformed(&host, &id).await;
        assert_eq!((answer.status, answer.bytes.len()), (204, 0));
    }
}

#[tokio::test]
async fn transformed_of_a_waiting_delivery_uses_the_current_webhook() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("replace", &guest("replace")).await.expect(201);
    host.upload("trap", &guest("trap")).await.expect(201);
    let off = |plugin: Value| json!({"type": "t", "target_url": receiver.url("/"), "enabled": false, "plugin": plugin});
    host.subscribe(&off(Value::Null)).await;
    let id = host.publish("t", &json!({"n": 1})).await;
    let answer = transformed(&host, &id).await;
    assert_eq!(
        (answer.status, answer.json(), answer.header("content-type")),
        (200, json!({"n": 1}), "application/json")
    );
    host.subscribe(&off(json!("replace"))).await;
    let answer = transformed(&host, &id).await;
    assert_eq!((&answer.bytes[..], answer.header("content-type")), (&b"hello"[..], "text/plain"));
    host.subscribe(&off(json!("trap"))).await;
    assert!(transformed(&host, &id).await.problem(409).contains("plugin `trap`"));
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "plugin": "replace"})).await;
    host.delivery(&id, "delivered").await;
    assert_as_arrived(&host, &receiver, &id).await;
    assert_eq!(host.get(&format!("/deliveries/{id}")).await.expect(200)["attempt_count"], 1);
}

#[tokio::test]
async fn transformed_shows_the_last_attempt_that_sent_a_body() {
    let (host, receiver) = (Host::with(&["--retry-schedule=10h,10h"]).await, Receiver::start().await);
    host.upload("replace", &guest("replace")).await.expect(201);
    host.upload("trap", &guest("trap")).await.expect(201);
    receiver.answer_status(500);
    let hook = |plugin: Value| json!({"type": "t", "target_url": receiver.url("/"), "plugin": plugin});
    host.subscribe(&hook(Value::Null)).await;
    let id = host.publish("t", &json!({"n": 1})).await;
    for (attempts, plugin, sent) in
        [(1, Value::Null, r#"{"n":1}"#), (2, json!("replace"), "hello"), (3, json!("trap"), "hello")]
    {
        if attempts > 1 {
            // What waits for its retry is attempted at once after such a change.
            host.subscribe(&hook(plugin)).await;
        }
        host.delivery_when(&id, "tried", |one| one["attempts"].as_array().unwrap().len() == attempts).await;
        assert_eq!(String::from_utf8(transformed(&host, &id).await.bytes).unwrap(), sent);
    }
}

#[tokio::test]
async fn transformed_finds_only_deliveries_of_the_own_company() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let id = host.publish("t", &json!(1)).await;
    transformed(&host, "dlv_nobody").await.problem(404);
    let other = host.company("other").await;
    other.get(&format!("/deliveries/{id}/transformed")).await.problem(404);
    host.call(http::Method::POST, &format!("/deliveries/{id}/transformed"), &[], "").await.problem(405);
}
