//! Dry runs: a plugin on an event that the call contains.

use posthaste_tests::{Host, Receiver, guest, shipped};
use serde_json::{Value, json};

fn ask(event: Value, config: Value) -> Value {
    json!({"event": event, "config": config})
}

#[tokio::test]
async fn dry_run_shows_the_body_that_would_be_sent() {
    let host = Host::start().await;
    host.upload("mask", &shipped("mask")).await.expect(201);
    let event = json!({"type": "t", "data": {"a": 1.50, "b": "secret"}, "id": "e-1", "headers": {"x-a": "1"},
        "occurred_at": "2026-11-20T16:03:09+01:00"});
    let answer = host.post("/plugins/mask/dry-run", &ask(event.clone(), json!({"fields": ["/b"]}))).await.expect(200);
    assert_eq!((&answer["outcome"], &answer["reason"]), (&json!("replace"), &Value::Null));
    assert_eq!(
        (&answer["body"], &answer["content_type"]),
        (&json!(r#"{"a":1.5,"b":"***"}"#), &json!("application/json"))
    );
    assert_eq!((&answer["headers"], &answer["logs"]), (&json!({}), &json!([])));
    for figure in ["duration_us", "memory_bytes", "fuel"] {
        assert!(answer[figure].as_u64().unwrap() > 0, "{answer}");
    }
    let ask = ask(event, json!({"fields": ["/b"]}));
    assert_eq!(host.post("/plugins/mask/dry-run", &ask).await.expect(200)["fuel"], answer["fuel"]);
    assert_eq!(host.get("/deliveries").await.expect(200)["data"], json!([]), "nothing is stored");
}

#[tokio::test]
async fn dry_run_answers_200_for_every_outcome() {
    let (host, event) = (Host::with(&["--plugin-deadline=2s"]).await, json!({"type": "ping", "data": [1]}));
    let mut digests = Vec::new();
    for name in ["pass", "replace", "drop", "error", "trap", "protected_header", "refuse_config", "loop"] {
        digests.push(host.upload("p", &guest(name)).await.expect(201)["digest"].clone());
    }
    let expected = [
        json!({"outcome": "pass", "reason": null, "content_type": "application/json", "headers": {}, "body": "[1]"}),
        json!({"outcome": "replace", "reason": null, "content_type": "text/plain", "headers": {"x-set": "plugin"},
            "body": "hello"}),
        json!({"outcome": "drop", "reason": "not today", "content_type": null, "headers": {}, "body": null}),
        json!({"outcome": "error", "reason": "no such employee", "content_type": null, "headers": {}, "body": null}),
    ];
    for (index, digest) in digests.iter().enumerate() {
        let ask = json!({"event": event, "digest": &digest.as_str().unwrap()[..8]});
        let mut answer = host.post("/plugins/p/dry-run", &ask).await.expect(200);
        assert_eq!(&answer["digest"], digest);
        let part = ["unreachable", "Webhook-Signature", "I take no config", "deadline"];
        if let Some(expected) = expected.get(index) {
            answer.as_object_mut().unwrap().retain(|name, _| expected.get(name).is_some());
            assert_eq!(&answer, expected);
        } else {
            assert_eq!((&answer["outcome"], &answer["body"]), (&json!("error"), &Value::Null));
            assert!(answer["reason"].as_str().unwrap().contains(part[index - 4]), "{answer}");
        }
    }
}

#[tokio::test]
async fn dry_run_refuses_unknown_versions_and_invalid_events() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let fine = json!({"type": "t", "data": 1});
    host.post("/plugins/p/dry-run", &json!({"event": fine})).await.problem(404);
    let path = "/plugins/p?activate=false";
    let candidate = host.call(http::Method::PUT, path, &[("content-type", "application/wasm")], guest("pass")).await;
    let digest = candidate.expect(201)["digest"].clone();
    let text = host.post("/plugins/p/dry-run", &json!({"event": fine})).await.problem(422);
    assert!(text.contains("no active version") && text.contains("digest"), "{text}");
    host.post("/plugins/p/dry-run", &json!({"event": fine, "digest": digest})).await.expect(200);
    host.post("/plugins/p/dry-run", &json!({"event": fine, "digest": "00000000"})).await.problem(404);
    for (event, pointer) in [
        (json!({"type": "a b", "data": 1}), "/event/type"),
        (json!({"data": 1}), "/event/type"),
        (json!({"type": "t"}), "/event/data"),
        (json!({"type": "t", "data": 1, "id": "a.b"}), "/event/id"),
        (json!({"type": "t", "data": 1, "occurred_at": "soon"}), "/event/occurred_at"),
        (json!({"type": "t", "data": 1, "headers": {"host": "x"}}), "/event/headers/host"),
        (json!({"type": "t", "data": 1, "target_url": receiver.url("/")}), "/event"),
    ] {
        let text = host.post("/plugins/p/dry-run", &json!({"event": event, "digest": digest})).await.problem(422);
        assert!(text.contains(&format!("[{pointer}")), "{pointer}: {text}");
    }
    host.post("/plugins/p/dry-run", &json!({"event": fine, "digest": digest, "webhook": "x"})).await.problem(422);
    let large = json!({"event": {"type": "t", "data": "x".repeat(262_144)}, "digest": digest});
    host.post("/plugins/p/dry-run", &large).await.problem(413);
}
