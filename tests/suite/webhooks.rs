//! Webhooks: subscribing, overwriting, removing.

use posthaste_tests::{Host, Receiver};
use serde_json::{Value, json};

#[tokio::test]
async fn subscribe_list_and_remove_work_as_documented() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let url = receiver.url("/webhooks/employee_unterminated");
    let body = json!({"type": "employee_unterminated", "target_url": url});
    let created = host.post("/webhooks", &body).await.expect(201);
    assert!(created["signing_secret"].as_str().unwrap().starts_with("whsec_"));
    let list = host.get("/webhooks").await.expect(200);
    assert_eq!((list.as_array().unwrap().len(), &list[0]["type"]), (1, &json!("employee_unterminated")));
    let removed = host.delete("/webhooks", &json!({"type": "employee_unterminated"})).await.expect(200);
    assert_eq!(removed["id"], created["id"]);
    assert_eq!(host.get("/webhooks").await.expect(200), json!([]));
    host.delete("/webhooks", &json!({"type": "employee_unterminated"})).await.problem(404);
}

#[tokio::test]
async fn webhook_shows_every_field_with_its_default() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let body = json!({"subscription_type": "t", "target_url": receiver.url("/"), "challenge": null, "ordered": null});
    let mut created = host.post("/webhooks", &body).await.expect(201);
    let secret = created.as_object_mut().unwrap().remove("signing_secret");
    assert!(secret.is_some());
    for field in ["id", "created_at", "updated_at"] {
        assert!(created.as_object_mut().unwrap().remove(field).unwrap().is_string(), "{field}");
    }
    let expected = json!({
        "company": "acme", "type": "t", "label": null, "delivery": "push", "target_url": receiver.url("/"), "challenge": null, "name": null,
        "enabled": true, "disabled_reason": null, "plugin": null, "config": null, "on_error": "retry", "headers": {},
        "transforms": [], "policies": [], "tls": null, "max_in_flight": 32, "rate_limit": null, "ordered": false, "timeout": null, "keep_payload": "retention", "api_version": null,
        "health": {"state": "unknown", "failing_since": null, "last_error": null, "last_success_at": null,
            "waiting": 0, "oldest_waiting_at": null},
    });
    assert_eq!(created, expected);
}

#[tokio::test]
async fn overwriting_replaces_every_field_and_keeps_id_creation_and_secret() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let whole = json!({
        "type": "t", "target_url": receiver.url("/a"), "challenge": "c1", "name": "first", "plugin": "std-mask",
        "config": {"fields": ["/a"]},
        "on_error": "drop", "headers": {"x-a": "1"}, "max_in_flight": 3, "rate_limit": 5, "ordered": true,
        "timeout": "30s",
        "keep_payload": "until_delivered",
        "api_version": "2026-10-01",
    });
    let first = host.post("/webhooks", &whole).await.expect(201);
    let second = host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/b")})).await.expect(200);
    assert_eq!((&second["id"], &second["created_at"]), (&first["id"], &first["created_at"]));
    assert_eq!(second["target_url"], receiver.url("/b"));
    for (field, default) in [
        ("challenge", Value::Null),
        ("name", Value::Null),
        ("plugin", Value::Null),
        ("config", Value::Null),
        ("on_error", json!("retry")),
        ("keep_payload", json!("retention")),
        ("headers", json!({})),
        ("max_in_flight", json!(32)),
        ("rate_limit", Value::Null),
        ("ordered", json!(false)),
        ("timeout", Value::Null),
        ("signing_secret", Value::Null),
    ] {
        assert_eq!(second[field], default, "{field}");
    }
    host.publish("t", &json!({})).await;
    let arrival = receiver.first().await;
    let secret = posthaste::outbound::sign::parse_secret(first["signing_secret"].as_str().unwrap()).unwrap();
    let signed =
        (arrival.header("webhook-id"), arrival.header("webhook-timestamp"), arrival.header("webhook-signature"));
    let now = signed.1.parse().unwrap();
    posthaste_tests::verify(&secret, signed, &arrival.body, now).expect("the first secret signs still");
}

#[tokio::test]
async fn concurrent_subscriptions_leave_one_webhook() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let mut tasks = Vec::new();
    for number in 0..16 {
        let (client, url) = (host.client.clone(), receiver.url(&format!("/{number}")));
        tasks.push(tokio::spawn(async move {
            let answer = client.post("/webhooks", &json!({"type": "t", "target_url": url})).await;
            assert!([200, 201].contains(&answer.status));
            (answer.status, answer.json()["id"].clone())
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1);
    assert!(answers.iter().all(|(_, id)| *id == answers[0].1));
    assert_eq!(host.get("/webhooks").await.expect(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn concurrent_subscribing_and_unsubscribing_never_conflict() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let mut tasks = Vec::new();
    for thread in 0..12 {
        let (client, url) = (host.client.clone(), receiver.url("/"));
        tasks.push(tokio::spawn(async move {
            for call in 0..20 {
                let (status, expected) = if (thread + call) % 2 == 0 {
                    let answer = client.post("/webhooks", &json!({"type": "t", "target_url": url})).await;
                    (answer.status, [200, 201])
                } else {
                    (client.delete("/webhooks", &json!({"type": "t"})).await.status, [200, 404])
                };
                assert!(expected.contains(&status), "{status}");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn waiting_deliveries_follow_the_new_subscription() {
    let (host, receiver) =
        (Host::with(&[&format!("--retry-schedule={}", ["1s"; 100].join(","))]).await, Receiver::start().await);
    receiver.answer(|_, arrival| {
        axum::response::IntoResponse::into_response(match arrival.path.as_str() {
            "/broken" => http::StatusCode::INTERNAL_SERVER_ERROR,
            _ => http::StatusCode::OK,
        })
    });
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/broken")})).await.expect(201);
    let delivery = host.publish("t", &json!({"n": 1})).await;
    host.delivery_when(&delivery, "tried once", |delivery| delivery["attempt_count"] == 1).await;
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/mended")})).await.expect(200);
    let delivered = host.delivery(&delivery, "delivered").await;
    let last = receiver.arrivals().pop().unwrap();
    assert_eq!((last.path.as_str(), last.json()), ("/mended", json!({"n": 1})));
    assert_eq!(delivered["attempts"].as_array().unwrap().last().unwrap()["status_code"], 200);
}

#[tokio::test]
async fn removing_a_webhook_cancels_its_waiting_deliveries() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    receiver.answer(|_, _| axum::response::IntoResponse::into_response(http::StatusCode::BAD_GATEWAY));
    let created = host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    let delivery = host.publish("t", &json!({})).await;
    host.delivery_when(&delivery, "tried once", |delivery| delivery["attempt_count"] == 1).await;
    let id = created["id"].as_str().unwrap();
    host.delete(&format!("/webhooks/{id}"), &Value::Null).await.expect(200);
    let cancelled = host.get(&format!("/deliveries/{delivery}")).await.expect(200);
    assert_eq!((&cancelled["status"], &cancelled["next_attempt_at"]), (&json!("cancelled"), &Value::Null));
    host.get(&format!("/webhooks/{id}")).await.problem(404);
    let again = host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    assert_ne!(again["id"], created["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_webhook_cancels_its_queue_in_memory() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    receiver.answer(move |_, _| {
        let _ = tokio::task::block_in_place(|| held.lock().unwrap().recv());
        axum::response::IntoResponse::into_response(http::StatusCode::OK)
    });
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 1});
    host.post("/webhooks", &hook).await.expect(201);
    host.publish("t", &json!(1)).await;
    posthaste_tests::until("the first is in flight", || async { receiver.arrivals().first().cloned() }).await;
    let queued = [host.publish("t", &json!(2)).await, host.publish("t", &json!(3)).await];
    host.delete("/webhooks", &json!({"type": "t"})).await.expect(200);
    for delivery in queued {
        let found = host.get(&format!("/deliveries/{delivery}")).await.expect(200);
        assert_eq!((&found["status"], found["finished_at"].is_string()), (&json!("cancelled"), true));
    }
    release.send(()).unwrap();
    assert_eq!(receiver.arrivals().len(), 1);
}

#[tokio::test]
async fn events_for_a_disabled_webhook_wait_until_it_is_enabled() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let off = json!({"type": "t", "target_url": receiver.url("/"), "enabled": false});
    host.post("/webhooks", &off).await.expect(201);
    let first = host.publish("t", &json!(1)).await;
    host.restart().await;
    let second = host.publish("t", &json!(2)).await;
    for delivery in [&first, &second] {
        assert_eq!(host.get(&format!("/deliveries/{delivery}")).await.expect(200)["status"], "pending");
    }
    assert!(receiver.arrivals().is_empty());
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(200);
    host.delivery(&first, "delivered").await;
    host.delivery(&second, "delivered").await;
    assert_eq!(receiver.arrivals().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_webhook_spills_its_queue() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    receiver.answer(move |before, _| {
        if before == 0 {
            let _ = tokio::task::block_in_place(|| held.lock().unwrap().recv());
        }
        axum::response::IntoResponse::into_response(http::StatusCode::OK)
    });
    let hook = |path: &str, enabled: bool| json!({"type": "t", "target_url": receiver.url(path), "max_in_flight": 1, "enabled": enabled});
    host.post("/webhooks", &hook("/first", true)).await.expect(201);
    let first = host.publish("t", &json!(1)).await;
    posthaste_tests::until("the first is in flight", || async { receiver.arrivals().first().cloned() }).await;
    let second = host.publish("t", &json!(2)).await;
    host.post("/webhooks", &hook("/disabled", false)).await.expect(200);
    release.send(()).unwrap();
    host.delivery(&first, "delivered").await;
    host.publish("t", &json!(3)).await;
    host.post("/webhooks", &hook("/enabled", true)).await.expect(200);
    host.delivery(&second, "delivered").await;
    let paths: Vec<_> = receiver.wait_for(3).await.into_iter().map(|arrival| arrival.path).collect();
    assert_eq!(paths, ["/first", "/enabled", "/enabled"]);
}

#[tokio::test]
async fn all_broken_rules_are_reported_with_pointers() {
    let host = Host::start().await;
    let bad = json!({
        "type": "a b", "target_url": "http://127.0.0.1:1/", "challenge": "é", "plugin": "A!", "on_error": "explode",
        "headers": {"webhook-id": "x"}, "max_in_flight": 0, "rate_limit": 0, "timeout": 30,
    });
    let text = host.post("/webhooks", &bad).await.problem(422);
    for pointer in [
        "[/type]",
        "[/challenge]",
        "[/plugin]",
        "[/on_error]",
        "[/headers/webhook-id]",
        "[/max_in_flight]",
        "[/rate_limit]",
        "[/timeout]",
    ] {
        assert!(text.contains(pointer), "{pointer} in {text}");
    }
    let text = host
        .post("/webhooks", &json!({"type": "t", "target_url": "http://127.0.0.1:1/", "colour": 1}))
        .await
        .problem(422);
    assert!(text.contains("colour"), "{text}");
    assert!(host.post("/webhooks", &json!({"type": "t"})).await.problem(422).contains("[/target_url]"));
    let text =
        host.post("/webhooks", &json!({"type": "t", "target_url": "http://127.0.0.1:1/", "enabled": "yes"})).await;
    assert!(text.problem(422).contains("[/enabled]"));
    let text =
        host.post("/webhooks", &json!({"type": "t", "target_url": "http://127.0.0.1:1/", "plugin": "nobody"})).await;
    assert!(text.problem(422).contains("there is no plugin `nobody`"));
}

#[tokio::test]
async fn event_type_may_be_given_under_either_name_but_once() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let url = receiver.url("/");
    let both = json!({"type": "t", "subscription_type": "t", "target_url": url});
    assert!(host.post("/webhooks", &both).await.problem(422).contains("[/subscription_type]"));
    let bad = json!({"subscription_type": "a b", "target_url": url});
    assert!(host.post("/webhooks", &bad).await.problem(422).contains("[/subscription_type]"));
    for neither in [json!({}), json!({"type": null, "target_url": null})] {
        let text = host.post("/webhooks", &neither).await.problem(422);
        assert!(text.contains("[/type]") && text.contains("[/target_url]"), "{text}");
    }
    let created = host.post("/webhooks", &json!({"subscription_type": "t", "target_url": url})).await.expect(201);
    assert_eq!(created["type"], "t");
    for bad in [json!({}), json!({"type": "t", "subscription_type": "t"}), json!(["t"]), json!({"type": "t", "x": 1})] {
        host.delete("/webhooks", &bad).await.problem(422);
    }
    host.call(http::Method::DELETE, "/webhooks", &[], "").await.problem(400);
    let removed = host.delete("/webhooks", &json!({"subscription_type": "t"})).await.expect(200);
    assert_eq!((&removed["id"], removed.get("signing_secret")), (&created["id"], None));
}

#[tokio::test]
async fn fields_are_bounded() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let many: serde_json::Map<_, _> = (0..33).map(|number| (format!("x-{number}"), json!("v"))).collect();
    let twins = json!({"x-a": "1", "X-A": "2"});
    for (field, fine, bad) in [
        ("challenge", json!("~".repeat(256)), json!("~".repeat(257))),
        ("challenge", json!("!"), json!("")),
        ("challenge", json!("a"), json!("a b")),
        ("name", json!("é".repeat(128)), json!("é".repeat(129))),
        ("name", json!(""), json!("a\nb")),
        ("max_in_flight", json!(1024), json!(1025)),
        ("max_in_flight", json!(1), json!(-1)),
        ("rate_limit", json!(100_000), json!(100_001)),
        ("rate_limit", json!(1), json!(1.5)),
        ("rate_limit", json!("10/s"), json!("10/d")),
        ("rate_limit", json!("30/min"), json!(0)),
        ("rate_limit", json!("5/h"), json!(true)),
        ("timeout", json!("1s"), json!("999ms")),
        ("timeout", json!("1m"), json!("61s")),
        ("timeout", json!(null), json!("soon")),
        ("headers", json!({"x-a": "v".repeat(8000)}), json!({"x-a": "v".repeat(8192)})),
        ("headers", json!({"content-type": "text/plain"}), json!({"content-encoding": "gzip"})),
        ("headers", json!({}), json!({"X-Factorial-Other": "x"})),
        ("headers", json!({"API_key.v2": "1"}), twins),
        ("headers", json!({}), json!(many)),
        ("type", json!("t"), json!("employees*")),
        ("ordered", json!(true), json!("true")),
        ("type", json!("Employees::Events::EmployeeUpdated"), json!("x".repeat(129))),
        ("target_url", json!(receiver.url("/?a=b#c")), json!("ftp://127.0.0.1/")),
        ("target_url", json!(receiver.url("/")), json!("http://user@127.0.0.1/")),
    ] {
        let mut hook = json!({"type": "t", "target_url": receiver.url("/")});
        hook[field] = fine;
        assert!(host.post("/webhooks", &hook).await.status < 300, "{hook}");
        hook[field] = bad;
        let text = host.post("/webhooks", &hook).await.problem(422);
        assert!(text.contains(&format!("[/{field}")), "{field}: {text}");
    }
}
