//! `POST /events/batch`: one event per line, one result per line.

use std::fmt::Write as _;

use http::Method;
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Answer, Client, Host, Receiver, until};
use serde_json::{Value, json};

const NDJSON: &str = "application/x-ndjson";
/// Events that [`subscribe`] publishes.
const SETTLING: usize = 3;

async fn batch(client: &Client, body: impl Into<Vec<u8>>) -> Answer {
    client.call(Method::POST, "/events/batch", &[("content-type", NDJSON)], body).await
}

/// Waits for `count` arrivals and returns their bodies, without those of `subscribe`.
async fn arrived(receiver: &Receiver, count: usize) -> Vec<String> {
    receiver.wait_for(SETTLING + count).await.iter().skip(SETTLING).map(|arrival| arrival.text()).collect()
}

async fn subscribed() -> (Host, Receiver) {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    subscribe(&host, &receiver, "t").await;
    (host, receiver)
}

async fn subscribe(host: &Host, receiver: &Receiver, event_type: &str) {
    let hook = json!({"type": event_type, "target_url": receiver.url("/"), "max_in_flight": 1});
    host.post("/webhooks", &hook).await.expect(201);
    // A new webhook queue first fetches its backlog; events published meanwhile may be overtaken.
    for _ in 0..SETTLING {
        let id = host.publish(event_type, &json!("settle")).await;
        host.delivery(&id, "delivered").await;
    }
}

fn numbered(count: usize, event_type: &str) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, r#"{{"type":"{event_type}","data":{number}}}"#).unwrap();
        text
    })
}

/// Returns the deliveries of a batch whose lines were all accepted.
fn deliveries(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|result| result["delivery_id"].as_str().unwrap_or_else(|| panic!("{result}")).into()).collect()
}

#[tokio::test]
async fn every_line_is_delivered_in_the_order_of_the_lines() {
    let (host, receiver) = subscribed().await;
    let answer = batch(&host, numbered(1000, "t")).await.expect(202);
    assert_eq!(answer["accepted"], 1000);
    let ids = deliveries(&answer);
    assert!(ids.is_sorted() && ids.len() == 1000);
    assert_eq!(arrived(&receiver, 1000).await, (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// Changes a webhook of its own again and again, until the task is aborted.
fn churn(client: Client, url: String, event_type: &'static str) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let hook = json!({"type": event_type, "target_url": url});
        while client.post("/webhooks", &hook).await.status < 300 {}
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batch_order_holds_while_other_webhooks_change() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let types: Vec<_> = (0..100).map(|number| format!("t{number}")).collect();
    for name in &types {
        let hook = json!({"type": name, "target_url": receiver.url("/"), "max_in_flight": 1});
        host.post("/webhooks", &hook).await.expect(201);
    }
    for round in 1..=3 {
        // The caches are empty, and the concurrent changes keep them from being filled.
        host.restart().await;
        let others = ["x", "y", "z"].map(|name| churn(host.client.clone(), receiver.url("/"), name));
        let lines = types.iter().flat_map(|name| (0..5).map(move |number| json!({"type": name, "data": number})));
        let body = lines.map(|line| format!("{line}\n")).collect::<String>();
        let ids = deliveries(&batch(&host, body).await.expect(202));
        assert!(ids.is_sorted(), "round {round}");
        others.iter().for_each(tokio::task::JoinHandle::abort);
        let arrivals = receiver.wait_for(round * 500).await;
        for name in &types {
            let ours = arrivals.iter().filter(|arrival| arrival.header("webhook-event-type") == name.as_str());
            let numbers: Vec<_> = ours.skip((round - 1) * 5).map(|arrival| arrival.text()).collect();
            assert_eq!(numbers, ["0", "1", "2", "3", "4"], "{name} in round {round}");
        }
    }
}

#[tokio::test]
async fn bad_line_of_a_batch_fails_alone() {
    let (host, receiver) = (Host::with(&["--max-event-bytes=1000"]).await, Receiver::start().await);
    subscribe(&host, &receiver, "t").await;
    let large = format!(r#"{{"type":"t","data":"{}"}}"#, "x".repeat(999));
    let larger = " ".repeat(70_000) + "{}" + &" ".repeat(70_000) + "x";
    let lines: Vec<(&[u8], u16, &str)> = vec![
        (br#"{"type":"t","data":"first"}"#, 202, ""),
        (br#"{"type":"t","data":"#, 400, "not JSON"),
        (br#"{"type":"t","data":1} {}"#, 400, "not JSON"),
        (b"{\"type\":\"t\",\"data\":\"\xff\"}", 400, "not JSON"),
        (br#"["t",1]"#, 422, "object"),
        (br#"{"type":"t"}"#, 422, "/data"),
        (br#"{"type":"ping","data":1}"#, 422, "/type"),
        (br#"{"type":"posthaste.x","data":1}"#, 422, "/type"),
        (br#"{"type":"t","data":1,"id":"a b"}"#, 422, "/id"),
        (br#"{"type":"t","data":1,"headers":{"Host":"x"}}"#, 422, "/headers/Host"),
        (br#"{"type":"t","data":1,"occurred_at":"noon"}"#, 422, "/occurred_at"),
        (br#"{"type":"t","data":1,"colour":1}"#, 422, "colour"),
        (br#"{"type":"t","data":1,"company":"other"}"#, 403, "another company"),
        (large.as_bytes(), 413, "1000 bytes"),
        (larger.as_bytes(), 413, "66536 bytes"),
        (br#"{"type":"t","data":null,"company":"acme","id":null,"headers":null,"occurred_at":null}"#, 202, ""),
        (br#"{"type":"nobody","data":1,"id":"e-1"}"#, 202, ""),
        (br#"{"type":"t","data":"last"}"#, 202, ""),
    ];
    let body = lines.iter().map(|(line, ..)| *line).collect::<Vec<_>>().join(&b'\n');
    let answer = batch(&host, body).await.expect(202);
    assert_eq!(answer["accepted"], 4);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), lines.len());
    for (number, ((line, status, part), result)) in (1..).zip(lines.iter().zip(results)) {
        let line = String::from_utf8_lossy(line);
        if *status == 202 {
            assert!(result["id"].is_string() && result.get("error").is_none(), "{line}: {result}");
            continue;
        }
        assert_eq!((&result["status"], &result["line"]), (&json!("rejected"), &json!(number)), "{line}");
        let error = &result["error"];
        assert_eq!(error["status"], *status, "{line}: {error}");
        assert!(error["type"].is_string() && error["title"].is_string() && result.get("id").is_none(), "{error}");
        assert!(error.to_string().contains(part), "{line}: {error}");
    }
    assert_eq!(results[6]["error"]["errors"][0]["pointer"], "/type");
    assert_eq!(results[16], json!({"status": "accepted", "id": "e-1", "delivery_id": null, "delivery_ids": []}));
    assert_eq!(arrived(&receiver, 3).await, [r#""first""#, "null", r#""last""#]);
}

#[tokio::test]
async fn blank_lines_are_skipped() {
    let (host, receiver) = subscribed().await;
    let body = "\r\n\n{\"type\":\"t\",\"data\":1}\r\n \t \n\n{\"type\":\"t\",\"data\":2}\r\n\r\n";
    assert_eq!(batch(&host, body).await.expect(202)["results"].as_array().unwrap().len(), 2);
    assert_eq!(arrived(&receiver, 2).await, ["1", "2"]);
    for body in ["", "\n", "\r\n \n"] {
        assert_eq!(
            batch(&host, body).await.expect(202),
            json!({"accepted": 0, "duplicates": 0, "rejected": 0, "results": []})
        );
    }
}

#[tokio::test]
async fn batch_over_a_thousand_lines_stores_nothing() {
    let (host, receiver) = subscribed().await;
    let text = batch(&host, numbered(1001, "t")).await.problem(422);
    assert!(text.contains("1000 lines"), "{text}");
    let blank = "\n".repeat(5_000) + &numbered(1, "t");
    assert_eq!(batch(&host, blank).await.expect(202)["accepted"], 1);
    assert_eq!(arrived(&receiver, 1).await, ["0"]);
    assert_eq!(host.get("/deliveries").await.expect(200)["data"].as_array().unwrap().len(), SETTLING + 1);
}

#[tokio::test]
async fn batch_body_is_bounded_and_its_content_type_checked() {
    let (host, _receiver) = subscribed().await;
    batch(&host, vec![b'\n'; 16 * 1024 * 1024 + 1]).await.problem(413);
    batch(&host, vec![b'\n'; 16 * 1024 * 1024]).await.expect(202);
    for kind in [NDJSON, "application/ndjson", "application/jsonl", "Application/X-NDJSON; charset=utf-8"] {
        let answer = host.call(Method::POST, "/events/batch", &[("content-type", kind)], numbered(1, "t")).await;
        assert_eq!(answer.expect(202)["accepted"], 1, "{kind}");
    }
    assert_eq!(host.call(Method::POST, "/events/batch", &[], numbered(1, "t")).await.expect(202)["accepted"], 1);
    for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
        let answer = host.call(Method::POST, "/events/batch", &[("content-type", kind)], numbered(1, "t")).await;
        assert!(answer.problem(415).contains(NDJSON), "{kind}");
    }
    host.call(Method::POST, "/events/batch", &[("content-encoding", "gzip")], "x").await.problem(415);
    host.get("/events/batch").await.problem(405);
}

#[tokio::test]
async fn concurrent_large_batches_are_all_accepted() {
    let (host, _receiver) = subscribed().await;
    // Few long lines: the speed of the line splitter must not decide.
    let line = format!("{}{}\n", numbered(1, "t").trim_end(), " ".repeat(200 * 1024));
    let body = line.repeat(75);
    let mut tasks = Vec::new();
    for _ in 0..12 {
        let (client, body) = (host.client.clone(), body.clone());
        tasks.push(tokio::spawn(async move { batch(&client, body).await.expect(202) }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap()["accepted"], 75);
    }
}

#[tokio::test]
async fn batch_company_comes_from_line_query_or_key() {
    let (host, receiver) = subscribed().await;
    let platform = host.with_key(host.new_key(None, Scopes::all()).await);
    let lines = r#"{"type":"t","data":1}
        {"type":"t","data":2,"company":"acme"}
        {"type":"t","data":3,"company":"other"}
        {"type":"t","data":4,"company":""}"#;
    let results = batch(&platform, lines).await.expect(202)["results"].clone();
    assert_eq!(results[0]["error"]["status"], 422);
    assert!(results[1]["delivery_id"].is_string());
    assert_eq!(results[2]["delivery_id"], Value::Null);
    assert_eq!(results[3]["error"]["status"], 422);
    let call = |query: &'static str| {
        let (client, path) = (platform.clone(), format!("/events/batch?{query}"));
        async move { client.call(Method::POST, &path, &[("content-type", NDJSON)], numbered(1, "t")).await }
    };
    assert!(call("company=acme").await.expect(202)["results"][0]["delivery_id"].is_string());
    assert!(call("colour=red").await.problem(422).contains("colour"));
    assert_eq!(arrived(&receiver, 2).await.len(), 2);
    let looking = host.with_key(host.new_key(Some("acme"), Scopes::parse("events:read").unwrap()).await);
    batch(&looking, numbered(2, "t")).await.problem(403);
    batch(&host.with_key("nobody"), numbered(2, "t")).await.problem(401);
}

#[tokio::test]
async fn repeated_id_in_a_batch_makes_one_delivery() {
    let (host, receiver) = subscribed().await;
    let line = r#"{"type":"t","data":"once","id":"same"}"#;
    let answer = batch(&host, format!("{line}\n{line}\n{}", numbered(1, "t"))).await.expect(202);
    assert_eq!([&answer["accepted"], &answer["duplicates"], &answer["rejected"]], [2, 1, 0]);
    let delivery = answer["results"][0]["delivery_id"].as_str().unwrap();
    assert_eq!(
        answer["results"][0],
        json!({"status": "accepted", "id": "same", "delivery_id": delivery, "delivery_ids": [delivery]})
    );
    let duplicate = json!({"status": "duplicate", "id": "same", "delivery_id": delivery, "delivery_ids": [delivery], "duplicate": true});
    assert_eq!(answer["results"][1], duplicate);
    host.delivery(delivery, "delivered").await;
    let other = r#"{"type":"t","data":"other","id":"same"}"#;
    let again = batch(&host, format!("{line}\n\n{other}")).await.expect(202);
    assert_eq!([&again["accepted"], &again["duplicates"], &again["rejected"]], [0, 1, 1]);
    assert_eq!(again["results"][0], duplicate);
    let rejected = &again["results"][1];
    assert_eq!((&rejected["status"], &rejected["line"]), (&json!("rejected"), &json!(3)));
    assert_eq!(rejected["error"]["status"], 409);
    let alone = host.call(Method::POST, "/events", &[], line).await.expect(202);
    assert_eq!(alone, json!({"id": "same", "delivery_id": delivery, "delivery_ids": [delivery], "duplicate": true}));
    host.publish("t", &json!("marker")).await;
    assert_eq!(arrived(&receiver, 3).await, [r#""once""#, "0", r#""marker""#]);
}

#[tokio::test]
async fn database_errors_are_reported_line_by_line() {
    let (host, receiver) = subscribed().await;
    host.home().refuse_deliveries("NEW.event_id = 'no'").await;
    let lines = "{\"type\":\"t\",\"data\":1,\"id\":\"no\"}\n{\"type\":\"t\"}";
    let answer = batch(&host, lines).await.expect(202);
    assert_eq!(answer["accepted"], 0);
    assert_eq!(
        (&answer["results"][0]["error"]["status"], &answer["results"][1]["error"]["status"]),
        (&json!(503), &json!(422))
    );
    host.home().accept_deliveries().await;
    // The writer may still be refusing the events of the failed commit.
    until("the database takes it", || async { (batch(&host, lines).await.expect(202)["accepted"] == 1).then_some(()) })
        .await;
    assert_eq!(arrived(&receiver, 1).await, ["1"]);
}

#[tokio::test]
async fn error_does_not_repeat_a_long_line() {
    let (host, _receiver) = subscribed().await;
    let long = "k".repeat(50_000);
    let lines = [
        format!(r#"{{"type":"t","data":1,"{long}":1}}"#),
        format!(r#"{{"type":"t","data":1,"headers":{{"{long}":1}}}}"#),
        format!(r#"{{"type":"t","data":1,"headers":"{long}"}}"#),
        format!(r#"{{"type":"t","data":1,"headers":{{"{}":"v"}}}}"#, "k".repeat(8_000)),
        format!(r#"{{"type":"{long}","data":1}}"#),
        format!(r#"{{"type":"t","data":1,"id":"{long}"}}"#),
        format!(r#"{{"type":"t","data":1,"company":"{long}"}}"#),
        format!(r#"{{"type":"t","data":1,"occurred_at":"{long}"}}"#),
        long.clone(),
    ];
    for line in lines {
        let answer = batch(&host, &*line).await;
        assert_eq!(answer.expect(202)["accepted"], 0);
        assert!(answer.bytes.len() < 3_000, "{} bytes: {}", answer.bytes.len(), &line[..60]);
    }
}
