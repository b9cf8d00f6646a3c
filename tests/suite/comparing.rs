//! Comparing a candidate with the active version over past events.

use http::Method;
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Client, Host, Receiver, guest, shipped};
use serde_json::{Value, json};

async fn candidate(host: &Client, name: &str, wasm: &[u8]) -> Value {
    let path = format!("/plugins/{name}?activate=false");
    host.call(Method::PUT, &path, &[("content-type", "application/wasm")], wasm).await.json()["digest"].clone()
}

fn counts(answer: &Value) -> [u64; 4] {
    ["same", "different", "newly_failing", "newly_filtered"].map(|name| answer[name].as_u64().unwrap())
}

#[tokio::test]
async fn compare_shows_exactly_the_events_that_would_change() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("p", &guest("pass")).await.expect(201);
    let hook = |kind: &str, plugin: &str| json!({"type": kind, "target_url": receiver.url("/"), "plugin": plugin, "config": {"fields": ["/secret"]}});
    host.upload("other", &guest("pass")).await.expect(201);
    host.post("/webhooks", &hook("t", "p")).await.expect(201);
    host.post("/webhooks", &hook("else", "other")).await.expect(201);
    let mut expected = Vec::new();
    for number in 0..101 {
        let mut data = json!({"number": number, "salary": 2.50});
        if [7, 42, 100].contains(&number) {
            data["secret"] = json!(number);
        }
        let event = json!({"type": "t", "data": data, "id": format!("e{number}")});
        host.post("/events", &event).await.expect(202);
        if data["secret"].is_number() {
            expected.insert(0, format!("e{number}"));
        }
        host.post("/events", &json!({"type": "else", "data": {"secret": 1}})).await.expect(202);
    }
    let digest = candidate(&host, "p", &shipped("mask")).await;
    let answer = host.post("/plugins/p/compare", &json!({"digest": digest})).await.expect(200);
    assert_eq!((counts(&answer), &answer["complete"], &answer["compared"]), ([97, 3, 0, 0], &json!(true), &json!(100)));
    let differences = answer["differences"].as_array().unwrap();
    let ids: Vec<_> = differences.iter().map(|one| one["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids, expected);
    for one in differences {
        assert_eq!((&one["kind"], &one["of"]), (&json!("different"), &json!("body")));
        assert_eq!(one["diff"], json!([{"op": "replace", "path": "/secret", "value": "***"}]));
    }
    let answer = host.post("/plugins/p/compare", &json!({"digest": digest, "last": 60})).await.expect(200);
    assert_eq!(counts(&answer), [58, 2, 0, 0]);
    let replace = candidate(&host, "p", &guest("replace")).await;
    let answer = host.post("/plugins/p/compare", &json!({"digest": replace, "last": 1000})).await.expect(200);
    assert_eq!((counts(&answer), answer["differences"].as_array().unwrap().len()), ([0, 101, 0, 0], 100));
    let blind = host.with_key(host.new_key(Some("acme"), Scopes::parse("plugins").unwrap()).await);
    blind.post("/plugins/p/compare", &json!({"digest": digest})).await.problem(403);
    assert_ne!(host.get("/plugins/p").await.expect(200)["digest"], digest, "comparing activates nothing");
}

#[tokio::test]
async fn compare_counts_newly_filtered_and_newly_failing_events() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("p", &guest("pass")).await.expect(201);
    let mut hooks = Vec::new();
    for kind in ["a", "b"] {
        let hook = json!({"type": kind, "target_url": receiver.url("/"), "plugin": "p"});
        hooks.push(host.post("/webhooks", &hook).await.expect(201)["id"].clone());
    }
    for kind in ["a", "b", "b"] {
        host.publish(kind, &json!({"a": 1})).await;
    }
    for (name, expected, first) in [
        ("pass", [3, 0, 0, 0], Value::Null),
        ("drop", [0, 0, 0, 3], json!({"op": "replace", "path": "/outcome", "value": "drop"})),
        ("trap", [0, 0, 3, 0], json!({"op": "replace", "path": "/outcome", "value": "error"})),
        ("protected_header", [0, 0, 3, 0], json!({"op": "replace", "path": "/outcome", "value": "error"})),
        ("replace", [0, 3, 0, 0], json!({"op": "replace", "path": "/body", "value": "hello"})),
    ] {
        let digest = candidate(&host, "p", &guest(name)).await;
        let answer = host.post("/plugins/p/compare", &json!({"digest": digest})).await.expect(200);
        assert_eq!(counts(&answer), expected, "{name}");
        assert_eq!(answer["differences"][0]["diff"][0], first, "{name}");
        let ask = json!({"digest": digest, "webhook": hooks[0]});
        let answer = host.post("/plugins/p/compare", &ask).await.expect(200);
        assert_eq!(counts(&answer), expected.map(|count| count / 3), "{name}");
    }
    let digest = candidate(&host, "p", &guest("drop")).await;
    for (ask, status) in [
        (json!({"digest": "00000000"}), 404),
        (json!({"digest": digest, "webhook": "wh_none"}), 404),
        (json!({"digest": digest, "last": 0}), 422),
        (json!({"digest": digest, "last": 1001}), 422),
        (json!({}), 422),
    ] {
        host.post("/plugins/p/compare", &ask).await.problem(status);
    }
    host.upload("q", &guest("pass")).await.expect(201);
    let digest = candidate(&host, "q", &guest("drop")).await;
    let text = host.post("/plugins/q/compare", &json!({"digest": digest, "webhook": hooks[0]})).await.problem(422);
    assert!(text.contains("does not use plugin `q`"), "{text}");
}
