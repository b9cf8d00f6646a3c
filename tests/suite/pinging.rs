//! `POST /webhooks/{id}/test`: one event through the whole path, at once.

use posthaste_tests::{Answer, Client, Host, Receiver, guest};
use serde_json::{Value, json};

async fn test(client: &Client, id: &str) -> Answer {
    client.post(&format!("/webhooks/{id}/test"), &Value::Null).await
}

#[tokio::test]
async fn ping_arrives_signed_and_answers_with_its_attempt() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/hook"), "challenge": "c1", "headers": {"x-a": "1"}});
    let webhook = host.post("/webhooks", &hook).await.expect(201);
    let id = webhook["id"].as_str().unwrap();
    let attempt = test(&host, id).await.expect(200);
    assert_eq!(
        (&attempt["number"], &attempt["status_code"], &attempt["error"]),
        (&json!(1), &json!(200), &Value::Null)
    );
    let arrival = receiver.first().await;
    assert_eq!((arrival.path.as_str(), arrival.header("webhook-event-type")), ("/hook", "ping"));
    assert_eq!((arrival.header("x-factorial-wh-challenge"), arrival.header("x-a")), ("c1", "1"));
    assert_eq!((&arrival.json()["type"], &arrival.json()["webhook"]), (&json!("ping"), &json!(id)));
    let secret = posthaste::outbound::sign::parse_secret(webhook["signing_secret"].as_str().unwrap()).unwrap();
    let signed =
        (arrival.header("webhook-id"), arrival.header("webhook-timestamp"), arrival.header("webhook-signature"));
    posthaste_tests::verify(&secret, signed, &arrival.body, signed.1.parse().unwrap()).unwrap();
    assert_eq!(attempt["request_headers"]["webhook-id"], arrival.header("webhook-id"));
    // The ping is in the log like any other delivery.
    let page = host.get(&format!("/deliveries?webhook={id}&type=ping&status=delivered")).await.expect(200);
    let listed = &page["data"][0];
    assert_eq!((&listed["event_id"], &listed["attempt_count"]), (&json!(arrival.header("webhook-id")), &json!(1)));
    let whole = host.get(&format!("/deliveries/{}", listed["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&whole["attempts"][0], &whole["payload"]), (&attempt, &arrival.json()));
    let again = host.post(&format!("/deliveries/{}/retry", listed["id"].as_str().unwrap()), &Value::Null).await;
    assert!(again.problem(409).contains("ping"));
}

#[tokio::test]
async fn ping_runs_the_plugin() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for name in ["replace", "drop", "trap"] {
        host.upload(name, &guest(name)).await.expect(201);
    }
    for (plugin, outcome, status) in
        [("replace", "replace", "delivered"), ("drop", "drop", "filtered"), ("trap", "error", "failed")]
    {
        let hook = json!({"type": plugin, "target_url": receiver.url("/"), "plugin": plugin});
        let id = host.subscribe(&hook).await;
        let attempt = test(&host, &id).await.expect(200);
        assert_eq!((&attempt["plugin"]["name"], &attempt["plugin"]["outcome"]), (&json!(plugin), &json!(outcome)));
        let page = host.get(&format!("/deliveries?webhook={id}")).await.expect(200);
        assert_eq!(page["data"][0]["status"], status);
    }
    let arrivals = receiver.arrivals();
    assert_eq!((arrivals.len(), arrivals[0].text()), (1, "hello".to_owned()));
}

#[tokio::test]
async fn event_of_a_test_takes_the_whole_path_and_is_logged_as_a_ping() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook =
        json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-mask", "config": {"fields": ["/iban"]}});
    let id = host.subscribe(&hook).await;
    let path = format!("/webhooks/{id}/test");
    let event = json!({"event": {"data": {"iban": "ES1", "a": 1}, "headers": {"x-a": "b"}}});
    let attempt = host.post(&path, &event).await.expect(200);
    assert_eq!((&attempt["status_code"], &attempt["plugin"]["outcome"]), (&json!(200), &json!("replace")));
    let arrival = receiver.first().await;
    assert_eq!((arrival.header("webhook-event-type"), arrival.header("x-a")), ("t", "b"));
    assert_eq!((&arrival.json()["a"], arrival.json()["iban"] == "ES1"), (&json!(1), false));
    assert!(arrival.header("webhook-signature").starts_with("v1,"));
    let other = json!({"event": {"type": "other", "data": [1]}});
    host.post(&path, &other).await.expect(200);
    assert_eq!(receiver.wait_for(2).await[1].header("webhook-event-type"), "other");
    // Neither is an event that can be replayed or looked up as one of its type.
    for (kind, count) in [("t", 0), ("other", 0), ("ping", 2)] {
        let page = host.get(&format!("/deliveries?type={kind}")).await.expect(200);
        assert_eq!(page["data"].as_array().unwrap().len(), count, "{kind}");
    }
    let logged = &host.get("/deliveries?type=ping").await.expect(200)["data"][1]["id"];
    let transformed = host.get(&format!("/deliveries/{}/transformed", logged.as_str().unwrap())).await;
    assert_eq!((transformed.status, transformed.bytes), (200, arrival.body.to_vec()));
}

#[tokio::test]
async fn test_by_type_sends_the_newest_event_of_that_type_or_an_example() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let path = format!("/webhooks/{id}/test");
    host.post(&path, &json!({"type": "t"})).await.expect(200);
    let made_up = receiver.first().await;
    assert_eq!((&made_up.json()["type"], &made_up.json()["example"]), (&json!("t"), &json!(true)));
    assert_eq!(made_up.header("webhook-event-type"), "t");
    for number in 1..=3 {
        host.publish("nobody", &json!({ "number": number })).await;
    }
    host.company("other").await.publish("nobody", &json!({"number": 4})).await;
    host.post(&path, &json!({"type": "nobody"})).await.expect(200);
    let newest = receiver.wait_for(2).await.remove(1);
    assert_eq!((newest.json(), newest.header("webhook-event-type")), (json!({"number": 3}), "nobody"));
}

#[tokio::test]
async fn body_of_a_test_that_is_not_understood_is_refused() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let path = format!("/webhooks/{id}/test");
    for (body, part) in [
        (json!({"data": 1}), "data"),
        (json!({"event": {"type": "t"}}), "[/event/data]"),
        (json!({"event": {"data": 1, "id": "x"}}), "[/event/id]"),
        (json!({"event": {"data": 1, "type": "a b"}}), "[/event/type]"),
        (json!({"event": {"data": 1, "type": "posthaste.x"}}), "[/event/type]"),
        (json!({"event": {"data": 1, "headers": {"webhook-id": "x"}}}), "[/event/headers/webhook-id]"),
        (json!({"event": 1}), "[/event]"),
        (json!({"type": "ping"}), "[/type]"),
        (json!({"type": 1}), "[/type]"),
        (json!({"type": "t", "event": {"data": 1}}), "[/type]"),
        (json!([]), ""),
    ] {
        let text = host.post(&path, &body).await.problem(422);
        assert!(text.contains(part), "{part} in {text}");
    }
    let raw = async |body: &str| host.call(http::Method::POST, &path, &[], body).await;
    raw("{").await.problem(400);
    assert!(raw("type=t&data=1").await.problem(400).contains("form"));
    let large = json!({"event": {"data": "x".repeat(262_144)}});
    host.post(&path, &large).await.problem(413);
    assert!(receiver.arrivals().is_empty());
    // No body, and none of its fields, is a ping.
    for (count, body) in (1..).zip(["", " ", "null", "{}", r#"{"event": null, "type": null}"#]) {
        raw(body).await.expect(200);
        assert_eq!(receiver.wait_for(count).await[count - 1].header("webhook-event-type"), "ping");
    }
}

#[tokio::test]
async fn ping_works_on_a_disabled_webhook_and_leaves_it_disabled() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "enabled": false})).await;
    let waiting = host.publish("t", &json!(1)).await;
    assert_eq!(test(&host, &id).await.expect(200)["status_code"], 200);
    assert_eq!(host.get(&format!("/webhooks/{id}")).await.expect(200)["enabled"], false);
    assert_eq!(host.get(&format!("/deliveries/{waiting}")).await.expect(200)["status"], "pending");
    assert_eq!(receiver.arrivals().len(), 1);
}

#[tokio::test]
async fn failed_ping_is_reported_not_retried_and_leaves_the_webhook_enabled() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    for status in [500, 404, 410] {
        receiver.answer_status(status);
        let attempt = test(&host, &id).await.expect(200);
        assert_eq!(
            (&attempt["status_code"], &attempt["error"]),
            (&json!(status), &json!(format!("the receiver answered {status}")))
        );
    }
    receiver.hold();
    host.restart_with(&["--attempt-timeout=300ms"]).await;
    let attempt = test(&host, &id).await.expect(200);
    assert_eq!(attempt["status_code"], Value::Null);
    assert!(attempt["error"].as_str().unwrap().contains("no answer within 300 ms"), "{attempt}");
    let page = host.get("/deliveries?status=failed").await.expect(200);
    let failed = page["data"].as_array().unwrap();
    assert!(failed.len() == 4 && failed.iter().all(|one| one["attempt_count"] == 1), "{page}");
    assert_eq!(host.get(&format!("/webhooks/{id}")).await.expect(200)["enabled"], true);
}

#[tokio::test]
async fn ping_finds_only_webhooks_of_the_own_company() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    test(&host, "wh_nobody").await.problem(404);
    test(&host.company("other").await, &id).await.problem(404);
    assert!(receiver.arrivals().is_empty());
}

#[tokio::test]
async fn concurrent_pings_of_one_company_leave_room_for_others() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    receiver.hold();
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let (client, id) = (host.client.clone(), id.clone());
        tasks.push(tokio::spawn(async move { test(&client, &id).await }));
    }
    // Another company's ping succeeds while all of these hang.
    receiver.wait_for(4).await;
    let (other, well) = (host.company("other").await, Receiver::start().await);
    let theirs = other.subscribe(&json!({"type": "t", "target_url": well.url("/")})).await;
    assert_eq!(test(&other, &theirs).await.expect(200)["status_code"], 200);
    assert!(receiver.most_unanswered() < 64, "{}", receiver.most_unanswered());
    receiver.open();
    for task in tasks {
        let answer = task.await.unwrap();
        assert!([200, 429].contains(&answer.status), "{}", answer.status);
    }
}
