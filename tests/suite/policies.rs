//! Policies: transforms that run for every webhook of a company, whatever its subscriptions say.

use http::Method;
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Answer, Client, Host, Receiver, guest};
use serde_json::{Value, json};

async fn put(client: &Client, name: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    client.call(Method::PUT, &format!("/policies/{name}"), &headers, body.to_string()).await
}

fn mask(pointer: &str) -> Value {
    json!({"plugin": "std-mask", "config": {"fields": [pointer]}})
}

fn policy(types: &[&str], pointer: &str) -> Value {
    json!({"types": types, "transforms": [mask(pointer)]})
}

fn hook(receiver: &Receiver, event_type: &str) -> Value {
    json!({"type": event_type, "target_url": receiver.url("/")})
}

/// What the plugins of the first attempt are called, with their policies.
fn ran(delivery: &Value) -> Vec<(String, Value)> {
    let plugins = delivery["attempts"][0]["plugins"].as_array().unwrap();
    plugins.iter().map(|plugin| (plugin["name"].as_str().unwrap().to_owned(), plugin["policy"].clone())).collect()
}

#[tokio::test]
async fn policies_run_after_the_transforms_of_every_webhook_in_the_order_of_their_names() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let plain = host.subscribe(&hook(&receiver, "plain")).await;
    host.publish("plain", &json!({"iban": "DE1", "ssn": 1})).await;
    assert_eq!(receiver.first().await.json(), json!({"iban": "DE1", "ssn": 1}));
    let made = put(&host, "b", &policy(&["*"], "/iban")).await.expect(201);
    assert_eq!((&made["name"], &made["position"], &made["types"]), (&json!("b"), &json!("last"), &json!(["*"])));
    put(&host, "a", &policy(&["*"], "/ssn")).await.expect(201);
    // At once, also for a webhook that was cached without them.
    let id = host.publish("plain", &json!({"iban": "DE1", "ssn": 1})).await;
    assert_eq!(receiver.wait_for(2).await[1].json(), json!({"iban": "***", "ssn": "***"}));
    let delivery = host.delivery(&id, "delivered").await;
    assert_eq!(ran(&delivery), [("std-mask".to_owned(), json!("a")), ("std-mask".to_owned(), json!("b"))]);
    let mut mapped = hook(&receiver, "own");
    mapped["transforms"] = json!([{"plugin": "std-map", "config": {"remove": ["/x"]}}]);
    let answer = host.post("/webhooks", &mapped).await.expect(201);
    assert_eq!(answer["policies"], json!(["a", "b"]));
    let id = host.publish("own", &json!({"iban": "DE1", "n": 1, "x": 2})).await;
    assert_eq!(receiver.wait_for(3).await[2].json(), json!({"iban": "***", "n": 1}));
    let delivery = host.delivery(&id, "delivered").await;
    assert_eq!(ran(&delivery)[0], ("std-map".to_owned(), Value::Null));
    assert_eq!(ran(&delivery).len(), 3);
    assert_eq!(delivery["attempts"][0]["plugin"]["policy"], "b");
    // A later subscription does not escape it.
    host.post("/webhooks", &hook(&receiver, "own")).await.expect(200);
    host.publish("own", &json!({"iban": "DE1"})).await;
    assert_eq!(receiver.wait_for(4).await[3].json(), json!({"iban": "***"}));
    for name in ["a", "b"] {
        host.delete(&format!("/policies/{name}"), &Value::Null).await.expect(200);
    }
    host.publish("plain", &json!({"iban": "DE1"})).await;
    assert_eq!(receiver.wait_for(5).await[4].json(), json!({"iban": "DE1"}));
    assert_eq!(host.get(&format!("/webhooks/{plain}")).await.expect(200)["policies"], json!([]));
}

/// The policy that docs/http-api.md shows.
#[tokio::test]
async fn documented_policy_masks_bank_data_and_tokens_everywhere() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let text = include_str!("../../docs/http-api.md");
    let (_, shown) = text.split_once("/policies/no-bank-data").unwrap();
    let (_, shown) = shown.split_once("--data '").unwrap();
    let body: Value = serde_json::from_str(shown.split_once("'\n```").unwrap().0).unwrap();
    put(&host, "no-bank-data", &body).await.expect(201);
    host.subscribe(&hook(&receiver, "t")).await;
    host.publish("t", &json!({"a": [{"iban": "DE1"}], "api_token": "x", "n": 1})).await;
    assert_eq!(receiver.first().await.json(), json!({"a": [{"iban": "***"}], "api_token": "***", "n": 1}));
}

#[tokio::test]
async fn policy_is_for_its_types_and_for_no_operational_event() {
    let (host, receiver, told) = (Host::start().await, Receiver::start().await, Receiver::start().await);
    host.upload("drop", &guest("drop")).await.expect(201);
    let pattern = host.subscribe(&hook(&receiver, "*")).await;
    let other = host.subscribe(&hook(&receiver, "b")).await;
    let listener = host.subscribe(&hook(&told, "posthaste.policy.test")).await;
    put(&host, "some", &json!({"types": ["a/*", "c"], "transforms": [{"plugin": "drop"}]})).await.expect(201);
    for (event_type, status) in [("a/x", "filtered"), ("c", "filtered"), ("a", "delivered"), ("d", "delivered")] {
        let id = host.publish(event_type, &json!({"n": 1})).await;
        host.delivery(&id, status).await;
    }
    let shown = async |id: &str| host.get(&format!("/webhooks/{id}")).await.expect(200)["policies"].clone();
    assert_eq!(
        (shown(&pattern).await, shown(&other).await, shown(&listener).await),
        (json!(["some"]), json!([]), json!([]))
    );
    let listed = host.get("/webhooks").await.expect(200);
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| one["policies"].as_array().unwrap().len()).collect();
    assert_eq!(names, [0, 0, 1]);
    // Everything that the company publishes.
    put(&host, "some", &json!({"types": ["*"], "transforms": [{"plugin": "drop"}]})).await.expect(200);
    let id = host.publish("d", &json!({"n": 1})).await;
    host.delivery(&id, "filtered").await;
    let activated = host.subscribe(&hook(&told, "posthaste.plugin.activated")).await;
    host.upload("p", &guest("pass")).await.expect(201);
    assert_eq!(told.first().await.json()["type"], "posthaste.plugin.activated");
    let ping = host.post(&format!("/webhooks/{activated}/test"), &Value::Null).await.expect(200);
    assert_eq!(ping["plugins"], json!([]));
    // What is sent as an event of the company's is transformed.
    let event = json!({"event": {"type": "d", "data": {"n": 1}}});
    let test = host.post(&format!("/webhooks/{pattern}/test"), &event).await.expect(200);
    assert_eq!((&test["plugin"]["outcome"], &test["plugin"]["policy"]), (&json!("drop"), &json!("some")));
}

#[tokio::test]
async fn own_transform_that_fails_open_is_not_sent_past_a_policy() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for name in ["trap", "drop"] {
        host.upload(name, &guest(name)).await.expect(201);
    }
    put(&host, "pii", &policy(&["*"], "/iban")).await.expect(201);
    let mut fails = hook(&receiver, "t");
    fails["transforms"] = json!([{"plugin": "trap", "on_error": "send_original"}]);
    host.subscribe(&fails).await;
    let id = host.publish("t", &json!({"iban": "DE1"})).await;
    assert_eq!(receiver.first().await.json(), json!({"iban": "***"}));
    assert_eq!(ran(&host.delivery(&id, "delivered").await).len(), 2);
    let mut drops = hook(&receiver, "u");
    drops["plugin"] = json!("drop");
    host.subscribe(&drops).await;
    let id = host.publish("u", &json!({"iban": "DE1"})).await;
    assert_eq!(ran(&host.delivery(&id, "filtered").await), [("drop".to_owned(), Value::Null)]);
}

#[tokio::test]
async fn nothing_is_sent_while_a_policy_fails_or_cannot_be_read() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    for name in ["trap", "pass"] {
        host.upload(name, &guest(name)).await.expect(201);
    }
    let webhook = host.subscribe(&hook(&receiver, "t")).await;
    let failing = json!({"types": ["*"], "transforms": [{"plugin": "trap", "on_error": "retry"}]});
    put(&host, "p", &failing).await.expect(201);
    let failed = async |part: &str| {
        let id = host.publish("t", &json!({"iban": "DE1"})).await;
        let delivery = host.delivery_when(&id, "attempted", |delivery| delivery["attempts"][0].is_object()).await;
        assert_eq!(delivery["status"], "pending");
        let error = delivery["attempts"][0]["error"].as_str().unwrap();
        assert!(error.contains(part), "{error}");
        assert!(receiver.arrivals().is_empty());
        id
    };
    let first = failed("unreachable").await;
    // Its plugin has no version. The uploads make the host read the database again.
    host.home().sql("UPDATE plugins SET active_digest = NULL WHERE name = 'trap'").await;
    host.upload("pass", &guest("error")).await.expect(201);
    failed("no active version").await;
    // Its transforms are gone.
    host.home().sql("DELETE FROM chain_transforms").await;
    host.upload("pass", &guest("replace")).await.expect(201);
    failed("policies").await;
    let test = host.post(&format!("/webhooks/{webhook}/test"), &json!({"event": {"type": "t", "data": 1}})).await;
    let test = test.expect(200);
    assert!(test["error"].as_str().unwrap().contains("policies") && test["url"].is_null(), "{test}");
    assert_eq!(host.get(&format!("/webhooks/{webhook}")).await.expect(200)["policies"], Value::Null);
    put(&host, "p", &policy(&["*"], "/iban")).await.expect(200);
    host.post(&format!("/deliveries/{first}/retry"), &json!({})).await.expect(202);
    assert_eq!(receiver.first().await.json(), json!({"iban": "***"}));
}

#[tokio::test]
async fn replay_retry_consumer_and_preview_get_no_event_past_a_policy() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    host.subscribe(&hook(&receiver, "t")).await;
    let pulled = host.subscribe(&json!({"type": "t", "label": "pull", "delivery": "pull"})).await;
    let id = host.publish("t", &json!({"iban": "DE1"})).await;
    assert_eq!(receiver.first().await.json(), json!({"iban": "DE1"}));
    host.delivery(&id, "delivered").await;
    put(&host, "pii", &policy(&["*"], "/iban")).await.expect(201);
    host.post(&format!("/deliveries/{id}/retry"), &json!({})).await.expect(202);
    assert_eq!(receiver.wait_for(2).await[1].json(), json!({"iban": "***"}));
    host.delivery_when(&id, "sent again", |delivery| delivery["attempt_count"] == 2).await;
    let replay = json!({"type": "t", "status": "delivered", "since": "2020-01-01T00:00:00Z"});
    host.post("/deliveries/replay", &replay).await.expect(202);
    assert_eq!(receiver.wait_for(3).await[2].json(), json!({"iban": "***"}));
    let page = host.get(&format!("/webhooks/{pulled}/events?wait=10s")).await.expect(200);
    assert_eq!(page["data"][0]["body"], r#"{"iban":"***"}"#);
    let transformed = host.get(&format!("/deliveries/{id}/transformed")).await.expect(200);
    assert_eq!(transformed, json!({"iban": "***"}));
}

#[tokio::test]
async fn policy_with_a_broken_rule_is_refused_and_the_error_says_where() {
    let host = Host::start().await;
    let refused = async |body: Value| -> Vec<Value> {
        let answer = put(&host, "p", &body).await;
        answer.problem(422);
        answer.json()["errors"].as_array().into_iter().flatten().map(|one| one["pointer"].clone()).collect()
    };
    let with = |transforms: Value| json!({"types": ["*"], "transforms": transforms});
    assert_eq!(refused(with(json!([]))).await, ["/transforms"]);
    assert_eq!(refused(with(json!(vec![mask("/a"); 9]))).await, ["/transforms"]);
    for on_error in ["drop", "send_original"] {
        let step = json!({"plugin": "std-mask", "config": {"fields": ["/a"]}, "on_error": on_error});
        assert_eq!(refused(with(json!([mask("/a"), step]))).await, ["/transforms/1/on_error"]);
    }
    let bad_config = json!([mask("/a"), {"plugin": "std-mask", "config": {"fields": 1}}]);
    assert_eq!(refused(with(bad_config)).await, ["/transforms/1/config"]);
    assert_eq!(refused(with(json!([{"plugin": "none"}]))).await, ["/transforms/0/plugin"]);
    assert_eq!(refused(json!({"types": [], "transforms": [mask("/a")]})).await, ["/types"]);
    assert_eq!(refused(json!({"types": ["a", "b*"], "transforms": [mask("/a")]})).await, ["/types/1"]);
    let first = json!({"types": ["*"], "transforms": [mask("/a")], "position": "first"});
    assert_eq!(refused(first).await, ["/position"]);
    put(&host, "p", &json!({"transforms": [mask("/a")]})).await.problem(422);
    let problem = put(&host, "A", &policy(&["*"], "/a")).await.problem(422);
    assert!(problem.contains("policy's name"), "{problem}");
    assert_eq!(host.get("/policies").await.expect(200)["data"], json!([]));
    let whole = json!({"types": ["a", "b/*"], "transforms": [mask("/a"), mask("/b")], "position": "last"});
    let made = put(&host, "p", &whole).await.expect(201);
    assert_eq!(made["transforms"][1]["config"], json!({"fields": ["/b"]}));
    assert_eq!((&made["transforms"][0]["on_error"], &made["types"]), (&json!("retry"), &json!(["a", "b/*"])));
    let shown = host.get("/policies/p").await.expect(200);
    assert_eq!((&host.get("/policies").await.expect(200)["data"], &shown), (&json!([made]), &made));
    for _ in 0..2 {
        put(&host, "p", &whole).await.expect(200);
    }
    assert_eq!(host.delete("/policies/p", &Value::Null).await.expect(200)["name"], "p");
    host.delete("/policies/p", &Value::Null).await.problem(404);
    host.get("/policies/p").await.problem(404);
    for number in 0..8 {
        put(&host, &format!("p{number}"), &policy(&["*"], "/a")).await.expect(201);
    }
    let problem = put(&host, "p8", &policy(&["*"], "/a")).await.problem(429);
    assert!(problem.contains("8 policies"), "{problem}");
}

#[tokio::test]
async fn only_the_scope_admin_changes_policies_and_those_of_its_company_alone() {
    let host = Host::start().await;
    let key = async |scopes: &str| host.with_key(host.new_key(Some("acme"), Scopes::parse(scopes).unwrap()).await);
    let writer = key("webhooks,plugins,events,deliveries").await;
    put(&writer, "p", &policy(&["*"], "/a")).await.problem(403);
    writer.get("/policies").await.problem(403);
    let admin = key("admin").await;
    put(&admin, "p", &policy(&["*"], "/a")).await.expect(201);
    let reader = key("admin:read").await;
    assert_eq!(reader.get("/policies/p").await.expect(200)["company"], "acme");
    put(&reader, "p", &policy(&["*"], "/b")).await.problem(403);
    reader.delete("/policies/p", &Value::Null).await.problem(403);
    let other = host.company("other").await;
    other.get("/policies/p").await.problem(404);
    other.delete("/policies/p", &Value::Null).await.problem(404);
    assert_eq!(other.get("/policies").await.expect(200)["data"], json!([]));
    let receiver = Receiver::start().await;
    other.subscribe(&hook(&receiver, "t")).await;
    other.publish("t", &json!({"a": 1})).await;
    assert_eq!(receiver.first().await.json(), json!({"a": 1}));
}

#[tokio::test]
async fn plugin_of_a_policy_is_in_use_and_its_config_is_checked_before_another_version_runs() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("p", &guest("pass")).await.expect(201);
    host.subscribe(&hook(&receiver, "t")).await;
    put(&host, "pii", &json!({"types": ["*"], "transforms": [{"plugin": "p"}]})).await.expect(201);
    let problem = host.delete("/plugins/p", &Value::Null).await.problem(409);
    assert!(problem.contains("policy `pii`"), "{problem}");
    let problem = host.upload("p", &guest("refuse_config")).await.problem(422);
    assert!(problem.contains("policy `pii`"), "{problem}");
    host.upload("p", &guest("replace")).await.expect(201);
    host.publish("t", &json!({"a": 1})).await;
    assert_eq!(receiver.first().await.text(), "hello");
    host.delete("/policies/pii", &Value::Null).await.expect(200);
    host.delete("/plugins/p", &Value::Null).await.expect(200);
}
