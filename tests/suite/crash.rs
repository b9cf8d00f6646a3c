//! No event that was answered 202 is lost, whatever happens to the process.

use std::collections::HashSet;

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Home, Process, Receiver};
use serde_json::json;

fn bodies(receiver: &Receiver) -> HashSet<String> {
    receiver.arrivals().iter().map(posthaste_tests::Arrival::text).collect()
}

#[tokio::test]
async fn accepted_events_arrive_after_a_kill_and_a_restart() {
    let folder = Home::new().await;
    let receiver = Receiver::start().await;
    // It answers nothing: at the kill some deliveries are in flight and some queued in memory.
    receiver.hold();
    let process = Process::serve(&folder, &[]).await;
    let hook = json!({"type": "t", "target_url": receiver.url("/")});
    process.client.post("/webhooks", &hook).await.expect(201);
    let mut tasks = Vec::new();
    for worker in 0..8 {
        let client = process.client.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..25 {
                client.publish("t", &json!(worker * 100 + number)).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    receiver.wait_for(32).await;
    process.kill().await;
    // Attempts of the next process before the webhook is changed are refused and retried.
    drop(receiver);
    let late = Receiver::start().await;
    let schedule = ["1s"; 100].join(",");
    let process = Process::serve(&folder, &["--retry-schedule", &schedule]).await;
    process.client.post("/webhooks", &json!({"type": "t", "target_url": late.url("/")})).await.expect(200);
    late.wait_for(200).await;
    assert_eq!(bodies(&late).len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_finishes_attempts_in_flight_and_exits_with_0() {
    let folder = Home::new().await;
    let receiver = Receiver::start().await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    receiver.answer(move |_, _| {
        let _ = tokio::task::block_in_place(|| held.lock().unwrap().recv());
        StatusCode::OK.into_response()
    });
    let process = Process::serve(&folder, &[]).await;
    process.client.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    let client = process.client.clone();
    let delivery = client.publish("t", &json!(1)).await;
    posthaste_tests::until("the attempt begins", || async { (!receiver.arrivals().is_empty()).then_some(()) }).await;
    let stopping = tokio::spawn(process.terminate());
    posthaste_tests::until("it no longer listens", || async {
        reqwest::Client::new().get(format!("{}/healthz", client.base)).send().await.is_err().then_some(())
    })
    .await;
    release.send(()).unwrap();
    assert_eq!(stopping.await.unwrap(), 0);
    let process = Process::serve(&folder, &[]).await;
    assert_eq!(process.client.get(&format!("/deliveries/{delivery}")).await.expect(200)["status"], "delivered");
    assert_eq!(receiver.arrivals().len(), 1);
}
