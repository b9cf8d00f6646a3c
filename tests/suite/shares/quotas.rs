//! A company stores as much as it can.

use http::Method;
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Answer, Client, Host};
use serde_json::{Value, json};

async fn put(client: &Client, company: &str, limits: &Value) -> Answer {
    client.call(Method::PUT, &format!("/limits?company={company}"), &[], limits.to_string()).await
}

fn refused(answer: &Answer, limit: &str) {
    assert!(answer.problem(429).contains("ask the operator"));
    assert_eq!((&answer.json()["limit"], answer.header("retry-after")), (&json!(limit), "60"));
}

fn hook(event_type: &str) -> Value {
    json!({"type": event_type, "target_url": "https://hook.test/"})
}

#[tokio::test]
async fn quotas_are_set_by_flags_shown_and_adjusted_for_one_company() {
    let host = Host::with(&["--quota-webhooks=2"]).await;
    let platform = host.client.with_key(host.new_key(None, Scopes::all()).await);
    let neighbour = host.company("neighbour").await;
    for event_type in ["a", "b"] {
        host.subscribe(&hook(event_type)).await;
    }
    refused(&host.post("/webhooks", &hook("c")).await, "webhooks");
    let shown = host.get("/limits").await.expect(200);
    assert_eq!(shown["company"], "acme");
    assert_eq!(shown["quotas"]["webhooks"], json!({"used": 2, "limit": 2, "unit": "count"}));
    assert_eq!(shown["quotas"]["config-bytes"], json!({"used": 1028, "limit": 64 << 20, "unit": "bytes"}));
    assert_eq!(shown["shares"]["dns-lookups"]["used"], 0);
    let changed = put(&platform, "acme", &json!({"webhooks": 3})).await.expect(200);
    assert_eq!(changed["quotas"]["webhooks"], json!({"used": 2, "limit": 3, "unit": "count"}));
    host.subscribe(&hook("c")).await;
    refused(&host.post("/webhooks", &hook("d")).await, "webhooks");
    assert_eq!(neighbour.get("/limits").await.expect(200)["quotas"]["webhooks"]["limit"], 2);
    let changed = put(&platform, "acme", &json!({"webhooks": null})).await.expect(200);
    assert_eq!(changed["quotas"]["webhooks"], json!({"used": 3, "limit": 2, "unit": "count"}));
    // What is there already can be changed.
    host.subscribe(&hook("c")).await;
    assert!(put(&host, "acme", &json!({"webhooks": 9})).await.problem(403).contains("platform key"));
    platform.get("/limits").await.problem(422);
    for wrong in [json!({"files": 1}), json!({"webhooks": -1}), json!({"webhooks": "9"}), json!([])] {
        put(&platform, "acme", &wrong).await.problem(422);
    }
}

#[tokio::test]
async fn events_beyond_the_quota_are_refused_until_there_is_room() {
    let host = Host::start().await;
    let platform = host.client.with_key(host.new_key(None, Scopes::all()).await);
    let neighbour = host.company("neighbour").await;
    let event = json!({"type": "t", "data": "x".repeat(2_000)});
    host.post("/events", &event).await.expect(202);
    let changed = put(&platform, "acme", &json!({"event-bytes": 1_000})).await.expect(200);
    assert_eq!(changed["quotas"]["event-bytes"], json!({"used": 2_002, "limit": 1_000, "unit": "bytes"}));
    refused(&host.post("/events", &event).await, "event-bytes");
    let headers = [("content-type", "application/x-ndjson")];
    let batch = host.call(Method::POST, "/events/batch", &headers, event.to_string()).await.expect(202);
    assert_eq!((&batch["rejected"], &batch["results"][0]["error"]["limit"]), (&json!(1), &json!("event-bytes")));
    neighbour.post("/events", &event).await.expect(202);
    put(&platform, "acme", &json!({"event-bytes": null})).await.expect(200);
    host.post("/events", &event).await.expect(202);
}

#[tokio::test]
async fn totals_of_what_companies_share_are_set_by_flags() {
    let host = Host::with(&["--share=request-bytes=2MiB", "--share=heavy-calls=6"]).await;
    let shown = host.get("/limits").await.expect(200);
    // A company alone may have half.
    assert_eq!(shown["shares"]["request-bytes"], json!({"used": 0, "limit": 1 << 20, "unit": "bytes"}));
    assert_eq!(shown["shares"]["heavy-calls"], json!({"used": 0, "limit": 3, "unit": "count"}));
    let scrape = crate::metrics::Scrape::of(&host).await;
    assert_eq!(scrape.get("posthaste_share_limit{resource=\"heavy-calls\"}") as u64, 6);
    let event = json!({"type": "t", "data": "x".repeat(200_000)});
    host.post("/events", &event).await.expect(202);
}
