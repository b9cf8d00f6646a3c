//! `PATCH /webhooks/{id}`: only the given fields change.

use http::Method;
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Answer, Client, Host, Receiver, guest, shipped, until};
use serde_json::{Value, json};

async fn patch(client: &Client, id: &str, body: &Value) -> Answer {
    client.call(Method::PATCH, &format!("/webhooks/{id}"), &[], body.to_string()).await
}

/// Creates a webhook with every field set; returns its id and its JSON.
async fn whole(host: &Host, receiver: &Receiver) -> (String, Value) {
    let body = json!({
        "type": "t", "target_url": receiver.url("/a"), "challenge": "c1", "name": "first", "enabled": true,
        "plugin": "std-mask", "config": {"fields": ["/a"]}, "on_error": "drop", "headers": {"x-a": "1"},
        "max_in_flight": 3, "rate_limit": 5, "ordered": true, "timeout": "5s", "api_version": "2026-10-01",
    });
    let mut created = host.post("/webhooks", &body).await.expect(201);
    created.as_object_mut().unwrap().remove("signing_secret");
    (created["id"].as_str().unwrap().to_owned(), created)
}

fn without_time(mut webhook: Value) -> Value {
    webhook.as_object_mut().unwrap().remove("updated_at");
    webhook
}

#[tokio::test]
async fn patch_changes_only_the_given_field() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (id, mut expected) = whole(&host, &receiver).await;
    for (field, value) in [
        ("target_url", json!(receiver.url("/b"))),
        ("challenge", json!("c2")),
        ("name", json!("second")),
        ("enabled", json!(false)),
        ("config", json!({"fields": ["/b"]})),
        ("on_error", json!("send_original")),
        ("headers", json!({"x-b": "2"})),
        ("max_in_flight", json!(7)),
        ("rate_limit", json!(9)),
        ("rate_limit", json!("30/min")),
        ("rate_limit", json!("5/h")),
        ("rate_limit", json!("10/s")),
        ("rate_limit", json!(10)),
        ("ordered", json!(false)),
        ("timeout", json!("1500ms")),
        ("type", json!("t")),
        ("subscription_type", json!("t")),
    ] {
        let changed = patch(&host, &id, &json!({ field: value })).await.expect(200);
        if ["config", "on_error"].contains(&field) {
            expected["transforms"][0][field] = value.clone();
        }
        if field != "subscription_type" {
            expected[field] = value;
        }
        assert_eq!(without_time(changed.clone()), without_time(expected.clone()), "{field}");
        assert_eq!(host.get(&format!("/webhooks/{id}")).await.expect(200), changed);
        expected = changed;
    }
    let same = patch(&host, &id, &json!({})).await.expect(200);
    assert_eq!(without_time(same), without_time(expected));
}

#[tokio::test]
async fn null_resets_a_field_to_its_default() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (id, mut expected) = whole(&host, &receiver).await;
    for (field, default) in [
        ("challenge", Value::Null),
        ("name", Value::Null),
        ("enabled", json!(true)),
        ("plugin", Value::Null),
        ("on_error", json!("retry")),
        ("headers", json!({})),
        ("max_in_flight", json!(32)),
        ("rate_limit", Value::Null),
        ("ordered", json!(false)),
        ("timeout", Value::Null),
    ] {
        let mut body = json!({ field: null });
        if field == "plugin" {
            // Alone it would leave a config without a plugin.
            body["config"] = Value::Null;
            expected["config"] = Value::Null;
            expected["transforms"] = json!([]);
        }
        let changed = patch(&host, &id, &body).await.expect(200);
        expected[field] = default;
        assert_eq!(without_time(changed), without_time(expected.clone()), "{field}");
    }
}

#[tokio::test]
async fn patch_obeys_the_rules_of_a_new_webhook() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (id, before) = whole(&host, &receiver).await;
    let bad = json!({
        "type": "other", "challenge": "é", "plugin": "A!", "on_error": "explode", "name": "a\u{0}",
        "headers": {"webhook-id": "x"}, "max_in_flight": 0, "rate_limit": 0, "timeout": "2h", "target_url": null,
    });
    let text = patch(&host, &id, &bad).await.problem(422);
    for field in [
        "type",
        "challenge",
        "plugin",
        "on_error",
        "name",
        "headers/webhook-id",
        "max_in_flight",
        "rate_limit",
        "timeout",
        "target_url",
    ] {
        assert!(text.contains(&format!("[/{field}]")), "{field} in {text}");
    }
    for (body, part) in [
        (json!({"type": "other"}), "cannot be changed"),
        (json!({"type": null}), "cannot be changed"),
        (json!({"subscription_type": "other"}), "[/subscription_type]"),
        (json!({"type": "t", "subscription_type": "t"}), "[/subscription_type]"),
        (json!({"target_url": "http://10.0.0.1/"}), "10.0.0.1"),
        (json!({"target_url": "https://user:pass@example.com/"}), "[/target_url]"),
        (json!({"enabled": "yes"}), "[/enabled]"),
        (json!({"colour": 1}), "colour"),
        (json!({"id": "wh_1"}), "id"),
        (json!({"plugin": "nobody"}), "there is no plugin `nobody`"),
        (json!({"config": {"fields": 1}}), "[/config]"),
        (json!([]), ""),
    ] {
        let text = patch(&host, &id, &body).await.problem(422);
        assert!(text.contains(part), "{body}: {text}");
    }
    host.call(Method::PATCH, &format!("/webhooks/{id}"), &[], "").await.problem(400);
    host.call(Method::PATCH, "/webhooks", &[], "{}").await.problem(405);
    assert_eq!(host.get(&format!("/webhooks/{id}")).await.expect(200), before);
}

#[tokio::test]
async fn patch_finds_only_webhooks_of_the_own_company() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (id, _) = whole(&host, &receiver).await;
    let body = json!({"name": "mine"});
    patch(&host.company("other").await, &id, &body).await.problem(404);
    patch(&host, "wh_nobody", &body).await.problem(404);
    let reading = host.with_key(host.new_key(Some("acme"), Scopes::parse("webhooks:read").unwrap()).await);
    patch(&reading, &id, &body).await.problem(403);
    let platform = host.with_key(host.new_key(None, Scopes::all()).await);
    patch(&platform, &id, &body).await.problem(422);
    assert_eq!(patch(&platform, &format!("{id}?company=acme"), &body).await.expect(200)["name"], "mine");
    assert_eq!(host.get(&format!("/webhooks/{id}")).await.expect(200)["name"], "mine");
}

#[tokio::test]
async fn plugin_checks_the_config_when_either_changes() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let digest = host.upload("mask", &shipped("mask")).await.expect(201)["digest"].as_str().unwrap().to_owned();
    let (bad, good) = (json!({"fields": 1}), json!({"fields": ["/a"]}));
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "config": good});
    let alone = host.post("/webhooks", &hook).await.problem(422);
    assert!(alone.contains("[/config]") && alone.contains("no effect without a plugin"), "{alone}");
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    assert!(patch(&host, &id, &json!({"config": good})).await.problem(422).contains("[/config]"));
    assert!(patch(&host, &id, &json!({"plugin": "mask", "config": bad})).await.problem(422).contains("[/config]"));
    let both = json!({"plugin": format!("mask@{}", &digest[..8]), "config": good});
    let changed = patch(&host, &id, &both).await.expect(200);
    assert_eq!(changed["plugin"], json!({"name": "mask", "digest": digest}));
    assert!(patch(&host, &id, &json!({"config": bad})).await.problem(422).contains("[/config]"));
    let kept = patch(&host, &id, &json!({"name": "kept"})).await.expect(200);
    assert_eq!((&kept["plugin"], &kept["config"]), (&changed["plugin"], &good));
    assert!(patch(&host, &id, &json!({"plugin": null})).await.problem(422).contains("[/config]"));
    let removed = patch(&host, &id, &json!({"plugin": null, "config": null})).await.expect(200);
    assert_eq!((&removed["plugin"], &removed["config"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_patches_all_take_effect() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (id, _) = whole(&host, &receiver).await;
    for round in 0..10_u32 {
        let bodies = [
            json!({"name": format!("n{round}")}),
            json!({"challenge": format!("c{round}")}),
            json!({"max_in_flight": round + 1}),
            json!({"rate_limit": round + 1}),
            json!({"headers": {"x-round": round.to_string()}}),
            json!({"config": {"fields": [format!("/f{round}")]}}),
            json!({"target_url": receiver.url(&format!("/{round}"))}),
        ];
        let mut tasks = Vec::new();
        for body in bodies.clone() {
            let (client, id) = (host.client.clone(), id.clone());
            tasks.push(tokio::spawn(async move { patch(&client, &id, &body).await.expect(200) }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let webhook = host.get(&format!("/webhooks/{id}")).await.expect(200);
        for (field, value) in bodies.iter().flat_map(|body| body.as_object().unwrap()) {
            assert_eq!(webhook[field], *value, "{field} in round {round}");
        }
    }
}

#[tokio::test]
async fn concurrent_changes_of_plugin_and_config_end_compatible() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("mask", &shipped("mask")).await.expect(201);
    host.upload("any", &guest("pass")).await.expect(201);
    for _ in 0..5 {
        let hook = json!({
            "type": "t", "target_url": receiver.url("/"), "plugin": "any", "config": {"fields": ["/a"]},
        });
        let id = host.post("/webhooks", &hook).await.json()["id"].as_str().unwrap().to_owned();
        // Either is fine alone.
        let (plugin, config) = (json!({"plugin": "mask"}), json!({"config": {"fields": 1}}));
        let (one, other) = tokio::join!(patch(&host, &id, &plugin), patch(&host, &id, &config));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 422]);
    }
}

#[tokio::test]
async fn waiting_deliveries_follow_a_patched_webhook() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/a"), "enabled": false});
    let id = host.post("/webhooks", &hook).await.expect(201)["id"].as_str().unwrap().to_owned();
    let delivery = host.publish("t", &json!(1)).await;
    patch(&host, &id, &json!({"target_url": receiver.url("/b")})).await.expect(200);
    assert_eq!(host.get(&format!("/deliveries/{delivery}")).await.expect(200)["status"], "pending");
    patch(&host, &id, &json!({"enabled": true})).await.expect(200);
    host.delivery(&delivery, "delivered").await;
    assert_eq!(receiver.first().await.path, "/b");
}

#[tokio::test]
async fn enabling_clears_the_disabled_reason() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/")});
    let id = host.post("/webhooks", &hook).await.expect(201)["id"].as_str().unwrap().to_owned();
    let disable = "UPDATE webhooks SET enabled = 0, disabled_reason = 'gone', failing_since = 7";
    host.stop().await;
    host.home().sql(disable).await;
    host.restart().await;
    for body in [json!({"name": "kept"}), json!({"enabled": false})] {
        let webhook = patch(&host, &id, &body).await.expect(200);
        assert_eq!((&webhook["enabled"], &webhook["disabled_reason"]), (&json!(false), &json!("gone")), "{body}");
    }
    host.home().sql("UPDATE webhooks SET failing_since = 7").await;
    let webhook = patch(&host, &id, &json!({"enabled": true})).await.expect(200);
    assert_eq!((&webhook["enabled"], &webhook["disabled_reason"]), (&json!(true), &Value::Null));
    let since = "SELECT failing_since FROM webhooks";
    until("the failing streak is reset", || async {
        host.home().value::<Option<i64>>(since).await.is_none().then_some(())
    })
    .await;
}
