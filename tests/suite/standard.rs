//! The standard transforms, which ship with Posthaste.

use http::Method;
use posthaste_tests::{Client, Host, Receiver, guest, shipped};
use serde_json::{Value, json};

async fn names(host: &Client, query: &str) -> (Vec<String>, Value) {
    let list = host.get(&format!("/plugins{query}")).await.expect(200);
    let names = list["data"].as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap().to_owned());
    (names.collect(), list["next_cursor"].clone())
}

#[tokio::test]
async fn every_company_lists_standard_transforms_after_its_own_plugins() {
    let host = Host::start().await;
    let other = host.company("other").await;
    host.upload("zebra", &guest("pass")).await.expect(201);
    host.upload("ant", &guest("pass")).await.expect(201);
    let (standard, _) = names(&other, "").await;
    for name in ["std-mask", "std-filter", "std-envelope", "std-map", "std-template"] {
        assert!(standard.contains(&name.to_owned()), "{standard:?}");
    }
    let (all, _) = names(&host, "").await;
    assert_eq!(all[2..], standard);
    let (mut paged, mut query) = (Vec::new(), String::from("?limit=1"));
    loop {
        let (page, cursor) = names(&host, &query).await;
        paged.extend(page);
        match cursor.as_str() {
            Some(cursor) => query = format!("?limit=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn standard_transform_is_used_like_any_plugin() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let plugin = host.get("/plugins/std-mask").await.expect(200);
    assert_eq!((&plugin["standard"], &plugin["data"][0]["active"]), (&json!(true), &json!(true)));
    let digest = plugin["digest"].as_str().unwrap();
    let path = format!("/plugins/std-mask/versions/{}", &digest[..8]);
    assert_eq!(host.get(&path).await.expect(200), plugin["data"][0]);
    let bytes = host.call(Method::GET, &path, &[("accept", "application/wasm")], "").await.bytes;
    assert!(bytes.starts_with(b"\0asm"));
    for (kind, name) in [("a", "std-mask".to_owned()), ("b", format!("std-mask@{digest}"))] {
        let hook =
            |config: Value| json!({"type": kind, "target_url": receiver.url("/"), "plugin": name, "config": config});
        assert!(host.post("/webhooks", &hook(json!({"fields": 1}))).await.problem(422).contains("std-mask"));
        let hook = host.post("/webhooks", &hook(json!({"fields": ["/a"]}))).await.expect(201);
        assert_eq!(hook["plugin"], json!({"name": "std-mask", "digest": digest}));
        let id = host.publish(kind, &json!({"a": 1, "b": 2.50})).await;
        let delivery = host.delivery(&id, "delivered").await;
        assert_eq!(delivery["attempts"][0]["plugin"]["digest"], digest);
    }
    assert!(receiver.wait_for(2).await.iter().all(|arrival| arrival.text() == r#"{"a":"***","b":2.5}"#));
    let ask = json!({"event": {"type": "t", "data": {"a": 1}}, "config": {"fields": ["/a"]}});
    assert_eq!(host.post("/plugins/std-mask/dry-run", &ask).await.expect(200)["body"], r#"{"a":"***"}"#);
    let answer = host.post("/plugins/std-mask/compare", &json!({"digest": digest})).await.expect(200);
    assert_eq!((&answer["same"], &answer["compared"]), (&json!(2), &json!(2)));
    let other = host.company("other").await;
    assert_eq!(other.post("/plugins/std-mask/compare", &json!({"digest": digest})).await.expect(200)["compared"], 0);
    let none = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-none"});
    assert!(host.post("/webhooks", &none).await.problem(422).contains("ship with Posthaste"));
}

#[tokio::test]
async fn standard_transforms_change_only_with_posthaste_itself() {
    let host = Host::start().await;
    let digest = host.get("/plugins/std-mask").await.expect(200)["digest"].as_str().unwrap().to_owned();
    for answer in [
        host.upload("std-mask", &shipped("mask")).await,
        host.upload("std-new", &shipped("mask")).await,
        host.delete("/plugins/std-mask", &Value::Null).await,
        host.delete(&format!("/plugins/std-mask/versions/{digest}"), &Value::Null).await,
        host.post("/plugins/std-mask/activate", &json!({"digest": digest})).await,
    ] {
        assert!(answer.problem(422).contains("ship with Posthaste"));
    }
}

#[tokio::test]
async fn upgrade_keeps_the_earlier_standard_version_for_pins() {
    let mut host = Host::start().await;
    let new = host.get("/plugins/std-mask").await.expect(200)["digest"].clone();
    host.stop().await;
    let old = "0".repeat(64);
    for sql in [
        format!("UPDATE plugin_versions SET digest = '{old}' WHERE name = 'std-mask'"),
        format!("UPDATE plugins SET active_digest = '{old}' WHERE name = 'std-mask'"),
    ] {
        host.home().sql(&sql).await;
    }
    for _ in 0..2 {
        host.restart().await;
        let plugin = host.get("/plugins/std-mask").await.expect(200);
        assert_eq!((&plugin["digest"], plugin["data"].as_array().unwrap().len()), (&new, 2));
        assert_eq!(host.get(&format!("/plugins/std-mask/versions/{old}")).await.expect(200)["active"], false);
    }
}
