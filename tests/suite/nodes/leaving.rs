//! Attempts in flight on a node that stops, or that the others may take for dead.

use posthaste_tests::{Home, Kind, Process, Receiver, until};
use serde_json::json;

use super::{Cluster, MORTAL, hook, logged};
use crate::metrics::Scrape;

#[tokio::test(flavor = "multi_thread")]
async fn terminated_node_hands_over_its_webhooks_and_deliveries() {
    let (mut cluster, receiver) = (Cluster::of(2).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({"max_in_flight": 1}))).await;
    cluster.nodes[0].client.publish("t", &json!(0)).await;
    receiver.wait_for(1).await;
    receiver.hold();
    let ids = cluster.publish("t", 1..40).await;
    receiver.wait_for(2).await;
    let (stopping, ()) = tokio::join!(cluster.nodes.remove(0).terminate(), async {
        receiver.open();
    });
    assert_eq!(stopping, 0);
    for id in ids {
        cluster.nodes[0].client.delivery(&id, "delivered").await;
    }
    // The node deregistered itself: to be found dead would take longer here than a test waits.
    assert_eq!((receiver.arrivals().len(), receiver.most_unanswered()), (40, 1));
}

/// A node without a heartbeat for 3 s counts as dead: sooner than a stopping node cuts its attempts off.
const SHORT_LIVED: [&str; 2] = ["--attempt-timeout=1s", "--node-timeout=3s"];

#[tokio::test(flavor = "multi_thread")]
async fn stopping_node_stays_a_member_until_its_attempts_have_ended() {
    let (mut cluster, receiver) = (Cluster::with(3, &SHORT_LIVED).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({"timeout": "60s"}))).await;
    receiver.hold();
    let id = cluster.nodes[2].client.publish("t", &json!(1)).await;
    receiver.wait_for(1).await;
    let stopping = cluster.nodes.pop().unwrap();
    stopping.signal("TERM").await;
    logged(&stopping, "stopping").await;
    // A node that is killed later is found dead, by which time the stopping one would have been.
    cluster.nodes.pop().unwrap().kill().await;
    let survivor = &cluster.nodes[0];
    logged(survivor, "a node no longer serves this database").await;
    receiver.open();
    assert_eq!(survivor.client.delivery(&id, "delivered").await["attempt_count"], 1);
    // On a slow machine the attempt may be cut off before the killed node is found dead.
    let cut = stopping.log_lines().iter().any(|line| line.contains("attempts were still in flight"));
    assert!(cut || receiver.arrivals().len() == 1, "{:#?}", survivor.log_lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn attempt_ends_before_another_node_may_make_it() {
    let home = Home::of(Kind::Postgres).await;
    let (node, receiver) = (Process::serve(&home, &MORTAL).await, Receiver::start().await);
    node.client.subscribe(&hook(&receiver, json!({"timeout": "60s", "ordered": true}))).await;
    receiver.hold();
    let id = node.client.publish("t", &json!(1)).await;
    receiver.wait_for(1).await;
    // No heartbeat is written.
    let holder = home.hold().await;
    until("the attempt is ended", || async {
        let in_flight = Scrape::of(&node.client).await.get("posthaste_attempts_in_flight");
        (in_flight == 0.0).then_some(())
    })
    .await;
    holder.close().await;
    receiver.open();
    let delivery = node.client.delivery(&id, "delivered").await;
    let first = &delivery["attempts"][0];
    assert!(first["error"].as_str().unwrap().contains("could not reach its database"), "{delivery}");
    assert_eq!((&delivery["attempt_count"], receiver.arrivals().len()), (&json!(2), 2));
}
