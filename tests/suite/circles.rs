//! A webhook that points at the API: each of its events would make the next one, for ever.

use http::Method;
use posthaste_tests::{Host, Receiver, until};
use serde_json::json;

use crate::metrics::Scrape;

#[tokio::test]
async fn webhook_whose_events_come_back_is_disabled() {
    let host = Host::start().await;
    let hook = json!({
        "type": "t",
        "target_url": format!("{}/api/v1/events", host.base),
        "headers": {"authorization": format!("Bearer {}", host.key)},
        "plugin": "std-template",
        "config": {"json": {"type": "t", "data": "{{ data }}"}},
    });
    let id = host.subscribe(&hook).await;
    host.publish("t", &json!({"n": 1})).await;
    let webhook = until("the webhook is disabled", || async {
        let webhook = host.get(&format!("/webhooks/{id}")).await.expect(200);
        (webhook["enabled"] == false).then_some(webhook)
    })
    .await;
    assert!(webhook["disabled_reason"].as_str().unwrap().contains("in a circle"), "{webhook}");
    let events = host.get("/events").await.expect(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 4, "the producer's, and three that followed from it");
    let failed = host.get("/deliveries?status=failed").await.expect(200);
    assert_eq!((&failed["data"][0]["last_status_code"], failed["data"].as_array().unwrap().len()), (&json!(508), 1));
    assert_eq!(Scrape::of(&host).await.get("posthaste_events_refused_total{reason=\"loop\"}"), 1.0);
}

#[tokio::test]
async fn hops_are_counted_from_one_post_to_the_next() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let event = r#"{"type":"t","data":1}"#;
    for (sent, arrives) in [(None, "1"), (Some("2"), "3"), (Some("3"), "4")] {
        let headers: Vec<_> = sent.iter().map(|hops| ("posthaste-hops", *hops)).collect();
        let accepted = host.call(Method::POST, "/events", &headers, event).await.expect(202);
        let id = accepted["id"].as_str().unwrap().to_owned();
        let arrival = receiver.wait_for_one(|arrival| arrival.header("webhook-id") == id).await;
        assert_eq!(arrival.header("posthaste-hops"), arrives);
    }
    for too_many in ["4", "255", "many"] {
        let headers = [("posthaste-hops", too_many), ("content-type", "application/x-ndjson")];
        for path in ["/events", "/events/batch"] {
            let answer = host.call(Method::POST, path, &headers, event).await;
            assert!(answer.problem(508).contains("in a row"), "{path}");
        }
    }
    // Nobody else sets the number.
    let forged = json!({"type": "t", "data": 1, "headers": {"Posthaste-Hops": "0"}});
    assert!(host.post("/events", &forged).await.problem(422).contains("is set by the host"));
    // An ordinary receiver's 508 is an error like any other.
    receiver.answer_status(508);
    let id = host.publish("t", &json!(2)).await;
    host.delivery_when(&id, "it is retried", |delivery| delivery["attempt_count"].as_u64() > Some(1)).await;
}
