//! A company with many large configs lists its webhooks.

use posthaste_tests::{Client, Host, Receiver};
use serde_json::{Value, json};

/// A config of this many bytes, as `std-mask` takes it.
fn config_of(bytes: usize) -> Value {
    let pointer = |length| format!("/{}", "x".repeat(length));
    let rest = json!({"fields": [pointer(0)]}).to_string().len();
    json!({"fields": [pointer(bytes - rest)]})
}

async fn subscribe(client: &Client, event_type: &str, config: &Value) -> String {
    let hook = json!({"type": event_type, "target_url": "https://hook.test/", "plugin": "std-mask", "config": config});
    client.subscribe(&hook).await
}

#[tokio::test]
async fn large_config_is_shown_by_its_size_and_has_an_answer_of_its_own() {
    let host = Host::start().await;
    let (inline, large) = (config_of(64 * 1024), config_of(64 * 1024 + 1));
    let small = subscribe(&host, "small", &inline).await;
    let id = subscribe(&host, "large", &large).await;
    let listed = host.get("/webhooks").await.expect(200);
    let of = |path: &str| {
        let listed = listed.as_array().unwrap().iter().find(|webhook| path.ends_with(webhook["id"].as_str().unwrap()));
        listed.unwrap().clone()
    };
    for (id, expected) in [(&small, Some(&inline)), (&id, None)] {
        let path = format!("/webhooks/{id}");
        for shown in [host.get(&path).await.expect(200), of(&path), host.patch(&path, &json!({})).await.expect(200)] {
            assert_eq!(shown.get("config"), expected);
            let size = expected.map_or(Some(65_537), |_| None);
            assert_eq!(shown.get("config_size").and_then(Value::as_u64), size);
        }
        let config = host.get(&format!("{path}/config")).await;
        assert_eq!(config.header("content-type"), "application/json");
        assert_eq!(&config.expect(200), expected.unwrap_or(&large));
    }
    // A change of something else keeps it.
    host.patch(&format!("/webhooks/{id}"), &json!({"name": "n"})).await.expect(200);
    assert_eq!(host.get(&format!("/webhooks/{id}/config")).await.expect(200), large);
    let other = host.company("other").await;
    other.get(&format!("/webhooks/{id}/config")).await.problem(404);
    let removed = host.delete(&format!("/webhooks/{id}"), &Value::Null).await.expect(200);
    assert_eq!(removed["config_size"], 65_537);
    let removed = host.delete("/webhooks", &json!({"type": "small"})).await.expect(200);
    assert_eq!((&removed["config"], removed.get("config_size")), (&inline, None));
}

#[tokio::test]
async fn large_configs_of_any_number_are_applied() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for number in 0..20 {
        let mut config = config_of(200_000);
        config["fields"].as_array_mut().unwrap().push(json!(format!("/iban{number}")));
        let event_type = format!("t{number}");
        let id = subscribe(&host, &event_type, &config).await;
        host.patch(&format!("/webhooks/{id}"), &json!({"target_url": receiver.url("/")})).await.expect(200);
        host.publish(&event_type, &json!({(format!("iban{number}")): "DE1", "n": number})).await;
    }
    let mut arrived: Vec<_> = receiver.wait_for(20).await.iter().map(|arrival| arrival.json()).collect();
    arrived.sort_by_key(|data| data["n"].as_u64());
    let masked = |number: usize| json!({(format!("iban{number}")): "***", "n": number});
    assert_eq!(arrived, (0..20).map(masked).collect::<Vec<_>>());
}

#[tokio::test]
async fn list_is_bounded_in_bytes_and_leads_to_the_rest() {
    let host = Host::start().await;
    let config = config_of(60 * 1024);
    for number in 0..75 {
        subscribe(&host, &format!("t{number}"), &config).await;
    }
    let (mut path, mut types, mut pages) = ("/webhooks".to_owned(), Vec::new(), 0);
    loop {
        let page = host.get(&path).await;
        assert!(page.bytes.len() < 5 << 20, "{}", page.bytes.len());
        for webhook in page.expect(200).as_array().unwrap() {
            assert_eq!((&webhook["config"], &webhook["health"]["state"]), (&config, &json!("unknown")));
            types.push(webhook["type"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(next) = page.header("link").strip_suffix(">; rel=\"next\"") else { break };
        path = next.strip_prefix("</api/v1").unwrap().to_owned();
    }
    let all: Vec<_> = (0..75).rev().map(|number| format!("t{number}")).collect();
    // Each is shown twice, as `config` and in `transforms`.
    assert_eq!((types, pages), (all, 3));
    let first = host.get("/webhooks?limit=1").await;
    assert_eq!(
        (first.expect(200)[0]["type"].as_str(), first.header("link").contains("&limit=1>")),
        (Some("t74"), true)
    );
    for wrong in ["limit=0", "cursor=x", "page=1"] {
        host.get(&format!("/webhooks?{wrong}")).await.problem(422);
    }
}
