//! Several nodes on one PostgreSQL: accepted events arrive whichever node dies, and limits hold over all nodes.

mod cancelling;
mod leaving;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use posthaste::clock::{Clock, SystemClock};
use posthaste_tests::{Home, Kind, PostgresServer, Process, Receiver, until};
use serde_json::{Value, json};

use crate::metrics::Scrape;

const RETRIES: &str = "--retry-schedule=100ms,200ms,500ms,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s";
/// For nodes that no test kills: neither they nor their attempts time out while a test waits, however slow the machine is.
const FLAGS: [&str; 3] = ["--attempt-timeout=10m", "--node-timeout=30m", RETRIES];
/// For nodes of which some are killed or stopped: a node without a heartbeat for 8 s counts as dead.
const MORTAL: [&str; 3] = ["--attempt-timeout=4s", "--node-timeout=8s", RETRIES];

/// Nodes that share a database.
struct Cluster {
    nodes: Vec<Process>,
    _home: Home,
}

impl Cluster {
    async fn of(count: usize) -> Self {
        Self::with(count, &FLAGS).await
    }

    async fn with(count: usize, flags: &[&str]) -> Self {
        Self::at(Home::of(Kind::Postgres).await, count, flags).await
    }

    async fn at(home: Home, count: usize, flags: &[&str]) -> Self {
        let mut nodes = vec![Process::serve(&home, flags).await];
        let key = nodes[0].client.key.clone();
        for _ in 1..count {
            let more = Process::start(&home, key.clone(), |command| {
                command.args(flags);
            });
            nodes.push(more.await.unwrap_or_else(|log| panic!("serve ended: {log}")));
        }
        let cluster = Self { nodes, _home: home };
        until("every node knows of all others", || async {
            let known = |node: &Process| {
                node.log_lines().iter().filter(|line| line.contains("another node serves")).count() == count - 1
            };
            cluster.nodes.iter().all(known).then_some(())
        })
        .await;
        cluster
    }

    /// Publishes these numbers, to one node after the other.
    async fn publish(&self, kind: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
        let mut ids = Vec::new();
        for number in numbers {
            ids.push(self.nodes[number % self.nodes.len()].client.publish(kind, &json!(number)).await);
        }
        ids
    }
}

/// Returns the distinct numbers that arrived.
fn numbers(receiver: &Receiver) -> HashSet<u64> {
    receiver.arrivals().iter().map(|arrival| arrival.json().as_u64().unwrap()).collect()
}

/// A webhook with these additional fields.
fn hook(receiver: &Receiver, more: Value) -> Value {
    let mut hook = json!({"type": "t", "target_url": receiver.url("/")});
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook
}

/// Waits until the nodes have counted this many successful attempts together, and returns the number of each.
async fn successes(cluster: &Cluster, total: f64) -> Vec<f64> {
    until("all successes are counted", || async {
        let mut each = Vec::new();
        for node in &cluster.nodes {
            each.push(Scrape::of(&node.client).await.get("posthaste_attempts_total{result=\"success\"}"));
        }
        (each.iter().sum::<f64>() == total).then_some(each)
    })
    .await
}

/// Waits until a node has logged this text, and returns the line.
async fn logged(node: &Process, text: &str) -> String {
    until(&format!("a node logs: {text}"), || async { node.log_lines().into_iter().find(|line| line.contains(text)) })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_published_through_three_nodes_arrive_once() {
    let (cluster, receiver) = (Cluster::of(3).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({}))).await;
    let publishing = (0..8).map(|caller| cluster.publish("t", 250 * caller..250 * (caller + 1)));
    let ids: Vec<_> = futures_util::future::join_all(publishing).await.concat();
    receiver.wait_for(2000).await;
    for id in &ids {
        cluster.nodes[0].client.delivery(id, "delivered").await;
    }
    assert_eq!((receiver.arrivals().len(), numbers(&receiver).len()), (2000, 2000));
}

#[tokio::test(flavor = "multi_thread")]
async fn surviving_node_takes_over_the_deliveries_of_two_killed_nodes() {
    let (mut cluster, receiver) = (Cluster::with(3, &MORTAL).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({}))).await;
    receiver.hold();
    cluster.publish("t", 0..300).await;
    cluster.nodes.pop().unwrap().kill().await;
    cluster.nodes.remove(0).kill().await;
    receiver.open();
    until("all that was accepted arrives", || async { (numbers(&receiver).len() == 300).then_some(()) }).await;
    // The deliveries were taken over because the two nodes were found dead, not because their leases expired later.
    let log = cluster.nodes[0].log_lines();
    let taken = log.iter().filter(|line| line.contains("a node is dead")).map(|line| {
        let (_, count) = line.split_once("deliveries=").unwrap_or_else(|| panic!("{line}"));
        count.split(' ').next().unwrap().parse::<usize>().unwrap()
    });
    let taken: Vec<_> = taken.collect();
    // About a hundred each: a retry that was due may have moved to another node.
    assert!(taken.len() == 2 && taken.iter().all(|count| *count > 0), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_events_survive_two_killed_nodes_and_a_database_crash() {
    let (mut server, receiver) = (PostgresServer::start(), Receiver::start().await);
    let mut cluster = Cluster::at(Home::on(&server), 3, &MORTAL).await;
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({}))).await;
    receiver.hold();
    cluster.publish("t", 0..300).await;
    let (client, stop) = (cluster.nodes[0].client.clone(), Arc::new(AtomicBool::new(false)));
    let accepted = Arc::new(Mutex::new((0..300).collect::<HashSet<u64>>()));
    let publishing = {
        let (accepted, stop) = (accepted.clone(), stop.clone());
        tokio::spawn(async move {
            let mut refused = 0;
            for number in 300.. {
                match client.post("/events", &json!({"type": "t", "data": number})).await.status {
                    202 => drop(accepted.lock().unwrap().insert(number)),
                    503 => refused += 1,
                    other => panic!("{other}"),
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            refused
        })
    };
    cluster.nodes.pop().unwrap().kill().await;
    cluster.nodes.pop().unwrap().kill().await;
    tokio::task::block_in_place(|| server.crash());
    let before = accepted.lock().unwrap().len();
    let more = || accepted.lock().unwrap().len() > before + 100;
    until("events are accepted again", || async { more().then_some(()) }).await;
    stop.store(true, Ordering::Relaxed);
    let refused = publishing.await.unwrap();
    receiver.open();
    let accepted = accepted.lock().unwrap().clone();
    until("all that was accepted arrives", || async { accepted.is_subset(&numbers(&receiver)).then_some(()) }).await;
    assert!(refused > 0, "no event was refused while the database was down");
}

#[tokio::test]
async fn policy_that_one_node_stored_holds_on_the_others() {
    let (cluster, receiver) = (Cluster::of(2).await, Receiver::start().await);
    let [first, second] = [0, 1].map(|index| &cluster.nodes[index].client);
    first.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    // Both nodes have in memory that there is none.
    for node in [first, second] {
        let id = node.publish("t", &json!({"iban": "DE1"})).await;
        node.delivery(&id, "delivered").await;
    }
    let policy = json!({"types": ["*"], "transforms": [{"plugin": "std-mask", "config": {"fields": ["/iban"]}}]});
    let headers = [("content-type", "application/json")];
    first.call(Method::PUT, "/policies/pii", &headers, policy.to_string()).await.expect(201);
    let before = receiver.arrivals().len();
    first.publish("t", &json!({"iban": "DE1"})).await;
    assert_eq!(receiver.wait_for(before + 1).await[before].json(), json!({"iban": "***"}));
    until("the other node applies it", || async {
        let before = receiver.arrivals().len();
        second.publish("t", &json!({"iban": "DE1"})).await;
        let sent = receiver.wait_for(before + 1).await[before].json();
        (sent == json!({"iban": "***"})).then_some(())
    })
    .await;
}

#[tokio::test]
async fn node_starts_beside_nodes_of_a_later_version() {
    let home = Home::of(Kind::Postgres).await;
    let node = Process::serve(&home, &FLAGS).await;
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', TRUE, '', 0)";
    home.sql(later).await;
    let beside = Process::start(&home, node.client.key.clone(), |command| {
        command.args(FLAGS);
    })
    .await;
    assert_eq!(beside.unwrap_or_else(|log| panic!("{log}")).client.get("!/readyz").await.status, 200);
}

/// The order across nodes is that of their clocks, in milliseconds.
async fn next_millisecond() {
    let before = SystemClock.now_ms();
    until("the next millisecond", || async { (SystemClock.now_ms() > before).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_webhook_keeps_its_order_over_three_nodes() {
    let (cluster, receiver) = (Cluster::of(3).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({"ordered": true}))).await;
    receiver.hold();
    for number in 0..12 {
        next_millisecond().await;
        cluster.publish("t", number..number + 1).await;
    }
    for number in 1..=12 {
        receiver.wait_for(number).await;
        receiver.release(1);
    }
    receiver.open();
    // Pairs of events through two nodes, while no other delivery is in progress.
    for number in (12..60).step_by(2) {
        for (number, node) in [(number, number / 2 % 3), (number + 1, number / 6 % 3)] {
            next_millisecond().await;
            cluster.nodes[node].client.publish("t", &json!(number)).await;
        }
        receiver.wait_for(number + 2).await;
    }
    // Some deliveries fail once.
    let failed = Arc::new(Mutex::new(HashSet::new()));
    receiver.answer(move |_, arrival| {
        let number = arrival.json().as_u64().unwrap();
        let fails = number % 7 == 3 && failed.lock().unwrap().insert(number);
        if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }.into_response()
    });
    for number in 60..100 {
        next_millisecond().await;
        cluster.publish("t", number..number + 1).await;
    }
    until("all arrive", || async { (numbers(&receiver).len() == 100).then_some(()) }).await;
    let mut arrived: Vec<_> = receiver.arrivals().iter().map(|arrival| arrival.json().as_u64().unwrap()).collect();
    arrived.dedup();
    assert_eq!(arrived, (0..100).collect::<Vec<_>>());
    assert_eq!(receiver.most_unanswered(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_slots_and_a_rate_limit_hold_over_three_nodes() {
    let (cluster, receiver) = (Cluster::of(3).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({"max_in_flight": 4}))).await;
    receiver.hold();
    cluster.publish("t", 0..60).await;
    receiver.wait_for(4).await;
    for released in 1..=56 {
        receiver.release(1);
        receiver.wait_for(4 + released).await;
    }
    receiver.open();
    assert_eq!((receiver.most_unanswered(), numbers(&receiver).len()), (4, 60));

    let receiver = Receiver::start().await;
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({"rate_limit": 20}))).await;
    let before = successes(&cluster, 60.0).await;
    let begun = Instant::now();
    cluster.publish("t", 0..60).await;
    let arrivals = receiver.wait_for(60).await;
    // An arrival can only be late, so each has an earliest instant.
    for (place, arrival) in (0..).zip(&arrivals) {
        let earliest = begun + Duration::from_millis(50 * place);
        assert!(arrival.at >= earliest, "number {place} came {:?} too early", earliest - arrival.at);
    }
    // The rate is not divided: the owner makes all attempts.
    let after = successes(&cluster, 120.0).await;
    let mut made: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    made.sort_by(f64::total_cmp);
    assert_eq!(made, [0.0, 0.0, 60.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_divided_among_the_nodes() {
    let (cluster, receiver) = (Cluster::of(2).await, Receiver::start().await);
    cluster.nodes[0].client.subscribe(&hook(&receiver, json!({"max_in_flight": 16}))).await;
    cluster.publish("t", 0..4).await;
    receiver.wait_for(4).await;
    receiver.hold();
    cluster.publish("t", 4..64).await;
    receiver.wait_for(20).await;
    receiver.open();
    receiver.wait_for(64).await;
    assert_eq!((receiver.most_unanswered(), numbers(&receiver).len()), (16, 64));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_node_cannot_overwrite_deliveries_taken_over_and_rejoins() {
    let flags = ["--attempt-timeout=2s", "--node-timeout=8s", "--retry-schedule=1h"];
    let (cluster, receiver) = (Cluster::with(2, &flags).await, Receiver::start().await);
    let [sleeper, other] = &cluster.nodes[..] else { unreachable!() };
    // The node that stores the webhook is the first to claim its ownership.
    sleeper.client.subscribe(&hook(&receiver, json!({"max_in_flight": 1}))).await;
    // It has one delivery in flight, whose response it reads when it continues.
    receiver.hold();
    let id = sleeper.client.publish("t", &json!(1)).await;
    receiver.wait_for(1).await;
    sleeper.signal("STOP").await;
    receiver.open();
    receiver.answer_status(503);
    // The other node takes the delivery over, fails, and schedules a retry in an hour.
    let tried = |delivery: &Value| delivery["attempt_count"] == 1;
    let taken = other.client.delivery_when(&id, "taken up", tried).await;
    sleeper.signal("CONT").await;
    logged(sleeper, "it continues as a new node").await;
    // The completion that the sleeper would have written precedes this.
    let later = sleeper.client.publish("t", &json!(2)).await;
    sleeper.client.delivery_when(&later, "tried", tried).await;
    let delivery = other.client.get(&format!("/deliveries/{id}")).await.expect(200);
    assert_eq!(delivery, taken);
    assert_eq!((&delivery["status"], &delivery["attempts"][0]["status_code"]), (&json!("pending"), &json!(503)));
    receiver.answer_status(200);
    for id in [id, later] {
        sleeper.client.post(&format!("/deliveries/{id}/retry"), &Value::Null).await.expect(202);
        other.client.delivery(&id, "delivered").await;
    }
    // The sleeper no longer claims to own the webhook.
    let before = receiver.arrivals().len();
    receiver.hold();
    cluster.publish("t", 3..11).await;
    for more in 1..=8 {
        receiver.wait_for(before + more).await;
        receiver.release(1);
    }
    receiver.open();
    assert_eq!(receiver.most_unanswered(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_change_on_one_node_applies_on_all() {
    let (cluster, receiver) = (Cluster::of(2).await, Receiver::start().await);
    let [one, other] = &cluster.nodes[..] else { unreachable!() };
    let id = one.client.subscribe(&hook(&receiver, json!({}))).await;
    let path = format!("/webhooks/{id}");
    // The other node's queue for it is long: sending it takes longer than learning of a change.
    receiver.hold();
    let mut ids = Vec::new();
    for number in 0..600 {
        ids.push(other.client.publish("t", &json!(number)).await);
    }
    receiver.wait_for(1).await;
    one.client.patch(&path, &json!({"enabled": false})).await.expect(200);
    receiver.open();
    let waiting = other.client.publish("t", &json!(600)).await;
    until("the other sends no more", || async {
        let in_flight = Scrape::of(&other.client).await.get("posthaste_attempts_in_flight");
        (in_flight == 0.0).then_some(())
    })
    .await;
    let sent = receiver.arrivals().len();
    assert!(sent < 600, "{sent}");
    // Enabled through one node, it is served by the other again.
    one.client.patch(&path, &json!({"enabled": true})).await.expect(200);
    for id in ids.iter().chain([&waiting]) {
        one.client.delivery(id, "delivered").await;
    }
    // Removed through one node: the deliveries queued in the other are cancelled at once.
    receiver.hold();
    let mut ids = Vec::new();
    for number in 1000..1060 {
        ids.push(other.client.publish("t", &json!(number)).await);
    }
    one.client.delete(&path, &Value::Null).await.expect(200);
    other.client.delivery(ids.last().unwrap(), "cancelled").await;
    receiver.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_requested_on_any_node_is_sent_by_the_owner() {
    let (cluster, receiver) = (Cluster::of(2).await, Receiver::start().await);
    let [owner, other] = &cluster.nodes[..] else { unreachable!() };
    owner.client.subscribe(&hook(&receiver, json!({"max_in_flight": 1}))).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(owner.client.publish("t", &json!(number)).await);
    }
    for id in &ids {
        owner.client.delivery(id, "delivered").await;
    }
    for (asked, id) in (21..).zip(&ids) {
        other.client.post(&format!("/deliveries/{id}/retry"), &Value::Null).await.expect(202);
        receiver.wait_for(asked).await;
        other.client.delivery_when(id, "delivered again", |delivery| delivery["attempt_count"] == 2).await;
    }
    let replay = json!({"since": "2000-01-01T00:00:00Z"});
    assert_eq!(other.client.post("/deliveries/replay", &replay).await.expect(202)["count"], 20);
    receiver.wait_for(60).await;
    assert_eq!(receiver.most_unanswered(), 1);
}
