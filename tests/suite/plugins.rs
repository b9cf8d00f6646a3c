//! Plugins through the public contract: upload, use, refusal.

use http::Method;
use posthaste_tests::{Host, Receiver, guest, shipped};
use serde_json::{Value, json};

fn employee() -> Value {
    let event = include_str!("../../host/assets/events/employees_employee_update.json");
    serde_json::from_str::<Value>(event).unwrap()["data"].clone()
}

#[tokio::test]
async fn upload_is_described_stored_unchanged_and_idempotent() {
    let host = Host::start().await;
    let mask = shipped("mask");
    let first = host.upload("mask", &mask).await.expect(201);
    assert_eq!((&first["name"], &first["size"], &first["active"]), (&json!("mask"), &json!(mask.len()), &json!(true)));
    let exports = first["exports"].as_array().unwrap();
    assert!(
        exports.iter().any(|name| name.as_str().unwrap().starts_with("posthaste:transform/handler@0.1")),
        "{first}"
    );
    let digest = first["digest"].as_str().unwrap();
    assert_eq!(digest.len(), 64);
    assert_eq!(host.upload("mask", &mask).await.expect(200)["digest"], digest);
    let path = format!("/plugins/mask/versions/{digest}");
    assert_eq!(host.call(Method::GET, &path, &[("accept", "application/wasm")], "").await.bytes, mask);
    assert_eq!(host.get(&format!("/plugins/mask/versions/{}", &digest[..8])).await.expect(200), first);
    let second = host.upload("mask", &guest("pass")).await.expect(201);
    let plugin = host.get("/plugins/mask").await.expect(200);
    assert_eq!((&plugin["digest"], plugin["data"].as_array().unwrap().len()), (&second["digest"], 2));
    let list = host.get("/plugins").await.expect(200);
    assert_eq!((&list["data"][0]["name"], &list["data"][0]["standard"]), (&json!("mask"), &json!(false)));
}

#[tokio::test]
async fn mask_removes_personal_data() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("mask", &shipped("mask")).await.expect(201);
    let hook = json!({
        "type": "employees/employee/update", "target_url": receiver.url("/"), "plugin": "mask",
        "config": {"fields": ["/bank_number", "/social_security_number", "/employee/contract/salary_amount"]},
    });
    let created = host.post("/webhooks", &hook).await.expect(201);
    let id = host.publish("employees/employee/update", &employee()).await;
    let arrival = receiver.first().await;
    let mut expected = employee();
    expected["bank_number"] = json!("***");
    expected["social_security_number"] = json!("***");
    assert_eq!(arrival.json(), expected);
    assert!(!arrival.text().contains("ES9121000418450200051332"));
    let delivery = host.delivery(&id, "delivered").await;
    let plugin = &delivery["attempts"][0]["plugin"];
    assert_eq!((&plugin["name"], &plugin["digest"]), (&json!("mask"), &created["plugin"]["digest"]));
    let logs =
        json!([{"level": "warn", "message": "not in the data, so not masked: `/employee/contract/salary_amount`"}]);
    assert_eq!((&plugin["outcome"], &plugin["logs"]), (&json!("replace"), &logs));
    assert!(plugin["duration_us"].as_u64().unwrap() > 0 && plugin["memory_bytes"].as_u64().unwrap() > 0);
    assert_eq!(plugin["config_digest"].as_str().unwrap().len(), 64);
    let other = host.company("other").await;
    let other_hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "mask"});
    other.post("/webhooks", &other_hook).await.problem(422);
}

#[tokio::test]
async fn refused_config_stores_no_webhook() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("mask", &shipped("mask")).await.expect(201);
    let hook =
        |config: Value| json!({"type": "t", "target_url": receiver.url("/"), "plugin": "mask", "config": config});
    for config in [Value::Null, json!({"fields": "x"}), json!({"fields": ["x"]}), json!({"fields": [], "wiht": 1})] {
        let text = host.post("/webhooks", &hook(config)).await.problem(422);
        assert!(text.contains("[/config]") && text.contains("mask"), "{text}");
    }
    assert_eq!(host.get("/webhooks").await.expect(200), json!([]));
    host.post("/webhooks", &hook(json!({"fields": ["/x"]}))).await.expect(201);
}

#[tokio::test]
async fn filtered_event_is_not_sent_and_shows_the_reason() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("drop", &guest("drop")).await.expect(201);
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/"), "plugin": "drop"})).await.expect(201);
    let id = host.publish("t", &json!(1)).await;
    let delivery = host.delivery(&id, "filtered").await;
    let attempt = &delivery["attempts"][0];
    assert_eq!((&attempt["plugin"]["outcome"], &attempt["plugin"]["reason"]), (&json!("drop"), &json!("not today")));
    assert!(attempt["request_headers"].is_null() && receiver.arrivals().is_empty());
}

#[tokio::test]
async fn on_error_decides_the_fate_of_a_failed_transform() {
    let (host, receiver) = (Host::with(&["--retry-schedule=5ms"]).await, Receiver::start().await);
    host.upload("trap", &guest("trap")).await.expect(201);
    for (policy, status, attempts) in
        [("retry", "failed", 2), ("drop", "filtered", 1), ("send_original", "delivered", 1)]
    {
        let hook = json!({"type": policy, "target_url": receiver.url("/"), "plugin": "trap", "on_error": policy});
        host.post("/webhooks", &hook).await.expect(201);
        let id = host.publish(policy, &json!({"policy": policy})).await;
        let delivery = host.delivery(&id, status).await;
        assert_eq!(delivery["attempts"].as_array().unwrap().len(), attempts, "{policy}");
        let plugin = &delivery["attempts"][0]["plugin"];
        assert_eq!((&plugin["outcome"], &plugin["on_error"]), (&json!("error"), &json!(policy)));
        assert!(plugin["reason"].as_str().unwrap().contains("unreachable"), "{plugin}");
        let attempt = &delivery["attempts"][0];
        assert_eq!(attempt["request_headers"].is_object(), policy == "send_original", "{attempt}");
        assert_eq!(attempt["error"].is_string(), policy == "retry", "{attempt}");
    }
    let arrivals = receiver.arrivals();
    assert_eq!((arrivals.len(), arrivals[0].json()), (1, json!({"policy": "send_original"})));
}

#[tokio::test]
async fn looping_plugin_is_stopped_at_its_deadline_and_others_deliver() {
    let (host, receiver) =
        (Host::with(&["--retry-schedule=1h", "--plugin-deadline=1s"]).await, Receiver::start().await);
    host.upload("loop", &guest("loop")).await.expect(201);
    host.upload("pass", &guest("pass")).await.expect(201);
    host.post("/webhooks", &json!({"type": "loop", "target_url": receiver.url("/"), "plugin": "loop"}))
        .await
        .expect(201);
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/"), "plugin": "pass"})).await.expect(201);
    let mut looping = String::new();
    for number in 0..30 {
        looping = host.publish("loop", &json!(number)).await;
    }
    let id = host.publish("t", &json!(1)).await;
    host.delivery(&id, "delivered").await;
    let tried = host.delivery_when(&looping, "tried once", |delivery| delivery["attempt_count"] == 1).await;
    let reason = tried["attempts"][0]["error"].as_str().unwrap();
    assert!(reason.contains("deadline: 1s allowed"), "{reason}");
}

#[tokio::test]
async fn plugin_cannot_set_protected_headers() {
    let (host, receiver) = (Host::with(&["--retry-schedule=5ms"]).await, Receiver::start().await);
    host.upload("headers", &guest("protected_header")).await.expect(201);
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/"), "plugin": "headers"}))
        .await
        .expect(201);
    let id = host.publish("t", &json!(1)).await;
    let delivery = host.delivery(&id, "failed").await;
    assert!(delivery["attempts"][0]["error"].as_str().unwrap().contains("Webhook-Signature"), "{delivery}");
    assert!(receiver.arrivals().is_empty());
}

#[tokio::test]
async fn plugin_sets_body_content_type_and_headers() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("replace", &guest("replace")).await.expect(201);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "replace",
        "headers": {"X-Set": "webhook", "x-kept": "webhook"}});
    host.post("/webhooks", &hook).await.expect(201);
    host.publish("t", &json!(1)).await;
    let arrival = receiver.first().await;
    assert_eq!((arrival.text().as_str(), arrival.header("content-type")), ("hello", "text/plain"));
    assert_eq!((arrival.header("x-set"), arrival.header("x-kept")), ("plugin", "webhook"));
}

#[tokio::test]
async fn no_state_leaks_from_one_event_to_the_next() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("count", &guest("count")).await.expect(201);
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/"), "plugin": "count"})).await.expect(201);
    for number in 0..20 {
        host.publish("t", &json!(number)).await;
    }
    let bodies: Vec<_> = receiver.wait_for(20).await.iter().map(posthaste_tests::Arrival::text).collect();
    assert!(bodies.iter().all(|body| body == "1"), "{bodies:?}");
}

#[tokio::test]
async fn unsuitable_plugin_is_refused_with_the_reason_and_not_stored() {
    let host = Host::with(&["--max-plugin-bytes=2MiB", "--plugin-deadline=2s"]).await;
    let mask = shipped("mask");
    let truncated = &mask[..mask.len() / 2];
    for (name, bytes, part) in [
        ("wasi", guest("wasi"), "wasi:cli/environment"),
        ("world", guest("wrong_world"), "posthaste:transform/handler"),
        ("text", b"(component)".to_vec(), "text"),
        ("empty", Vec::new(), ""),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec(), ""),
        ("cut", truncated.to_vec(), ""),
        ("start", guest("loop_in_start"), "deadline"),
    ] {
        let text = host.upload(name, &bytes).await.problem(422);
        assert!(text.contains(part), "{name}: {text}");
        host.get(&format!("/plugins/{name}")).await.problem(404);
    }
    host.upload("large", &vec![0; (2 << 20) + 1]).await.problem(413);
    host.upload("std-mask", &mask).await.problem(422);
    host.upload("Mask", &mask).await.problem(422);
    host.call(Method::PUT, "/plugins/mask", &[("content-type", "text/plain")], mask.clone()).await.problem(415);
    host.call(Method::PUT, "/plugins/mask?activate=no", &[("content-type", "application/wasm")], mask)
        .await
        .problem(422);
    let list = host.get("/plugins").await.expect(200);
    assert!(list["data"].as_array().unwrap().iter().all(|plugin| plugin["standard"] == true), "{list}");
}

#[tokio::test]
async fn webhook_may_pin_a_version() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let first = host.upload("p", &guest("replace")).await.expect(201)["digest"].as_str().unwrap().to_owned();
    let second = host.upload("p", &guest("count")).await.expect(201)["digest"].clone();
    let pinned = json!({"type": "a", "target_url": receiver.url("/pinned"), "plugin": format!("p@{}", &first[..10])});
    assert_eq!(host.post("/webhooks", &pinned).await.expect(201)["plugin"], json!({"name": "p", "digest": first}));
    let active = json!({"type": "b", "target_url": receiver.url("/active"), "plugin": "p"});
    assert_eq!(host.post("/webhooks", &active).await.expect(201)["plugin"], json!({"name": "p", "digest": second}));
    host.publish("a", &json!(1)).await;
    host.publish("b", &json!(1)).await;
    let third = host.upload("p", &guest("pass")).await.expect(201)["digest"].clone();
    let list = host.get("/webhooks").await.expect(200);
    let digest = |kind: &str| {
        list.as_array().unwrap().iter().find(|hook| hook["type"] == kind).unwrap()["plugin"]["digest"].clone()
    };
    assert_eq!((digest("a"), digest("b")), (json!(first), third));
    let none = json!({"type": "a", "target_url": receiver.url("/"), "plugin": "p@00000000"});
    assert!(host.post("/webhooks", &none).await.problem(422).contains("no version"));
}

#[tokio::test]
async fn stored_plugin_works_after_a_restart() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("mask", &shipped("mask")).await.expect(201);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "mask", "config": {"fields": ["/a"], "with": "x"}});
    host.post("/webhooks", &hook).await.expect(201);
    host.restart().await;
    host.publish("t", &json!({"a": 1, "b": 2})).await;
    assert_eq!(receiver.first().await.text(), r#"{"a":"x","b":2}"#);
}
