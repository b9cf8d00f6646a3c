//! What waits is visible: how much of it in each state, for how long, and what it takes.

use std::sync::Arc;

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use posthaste_tests::{Host, MovedClock, Receiver, until};
use serde_json::json;

use super::{Scrape, settled};

fn age(state: &str) -> String {
    format!("posthaste_oldest_waiting_delivery_age_seconds{{state=\"{state}\"}}")
}

#[tokio::test]
async fn age_of_the_oldest_waiting_delivery_is_shown_by_state() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h"]).await, Receiver::start().await);
    receiver.answer(|_, arrival| match arrival.path.as_str() {
        "/bad" => StatusCode::BAD_GATEWAY.into_response(),
        _ => StatusCode::OK.into_response(),
    });
    for (name, path, enabled) in [("off", "/", false), ("bad", "/bad", true), ("slow", "/slow", true)] {
        host.post("/webhooks", &json!({"type": name, "target_url": receiver.url(path), "enabled": enabled}))
            .await
            .expect(201);
    }
    host.post("/webhooks", &json!({"type": "pulled", "delivery": "pull"})).await.expect(201);
    host.publish("off", &json!(1)).await;
    clock.pass(1_000_000);
    host.publish("pulled", &json!(1)).await;
    host.publish("off", &json!(2)).await;
    let failed = host.publish("bad", &json!(1)).await;
    host.delivery_when(&failed, "tried once", |delivery| delivery["attempt_count"] == 1).await;
    receiver.hold();
    clock.pass(1_000_000);
    host.publish("slow", &json!(1)).await;
    receiver.wait_for(2).await;
    clock.pass(500_000);
    let scrape = until("all ages", || async {
        let scrape = Scrape::of(&host.client).await;
        let ages = [("leased", 500.0), ("scheduled", 1_500.0), ("pulled", 1_500.0)];
        ages.iter().all(|(state, from)| scrape.get(&age(state)) >= *from).then_some(scrape)
    })
    .await;
    for (state, from) in [("disabled", 2_500.0), ("scheduled", 1_500.0), ("pulled", 1_500.0), ("leased", 500.0)] {
        assert!((from..from + 500.0).contains(&scrape.get(&age(state))), "{state}: {}", scrape.get(&age(state)));
    }
    assert_eq!((scrape.get(&age("backlog")), scrape.get(&age("replayed"))), (0.0, 0.0));
    // A consumer that does not fetch is no fault of the service.
    assert_eq!(scrape.get("posthaste_oldest_due_delivery_age_seconds"), 0.0);
    receiver.open();
    settled(&host.client, &[(&age("leased"), 0.0)]).await;
}

#[tokio::test]
async fn requests_are_timed_by_route_and_the_database_has_a_size() {
    let host = Host::start().await;
    for id in ["wh_1", "wh_2"] {
        host.get(&format!("/webhooks/{id}")).await.expect(404);
    }
    host.get("/nowhere/at/all").await.expect(404);
    host.call(Method::from_bytes(b"BREW").unwrap(), "/events", &[], "").await.expect(405);
    let count = |method: &str, route: &str| {
        format!("posthaste_http_request_duration_seconds_count{{method=\"{method}\",route=\"{route}\"}}")
    };
    let scrape = settled(&host.client, &[(&count("GET", "/api/v1/webhooks/{id}"), 2.0)]).await;
    assert_eq!((scrape.get(&count("GET", "none")), scrape.get(&count("other", "/api/v1/events"))), (1.0, 1.0));
    until("the size", async || {
        (Scrape::of(&host.client).await.get("posthaste_database_size_bytes") > 4_096.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn waiting_and_cancelled_deliveries_are_counted_by_state() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    receiver.answer(|_, _| StatusCode::BAD_GATEWAY.into_response());
    let hook = |name: &str, enabled| json!({"type": name, "target_url": receiver.url("/"), "enabled": enabled});
    host.post("/webhooks", &hook("off", false)).await.expect(201);
    host.post("/webhooks", &hook("bad", true)).await.expect(201);
    for _ in 0..3 {
        host.publish("off", &json!(1)).await;
    }
    for _ in 0..2 {
        let id = host.publish("bad", &json!(1)).await;
        host.delivery_when(&id, "tried once", |delivery| delivery["attempt_count"] == 1).await;
    }
    settled(&host.client, &[("posthaste_deliveries_waiting{state=\"disabled\"}", 3.0)]).await;
    let scrape = settled(&host.client, &[("posthaste_deliveries_waiting{state=\"scheduled\"}", 2.0)]).await;
    for state in ["leased", "backlog", "replayed"] {
        assert_eq!(scrape.get(&format!("posthaste_deliveries_waiting{{state=\"{state}\"}}")), 0.0, "{state}");
    }
    assert_eq!(scrape.get("posthaste_oldest_due_delivery_age_seconds"), 0.0, "due in an hour");
    for name in ["off", "bad"] {
        host.delete("/webhooks", &json!({"type": name})).await.expect(200);
    }
    let wanted = [
        ("posthaste_deliveries_waiting{state=\"disabled\"}", 0.0),
        ("posthaste_deliveries_waiting{state=\"scheduled\"}", 0.0),
        ("posthaste_deliveries_total{outcome=\"cancelled\"}", 5.0),
    ];
    settled(&host.client, &wanted).await;
}

#[tokio::test]
async fn attempts_in_flight_are_shown() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    receiver.hold();
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    let id = host.publish("t", &json!(1)).await;
    receiver.wait_for(1).await;
    assert_eq!(Scrape::of(&host.client).await.get("posthaste_attempts_in_flight"), 1.0);
    settled(&host.client, &[("posthaste_deliveries_waiting{state=\"leased\"}", 1.0)]).await;
    receiver.open();
    host.delivery(&id, "delivered").await;
    settled(&host.client, &[("posthaste_attempts_in_flight", 0.0)]).await;
}
