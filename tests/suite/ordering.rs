//! `ordered`: one delivery at a time, in the order of publishing, whatever fails meanwhile.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use posthaste::clock::Clock;
use posthaste::domain::time::parse_rfc3339;
use posthaste_tests::{Arrival, Client, Host, MovedClock, PATIENCE, Receiver};
use serde_json::{Value, json};

const HOUR_MS: i64 = 3_600_000;
/// Multiplied by the 15 s between two periodic searches of the backlog, this exceeds [`PATIENCE`] by half.
const BLOCKING: u64 = 12;

fn ordered(receiver: &Receiver) -> Value {
    json!({"type": "t", "target_url": receiver.url("/"), "ordered": true})
}

/// Publishes the numbers in one request.
async fn publish_all(client: &Client, numbers: std::ops::Range<usize>) -> Vec<String> {
    let lines = numbers.fold(String::new(), |mut text, number| {
        writeln!(text, r#"{{"type":"t","data":{number}}}"#).unwrap();
        text
    });
    let headers = [("content-type", "application/x-ndjson")];
    let answer = client.call(Method::POST, "/events/batch", &headers, lines).await.expect(202);
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|one| one["delivery_id"].as_str().unwrap().to_owned()).collect()
}

/// Makes the receiver answer 503 to the numbers that `fails` selects, until the returned gate is opened.
fn gate(receiver: &Receiver, fails: impl Fn(u64) -> bool + Send + Sync + 'static) -> Arc<AtomicBool> {
    let open = Arc::new(AtomicBool::new(false));
    let opened = open.clone();
    receiver.answer(move |_, arrival| {
        let fails = fails(arrival.json().as_u64().unwrap()) && !opened.load(Ordering::SeqCst);
        if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }.into_response()
    });
    open
}

/// Returns the numbers that arrived, without immediate repetitions.
fn numbers(arrivals: &[Arrival]) -> Vec<u64> {
    let mut numbers: Vec<_> = arrivals.iter().map(|arrival| arrival.json().as_u64().unwrap()).collect();
    numbers.dedup();
    numbers
}

/// Lets five events of another webhook take the whole way, during which any other pending delivery would be sent.
async fn settle(host: &Host) {
    let neighbour = Receiver::start().await;
    host.subscribe(&json!({"type": "settle", "target_url": neighbour.url("/")})).await;
    for number in 0..5 {
        host.delivery(&host.publish("settle", &json!(number)).await, "delivered").await;
    }
}

async fn all_delivered(host: &Host, ids: &[String]) {
    for id in ids {
        host.delivery(id, "delivered").await;
    }
}

#[tokio::test]
async fn each_ordered_attempt_begins_after_the_previous_delivery_ends() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&ordered(&receiver)).await;
    receiver.hold();
    let ids = publish_all(&host, 0..6).await;
    for (number, id) in ids.iter().enumerate() {
        receiver.wait_for(number + 1).await;
        // A delivery sent too early would have arrived by the time of this answer.
        assert_eq!(host.get(&format!("/deliveries/{id}")).await.expect(200)["status"], "pending");
        assert_eq!(receiver.arrivals().len(), number + 1);
        receiver.release(1);
        host.delivery(id, "delivered").await;
    }
    assert_eq!((numbers(&receiver.arrivals()), receiver.most_unanswered()), ((0..6).collect(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_publishers_each_keep_their_order() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&ordered(&receiver)).await;
    let mut tasks = Vec::new();
    for worker in 0..8 {
        let client = host.client.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..40 {
                client.publish("t", &json!([worker, number])).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let arrivals = receiver.wait_for(320).await;
    for worker in 0..8 {
        let of_one: Vec<_> = arrivals.iter().map(Arrival::json).filter(|pair| pair[0] == worker).collect();
        assert_eq!(of_one, (0..40).map(|number| json!([worker, number])).collect::<Vec<_>>());
    }
    assert_eq!((arrivals.len(), receiver.most_unanswered()), (320, 1));
}

#[tokio::test]
async fn failing_event_blocks_its_ordered_webhook_and_the_spilled_backlog_stays_in_order() {
    let (host, receiver) = (Host::with(&["--retry-schedule=10h"]).await, Receiver::start().await);
    let open = gate(&receiver, |number| number == 0);
    let id = host.subscribe(&ordered(&receiver)).await;
    let mut ids = publish_all(&host, 0..1000).await;
    host.delivery_when(&ids[0], "tried", |one| one["attempt_count"] == 1).await;
    ids.extend(publish_all(&host, 1000..1400).await);
    settle(&host).await;
    assert_eq!(numbers(&receiver.arrivals()), [0]);
    open.store(true, Ordering::SeqCst);
    // The retry by hand is sent first and unblocks the others.
    host.post(&format!("/deliveries/{}/retry", ids[0]), &Value::Null).await.expect(202);
    receiver.wait_for(700).await;
    host.patch(&format!("/webhooks/{id}"), &json!({"name": "changed while it goes on"})).await.expect(200);
    let arrivals = receiver.wait_for(1401).await;
    assert_eq!(numbers(&arrivals), (0..1400).collect::<Vec<_>>());
    assert_eq!((arrivals.len(), receiver.most_unanswered()), (1401, 1));
}

#[tokio::test]
async fn full_ordered_queue_goes_on_when_its_blocking_event_succeeds() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h,10h"]).await, Receiver::start().await);
    // Each of the first events fails once and blocks the webhook until its retry is due.
    let failed = Mutex::new(HashSet::new());
    receiver.answer(move |_, arrival| {
        let number = arrival.json().as_u64().unwrap();
        let fails = number < BLOCKING && failed.lock().unwrap().insert(number);
        if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }.into_response()
    });
    host.subscribe(&ordered(&receiver)).await;
    // The first event is published alone, so that the others fill the queue in memory.
    let mut ids = publish_all(&host, 0..1).await;
    host.delivery_when(&ids[0], "tried", |one| one["attempt_count"] == 1).await;
    ids.extend(publish_all(&host, 1..1000).await);
    ids.extend(publish_all(&host, 1000..1000 + BLOCKING as usize + 100).await);
    let unblocking = async {
        for id in &ids[..BLOCKING as usize] {
            host.delivery_when(id, "tried", |one| one["attempt_count"] == 1).await;
            clock.pass(12 * HOUR_MS);
            host.look().await;
        }
    };
    // If the queue went on only at the periodic search of the backlog, this would take longer than the safety net.
    tokio::time::timeout(PATIENCE, unblocking).await.expect("a queue that is unblocked waits for the periodic search");
    let arrivals = receiver.wait_for(ids.len() + BLOCKING as usize).await;
    assert_eq!(numbers(&arrivals), (0..ids.len() as u64).collect::<Vec<_>>());
    all_delivered(&host, &ids[1090..]).await;
}

#[tokio::test]
async fn exhausted_delivery_unblocks_the_next_one() {
    let (host, receiver) = (Host::with(&["--retry-schedule=5ms,5ms"]).await, Receiver::start().await);
    gate(&receiver, |number| number == 1 || number == 3);
    host.subscribe(&ordered(&receiver)).await;
    let ids = publish_all(&host, 0..6).await;
    host.delivery(&ids[5], "delivered").await;
    assert_eq!(numbers(&receiver.arrivals()), [0, 1, 2, 3, 4, 5]);
    assert_eq!(receiver.arrivals().len(), 10);
    for (id, status) in ids.iter().zip(["delivered", "failed", "delivered", "failed", "delivered", "delivered"]) {
        assert_eq!(host.get(&format!("/deliveries/{id}")).await.expect(200)["status"], status);
    }
}

#[tokio::test]
async fn frequent_retries_never_stall_an_ordered_webhook() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1ms,1ms,1ms,1ms"]).await, Receiver::start().await);
    receiver.answer(|before, _| if before % 3 == 2 { StatusCode::OK } else { StatusCode::BAD_GATEWAY }.into_response());
    host.subscribe(&ordered(&receiver)).await;
    publish_all(&host, 0..60).await;
    assert_eq!(numbers(&receiver.wait_for(180).await), (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn restart_keeps_the_order() {
    let clock = Arc::new(MovedClock::default());
    let (mut host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h,10h"]).await, Receiver::start().await);
    let open = gate(&receiver, |number| number == 3);
    host.subscribe(&ordered(&receiver)).await;
    let ids = publish_all(&host, 0..50).await;
    host.delivery_when(&ids[3], "tried", |one| one["attempt_count"] == 1).await;
    host.restart().await;
    let more = publish_all(&host, 50..60).await;
    host.restart().await;
    assert_eq!(numbers(&receiver.arrivals()), [0, 1, 2, 3]);
    open.store(true, Ordering::SeqCst);
    clock.pass(12 * HOUR_MS);
    host.look().await;
    all_delivered(&host, &more).await;
    assert_eq!(numbers(&receiver.arrivals()), (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn ordering_can_be_switched_on_and_off() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h,10h"]).await, Receiver::start().await);
    let open = gate(&receiver, |number| number < 20);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 1})).await;
    // Without ordering, every delivery is attempted, and each has its own retry time.
    let ids = publish_all(&host, 0..20).await;
    for id in &ids {
        host.delivery_when(id, "tried", |one| one["attempt_count"] == 1).await;
    }
    host.subscribe(&ordered(&receiver)).await;
    let more = publish_all(&host, 20..30).await;
    open.store(true, Ordering::SeqCst);
    // Deliveries that are due before the first one wait for it.
    let first = host.get(&format!("/deliveries/{}", ids[0])).await.expect(200);
    let due = parse_rfc3339(first["next_attempt_at"].as_str().unwrap()).unwrap();
    clock.pass(due - clock.now_ms() - 5_000);
    host.look().await;
    settle(&host).await;
    assert_eq!(receiver.arrivals().len(), 20);
    clock.pass(3 * HOUR_MS);
    host.look().await;
    all_delivered(&host, &more).await;
    assert_eq!(numbers(&receiver.arrivals()[20..]), (0..30).collect::<Vec<_>>());
    // Switching ordering off unblocks the others at once.
    gate(&receiver, |number| number == 100);
    let ids = publish_all(&host, 100..105).await;
    host.delivery_when(&ids[0], "tried", |one| one["attempt_count"] == 1).await;
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    all_delivered(&host, &ids[1..]).await;
}
