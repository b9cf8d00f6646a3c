//! A webhook with many waiting deliveries is removed.

use http::Method;
use posthaste_tests::{Client, Home, Process, Receiver, until};
use serde_json::{Value, json};

/// Events that wait: more than the removal itself cancels.
const WAITING: usize = 3_000;

async fn publish_waiting(client: &Client) {
    for _ in 0..WAITING / 1_000 {
        let body = format!("{}\n", json!({"type": "t", "data": 1})).repeat(1_000);
        let headers = [("content-type", "application/x-ndjson")];
        let answer = client.call(Method::POST, "/events/batch", &headers, body).await.expect(202);
        assert_eq!(answer["accepted"], 1_000);
    }
}

#[tokio::test]
async fn removal_that_a_kill_interrupts_is_completed_by_the_next_process() {
    let (home, receiver) = (Home::new().await, Receiver::start().await);
    let process = Process::serve(&home, &[]).await;
    let neighbour = process.company("neighbour").await;
    let hook = json!({"type": "t", "target_url": receiver.url("/")});
    neighbour.subscribe(&hook).await;
    let id = process.client.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "enabled": false})).await;
    publish_waiting(&process.client).await;
    process.client.delete(&format!("/webhooks/{id}"), &Value::Null).await.expect(200);
    let delivered = neighbour.publish("t", &json!(2)).await;
    neighbour.delivery(&delivered, "delivered").await;
    let newest = process.client.get("/deliveries?limit=1").await.expect(200)["data"][0]["id"].clone();
    process.kill().await;

    let process = Process::serve(&home, &[]).await;
    until("no delivery waits for a webhook that is gone", || async {
        let page = process.client.get("/deliveries?status=pending&limit=1").await.expect(200);
        page["data"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    let newest = process.client.get(&format!("/deliveries/{}", newest.as_str().unwrap())).await.expect(200);
    assert_eq!((&newest["status"], newest["finished_at"].is_string()), (&json!("cancelled"), true));
    assert_eq!(receiver.arrivals().len(), 1, "only the neighbour's");
}
