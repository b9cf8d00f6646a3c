//! The writer.

use futures_util::future::join_all;
use http::Method;
use posthaste_tests::{Host, until};
use serde_json::json;

use super::open_files::metric;

/// Events of a batch, of 250 KB each.
const EVENTS: usize = 60;
/// Bytes of them that wait for the writer: 20 MiB, less than one company may have there.
const WAITING: u64 = 20 << 20;

#[tokio::test]
async fn company_that_publishes_large_events_delays_no_neighbour() {
    let host = Host::start().await;
    let neighbour = host.company("neighbour").await;
    let event = json!({"type": "t", "data": "x".repeat(250_000)}).to_string();
    let batch = vec![event; EVENTS].join("\n");
    let batches = (0..4).map(|_| {
        let (client, batch) = (host.client.clone(), batch.clone());
        tokio::spawn(async move {
            let kind = [("content-type", "application/x-ndjson")];
            client.call(Method::POST, "/events/batch", &kind, batch).await
        })
    });
    let batches: Vec<_> = batches.collect();
    until("many events wait", || async {
        let waiting = metric(&host.client, "posthaste_share_used{resource=\"writer-bytes\"}").await;
        (waiting > WAITING).then_some(())
    })
    .await;
    let before = metric(&host.client, "posthaste_events_accepted_total").await;
    neighbour.publish("t", &json!(1)).await;
    neighbour.post("/webhooks", &json!({"type": "t", "target_url": "http://127.0.0.1:9/"})).await.expect(201);
    let meanwhile = metric(&host.client, "posthaste_events_accepted_total").await - before;
    let answers: Vec<_> = join_all(batches).await.into_iter().map(Result::unwrap).collect();
    println!("{meanwhile} events were stored meanwhile");
    assert!(meanwhile < WAITING / 250_000, "{meanwhile} events were stored before what the neighbour asked for");
    for answer in answers {
        match answer.status {
            202 => assert_eq!(answer.json()["accepted"], json!(EVENTS)),
            status => assert_eq!((status, answer.header("retry-after").is_empty()), (429, false)),
        }
    }
}
