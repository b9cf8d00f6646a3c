//! Labels, by which several webhooks subscribe to one type, and patterns, by which one webhook subscribes to many.

use http::StatusCode;
use posthaste_tests::{Arrival, Client, Host, Receiver, guest, until};
use serde_json::{Value, json};

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Returns the types and labels of all webhooks, newest first.
async fn listed(client: &Client) -> Vec<(String, Option<String>)> {
    let all = client.get("/webhooks").await.expect(200);
    let subscription =
        |webhook: &Value| (text(&webhook["type"]).to_owned(), webhook["label"].as_str().map(str::to_owned));
    all.as_array().unwrap().iter().map(subscription).collect()
}

#[tokio::test]
async fn webhooks_of_one_type_with_different_labels_exist_side_by_side() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = |label: Value, path: &str| json!({"type": "t", "label": label, "target_url": receiver.url(path)});
    let plain = host.post("/webhooks", &hook(Value::Null, "/a")).await.expect(201);
    let crm = host.post("/webhooks", &hook(json!("crm"), "/b")).await.expect(201);
    let erp = host.post("/webhooks", &hook(json!("erp-2"), "/c")).await.expect(201);
    assert_eq!((&plain["label"], &crm["label"], &erp["label"]), (&Value::Null, &json!("crm"), &json!("erp-2")));
    assert_eq!(crm["type"], "t");
    let of = |label: &str| ("t".to_owned(), Some(label.to_owned()));
    assert_eq!(listed(&host).await, [of("erp-2"), of("crm"), ("t".to_owned(), None)]);
    // The same type and label is the same webhook, also without a label.
    for (label, first) in [(json!("crm"), &crm), (Value::Null, &plain)] {
        let second = host.post("/webhooks", &hook(label, "/d")).await.expect(200);
        assert_eq!((&second["id"], &second["label"]), (&first["id"], &first["label"]));
        assert_eq!(second["target_url"], receiver.url("/d"));
    }
    let shown = host.get(&format!("/webhooks/{}", text(&erp["id"]))).await.expect(200);
    assert_eq!((&shown["label"], &shown["target_url"]), (&json!("erp-2"), &json!(receiver.url("/c"))));
    let other = host.company("other").await;
    let theirs = other.post("/webhooks", &hook(json!("crm"), "/e")).await.expect(201);
    assert_ne!(theirs["id"], crm["id"]);
}

#[tokio::test]
async fn webhook_is_removed_by_its_type_and_label() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for label in [Value::Null, json!("crm"), json!("erp")] {
        host.subscribe(&json!({"type": "t", "label": label, "target_url": receiver.url("/")})).await;
    }
    for (body, status) in [
        (json!({"type": "t", "label": "nobody"}), 404),
        (json!({"type": "t crm"}), 404),
        (json!({"type": "u", "label": "crm"}), 404),
        (json!({"type": "t", "label": 1}), 422),
        (json!({"label": "crm"}), 422),
    ] {
        host.delete("/webhooks", &body).await.problem(status);
    }
    for (body, label) in [
        (json!({"type": "t", "label": "crm"}), json!("crm")),
        (json!({"type": "t"}), Value::Null),
        (json!({"subscription_type": "t", "label": "erp"}), json!("erp")),
    ] {
        let removed = host.delete("/webhooks", &body).await.expect(200);
        assert_eq!((&removed["type"], &removed["label"]), (&json!("t"), &label));
        host.delete("/webhooks", &body).await.problem(404);
    }
    assert_eq!(listed(&host).await, []);
}

#[tokio::test]
async fn type_and_label_of_a_webhook_do_not_change() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let subscribe = async |label: Value| {
        host.subscribe(&json!({"type": "a/*", "label": label, "target_url": receiver.url("/")})).await
    };
    let (plain, labelled) = (subscribe(Value::Null).await, subscribe(json!("crm")).await);
    for (id, body, pointer) in [
        (&plain, json!({"label": "crm"}), "[/label]"),
        (&labelled, json!({"label": "erp"}), "[/label]"),
        (&labelled, json!({"label": null}), "[/label]"),
        (&labelled, json!({"type": "a/b"}), "[/type]"),
        (&plain, json!({"type": "*"}), "[/type]"),
    ] {
        let refused = host.patch(&format!("/webhooks/{id}"), &body).await.problem(422);
        assert!(refused.contains(pointer) && refused.contains("`a/*`"), "{refused}");
        assert!(refused.contains("POST /webhooks"), "{refused}");
        assert_eq!(refused.contains("label `crm`"), *id == labelled, "{refused}");
    }
    for (id, label) in [(&plain, Value::Null), (&labelled, json!("crm"))] {
        let body = json!({"type": "a/*", "label": label, "name": "n"});
        let changed = host.patch(&format!("/webhooks/{id}"), &body).await.expect(200);
        assert_eq!((&changed["label"], &changed["type"], &changed["name"]), (&label, &json!("a/*"), &json!("n")));
    }
}

#[tokio::test]
async fn labels_and_patterns_have_a_form() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let url = receiver.url("/");
    let subscribe = async |event_type: &str, label: Value| {
        host.post("/webhooks", &json!({"type": event_type, "label": label, "target_url": url})).await
    };
    for fine in ["*", "a/*", "a/b/*", "posthaste.*", "posthaste.webhook.disabled", "posthaste"] {
        subscribe(fine, json!("x".repeat(64))).await.expect(201);
    }
    for bad in ["a*", "*/a", "a/*/b", "**", "a/**", "a.*", "posthaste*", "a *"] {
        let refused = subscribe(bad, Value::Null).await.problem(422);
        assert!(refused.contains("[/type]"), "{bad}: {refused}");
    }
    let refused = subscribe("employees*", Value::Null).await.problem(422);
    assert!(refused.contains("`employees*`") && refused.contains("`employees/*`"), "{refused}");
    assert!(subscribe("posthaste.a/*", Value::Null).await.problem(422).contains("matches nothing"));
    for bad in [json!(""), json!("A"), json!("a b"), json!("a_b"), json!("x".repeat(65)), json!(1)] {
        let refused = subscribe("t", bad.clone()).await.problem(422);
        assert!(refused.contains("[/label]"), "{bad}: {refused}");
    }
    let both = host.post("/webhooks", &json!({"type": "a*", "label": "A", "target_url": url})).await.problem(422);
    assert!(both.contains("[/type]") && both.contains("[/label]"), "{both}");
}

#[tokio::test]
async fn no_event_has_a_pattern_as_its_type() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "*", "target_url": receiver.url("/")})).await;
    for bad in ["*", "a/*", "a*b"] {
        let refused = host.post("/events", &json!({"type": bad, "data": 1})).await.problem(422);
        assert!(refused.contains("[/type]") && refused.contains('*'), "{refused}");
        let line = json!({"type": bad, "data": 1}).to_string();
        let batch = host.call(http::Method::POST, "/events/batch", &[], line).await.expect(202);
        assert_eq!(batch["rejected"], 1, "{batch}");
        host.post(&format!("/webhooks/{id}/test"), &json!({"type": bad})).await.problem(422);
    }
    assert!(receiver.arrivals().is_empty());
}

#[tokio::test]
async fn pattern_receives_the_types_that_begin_like_it() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "a/*", "target_url": receiver.url("/")})).await;
    let mut sent = Vec::new();
    for event_type in ["a/b", "a/b/c", "a/"] {
        let delivery = host.publish(event_type, &json!(event_type)).await;
        let delivered = host.delivery(&delivery, "delivered").await;
        assert_eq!(delivered["type"], event_type);
        sent.push(event_type);
    }
    for event_type in ["a", "ab", "b/a", "A/b"] {
        assert_eq!(host.publish(event_type, &json!(1)).await, "", "{event_type} matches nothing");
    }
    let arrived: Vec<_> =
        receiver.arrivals().iter().map(|arrival| arrival.header("webhook-event-type").to_owned()).collect();
    assert_eq!(arrived, sent);
    // It applies at once to types that nobody was interested in before.
    let all = host.subscribe(&json!({"type": "*", "target_url": receiver.url("/")})).await;
    host.delivery(&host.publish("b/a", &json!(1)).await, "delivered").await;
    host.call(http::Method::DELETE, &format!("/webhooks/{all}"), &[], "").await.expect(200);
    assert_eq!(host.publish("b/a", &json!(1)).await, "");
}

#[tokio::test]
async fn events_of_the_service_go_to_their_own_pattern_and_not_to_that_of_all_types() {
    let (host, receiver, gone) = (Host::start().await, Receiver::start().await, Receiver::start().await);
    gone.answer_status(StatusCode::GONE.as_u16());
    let own = host.subscribe(&json!({"type": "posthaste.*", "target_url": receiver.url("/own")})).await;
    let all = host.subscribe(&json!({"type": "*", "target_url": receiver.url("/all")})).await;
    let id = host.subscribe(&json!({"type": "t", "target_url": gone.url("/")})).await;
    host.publish("t", &json!(1)).await;
    let is_notice = |arrival: &Arrival| arrival.header("webhook-event-type") == "posthaste.webhook.disabled";
    let notice = receiver.wait_for_one(is_notice).await;
    assert_eq!((notice.path.as_str(), &notice.json()["webhook"]["id"]), ("/own", &json!(id)));
    // It has been told of the two other webhooks as well.
    receiver.wait_for(4).await;
    let types = async |query: &str| {
        let page = host.get(&format!("/deliveries?{query}")).await.expect(200);
        let types = page["data"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap().to_owned());
        types.collect::<Vec<_>>()
    };
    assert_eq!(types(&format!("webhook={own}")).await.len(), 3);
    assert_eq!(types(&format!("webhook={all}")).await, ["t"]);
}

#[tokio::test]
async fn waiting_delivery_stays_with_its_webhook_while_that_exists() {
    let (host, receiver) = (Host::with(&["--retry-schedule=10h,10h,10h"]).await, Receiver::start().await);
    receiver.answer_status(500);
    let all = host.subscribe(&json!({"type": "*", "target_url": receiver.url("/all")})).await;
    let waiting = host.publish("t", &json!(1)).await;
    host.delivery_when(&waiting, "tried", |one| one["attempt_count"] == 1).await;
    let exact = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/exact")})).await;
    let retry = async |id: &str| host.post(&format!("/deliveries/{id}/retry"), &Value::Null).await;
    assert_eq!(retry(&waiting).await.expect(202)["webhook"], all);
    host.delivery_when(&waiting, "tried again", |one| one["attempt_count"] == 2).await;
    // A change of its webhook makes it due at once.
    host.patch(&format!("/webhooks/{all}"), &json!({"target_url": receiver.url("/moved")})).await.expect(200);
    host.delivery_when(&waiting, "tried a third time", |one| one["attempt_count"] == 3).await;
    host.call(http::Method::DELETE, &format!("/webhooks/{all}"), &[], "").await.expect(200);
    host.delivery(&waiting, "cancelled").await;
    receiver.answer_status(200);
    assert_eq!(retry(&waiting).await.expect(202)["webhook"], exact);
    host.delivery(&waiting, "delivered").await;
    let paths: Vec<_> = receiver.arrivals().iter().map(|arrival| arrival.path.clone()).collect();
    assert_eq!(paths, ["/all", "/all", "/moved", "/exact"]);
    host.delete("/webhooks", &json!({"type": "t"})).await.expect(200);
    assert!(retry(&waiting).await.problem(409).contains("`t`"));
}

#[tokio::test]
async fn events_of_a_disabled_pattern_wait_for_it() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({"type": "*", "label": "crm", "target_url": receiver.url("/"), "ordered": true, "enabled": false});
    let id = host.subscribe(&hook).await;
    let mut waiting = Vec::new();
    for event_type in ["a", "b/c", "a"] {
        waiting.push(host.publish(event_type, &json!(event_type)).await);
    }
    host.restart().await;
    assert!(receiver.arrivals().is_empty());
    host.patch(&format!("/webhooks/{id}"), &json!({"enabled": true})).await.expect(200);
    for delivery in &waiting {
        host.delivery(delivery, "delivered").await;
    }
    let order: Vec<_> = receiver.arrivals().iter().map(|arrival| arrival.json()).collect();
    assert_eq!(order, [json!("a"), json!("b/c"), json!("a")]);
    let healthy = async || {
        let webhook = host.get(&format!("/webhooks/{id}")).await.expect(200);
        (webhook["health"]["state"] == "healthy" && webhook["health"]["waiting"] == 0).then_some(())
    };
    until("the webhook is healthy", healthy).await;
}

#[tokio::test]
async fn hundred_webhooks_match_an_event_at_most() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let subscribe = async |event_type: &str, label: &str| {
        host.post("/webhooks", &json!({"type": event_type, "label": label, "target_url": receiver.url("/")})).await
    };
    for number in 0..50 {
        subscribe("a/b", &format!("x{number}")).await.expect(201);
        subscribe("a/*", &format!("x{number}")).await.expect(201);
    }
    for event_type in ["a/b", "a/*", "*"] {
        let refused = subscribe(event_type, "one-more").await.problem(422);
        assert!(refused.contains("[/type]") && refused.contains("101 webhooks"), "{refused}");
        assert!(refused.contains("events of type `a/b`"), "{refused}");
    }
    assert_eq!(listed(&host).await.len(), 100);
    subscribe("a/b", "x7").await.expect(200);
    subscribe("a/c", "one-more").await.expect(201);
    host.delete("/webhooks", &json!({"type": "a/*", "label": "x7"})).await.expect(200);
    subscribe("*", "one-more").await.expect(201);
    let other = host.company("other").await;
    other.post("/webhooks", &json!({"type": "a/b", "target_url": receiver.url("/")})).await.expect(201);
}

#[tokio::test]
async fn webhook_for_a_pattern_is_tested_with_an_event_of_a_given_type() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "a/*", "label": "crm", "target_url": receiver.url("/")})).await;
    let path = format!("/webhooks/{id}/test");
    host.post(&path, &Value::Null).await.expect(200);
    host.post(&path, &json!({"type": "a/b"})).await.expect(200);
    host.post(&path, &json!({"event": {"type": "a/c", "data": 1}})).await.expect(200);
    let types = receiver.wait_for(3).await;
    let types: Vec<_> = types.iter().map(|arrival| arrival.header("webhook-event-type").to_owned()).collect();
    assert_eq!(types, ["ping", "a/b", "a/c"]);
    let refused = host.post(&path, &json!({"event": {"data": 1}})).await.problem(422);
    assert!(refused.contains("[/event/type]") && refused.contains("`a/*`"), "{refused}");
    for bad in ["posthaste.x", "ping", "a b"] {
        host.post(&path, &json!({"event": {"type": bad, "data": 1}})).await.problem(422);
    }
    let own = host.subscribe(&json!({"type": "posthaste.*", "target_url": receiver.url("/")})).await;
    let path = format!("/webhooks/{own}/test");
    host.post(&path, &json!({"type": "posthaste.webhook.disabled"})).await.expect(200);
    assert_eq!(receiver.wait_for(4).await[3].header("webhook-event-type"), "posthaste.webhook.disabled");
    for bad in ["posthaste. x", "ping"] {
        host.post(&path, &json!({"type": bad})).await.problem(422);
    }
}

#[tokio::test]
async fn refusal_that_names_webhooks_names_their_labels() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("mine", &guest("replace")).await.expect(201);
    let hook = json!({"type": "t", "label": "crm", "target_url": receiver.url("/"), "plugin": "mine"});
    let id = host.subscribe(&hook).await;
    let refused = host.call(http::Method::DELETE, "/plugins/mine", &[], "").await.problem(409);
    assert!(refused.contains(&format!("{id} (`t`, label `crm`)")), "{refused}");
}
