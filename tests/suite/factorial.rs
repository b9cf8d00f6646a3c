//! Webhook subscriptions as the later versions of Factorial's own API have them, over HTTP. `factorial_sdk` uses its SDK.

use http::Method;
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Answer, Client, Host, Receiver};
use serde_json::{Value, json};

const SUBSCRIPTIONS: &str = "!/api/2026-10-01/resources/api_public/webhook_subscriptions";

fn subscription(event_type: &str, receiver: &Receiver) -> Value {
    json!({"subscription_type": event_type, "target_url": receiver.url("/"), "company_id": "acme"})
}

async fn put(client: &Client, id: &str, body: &Value) -> Answer {
    client.call(Method::PUT, &format!("{SUBSCRIPTIONS}/{id}"), &[], body.to_string()).await
}

/// Subscribes, and returns the id.
async fn subscribed(host: &Host, event_type: &str, receiver: &Receiver) -> String {
    let created = host.post(SUBSCRIPTIONS, &subscription(event_type, receiver)).await.expect(201);
    created["id"].as_str().unwrap().to_owned()
}

async fn types(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("{SUBSCRIPTIONS}{query}")).await.expect(200);
    page["data"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn subscription_is_a_webhook_like_any_other() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let mut body = subscription("t", &receiver);
    body["challenge"] = json!("c");
    let created = host.post(SUBSCRIPTIONS, &body).await.expect(201);
    let id = created["id"].as_str().unwrap();
    let expected = json!({
        "id": id, "type": "t", "target_url": receiver.url("/"), "company_id": "acme", "challenge": "c", "enabled": true,
        "api_version": "2026-10-01",
    });
    assert_eq!(created, expected);
    let path = format!("{SUBSCRIPTIONS}/{id}");
    assert_eq!(host.get(&path).await.expect(200), expected);
    let webhook = host.get(&format!("/webhooks/{id}")).await.expect(200);
    assert_eq!((&webhook["type"], &webhook["api_version"]), (&json!("t"), &json!("2026-10-01")));
    host.publish("t", &json!(1)).await;
    let arrival = receiver.first().await;
    assert_eq!((arrival.text().as_str(), arrival.header("x-factorial-wh-challenge")), ("1", "c"));
    assert_eq!(host.delete(&path, &Value::Null).await.expect(200), expected);
    host.get(&path).await.problem(404);
    host.delete(&path, &Value::Null).await.problem(404);
    host.get(&format!("/webhooks/{id}")).await.problem(404);
}

#[tokio::test]
async fn webhook_made_elsewhere_is_listed_and_changed_and_keeps_what_is_not_sent() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let webhook = json!({
        "type": "t", "target_url": receiver.url("/"), "plugin": "std-mask", "config": {"fields": ["/a"]}, "name": "n",
        "ordered": true, "headers": {"x-a": "1"}, "max_in_flight": 3, "challenge": "c",
    });
    let id = host.subscribe(&webhook).await;
    let before = host.get(&format!("/webhooks/{id}")).await.expect(200);
    let shown = host.get(&format!("{SUBSCRIPTIONS}/{id}")).await.expect(200);
    assert_eq!((&shown["name"], &shown["api_version"]), (&json!("n"), &json!("2026-10-01")), "the version of the path");
    assert_eq!(before["api_version"], Value::Null);
    let changed = put(&host, &id, &json!({"target_url": receiver.url("/b"), "challenge": null})).await.expect(200);
    assert_eq!((&changed["target_url"], changed.get("challenge")), (&json!(receiver.url("/b")), None));
    let mut after = host.get(&format!("/webhooks/{id}")).await.expect(200);
    (after["target_url"], after["challenge"]) = (before["target_url"].clone(), json!("c"));
    after["updated_at"] = before["updated_at"].clone();
    assert_eq!(after, before);
    // A subscription that was shown can be sent back as a whole.
    let mut whole = host.get(&format!("{SUBSCRIPTIONS}/{id}")).await.expect(200);
    whole["enabled"] = json!(false);
    assert_eq!(put(&host, &id, &whole).await.expect(200), whole);
    let enabled = put(&host, &id, &json!({"id": id, "enabled": true})).await.expect(200);
    assert_eq!(enabled["enabled"], true);
}

#[tokio::test]
async fn second_subscription_to_a_type_is_refused_and_changes_nothing() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = subscribed(&host, "t", &receiver).await;
    let before = host.get(&format!("/webhooks/{id}")).await.expect(200);
    let mut second = subscription("t", &receiver);
    second["target_url"] = json!(receiver.url("/second"));
    let refused = host.post(SUBSCRIPTIONS, &second).await.problem(422);
    assert!(refused.contains("[/subscription_type]") && refused.contains("already been taken"), "{refused}");
    assert_eq!(host.get(&format!("/webhooks/{id}")).await.expect(200), before);
    // Many at once: one of them is the first.
    let requests = (0..8).map(|_| async { host.post(SUBSCRIPTIONS, &subscription("u", &receiver)).await.status });
    let mut statuses = futures_util::future::join_all(requests).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [&[201][..], &[422; 7]].concat());
    // The first version of the API still overwrites.
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/v1")})).await.expect(200);
}

#[tokio::test]
async fn pages_lead_through_all_subscriptions_that_the_filters_select() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let empty = host.get(SUBSCRIPTIONS).await.expect(200);
    let meta = json!({"has_previous_page": false, "has_next_page": false, "limit": 100, "total": 0});
    assert_eq!(empty, json!({"data": [], "meta": meta}));
    let mut ids = Vec::new();
    for event_type in ["a", "b", "c", "d", "e"] {
        ids.insert(0, subscribed(&host, event_type, &receiver).await);
    }
    put(&host, &ids[1], &json!({"enabled": false})).await.expect(200);
    put(&host, &ids[4], &json!({"enabled": false})).await.expect(200);
    let first = host.get(&format!("{SUBSCRIPTIONS}?limit=2")).await.expect(200);
    let meta = json!({
        "has_previous_page": false, "has_next_page": true, "limit": 2, "total": 5, "start_cursor": ids[0], "end_cursor": ids[1],
    });
    assert_eq!(first["meta"], meta);
    let last = host.get(&format!("{SUBSCRIPTIONS}?limit=2&after_id={}", ids[3])).await.expect(200);
    let meta = json!({
        "has_previous_page": true, "has_next_page": false, "limit": 2, "total": 5, "start_cursor": ids[4], "end_cursor": ids[4],
    });
    assert_eq!(last["meta"], meta);
    for (query, expected) in [
        ("?limit=500", &["e", "d", "c", "b", "a"][..]),
        ("?enabled=false", &["d", "a"]),
        ("?enabled=true&limit=2", &["e", "c"]),
        ("?type=b", &["b"]),
        ("?type=b&enabled=false", &[]),
        ("?company_id=acme&type=nobody", &[]),
    ] {
        assert_eq!(types(&host, query).await, expected, "{query}");
    }
    let id = &ids[2];
    assert_eq!(types(&host, &format!("?id={id}")).await, ["c"]);
    assert_eq!(types(&host, &format!("?enabled=true&limit=1&after_id={}", ids[2])).await, ["b"]);
    for bad in ["?limit=0", "?limit=x", "?after_id=x", "?enabled=maybe", "?page=2"] {
        host.get(&format!("{SUBSCRIPTIONS}{bad}")).await.problem(422);
    }
}

#[tokio::test]
async fn company_id_is_the_company_of_the_key_or_is_refused() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = subscribed(&host, "t", &receiver).await;
    let numeric = host.company("55").await;
    for (company_id, status) in
        [(json!(55), 201), (json!("55"), 422), (json!("acme"), 403), (json!(56), 403), (json!(5.5), 422)]
    {
        let mut body = subscription("t", &receiver);
        body["company_id"] = company_id.clone();
        assert_eq!(numeric.post(SUBSCRIPTIONS, &body).await.status, status, "{company_id}");
    }
    assert_eq!(types(&numeric, "?company_id=55").await, ["t"]);
    numeric.get(&format!("{SUBSCRIPTIONS}?company_id=acme")).await.problem(403);
    numeric.get(&format!("{SUBSCRIPTIONS}/{id}")).await.problem(404);
    put(&numeric, &id, &json!({})).await.problem(404);
    put(&host, &id, &json!({"company_id": "other"})).await.problem(403);
    // Without `company_id`, it is the company of the key.
    let own = host.post(SUBSCRIPTIONS, &json!({"subscription_type": "u", "target_url": receiver.url("/")})).await;
    assert_eq!(own.expect(201)["company_id"], "acme");
    let platform = host.with_key(host.new_key(None, Scopes::all()).await);
    let mut body = subscription("p", &receiver);
    assert_eq!(platform.post(SUBSCRIPTIONS, &body).await.expect(201)["company_id"], "acme");
    platform.post(&format!("{SUBSCRIPTIONS}?company=other"), &body).await.problem(403);
    body.as_object_mut().unwrap().remove("company_id");
    platform.post(SUBSCRIPTIONS, &body).await.problem(422);
    assert_eq!(types(&platform, "?company_id=55").await, ["t"]);
    platform.get(&format!("{SUBSCRIPTIONS}/{id}?company=acme")).await.expect(200);
}

#[tokio::test]
async fn each_call_needs_a_credential_and_its_scope() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = subscribed(&host, "t", &receiver).await;
    let one = format!("{SUBSCRIPTIONS}/{id}");
    let reading = host.with_key(host.new_key(Some("acme"), Scopes::parse("webhooks:read").unwrap()).await);
    let (nobody, api_key) = (host.with_key(""), host.key.clone());
    for (method, path, status) in [
        (Method::GET, SUBSCRIPTIONS, 200),
        (Method::GET, &one, 200),
        (Method::POST, SUBSCRIPTIONS, 403),
        (Method::PUT, &one, 403),
        (Method::DELETE, &one, 403),
    ] {
        let body = subscription("u", &receiver).to_string();
        assert_eq!(reading.call(method.clone(), path, &[], body.clone()).await.status, status, "{method} {path}");
        assert_eq!(nobody.call(method.clone(), path, &[], body).await.status, 401, "{method} {path}");
    }
    assert_eq!(nobody.call(Method::GET, &one, &[("x-api-key", &api_key)], "").await.status, 200);
    host.call(Method::PATCH, &one, &[], "{}").await.problem(405);
}

#[tokio::test]
async fn broken_rules_are_reported_under_the_names_of_this_api() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = subscribed(&host, "t", &receiver).await;
    let new = host.post(SUBSCRIPTIONS, &json!({"company_id": "acme", "challenge": "a b"})).await.problem(422);
    for place in ["[/subscription_type]", "[/target_url]", "[/challenge]"] {
        assert!(new.contains(place), "{new}");
    }
    for (body, place) in [
        (json!({"id": "wh_x"}), "[/id]"),
        (json!({"subscription_type": "u"}), "[/subscription_type]"),
        (json!({"target_url": null}), "[/target_url]"),
        (json!({"api_version": "a b"}), "[/api_version]"),
        (json!({"plugin": "std-mask"}), "[/plugin]"),
    ] {
        let text = put(&host, &id, &body).await.problem(422);
        assert!(text.contains(place), "{body}: {text}");
    }
}

#[tokio::test]
async fn every_version_of_the_path_is_accepted_and_kept_until_another_is_named() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let path = |version: &str| format!("!/api/{version}/resources/api_public/webhook_subscriptions");
    for version in ["v1", "v2", "2025-01-01", "2026-07-01", &"x".repeat(32)] {
        let created = host.post(&path(version), &subscription(version, &receiver)).await.expect(201);
        assert_eq!(created["api_version"], version);
    }
    let id = subscribed(&host, "t", &receiver).await;
    let newer = format!("{}/{id}", path("2027-01-01"));
    let change = async |body: Value| {
        host.call(Method::PUT, &newer, &[], body.to_string()).await.expect(200)["api_version"].clone()
    };
    assert_eq!(change(json!({"name": "n"})).await, "2026-10-01");
    assert_eq!(change(json!({"api_version": "2026-07-01"})).await, "2026-07-01");
    assert_eq!(change(json!({"api_version": null})).await, "2027-01-01");
    for bad in ["x".repeat(33), "a%20b".into(), "%C3%A9".into()] {
        host.get(&path(&bad)).await.problem(404);
    }
}
