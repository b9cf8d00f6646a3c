//! Attempts: success, retries, and their record.

use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use posthaste_tests::{Arrival, Host, Receiver, StoppedClock, until};
use serde_json::{Value, json};

use crate::metrics::Scrape;

async fn subscribed(flags: &[&str]) -> (Host, Receiver) {
    let (host, receiver) = (Host::with(flags).await, Receiver::start().await);
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    (host, receiver)
}

#[tokio::test]
async fn failed_delivery_is_retried_with_the_same_body_and_id_until_it_succeeds() {
    let (host, receiver) = subscribed(&[]).await;
    receiver.answer(|before, _| match before {
        0 | 1 => (StatusCode::SERVICE_UNAVAILABLE, "come back").into_response(),
        _ => "thanks".into_response(),
    });
    let id = host.publish("t", &json!({"n": 1})).await;
    let delivery = host.delivery(&id, "delivered").await;
    let attempts = delivery["attempts"].as_array().unwrap();
    let codes: Vec<_> = attempts.iter().map(|attempt| attempt["status_code"].clone()).collect();
    assert_eq!(codes, [json!(503), json!(503), json!(200)]);
    assert_eq!(attempts[0]["response_body"], "come back");
    assert_eq!(attempts[0]["error"], "the receiver answered 503");
    assert_eq!((&attempts[2]["error"], &attempts[2]["number"]), (&Value::Null, &json!(3)));
    assert_eq!(attempts[2]["request_headers"]["webhook-event-type"], "t");
    assert_eq!((&delivery["attempt_count"], &delivery["payload"]), (&json!(3), &json!({"n": 1})));
    assert!(delivery["finished_at"].is_string() && delivery["next_attempt_at"].is_null());
    let arrivals = receiver.arrivals();
    assert!(arrivals.iter().all(|arrival| arrival.body == arrivals[0].body));
    assert!(arrivals.iter().all(|arrival| arrival.header("webhook-id") == arrivals[0].header("webhook-id")));
}

#[tokio::test]
async fn delivery_fails_when_its_schedule_is_exhausted() {
    let (host, receiver) = subscribed(&["--retry-schedule=5ms,5ms"]).await;
    receiver.answer(|_, _| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    let id = host.publish("t", &json!(1)).await;
    let delivery = host.delivery(&id, "failed").await;
    assert_eq!((delivery["attempts"].as_array().unwrap().len(), receiver.arrivals().len()), (3, 3));
    assert!(delivery["finished_at"].is_string());
}

#[tokio::test]
async fn waiting_delivery_shows_its_next_attempt() {
    // The clock stands still, so that the wait is exact.
    let host = Host::at(StoppedClock::now(), &["--retry-schedule=1h"]).await;
    let receiver = Receiver::start().await;
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    receiver.answer(|_, _| StatusCode::BAD_REQUEST.into_response());
    let id = host.publish("t", &json!(1)).await;
    let delivery = host.delivery_when(&id, "tried once", |delivery| delivery["attempt_count"] == 1).await;
    assert_eq!(delivery["status"], "pending");
    let at = |field: &str| posthaste::domain::time::parse_rfc3339(delivery[field].as_str().unwrap()).unwrap();
    let wait = at("next_attempt_at") - at("created_at");
    assert!((54 * 60_000..=66 * 60_000).contains(&wait), "an hour and a tenth of jitter: {wait} ms");
}

#[tokio::test]
async fn redirects_are_failures_and_not_followed() {
    let (host, receiver) = subscribed(&["--retry-schedule=5ms"]).await;
    let elsewhere = Receiver::start().await;
    let url = elsewhere.url("/metadata");
    receiver.answer(move |_, _| Redirect::temporary(&url).into_response());
    let id = host.publish("t", &json!(1)).await;
    let delivery = host.delivery(&id, "failed").await;
    assert_eq!(delivery["attempts"][0]["status_code"], 307);
    assert!(elsewhere.arrivals().is_empty());
}

#[tokio::test]
async fn response_body_is_kept_up_to_16_kib() {
    let (host, receiver) = subscribed(&[]).await;
    receiver.answer(|_, _| "x".repeat(1 << 20).into_response());
    let id = host.publish("t", &json!(1)).await;
    let delivery = host.delivery(&id, "delivered").await;
    assert_eq!(delivery["attempts"][0]["response_body"].as_str().unwrap().len(), 16 * 1024);
}

#[tokio::test]
async fn success_status_with_endless_body_counts_as_delivered() {
    let (host, receiver) = subscribed(&["--attempt-timeout=3s"]).await;
    receiver.answer(|_, _| Response::new(axum::body::Body::from_stream(Endless)));
    let id = host.publish("t", &json!(1)).await;
    let delivery = host.delivery(&id, "delivered").await;
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1);
}

struct Endless;

impl futures_util::Stream for Endless {
    type Item = Result<bytes::Bytes, std::io::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn unreachable_receiver_has_a_readable_error() {
    let host = Host::with(&["--retry-schedule=5ms"]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    host.post("/webhooks", &json!({"type": "t", "target_url": url})).await.expect(201);
    let delivery = host.delivery(&host.publish("t", &json!(1)).await, "failed").await;
    let attempt = &delivery["attempts"][0];
    assert_eq!(attempt["status_code"], Value::Null);
    assert!(attempt["error"].as_str().unwrap().contains("refused"), "{attempt}");
}

#[tokio::test]
async fn slow_webhook_uses_only_its_slots_and_holds_up_no_neighbour() {
    let (host, slow) = (Host::start().await, Receiver::start().await);
    let quick = Receiver::start().await;
    slow.hold();
    let hook = json!({"type": "slow", "target_url": slow.url("/"), "max_in_flight": 2});
    host.post("/webhooks", &hook).await.expect(201);
    host.post("/webhooks", &json!({"type": "quick", "target_url": quick.url("/")})).await.expect(201);
    let slow_one = host.publish("slow", &json!(0)).await;
    for number in 1..1500 {
        host.publish("slow", &json!(number)).await;
    }
    for number in 0..20 {
        let id = host.publish("quick", &json!(number)).await;
        host.delivery(&id, "delivered").await;
    }
    assert_eq!(slow.arrivals().len(), 2);
    let waiting = host.get(&format!("/deliveries/{slow_one}")).await.expect(200);
    assert_eq!(waiting["status"], "pending");
}

/// Deliveries that one webhook queue holds in memory.
const QUEUE_CAPACITY: f64 = 1024.0;

#[tokio::test(flavor = "multi_thread")]
async fn full_webhook_queue_spills_to_the_backlog_and_all_is_delivered() {
    const COUNT: usize = 2500;
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 4})).await;
    receiver.hold();
    let publishing = (0..10).map(|caller| {
        let host = &host;
        async move {
            for number in 0..COUNT / 10 {
                host.publish("t", &json!([caller, number])).await;
            }
        }
    });
    futures_util::future::join_all(publishing).await;
    // The webhook is enabled and its receiver does not answer: only a full queue can have spilled these to the backlog.
    let (in_memory, backlog) = until("all are counted", || async {
        let scrape = Scrape::of(&host).await;
        let waiting = |state: &str| scrape.get(&format!("posthaste_deliveries_waiting{{state=\"{state}\"}}"));
        let (in_memory, backlog) = (waiting("leased"), waiting("backlog"));
        (waiting("scheduled") + in_memory + backlog == COUNT as f64).then_some((in_memory, backlog))
    })
    .await;
    // Besides the attempts in flight, memory holds at most a full queue. It holds at least half of one: a new queue looks for a
    // backlog first, events that are published meanwhile join that, and it is fetched while the queue has room for half.
    assert!((QUEUE_CAPACITY / 2.0..=QUEUE_CAPACITY + 4.0).contains(&in_memory), "{in_memory} in memory, {backlog} not");
    receiver.open();
    receiver.wait_for(COUNT).await;
    until("all are delivered", || async {
        let page = host.get("/deliveries?status=pending&limit=1").await.expect(200);
        page["data"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    let mut bodies: Vec<_> = receiver.arrivals().iter().map(Arrival::text).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!((bodies.len(), receiver.arrivals().len()), (COUNT, COUNT));
}

#[tokio::test]
async fn list_shows_the_last_attempt_and_selects_what_is_retried() {
    let (host, receiver) = subscribed(&["--retry-schedule=1h"]).await;
    host.publish("t", &json!("good")).await;
    receiver.first().await;
    receiver.answer(|_, _| StatusCode::BAD_GATEWAY.into_response());
    let bad = host.publish("t", &json!("bad")).await;
    host.delivery_when(&bad, "tried once", |delivery| delivery["attempt_count"] == 1).await;
    let list = host.get("/deliveries").await.expect(200);
    let (failing, good) = (&list["data"][0], &list["data"][1]);
    assert_eq!(
        (&failing["last_status_code"], &failing["last_error"]),
        (&json!(502), &json!("the receiver answered 502"))
    );
    assert_eq!((&good["last_status_code"], &good["last_error"]), (&json!(200), &Value::Null));
    let detail = host.get(&format!("/deliveries/{bad}")).await.expect(200);
    assert_eq!(failing["last_attempt_at"], detail["attempts"][0]["started_at"]);
    assert_eq!(failing["last_attempt_at"], detail["last_attempt_at"]);
    let retrying = host.get("/deliveries?status=retrying").await.expect(200);
    assert_eq!(retrying["data"].as_array().unwrap().len(), 1);
    assert_eq!(retrying["data"][0]["id"], bad);
    let problem = host.get("/deliveries?status=lost").await.problem(422);
    assert!(problem.contains("retrying"), "{problem}");
}

#[tokio::test]
async fn attempt_shows_where_it_went_and_the_headers_that_came_back() {
    let (host, receiver) = subscribed(&[]).await;
    receiver.answer(|_, _| {
        let many = (0..40).map(|number| (format!("x-{number:02}"), "v".repeat(number)));
        let mut response = "thanks".into_response();
        for (name, value) in many.chain([("x-request-id".into(), "4711".into())]) {
            response.headers_mut().insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        response
    });
    let id = host.publish("t", &json!(1)).await;
    let attempt = host.delivery(&id, "delivered").await["attempts"][0].clone();
    assert_eq!(attempt["url"], receiver.url("/"));
    let headers = attempt["response_headers"].as_object().unwrap();
    assert_eq!((headers.len(), &headers["x-07"]), (32, &json!("v".repeat(7))));
}

#[tokio::test]
async fn credentials_in_headers_are_encrypted_and_shown_to_nobody() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let headers = json!({"Authorization": "Bearer s3cret", "x_api_key": "s3cret", "x-tenant": "55"});
    let shown = json!({"Authorization": "***", "x_api_key": "***", "x-tenant": "55"});
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "headers": headers});
    let created = host.post("/webhooks", &hook).await.expect(201);
    let path = format!("/webhooks/{}", created["id"].as_str().unwrap());
    for webhook in [created, host.get(&path).await.expect(200), host.get("/webhooks").await.expect(200)[0].clone()] {
        assert_eq!(webhook["headers"], shown);
    }
    let id = host.publish("t", &json!(1)).await;
    let attempt = host.delivery(&id, "delivered").await["attempts"][0].clone();
    let arrival = receiver.first().await;
    assert_eq!((arrival.header("authorization"), arrival.header("x_api_key")), ("Bearer s3cret", "s3cret"));
    let sent = &attempt["request_headers"];
    assert_eq!(
        (&sent["authorization"], &sent["x_api_key"], &sent["x-tenant"]),
        (&json!("***"), &json!("***"), &json!("55"))
    );
    let clear = "SELECT COUNT(*) FROM webhooks WHERE headers <> '[]' OR sealed_headers IS NULL";
    assert_eq!(host.home().value::<i64>(clear).await, 0);
    // A client that sends back what it has read does not replace the credential by asterisks.
    let problem = host.patch(&path, &json!({"headers": shown})).await.problem(422);
    assert!(problem.contains("[/headers/Authorization]"), "{problem}");
    // Headers that an earlier version stored in clear are sent as before, and encrypted.
    host.stop().await;
    let earlier = r#"[["x-api-key","earlier"]]"#;
    host.home().sql(&format!("UPDATE webhooks SET sealed_headers = NULL, headers = '{earlier}'")).await;
    host.restart().await;
    let id = host.publish("t", &json!(2)).await;
    host.delivery(&id, "delivered").await;
    assert_eq!(receiver.wait_for(2).await[1].header("x-api-key"), "earlier");
    until("the headers are encrypted", async || (host.home().value::<i64>(clear).await == 0).then_some(())).await;
    let id = host.publish("t", &json!(3)).await;
    host.delivery(&id, "delivered").await;
    assert_eq!(receiver.wait_for(3).await[2].header("x-api-key"), "earlier");
}
