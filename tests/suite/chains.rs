//! Webhooks with several transforms.

use posthaste_tests::{Client, Host, Receiver, guest, shipped};
use serde_json::{Value, json};

/// The transform with this plugin and config.
fn step(plugin: &str, config: &Value) -> Value {
    json!({"plugin": plugin, "config": config})
}

fn mask(pointer: &str) -> Value {
    step("std-mask", &json!({"fields": [pointer]}))
}

fn hook(receiver: &Receiver, event_type: &str, transforms: &Value) -> Value {
    json!({"type": event_type, "target_url": receiver.url("/"), "transforms": transforms})
}

async fn upload(host: &Client, names: &[&str]) {
    for name in names {
        host.upload(&name.replace('_', "-"), &guest(name)).await.expect(201);
    }
}

/// What the plugins of the only attempt are called, and their outcomes.
fn outcomes(delivery: &Value) -> Vec<(String, String)> {
    let attempt = &delivery["attempts"][0];
    let plugins = attempt["plugins"].as_array().unwrap();
    assert_eq!(plugins.last().unwrap_or(&Value::Null), &attempt["plugin"]);
    let text = |plugin: &Value, name: &str| plugin[name].as_str().unwrap().to_owned();
    plugins.iter().map(|plugin| (text(plugin, "name"), text(plugin, "outcome"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, outcome)| ((*name).to_owned(), (*outcome).to_owned())).collect()
}

#[tokio::test]
async fn each_transform_gets_what_the_one_before_made() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    upload(&host, &["replace", "pass", "copied_headers"]).await;
    let transforms = json!([{"plugin": "replace"}, {"plugin": "pass"}, {"plugin": "copied-headers"}]);
    host.subscribe(&hook(&receiver, "t", &transforms)).await;
    let id = host.publish("t", &json!({"a": 1})).await;
    let sent = receiver.first().await;
    // The last one copies the headers that it was given, and sets no content type of its own.
    assert_eq!((&*sent.text(), sent.header("x-set"), sent.header("content-type")), ("1", "plugin", "text/plain"));
    let delivery = host.delivery(&id, "delivered").await;
    let expected = pairs(&[("replace", "replace"), ("pass", "pass"), ("copied-headers", "replace")]);
    assert_eq!(outcomes(&delivery), expected);
    for plugin in delivery["attempts"][0]["plugins"].as_array().unwrap() {
        assert!(plugin["memory_bytes"].as_u64().unwrap() > 0 && plugin["digest"].is_string(), "{plugin}");
        assert!(plugin["config_digest"].is_string() && plugin["logs"].is_array(), "{plugin}");
    }
}

/// The webhook that docs/http-api.md shows.
#[tokio::test]
async fn filter_and_mask_work_together_as_documented() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let text = include_str!("../../docs/http-api.md");
    let (_, shown) = text.split_once("### Several transforms").unwrap();
    let (_, shown) = shown.split_once("--data '").unwrap();
    let mut body: Value = serde_json::from_str(shown.split_once("'\n```").unwrap().0).unwrap();
    body["target_url"] = json!(receiver.url("/"));
    host.subscribe(&body).await;
    let id = host.publish("employees/x", &json!({"country": "FR", "iban": "FR1"})).await;
    host.delivery(&id, "filtered").await;
    host.publish("employees/x", &json!({"country": "ES", "iban": "ES1"})).await;
    assert_eq!(receiver.first().await.json(), json!({"country": "ES", "iban": "***"}));
}

#[tokio::test]
async fn standard_transforms_mask_in_turn_and_a_retry_sends_the_same_bytes() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    receiver.answer_status(500);
    host.subscribe(&hook(&receiver, "t", &json!([mask("/a"), mask("/b")]))).await;
    let id = host.publish("t", &json!({"a": "1", "b": "2", "c": "3"})).await;
    let sent = receiver.first().await.text();
    assert_eq!(sent, r#"{"a":"***","b":"***","c":"3"}"#);
    host.delivery_when(&id, "retried", |delivery| delivery["attempt_count"] == 1).await;
    receiver.answer_status(200);
    host.post(&format!("/deliveries/{id}/retry"), &json!({})).await.expect(202);
    host.delivery(&id, "delivered").await;
    assert_eq!(receiver.wait_for(2).await[1].text(), sent);
    let transformed = host.get(&format!("/deliveries/{id}/transformed")).await;
    assert_eq!(transformed.expect(200), json!({"a": "***", "b": "***", "c": "3"}));
}

#[tokio::test]
async fn preset_runs_among_other_transforms() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let transforms = json!([
        {"plugin": "std-mask", "config": {"fields": ["/name"]}},
        {"plugin": "std-slack", "config": {"text": "{{ name }} has joined"}},
    ]);
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/"), "transforms": transforms}))
        .await
        .expect(201);
    let id = host.publish("t", &json!({"name": "Bob"})).await;
    host.delivery(&id, "delivered").await;
    let sent = receiver.first().await.json();
    assert!(sent.to_string().contains("*** has joined"), "{sent}");
}

#[tokio::test]
async fn event_that_no_transform_changes_is_sent_as_published() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    upload(&host, &["pass"]).await;
    host.subscribe(&hook(&receiver, "t", &json!([{"plugin": "pass"}, {"plugin": "pass"}]))).await;
    let json = [("content-type", "application/json")];
    let accepted = host.call(http::Method::POST, "/events", &json, r#"{"type": "t", "data": 1.50}"#).await.expect(202);
    assert_eq!(receiver.first().await.text(), "1.50");
    let delivery = host.delivery(accepted["delivery_id"].as_str().unwrap(), "delivered").await;
    assert_eq!(outcomes(&delivery), pairs(&[("pass", "pass"), ("pass", "pass")]));
}

#[tokio::test]
async fn first_transform_that_drops_or_fails_ends_the_chain() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    upload(&host, &["pass", "drop", "error", "trap"]).await;
    for (event_type, transforms, status, expected) in [
        ("drops", json!([{"plugin": "drop"}, {"plugin": "pass"}]), "filtered", &[("drop", "drop")][..]),
        (
            "fails",
            json!([{"plugin": "pass"}, {"plugin": "error", "on_error": "drop"}, {"plugin": "pass"}]),
            "filtered",
            &[("pass", "pass"), ("error", "error")],
        ),
        ("retries", json!([{"plugin": "trap"}, {"plugin": "pass"}]), "pending", &[("trap", "error")]),
        (
            "goes on",
            json!([mask("/a"), {"plugin": "trap", "on_error": "send_original"}, mask("/b")]),
            "delivered",
            &[("std-mask", "replace"), ("trap", "error"), ("std-mask", "replace")],
        ),
    ] {
        let event_type = event_type.replace(' ', "-");
        host.subscribe(&hook(&receiver, &event_type, &transforms)).await;
        let id = host.publish(&event_type, &json!({"a": 1, "b": 2, "c": 3})).await;
        let delivery = host.delivery_when(&id, status, |delivery| {
            delivery["status"] == *status && delivery["attempts"][0].is_object()
        });
        assert_eq!(outcomes(&delivery.await), pairs(expected), "{event_type}");
    }
    // What the failed one was given, never what was published.
    assert_eq!(receiver.wait_for(1).await[0].text(), r#"{"a":"***","b":"***","c":3}"#);
    assert_eq!(receiver.arrivals().len(), 1);
}

#[tokio::test]
async fn chain_goes_on_after_transforms_that_take_their_whole_time() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    upload(&host, &["loop"]).await;
    let slow = json!({"plugin": "loop", "on_error": "send_original"});
    host.subscribe(&hook(&receiver, "t", &json!([mask("/a"), slow, slow, mask("/b")]))).await;
    let id = host.publish("t", &json!({"a": 1, "b": 2})).await;
    assert_eq!(receiver.first().await.text(), r#"{"a":"***","b":"***"}"#);
    let delivery = host.delivery(&id, "delivered").await;
    let expected = [("std-mask", "replace"), ("loop", "error"), ("loop", "error"), ("std-mask", "replace")];
    assert_eq!(outcomes(&delivery), pairs(&expected));
}

#[tokio::test]
async fn webhook_shows_its_transforms_and_those_of_one_as_fields_too() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let one = json!([{"plugin": "std-mask", "config": {"fields": ["/a"]}, "on_error": "drop"}]);
    for body in [
        hook(&receiver, "t", &one),
        json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-mask", "config": {"fields": ["/a"]},
            "on_error": "drop"}),
    ] {
        let answer = host.post("/webhooks", &body).await.json();
        assert_eq!((&answer["plugin"]["name"], &answer["on_error"]), (&json!("std-mask"), &json!("drop")));
        assert_eq!(answer["config"], json!({"fields": ["/a"]}));
        let plugin = answer["plugin"].clone();
        let expected = json!([{"plugin": plugin, "config": {"fields": ["/a"]}, "on_error": "drop"}]);
        assert_eq!(answer["transforms"], expected);
    }
    let id = host.get("/webhooks").await.expect(200)[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/webhooks/{id}");
    let several = host.patch(&path, &json!({"transforms": [mask("/a"), mask("/b")]})).await.expect(200);
    for shown in [several, host.get(&path).await.expect(200), host.get("/webhooks").await.expect(200)[0].clone()] {
        assert_eq!(
            (&shown["plugin"], &shown["config"], &shown["on_error"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        let configs: Vec<_> = shown["transforms"].as_array().unwrap().iter().map(|one| &one["config"]).collect();
        assert_eq!(configs, [&json!({"fields": ["/a"]}), &json!({"fields": ["/b"]})]);
        assert!(shown["transforms"][1]["plugin"]["digest"].is_string());
    }
    let config = host.get(&format!("{path}/config")).await.expect(200);
    assert_eq!(config, json!([{"fields": ["/a"]}, {"fields": ["/b"]}]));
    // A change of something else keeps them.
    host.patch(&path, &json!({"name": "n"})).await.expect(200);
    for field in [json!({"plugin": "std-mask"}), json!({"config": null}), json!({"on_error": "drop"})] {
        let problem = host.patch(&path, &field).await.problem(422);
        assert!(problem.contains("several transforms"), "{problem}");
    }
    assert_eq!(host.get(&path).await.expect(200)["transforms"].as_array().unwrap().len(), 2);
    for none in [json!([]), Value::Null] {
        let emptied = host.patch(&path, &json!({"transforms": none})).await.expect(200);
        assert_eq!(
            (&emptied["transforms"], &emptied["plugin"], &emptied["on_error"]),
            (&json!([]), &Value::Null, &json!("retry"))
        );
        host.patch(&path, &json!({"transforms": [mask("/a"), mask("/b")]})).await.expect(200);
    }
    // A new subscription overwrites them.
    let plain = host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(200);
    assert_eq!(plain["transforms"], json!([]));
    host.publish("t", &json!({"a": 1})).await;
    assert_eq!(receiver.first().await.text(), r#"{"a":1}"#);
}

#[tokio::test]
async fn broken_list_of_transforms_is_refused_and_the_error_says_which() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    upload(&host, &["refuse_config"]).await;
    let refused = async |change: Value| {
        let mut body = json!({"type": "t", "target_url": receiver.url("/")});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = host.post("/webhooks", &body).await;
        let detail = answer.problem(422);
        let pointers = answer.json()["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| one["pointer"].clone())
            .collect::<Vec<_>>();
        (pointers, detail)
    };
    let (pointers, _) = refused(json!({"transforms": [mask("/a"), step("std-mask", &json!({"fields": 1}))]})).await;
    assert_eq!(pointers, ["/transforms/1/config"]);
    let (pointers, _) = refused(json!({"transforms": [step("std-mask", &json!({"fields": 1}))]})).await;
    assert_eq!(pointers, ["/transforms/0/config"]);
    let (pointers, _) = refused(json!({"transforms": [mask("/a"), {"plugin": "none"}]})).await;
    assert_eq!(pointers, ["/transforms/1/plugin"]);
    let (pointers, _) = refused(json!({"transforms": [{"plugin": "A"}, {"plugin": "a", "on_error": "x"}]})).await;
    assert_eq!(pointers, ["/transforms/0/plugin", "/transforms/1/on_error"]);
    let (pointers, detail) = refused(json!({"transforms": vec![mask("/a"); 9]})).await;
    assert!(pointers == ["/transforms"] && detail.contains("at most 8"), "{detail}");
    let (pointers, detail) =
        refused(json!({"transforms": [mask("/a")], "plugin": "std-mask", "on_error": "drop"})).await;
    assert!(pointers == ["/plugin", "/on_error"] && detail.contains("only one"), "{detail}");
    for bad in [json!([{"config": {}}]), json!([{"plugin": "a", "name": "b"}]), json!(["std-mask"]), json!({})] {
        host.post("/webhooks", &hook(&receiver, "t", &bad)).await.problem(422);
    }
    assert_eq!(host.get("/webhooks").await.expect(200), json!([]));
    host.post("/webhooks", &hook(&receiver, "t", &json!(vec![mask("/a"); 8]))).await.expect(201);
}

#[tokio::test]
async fn plugin_of_a_chain_is_in_use_and_its_config_is_checked_before_another_version_runs() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let pass = host.upload("p", &guest("pass")).await.expect(201)["digest"].as_str().unwrap().to_owned();
    let transforms = json!([mask("/a"), {"plugin": "p"}, {"plugin": format!("p@{}", &pass[..8])}]);
    let id = host.subscribe(&hook(&receiver, "t", &transforms)).await;
    let problem = host.delete("/plugins/p", &Value::Null).await.problem(409);
    assert!(problem.contains(&id), "{problem}");
    let refusing = [("content-type", "application/wasm")];
    let answer = host.call(http::Method::PUT, "/plugins/p", &refusing, guest("refuse_config")).await;
    let problem = answer.problem(422);
    assert!(problem.contains(&id), "{problem}");
    host.upload("p", &guest("replace")).await.expect(201);
    let problem = host.delete(&format!("/plugins/p/versions/{pass}"), &Value::Null).await.problem(409);
    assert!(problem.contains(&id), "{problem}");
    // The second step runs the new version, the third the pinned one.
    let delivery = host.publish("t", &json!({"a": 1})).await;
    let delivery = host.delivery(&delivery, "delivered").await;
    assert_eq!(outcomes(&delivery), pairs(&[("std-mask", "replace"), ("p", "replace"), ("p", "pass")]));
    assert_eq!(delivery["attempts"][0]["plugins"][2]["digest"], pass);
    host.delete(&format!("/webhooks/{id}"), &Value::Null).await.expect(200);
    host.delete("/plugins/p", &Value::Null).await.expect(200);
}

#[tokio::test]
async fn attempt_fails_without_sending_while_a_plugin_of_the_chain_has_no_version() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    host.upload("p", &guest("pass")).await.expect(201);
    host.subscribe(&hook(&receiver, "t", &json!([mask("/a"), {"plugin": "p", "on_error": "send_original"}]))).await;
    host.home().sql("UPDATE plugins SET active_digest = NULL WHERE name = 'p'").await;
    host.upload("q", &guest("pass")).await.expect(201);
    let id = host.publish("t", &json!({"a": 1})).await;
    let delivery = host.delivery_when(&id, "attempted", |delivery| delivery["attempts"][0].is_object()).await;
    assert_eq!(outcomes(&delivery), pairs(&[("p", "error")]));
    assert!(delivery["attempts"][0]["error"].as_str().unwrap().contains("no active version"), "{delivery}");
    assert!(receiver.arrivals().is_empty());
}

#[tokio::test]
async fn consumer_gets_what_all_transforms_made() {
    let host = Host::start().await;
    let body = json!({"type": "t", "delivery": "pull", "transforms": [mask("/a"), mask("/b")]});
    let id = host.subscribe(&body).await;
    host.publish("t", &json!({"a": 1, "b": 2})).await;
    let page = host.get(&format!("/webhooks/{id}/events?wait=10s")).await.expect(200);
    assert_eq!(page["data"][0]["body"], r#"{"a":"***","b":"***"}"#);
}

#[tokio::test]
async fn dry_run_of_a_list_shows_each_transform() {
    let host = Host::start().await;
    upload(&host, &["trap", "drop"]).await;
    let event = json!({"type": "t", "data": {"a": 1, "b": 2}});
    let ask = |transforms: Value| json!({"event": event, "transforms": transforms});
    let path = "/plugins/std-mask/dry-run";
    let answer = host.post(path, &ask(json!([mask("/a"), mask("/b")]))).await.expect(200);
    assert_eq!((&answer["outcome"], &answer["body"]), (&json!("replace"), &json!(r#"{"a":"***","b":"***"}"#)));
    let names = |answer: &Value| -> Vec<(String, String)> {
        let text = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
        answer["plugins"].as_array().unwrap().iter().map(|step| (text(step, "name"), text(step, "outcome"))).collect()
    };
    assert_eq!(names(&answer), pairs(&[("std-mask", "replace"), ("std-mask", "replace")]));
    let answer = host.post(path, &ask(json!([mask("/a"), {"plugin": "drop"}, mask("/b")]))).await.expect(200);
    assert_eq!((&answer["outcome"], &answer["body"]), (&json!("drop"), &Value::Null));
    assert_eq!(names(&answer), pairs(&[("std-mask", "replace"), ("drop", "drop")]));
    let answer = host.post(path, &ask(json!([mask("/a"), {"plugin": "trap"}]))).await.expect(200);
    assert_eq!((&answer["outcome"], answer["plugins"].as_array().unwrap().len()), (&json!("error"), 2));
    for (body, part) in [
        (ask(json!([{"plugin": "drop"}])), "must be among them"),
        (ask(json!([mask("/a"), step("std-mask", &json!({"fields": 1}))])), "refuses this config"),
        (json!({"event": event, "transforms": [mask("/a")], "config": {}}), "only one of the two"),
    ] {
        let problem = host.post(path, &body).await.problem(422);
        assert!(problem.contains(part), "{problem}");
    }
    assert!(host.post("/plugins/drop/dry-run", &json!({"event": event})).await.expect(200).get("plugins").is_none());
}

#[tokio::test]
async fn compare_runs_both_versions_among_the_other_transforms() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("p", &guest("pass")).await.expect(201);
    let id = host.subscribe(&hook(&receiver, "t", &json!([{"plugin": "p"}, mask("/iban")]))).await;
    host.publish("t", &json!({"iban": "DE1", "name": "x"})).await;
    host.publish("t", &json!({"name": "x"})).await;
    let headers = [("content-type", "application/wasm")];
    let answer = host.call(http::Method::PUT, "/plugins/p?activate=false", &headers, shipped("mask")).await.expect(201);
    let compare = async |webhook: Value| {
        host.post("/plugins/p/compare", &json!({"digest": answer["digest"], "webhook": webhook})).await.expect(200)
    };
    for webhook in [Value::Null, json!(id)] {
        let answer = compare(webhook).await;
        // The candidate refuses the config `null` at the call.
        assert_eq!((&answer["compared"], &answer["newly_failing"]), (&json!(2), &json!(2)), "{answer}");
    }
    let answer =
        host.call(http::Method::PUT, "/plugins/p?activate=false", &headers, guest("replace")).await.expect(201);
    let answer = host.post("/plugins/p/compare", &json!({"digest": answer["digest"]})).await.expect(200);
    assert_eq!(answer["compared"], 2);
}

#[tokio::test]
async fn failing_plugin_of_a_chain_is_told_by_its_name() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    upload(&host, &["error"]).await;
    let told = Receiver::start().await;
    host.subscribe(&hook(&told, "posthaste.plugin.failing", &Value::Null)).await;
    let transforms = json!([mask("/a"), {"plugin": "error", "on_error": "drop"}]);
    host.subscribe(&hook(&receiver, "t", &transforms)).await;
    for _ in 0..5 {
        let id = host.publish("t", &json!({"a": 1})).await;
        host.delivery(&id, "filtered").await;
    }
    let told = told.first().await.json();
    assert_eq!((&told["plugin"]["name"], &told["last_error"]), (&json!("error"), &json!("no such employee")));
}
