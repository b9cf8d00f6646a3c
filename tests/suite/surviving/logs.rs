//! Throttled logging of repeated failures.

use std::time::Instant;

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Home, Process, Receiver};
use serde_json::json;

#[tokio::test]
async fn failing_webhook_is_logged_at_most_once_a_minute() {
    let (folder, receiver) = (Home::new().await, Receiver::start().await);
    receiver.answer(|before, arrival| match (arrival.path.as_str(), before % 2) {
        ("/flaps", 0) => StatusCode::OK.into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    });
    let begun = Instant::now();
    let process = Process::serve(&folder, &["--retry-schedule", &["20ms"; 100].join(",")]).await;
    let mut ids = Vec::new();
    for name in ["fails", "flaps"] {
        let hook = json!({"type": name, "target_url": receiver.url(&format!("/{name}"))});
        ids.push(process.client.post("/webhooks", &hook).await.expect(201)["id"].as_str().unwrap().to_owned());
    }
    for number in 0..20 {
        process.client.publish("fails", &json!(number)).await;
        process.client.publish("flaps", &json!(number)).await;
    }
    receiver.wait_for(200).await;
    let flapped = receiver.arrivals().iter().filter(|arrival| arrival.path == "/flaps").count();
    assert!(flapped > 20, "it did not fail in between");
    let log = process.log_lines();
    // On a slow machine the test itself may last several minutes.
    let most = 1 + begun.elapsed().as_secs() / 60;
    for id in ids {
        let lines = log.iter().filter(|line| line.contains(&id)).count() as u64;
        assert!((1..=most).contains(&lines), "{lines} of at most {most}: {log:#?}");
    }
}
