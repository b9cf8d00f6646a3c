//! Cancelling through one node what another has in memory.

use posthaste_tests::{Receiver, until};
use serde_json::json;

use super::{Cluster, hook};

#[tokio::test(flavor = "multi_thread")]
async fn delivery_in_the_memory_of_another_node_is_cancelled() {
    let (cluster, receiver) = (Cluster::of(2).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({"max_in_flight": 32}))).await;
    receiver.answer_status(500);
    receiver.hold();
    let (holder, other) = (&cluster.nodes[0].client, &cluster.nodes[1].client);
    let mut ids = Vec::new();
    for number in 0..22 {
        ids.push(holder.publish("t", &json!(number)).await);
    }
    // A node uses its part of the slots; the rest waits in its memory.
    let attempts = 16;
    receiver.wait_for(attempts).await;
    let last = &ids[21];
    let answer = other.post(&format!("/deliveries/{last}/cancel"), &json!(null)).await;
    assert!([200, 202].contains(&answer.status), "{}", answer.status);
    other.delivery(last, "cancelled").await;
    let all = json!({"since": "2020-01-01T00:00:00Z", "type": "t"});
    assert_eq!(other.post("/deliveries/cancel", &all).await.expect(202)["count"], 21);
    until("those that wait are cancelled", || async {
        let page = other.get("/deliveries?status=cancelled").await.expect(200);
        (page["data"].as_array().unwrap().len() == ids.len() - attempts).then_some(())
    })
    .await;
    // Those in flight are cancelled if they fail.
    receiver.open();
    for id in &ids {
        other.delivery(id, "cancelled").await;
    }
    assert_eq!(receiver.arrivals().len(), attempts);
}
