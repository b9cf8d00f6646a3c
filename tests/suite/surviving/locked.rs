//! Another process locks the database for a while.

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Host, Kind, PATIENCE, Receiver, until};
use serde_json::json;
use tokio::time::timeout;

use super::{publish, subscribe};

#[tokio::test]
async fn locked_database_answers_503_and_deliveries_wait() {
    let (host, receiver) =
        (Host::with(&[&format!("--retry-schedule={}", ["1s"; 100].join(","))]).await, Receiver::start().await);
    subscribe(&host, &receiver).await;
    receiver.answer(|_, _| StatusCode::SERVICE_UNAVAILABLE.into_response());
    let waiting = host.publish("t", &json!("waiting")).await;
    receiver.wait_for(1).await;
    host.delivery_when(&waiting, "an attempt", |delivery| delivery["attempt_count"] != 0).await;
    let holder = host.home().hold().await;
    receiver.answer(|_, _| StatusCode::OK.into_response());
    let asking = async || {
        let (refused, ready) = tokio::join!(publish(&host, json!("refused")), host.get("!/readyz"));
        // The writer may have tried its probe before the event.
        (ready.status == 503).then_some((refused, ready))
    };
    let (refused, ready) = until("the service says that it takes no writes", asking).await;
    let told = match host.home().kind() {
        Kind::Sqlite => "the database did not take the write; nothing was stored, try again",
        // The server is remote: after this long without a response, the commit may have happened or not.
        Kind::Postgres => "the database went away before it answered, so it may or may not be stored; try again",
    };
    let detail = refused.problem(503);
    assert!(detail.starts_with(told), "{detail}");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(ready.problem(503), "the database does not answer, or takes no writes");
    assert_eq!(host.get(&format!("/deliveries/{waiting}")).await.expect(200)["status"], "pending");
    holder.close().await;
    let fresh = until("events are accepted again", || async {
        let answer = publish(&host, json!("fresh")).await;
        (answer.status == 202).then(|| answer.json()["delivery_id"].as_str().unwrap().to_owned())
    })
    .await;
    host.delivery(&fresh, "delivered").await;
    host.delivery(&waiting, "delivered").await;
    assert_eq!(host.get("!/readyz").await.status, 200);
    assert!(!receiver.arrivals().iter().any(|arrival| arrival.text() == "\"refused\""));
}

#[tokio::test]
async fn callers_are_answered_while_many_completions_wait_for_the_database() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    receiver.hold();
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 1000});
    host.post("/webhooks", &hook).await.expect(201);
    let warm = host.publish("t", &json!("warm")).await;
    receiver.wait_for(1).await;
    receiver.open();
    host.delivery(&warm, "delivered").await;
    receiver.hold();
    // More than one group commit takes.
    let (count, mut accepted) = (700, Vec::new());
    for number in 0..count {
        accepted.push(host.publish("t", &json!(number)).await);
    }
    receiver.wait_for(1 + count).await;
    let holder = host.home().hold().await;
    receiver.open();
    // The first may fail together with the completions; the others meet a writer that retries them.
    for _ in 0..3 {
        let told = timeout(PATIENCE, publish(&host, json!("refused"))).await;
        told.expect("the caller is not answered").problem(503);
    }
    holder.close().await;
    for id in &accepted {
        host.delivery(id, "delivered").await;
    }
    assert_eq!(receiver.arrivals().len(), 1 + count, "nothing was sent twice");
}
