//! Repeated kills of the process at arbitrary moments.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Client, Home, Process, Receiver, until};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::bodies;

/// The number of kills.
const KILLS: usize = 20;
/// The slots of the webhook, and the number of concurrent publishers.
const IN_FLIGHT: usize = 8;
/// Deliveries that may have been sent and not recorded at one kill: those in flight, and those whose completion waits for the
/// next group commit. Each caller publishes its next event after the commit of its last, and a commit takes along all
/// completions that wait, so these are a few times [`IN_FLIGHT`] however slow the machine is.
const UNWRITTEN: usize = IN_FLIGHT + 40;

async fn start(home: &Home, key: &str, flags: &[&str]) -> Process {
    let started = Process::start(home, key.to_owned(), |command| {
        command.args(flags);
    });
    started.await.unwrap_or_else(|said| panic!("serve ended: {said}"))
}

/// Publishes until the process is gone, and reports the accepted events.
async fn publish_on(client: Client, (round, caller): (usize, usize), accepted: mpsc::UnboundedSender<String>) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for number in 0.. {
        let body = json!({"type": "t", "data": [round, caller, number]});
        let request = http.post(format!("{}/api/v1/events", client.base)).bearer_auth(&client.key);
        match request.body(body.to_string()).send().await {
            Ok(answer) if answer.status() == 202 => accepted.send(body["data"].to_string()).unwrap(),
            _ => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_under_load_lose_nothing_and_repeat_little() {
    let (folder, receiver) = (Home::new().await, Receiver::start().await);
    let mut process = Process::serve(&folder, &[]).await;
    let key = process.client.key.clone();
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": IN_FLIGHT});
    process.client.post("/webhooks", &hook).await.expect(201);
    let mut accepted = HashSet::new();
    for round in 0..KILLS {
        let (sender, mut answered) = mpsc::unbounded_channel();
        for caller in 0..IN_FLIGHT {
            tokio::spawn(publish_on(process.client.clone(), (round, caller), sender.clone()));
        }
        drop(sender);
        // A different moment in each round, between the first answer and a few hundred later.
        for _ in 0..1 + (round * 61) % 300 {
            accepted.insert(answered.recv().await.expect("it answers"));
        }
        process.kill().await;
        while let Some(body) = answered.recv().await {
            accepted.insert(body);
        }
        process = start(&folder, &key, &[]).await;
    }
    until("all that was accepted arrives", || async { accepted.is_subset(&bodies(&receiver)).then_some(()) }).await;
    let twice = receiver.arrivals().len() - bodies(&receiver).len();
    println!("{} accepted, {twice} sent twice", accepted.len());
    assert!(twice <= KILLS * UNWRITTEN, "{twice} of {} were sent twice", accepted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_no_delivery_of_an_event_that_has_several() {
    let (folder, receiver) = (Home::new().await, Receiver::start().await);
    let mut process = Process::serve(&folder, &[]).await;
    let key = process.client.key.clone();
    let labels = ["a", "b", "c", "d", "e"];
    for label in labels {
        let hook = json!({"type": "t", "label": label, "target_url": receiver.url(&format!("/{label}"))});
        process.client.post("/webhooks", &hook).await.expect(201);
    }
    let mut accepted = HashSet::new();
    for round in 0..4 {
        let (sender, mut answered) = mpsc::unbounded_channel();
        for caller in 0..IN_FLIGHT {
            tokio::spawn(publish_on(process.client.clone(), (round, caller), sender.clone()));
        }
        drop(sender);
        for _ in 0..60 {
            accepted.insert(answered.recv().await.expect("it answers"));
        }
        process.kill().await;
        while let Some(body) = answered.recv().await {
            accepted.insert(body);
        }
        process = start(&folder, &key, &[]).await;
    }
    let arrived = |label: &str| {
        let arrivals = receiver.arrivals().into_iter().filter(|arrival| arrival.path == format!("/{label}"));
        arrivals.map(|arrival| arrival.text()).collect::<HashSet<_>>()
    };
    for label in labels {
        until("all that was accepted arrives", || async { accepted.is_subset(&arrived(label)).then_some(()) }).await;
    }
    // An event whose answer the kill prevented arrives everywhere or nowhere.
    until("all receivers have the same", || async {
        labels.iter().all(|label| arrived(label) == arrived(labels[0])).then_some(())
    })
    .await;
}

/// Publishes one event until it is accepted; the caller's identifier makes all tries the same event.
async fn publish_surely(base: &watch::Receiver<Client>, event: &Value) {
    until("the event is accepted", || async {
        let client = base.borrow().clone();
        let request = reqwest::Client::new().post(format!("{}/api/v1/events", client.base)).bearer_auth(&client.key);
        let answer = request.body(event.to_string()).send().await;
        answer.is_ok_and(|answer| answer.status() == 202).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_webhook_keeps_its_order_over_failures_and_kills() {
    const EVENTS: usize = 400;
    let (folder, receiver) = (Home::new().await, Receiver::start().await);
    // Every seventh request is refused.
    receiver.answer(|before, arrival| match (arrival.path.as_str(), before % 7) {
        ("/ordered", 0) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => StatusCode::OK.into_response(),
    });
    let schedule = format!("--retry-schedule={}", ["20ms"; 60].join(","));
    let mut process = Process::serve(&folder, &[&schedule]).await;
    let key = process.client.key.clone();
    let hook = json!({"type": "ordered", "target_url": receiver.url("/ordered"), "ordered": true});
    process.client.post("/webhooks", &hook).await.expect(201);
    process.client.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/t")})).await.expect(201);
    let (now, base) = watch::channel(process.client.clone());
    let (published, mut count) = watch::channel(0);
    let publisher = tokio::spawn(async move {
        for number in 0..EVENTS {
            publish_surely(&base, &json!({"type": "ordered", "id": format!("o-{number}"), "data": number})).await;
            published.send_replace(number + 1);
        }
    });
    let kills = 5;
    for kill in 1..=kills {
        count.wait_for(|count| *count >= kill * EVENTS / (kills + 1)).await.unwrap();
        process.kill().await;
        process = start(&folder, &key, &[&schedule]).await;
        now.send_replace(process.client.clone());
    }
    publisher.await.unwrap();
    let numbers = || {
        let arrivals = receiver.arrivals();
        let of = arrivals.iter().filter(|arrival| arrival.path == "/ordered");
        of.map(|arrival| arrival.text().parse::<usize>().unwrap()).collect::<Vec<_>>()
    };
    until("the last one arrives", || async { numbers().contains(&(EVENTS - 1)).then_some(()) }).await;
    let (mut next, mut back) = (0, 0);
    for pair in [0].into_iter().chain(numbers()).collect::<Vec<_>>().windows(2) {
        assert!(pair[1] <= next, "{} came before {next}: {:?}", pair[1], numbers());
        assert!(pair[1] <= pair[0] + 1, "{} came right after {}: {:?}", pair[1], pair[0], numbers());
        back += usize::from(pair[1] < pair[0]);
        next = next.max(pair[1] + 1);
    }
    assert!(back <= kills, "it went back {back} times in {kills} kills");
    only_its_own_webhook_waits(&process, &receiver).await;
}

/// Checks that a permanently refused event blocks the next one of its ordered webhook and no other webhook.
async fn only_its_own_webhook_waits(process: &Process, receiver: &Receiver) {
    let refusing = Arc::new(AtomicBool::new(true));
    let refuses = refusing.clone();
    receiver.answer(move |_, arrival| match arrival.path.as_str() {
        "/ordered" if refuses.load(Ordering::SeqCst) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => StatusCode::OK.into_response(),
    });
    let first = process.client.publish("ordered", &json!(10_000)).await;
    let second = process.client.publish("ordered", &json!(10_001)).await;
    process
        .client
        .delivery_when(&first, "a second attempt", |delivery| delivery["attempt_count"].as_u64() > Some(1))
        .await;
    let other = process.client.publish("t", &json!(1)).await;
    process.client.delivery(&other, "delivered").await;
    assert_eq!(process.client.get(&format!("/deliveries/{second}")).await.expect(200)["attempt_count"], 0);
    refusing.store(false, Ordering::SeqCst);
    process.client.delivery(&second, "delivered").await;
    assert_eq!(process.client.get(&format!("/deliveries/{first}")).await.expect(200)["status"], "delivered");
}
