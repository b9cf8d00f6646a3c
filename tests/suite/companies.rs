//! The list of companies, for the operator.

use posthaste::domain::credential::Scopes;
use posthaste_tests::{Host, Receiver};
use serde_json::json;

#[tokio::test]
async fn operator_sees_what_each_company_has() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "enabled": false})).await;
    host.post("/events", &json!({"type": "t", "data": "four"})).await.expect(202);
    host.company("neighbour").await.post("/events", &json!({"type": "t", "data": 1})).await.expect(202);
    let platform = host.client.with_key(host.new_key(None, Scopes::parse("admin:read").unwrap()).await);
    let page = platform.get("/companies?limit=1").await.expect(200);
    let acme = json!({"company": "acme", "events": 1, "deliveries": 1, "waiting": 1, "failing_webhooks": 0, "stored_bytes": 6, "removing_since": null});
    assert_eq!(page, json!({"data": [acme], "count_limit": 10_000, "next_cursor": "acme"}));
    let page = platform.get("/companies?cursor=acme").await.expect(200);
    assert_eq!((&page["data"][0]["company"], &page["data"][0]["deliveries"]), (&json!("neighbour"), &json!(0)));
    assert!(page["next_cursor"].is_null());
}

#[tokio::test]
async fn list_of_companies_needs_a_platform_key_with_its_scope() {
    let host = Host::start().await;
    let of_company = host.client.with_key(host.new_key(Some("acme"), Scopes::all()).await);
    assert!(of_company.get("/companies").await.problem(403).contains("platform key"));
    let without = host.client.with_key(host.new_key(None, Scopes::parse("events").unwrap()).await);
    assert!(without.get("/companies").await.problem(403).contains("admin:read"));
    let platform = host.client.with_key(host.new_key(None, Scopes::all()).await);
    platform.get("/companies?cursor=a%20b").await.problem(422);
    platform.get("/companies?company=acme").await.problem(422);
}
