//! Several nodes on one PostgreSQL: what one accepts arrives once, whichever of them dies, and limits hold over all.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use posthaste_tests::{Home, Kind, PATIENCE, Process, Receiver, until};
use serde_json::{Value, json};

/// A node that has not beaten for this long is dead here; by default it is 30 s.
const NODE_TIMEOUT: Duration = Duration::from_secs(4);
const FLAGS: [&str; 3] =
    ["--attempt-timeout=2s", "--node-timeout=4s", "--retry-schedule=100ms,200ms,500ms,1s,1s,1s,1s"];

/// Nodes that share a database.
struct Cluster {
    nodes: Vec<Process>,
    _home: Home,
}

impl Cluster {
    async fn of(count: usize) -> Self {
        let home = Home::of(Kind::Postgres).await;
        let mut nodes = vec![Process::serve(&home, &FLAGS).await];
        let key = nodes[0].client.key.clone();
        for _ in 1..count {
            let more = Process::start(&home, key.clone(), |command| {
                command.args(FLAGS);
            });
            nodes.push(more.await.unwrap_or_else(|said| panic!("serve ended: {said}")));
        }
        let cluster = Self { nodes, _home: home };
        until("every node knows of all others", || async {
            let known = |node: &Process| {
                node.said().iter().filter(|line| line.contains("another node serves")).count() == count - 1
            };
            cluster.nodes.iter().all(known).then_some(())
        })
        .await;
        cluster
    }

    /// Publishes these numbers, each to the next node.
    async fn publish(&self, kind: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
        let mut ids = Vec::new();
        for number in numbers {
            ids.push(self.nodes[number % self.nodes.len()].client.publish(kind, &json!(number)).await);
        }
        ids
    }
}

/// The numbers that arrived, each once.
fn numbers(receiver: &Receiver) -> HashSet<u64> {
    receiver.arrivals().iter().map(|arrival| arrival.json().as_u64().unwrap()).collect()
}

fn hook(receiver: &Receiver) -> Value {
    json!({"type": "t", "target_url": receiver.url("/")})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_three_nodes_accept_by_turns_arrives_once() {
    let (cluster, receiver) = (Cluster::of(3).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver)).await;
    let publishing = (0..8).map(|caller| cluster.publish("t", 250 * caller..250 * (caller + 1)));
    let ids: Vec<_> = futures_util::future::join_all(publishing).await.concat();
    receiver.wait_for(2000).await;
    for id in &ids {
        cluster.nodes[0].client.delivery(id, "delivered").await;
    }
    assert_eq!((receiver.arrivals().len(), numbers(&receiver).len()), (2000, 2000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_nodes_had_begun_when_they_were_killed_arrives_from_the_third_in_time() {
    let (mut cluster, receiver) = (Cluster::of(3).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver)).await;
    receiver.hold();
    cluster.publish("t", 0..300).await;
    cluster.nodes.pop().unwrap().kill().await;
    cluster.nodes.remove(0).kill().await;
    let killed = Instant::now();
    receiver.open();
    until("all that was accepted arrives", || async { (numbers(&receiver).len() == 300).then_some(()) }).await;
    let took = killed.elapsed();
    assert!(took < NODE_TIMEOUT + Duration::from_secs(4), "{took:?}");
    let said = cluster.nodes[0].said();
    assert_eq!(said.iter().filter(|line| line.contains("a node is dead")).count(), 2, "{said:#?}");
    assert!(PATIENCE > took);
}
