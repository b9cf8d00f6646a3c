//! Publishing: accepted events, answers, and the requests that arrive.

use http::Method;
use posthaste_tests::{Host, Receiver};
use proptest::prelude::*;
use serde_json::{Value, json};

async fn subscribed() -> (Host, Receiver) {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    (host, receiver)
}

async fn publish_raw(host: &Host, data: &str) -> Value {
    host.call(Method::POST, "/events", &[], format!(r#"{{"type":"t","data":{data}}}"#)).await.expect(202)
}

#[tokio::test]
async fn body_arrives_byte_for_byte() {
    let (host, receiver) = subscribed().await;
    let spellings = [
        r#"{"b":1.0,"a":1e3,"n":12345678901234567890123456789,"z":-0.0,"t":1.10}"#,
        r#"{ "spaced" :  [ 1 ,2 ] , "dup":1,"dup":2 }"#,
        r#""\u00e9\/\ud83d\ude00é😀\u0000""#,
        "null",
        "[]",
        "  7  ",
    ];
    for (index, data) in spellings.iter().enumerate() {
        publish_raw(&host, data).await;
        let arrivals = receiver.wait_for(index + 1).await;
        assert_eq!(arrivals[index].text(), data.trim());
    }
}

fn json_text() -> impl Strategy<Value = String> {
    let space = "[ \t\n]{0,2}";
    let string = r#"([ !#-\[\]-~éß😀]|\\["\\/bfnrt]|\\u[0-9a-d][0-9a-f]{3}){0,8}"#.prop_map(|inner| {
        // A lone surrogate is not valid JSON.
        format!("\"{}\"", inner.replace("\\ud", "\\u0"))
    });
    let number = r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?";
    let leaf = prop_oneof![string.clone(), number, Just("true".into()), Just("null".into())];
    (leaf, space).prop_map(|(leaf, space)| format!("{leaf}{space}")).prop_recursive(4, 32, 5, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(",")));
        let pairs = prop::collection::vec((string.clone(), inner), 0..5);
        let object = pairs.prop_map(|pairs| {
            let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key} : {value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        });
        prop_oneof![list, object]
    })
}

#[test]
fn any_json_text_arrives_byte_for_byte() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (host, receiver) = runtime.block_on(subscribed());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 200, ..Default::default() });
    let result = runner.run(&json_text(), |data| {
        runtime.block_on(async {
            let before = receiver.arrivals().len();
            publish_raw(&host, &data).await;
            let arrivals = receiver.wait_for(before + 1).await;
            prop_assert_eq!(arrivals[before].text(), data.trim());
            Ok(())
        })
    });
    result.unwrap();
}

#[tokio::test]
async fn every_header_of_the_contract_arrives() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({
        "type": "employees/employee/update", "target_url": receiver.url("/x?y=1"), "challenge": "ch4llenge!",
        "headers": {"X-From-Webhook": "w", "x-both": "webhook"},
    });
    let created = host.post("/webhooks", &hook).await.expect(201);
    let event = json!({"type": "employees/employee/update", "data": {"test": 2_432_232_314_u64}, "id": "msg_1",
        "headers": {"X-Both": "event"}});
    host.post("/events", &event).await.expect(202);
    let arrival = receiver.first().await;
    assert_eq!(arrival.header("content-type"), "application/json");
    assert_eq!(arrival.header("user-agent"), format!("posthaste/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(arrival.header("webhook-id"), "msg_1");
    assert_eq!(arrival.header("webhook-event-type"), "employees/employee/update");
    assert_eq!(arrival.header("x-factorial-wh-challenge"), "ch4llenge!");
    assert_eq!((arrival.header("x-from-webhook"), arrival.header("x-both")), ("w", "event"));
    let secret = posthaste::outbound::sign::parse_secret(created["signing_secret"].as_str().unwrap()).unwrap();
    let timestamp = arrival.header("webhook-timestamp");
    let signed = ("msg_1", timestamp, arrival.header("webhook-signature"));
    posthaste_tests::verify(&secret, signed, &arrival.body, timestamp.parse().unwrap()).unwrap();
    assert!(posthaste_tests::verify(&secret, signed, b"{}", timestamp.parse().unwrap()).is_err());
}

#[tokio::test]
async fn event_without_subscriber_is_accepted() {
    let host = Host::start().await;
    let answer = host.post("/events", &json!({"type": "t", "data": 1})).await.expect(202);
    assert!(answer["id"].as_str().unwrap().starts_with("evt_"));
    assert_eq!(answer["delivery_id"], Value::Null);
    assert_eq!(host.get("/deliveries").await.expect(200)["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_events_with_one_id_make_one_delivery() {
    let (host, receiver) = subscribed().await;
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(40));
    for round in 0..5 {
        let mut tasks = Vec::new();
        for number in 0..40 {
            // Either of two different events with one id may come first; only one is stored.
            let event = json!({"type": "t", "data": [round, number], "id": format!("same-{round}")});
            let (client, start) = (host.with_key(host.key.clone()), start.clone());
            tasks.push(tokio::spawn(async move {
                start.wait().await;
                let answer = client.post("/events", &event).await;
                (answer.status == 202).then(|| answer.json()).ok_or_else(|| answer.problem(409))
            }));
        }
        let mut accepted = Vec::new();
        for task in tasks {
            accepted.extend(task.await.unwrap());
        }
        assert_eq!(accepted.len(), 1, "{accepted:?}");
        host.delivery(accepted[0]["delivery_id"].as_str().unwrap(), "delivered").await;
    }
    host.publish("t", &json!("marker")).await;
    let arrivals = receiver.wait_for(6).await;
    assert_eq!(arrivals.len(), 6);
    for (round, arrival) in arrivals[..5].iter().enumerate() {
        assert_eq!(arrival.header("webhook-id"), format!("same-{round}"));
    }
}

#[tokio::test]
async fn null_fields_of_an_event_count_as_absent() {
    let (host, receiver) = subscribed().await;
    let event = r#"{"type":"t","data":null,"id":null,"occurred_at":null,"company":null,"headers":null}"#;
    let answer = host.call(Method::POST, "/events", &[], event).await.expect(202);
    assert!(answer["id"].as_str().unwrap().starts_with("evt_"));
    assert_eq!(receiver.first().await.text(), "null");
}

#[tokio::test]
async fn repeated_id_is_answered_alike_and_delivered_once_per_company() {
    let (host, receiver) = subscribed().await;
    let event = json!({"type": "t", "data": 1, "id": "same"});
    let mut tasks = Vec::new();
    for _ in 0..12 {
        let (client, event) = (host.client.clone(), event.clone());
        tasks.push(tokio::spawn(async move { client.post("/events", &event).await.expect(202) }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    let delivery = answers[0]["delivery_id"].as_str().unwrap();
    let first = json!({"id": "same", "delivery_id": delivery, "delivery_ids": [delivery]});
    let again = json!({"id": "same", "delivery_id": delivery, "delivery_ids": [delivery], "duplicate": true});
    assert_eq!(answers.iter().filter(|answer| **answer == first).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == again).count(), 11, "{answers:?}");
    host.delivery(delivery, "delivered").await;
    assert_eq!(host.post("/events", &event).await.expect(202), again);
    let reformatted = "{ \"data\" : 1, \"type\": \"t\", \"id\": \"same\" }";
    assert_eq!(host.call(Method::POST, "/events", &[], reformatted).await.expect(202), again);
    for other in [json!({"type": "t", "data": 2, "id": "same"}), json!({"type": "u", "data": 1, "id": "same"})] {
        let problem = host.post("/events", &other).await.problem(409);
        assert!(problem.contains("`same`") && problem.contains("nothing was stored"), "{problem}");
    }
    let other = host.company("other").await;
    assert_eq!(other.post("/events", &event).await.expect(202)["delivery_id"], Value::Null);
    host.publish("t", &json!("marker")).await;
    assert_eq!(receiver.wait_for(2).await.len(), 2);
}

#[tokio::test]
async fn invalid_events_are_refused_with_a_pointer() {
    let host = Host::with(&["--max-event-bytes=1000"]).await;
    for (body, status, part) in [
        (r#"{"type":"t","data":"#, 400, "not JSON"),
        (r#"{"type":"t"}"#, 422, "[/data]"),
        (r#"{"data":1}"#, 422, "[/type]"),
        (r#"{"type":"ping","data":1}"#, 422, "[/type]"),
        (r#"{"type":"posthaste.webhook.disabled","data":1}"#, 422, "[/type]"),
        (r#"{"type":"t","data":1,"id":"a b"}"#, 422, "[/id]"),
        (r#"{"type":"t","data":1,"occurred_at":"noon"}"#, 422, "[/occurred_at]"),
        (r#"{"type":"t","data":1,"headers":{"Host":"x"}}"#, 422, "[/headers/Host]"),
        (r#"{"type":"t","data":1,"headers":{"a":"b\r\nc: d"}}"#, 422, "[/headers/a]"),
        (r#"{"type":"t","data":1,"headers":{"a":7}}"#, 422, "[/headers/a]"),
        (r#"{"type":"t","data":1,"extra":1}"#, 422, "extra"),
        (r#"{"type":"t","data":1,"company":"other"}"#, 403, "another company"),
        (r#"["type"]"#, 422, "not a JSON object"),
        (r#"["t",1,null,null,null,null]"#, 422, "not a JSON object"),
        (r#"{"type":7,"data":"#, 400, "not JSON"),
        (r#"{"type":"t","data":1}{}"#, 400, "not JSON"),
        ("", 400, "not JSON"),
        ("\u{feff}{}", 400, "not JSON"),
    ] {
        let text = host.call(Method::POST, "/events", &[], body).await.problem(status);
        assert!(text.contains(part), "{body}: {text}");
    }
    let at_limit = format!(r#"{{"type":"t","data":"{}"}}"#, "x".repeat(998));
    host.call(Method::POST, "/events", &[], at_limit).await.expect(202);
    let over = format!(r#"{{"type":"t","data":"{}"}}"#, "x".repeat(999));
    host.call(Method::POST, "/events", &[], over).await.problem(413);
    host.call(Method::POST, "/events", &[], " ".repeat(200_000)).await.problem(413);
    host.call(Method::POST, "/events", &[("content-encoding", "gzip")], "x").await.problem(415);
    host.call(Method::POST, "/events", &[], b"{\"type\":\"t\",\"data\":\"\xff\"}".to_vec()).await.problem(400);
}
