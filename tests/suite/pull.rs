//! Webhooks whose events wait until their consumer fetches and acknowledges them.

use std::time::Duration;

use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use posthaste_tests::{Client, Home, Host, Kind, Process, Receiver, binary, guest, shipped, until};
use serde_json::{Value, json};
use tokio::process::Command;

/// Makes a pull webhook with these additional fields, and returns it.
async fn subscribe(client: &Client, more: Value) -> Value {
    let mut hook = json!({"type": "t", "delivery": "pull"});
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post("/webhooks", &hook).await.expect(201)
}

fn events_of(webhook: &Value) -> String {
    format!("/webhooks/{}/events", webhook["id"].as_str().unwrap())
}

async fn page(client: &Client, webhook: &Value, query: &str) -> (Vec<Value>, String) {
    let page = client.get(&format!("{}?{query}", events_of(webhook))).await.expect(200);
    (page["data"].as_array().unwrap().clone(), page["next_cursor"].as_str().unwrap().to_owned())
}

async fn acknowledge(client: &Client, webhook: &Value, cursor: &str) {
    let answer = client.post(&format!("{}/ack", events_of(webhook)), &json!({"cursor": cursor})).await;
    assert_eq!(answer.expect(200), json!({"cursor": cursor}));
}

fn bodies(data: &[Value]) -> Vec<&str> {
    data.iter().map(|message| message["body"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn event_is_fetched_as_its_post_would_have_been() {
    let host = Host::start().await;
    host.upload("my-mask", &shipped("mask")).await.expect(201);
    let more = json!({"plugin": "my-mask", "config": {"fields": ["/iban"]}, "headers": {"authorization": "Bearer 1"}});
    let webhook = subscribe(&host, more).await;
    assert_eq!((&webhook["delivery"], &webhook["target_url"]), (&json!("pull"), &Value::Null));
    let published = host.post("/events", &json!({"type": "t", "data": {"iban": "DE1"}})).await.expect(202);
    let (data, _) = page(&host, &webhook, "").await;
    let [message] = &data[..] else { panic!("{data:?}") };
    assert_eq!(message["delivery_id"], published["delivery_id"]);
    let body = message["body"].as_str().unwrap();
    assert!(body.contains("iban") && !body.contains("DE1"), "{body}");
    let header = |name: &str| message["headers"][name].as_str().unwrap();
    assert_eq!((header("webhook-id"), header("webhook-event-type")), (published["id"].as_str().unwrap(), "t"));
    assert_eq!((header("authorization"), header("content-type")), ("Bearer 1", "application/json"));
    let secret = webhook["signing_secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    let time = header("webhook-timestamp");
    let signed = (header("webhook-id"), time, header("webhook-signature"));
    posthaste_tests::verify(&STANDARD.decode(secret).unwrap(), signed, body.as_bytes(), time.parse().unwrap()).unwrap();
    // Reading records nothing.
    let id = published["delivery_id"].as_str().unwrap();
    let delivery = host.get(&format!("/deliveries/{id}")).await.expect(200);
    assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("pending"), &json!([])));
}

#[tokio::test]
async fn events_wait_in_order_until_they_are_acknowledged_and_again_after_going_back() {
    let mut host = Host::start().await;
    let webhook = subscribe(&host, json!({})).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(host.publish("t", &json!(number)).await);
    }
    let (first, after_two) = page(&host, &webhook, "limit=2").await;
    assert_eq!(bodies(&first), ["0", "1"]);
    assert_eq!(bodies(&page(&host, &webhook, "limit=2").await.0), ["0", "1"], "nothing was acknowledged");
    let (more, after_four) = page(&host, &webhook, &format!("limit=2&cursor={after_two}")).await;
    assert_eq!(bodies(&more), ["2", "3"]);
    acknowledge(&host, &webhook, &after_two).await;
    // A consumer, and the service, start anew.
    host.restart().await;
    let (rest, end) = page(&host, &webhook, "").await;
    assert_eq!(bodies(&rest), ["2", "3", "4"]);
    acknowledge(&host, &webhook, &end).await;
    let (none, same) = page(&host, &webhook, "").await;
    assert_eq!((none.len(), &same), (0, &end));
    for id in &ids {
        host.delivery(id, "delivered").await;
    }
    acknowledge(&host, &webhook, &after_four).await;
    assert_eq!(bodies(&page(&host, &webhook, "").await.0), ["4"]);
    host.delivery(&ids[4], "pending").await;
    host.delivery(&ids[3], "delivered").await;
}

#[tokio::test]
async fn consumer_waits_for_the_next_event() {
    let host = Host::start().await;
    let webhook = subscribe(&host, json!({})).await;
    let (empty, start) = page(&host, &webhook, "").await;
    assert!(empty.is_empty());
    let query = format!("wait=30s&cursor={start}");
    let waiting = async { page(&host, &webhook, &query).await.0 };
    let publishing = async {
        until("the consumer waits", || async {
            let limits = host.get("/limits").await.expect(200);
            let waits = &limits["shares"]["pull-waits"];
            (waits["used"] == 1).then_some(())
        })
        .await;
        host.publish("t", &json!("now")).await;
    };
    let (data, ()) = tokio::join!(waiting, publishing);
    assert_eq!(bodies(&data), ["\"now\""]);
}

#[tokio::test]
async fn plugin_that_drops_or_fails_does_not_stop_the_consumer() {
    let host = Host::start().await;
    for name in ["drop", "error"] {
        host.upload(&format!("my-{name}"), &guest(name)).await.expect(201);
    }
    let dropping = subscribe(&host, json!({"label": "drop", "plugin": "my-drop"})).await;
    let failing = subscribe(&host, json!({"label": "fail", "plugin": "my-error"})).await;
    let original =
        subscribe(&host, json!({"label": "original", "plugin": "my-error", "on_error": "send_original"})).await;
    let published = host.post("/events", &json!({"type": "t", "data": 1})).await.expect(202);
    let (none, cursor) = page(&host, &dropping, "").await;
    assert!(none.is_empty());
    host.delivery(published["delivery_ids"][0].as_str().unwrap(), "filtered").await;
    acknowledge(&host, &dropping, &cursor).await;
    let (failed, cursor) = page(&host, &failing, "").await;
    assert_eq!((&failed[0]["body"], &failed[0]["headers"]), (&Value::Null, &json!({})));
    assert!(failed[0]["error"].as_str().unwrap().contains("no such employee"), "{failed:?}");
    acknowledge(&host, &failing, &cursor).await;
    assert_eq!(bodies(&page(&host, &original, "").await.0), ["1"]);
}

#[tokio::test]
async fn webhook_changes_between_push_and_pull_and_what_waits_follows() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    let webhook = subscribe(&host, json!({})).await;
    let path = format!("/webhooks/{}", webhook["id"].as_str().unwrap());
    host.publish("t", &json!(1)).await;
    host.patch(&path, &json!({"delivery": "push"})).await.problem(422);
    host.patch(&path, &json!({"target_url": receiver.url("/")})).await.problem(422);
    host.patch(&path, &json!({"delivery": "push", "target_url": receiver.url("/")})).await.expect(200);
    assert_eq!(receiver.wait_for(1).await[0].text(), "1");
    host.get(&events_of(&webhook)).await.problem(409);
    receiver.answer_status(500);
    let id = host.publish("t", &json!(2)).await;
    receiver.wait_for(2).await;
    host.delivery_when(&id, "it waits for its retry", |delivery| delivery["attempt_count"] == 1).await;
    let changed = host.patch(&path, &json!({"delivery": "pull"})).await.expect(200);
    assert_eq!(changed["target_url"], Value::Null);
    let (data, _) = page(&host, &webhook, "wait=30s").await;
    assert_eq!(bodies(&data), ["2"]);
}

#[tokio::test]
async fn delivery_is_sent_again_cancelled_or_removed_like_any_other() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let webhook = subscribe(&host, json!({})).await;
    host.subscribe(&json!({"type": "t", "label": "push", "target_url": receiver.url("/")})).await;
    let (first, second) = (host.publish("t", &json!(1)).await, host.publish("t", &json!(2)).await);
    receiver.wait_for(2).await;
    let (_, cursor) = page(&host, &webhook, "").await;
    acknowledge(&host, &webhook, &cursor).await;
    host.post(&format!("/deliveries/{first}/retry"), &json!({})).await.expect(202);
    let (again, cursor) = page(&host, &webhook, "wait=30s").await;
    assert_eq!(bodies(&again), ["1"]);
    acknowledge(&host, &webhook, &cursor).await;
    let replay = json!({"webhook": webhook["id"], "since": "2020-01-01T00:00:00Z"});
    host.post("/deliveries/replay", &replay).await.expect(202);
    let both = until("the replay has come to the consumer", || async {
        let (data, _) = page(&host, &webhook, "wait=1s").await;
        (data.len() == 2).then_some(data)
    })
    .await;
    let mut both = bodies(&both);
    both.sort_unstable();
    assert_eq!(both, ["1", "2"]);
    host.post(&format!("/deliveries/{second}/cancel"), &json!({})).await.expect(200);
    assert_eq!(bodies(&page(&host, &webhook, "").await.0), ["1"]);
    let path = format!("/webhooks/{}", webhook["id"].as_str().unwrap());
    host.post(&format!("{path}/test"), &json!(null)).await.problem(409);
    host.patch(&path, &json!({"enabled": false})).await.expect(200);
    assert!(host.get(&events_of(&webhook)).await.problem(409).contains("disabled"));
    host.delete(&path, &Value::Null).await.expect(200);
    host.delivery(&first, "cancelled").await;
    host.get(&events_of(&webhook)).await.problem(404);
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let url = receiver.url("/");
    for body in [
        json!({"type": "t", "delivery": "pull", "target_url": url}),
        json!({"type": "t", "delivery": "push"}),
        json!({"type": "t", "delivery": "poll", "target_url": url}),
    ] {
        host.post("/webhooks", &body).await.problem(422);
    }
    let webhook = subscribe(&host, json!({})).await;
    let events = events_of(&webhook);
    for query in ["limit=0", "limit=101", "wait=31s", "wait=1", "cursor=x", "cursor=pos_0000000000000001", "no=1"] {
        host.get(&format!("{events}?{query}")).await.problem(422);
    }
    for cursor in ["", "x", "pos_0000000000000001"] {
        host.post(&format!("{events}/ack"), &json!({"cursor": cursor})).await.problem(422);
    }
    let other = host.company("other").await;
    other.get(&events).await.problem(404);
    other.post(&format!("{events}/ack"), &json!({"cursor": "pos_0000000000000000"})).await.problem(404);
}

#[tokio::test]
async fn listen_forwards_events_and_acknowledges_each_that_was_accepted() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    receiver.answer(|number, _| match number {
        0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => StatusCode::OK.into_response(),
    });
    let webhook = subscribe(&host, json!({})).await;
    let (first, second) = (host.publish("t", &json!(1)).await, host.publish("t", &json!(2)).await);
    let url = format!("{}/api/v1/webhooks/{}", host.base, webhook["id"].as_str().unwrap());
    let to = receiver.url("/hook").replace("localhost", "127.0.0.1");
    let _listening = Command::new(binary())
        .args(["listen", "--pull", &url, "--key", &host.key, "--port-to", &to])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let texts: Vec<_> = receiver.wait_for(3).await.iter().map(|arrival| arrival.text()).collect();
    assert_eq!(texts, ["1", "1", "2"]);
    for id in [&first, &second] {
        host.delivery(id, "delivered").await;
    }
    let (status, _, error) = Process::run(["listen", "--pull", &url, "--key", "phk_wrong"]).await;
    assert!(status == 1 && error.contains("401"), "{error}");
    let refused = ["listen", "--pull", &url, "--key", &host.key, "--port-to", "http://10.0.0.1/"];
    assert_eq!(Process::run(refused).await.0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_publish_at_once_lose_nothing_to_a_consumer_that_reads_meanwhile() {
    let home = Home::of(Kind::Postgres).await;
    let first = Process::serve(&home, &[]).await;
    let second = Process::start(&home, first.client.key.clone(), |_| ()).await.unwrap_or_else(|log| panic!("{log}"));
    let webhook = subscribe(&first.client, json!({})).await;
    let nodes = [&first.client, &second.client];
    let publishing = futures_util::future::join_all((0..8).map(|publisher: usize| async move {
        for number in 0..50 {
            nodes[(publisher + number) % 2].publish("t", &json!([publisher, number])).await;
        }
    }));
    let consuming = async {
        let mut seen = Vec::new();
        while seen.len() < 400 {
            let (data, cursor) = page(nodes[seen.len() % 2], &webhook, "limit=7&wait=5s").await;
            seen.extend(bodies(&data).into_iter().map(str::to_owned));
            acknowledge(nodes[0], &webhook, &cursor).await;
        }
        seen
    };
    let (_, mut seen) = tokio::join!(publishing, tokio::time::timeout(Duration::from_secs(100), consuming));
    let seen = seen.as_mut().expect("an event was passed over");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 400, "an event came twice");
}
