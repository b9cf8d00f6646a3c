//! `POST /webhooks/{id}/secret/rotate`: a new signing secret that overlaps with the previous one.

use http::Method;
use posthaste::clock::Clock;
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Answer, Arrival, Client, Host, Receiver, StoppedClock, verify};
use serde_json::{Value, json};

async fn subscribed(host: &Host, receiver: &Receiver) -> (String, String) {
    let created = host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    (created["id"].as_str().unwrap().to_owned(), secret(&created))
}

fn secret(answer: &Value) -> String {
    answer["signing_secret"].as_str().unwrap().to_owned()
}

async fn rotate(client: &Client, id: &str, body: &str) -> Answer {
    client.call(Method::POST, &format!("/webhooks/{id}/secret/rotate"), &[], body).await
}

/// Publishes one more event and returns its arrival.
async fn sent(host: &Host, receiver: &Receiver) -> Arrival {
    let before = receiver.arrivals().len();
    host.publish("t", &json!(before)).await;
    receiver.wait_for(before + 1).await.remove(before)
}

fn fits(arrival: &Arrival, secret: &str) -> bool {
    let timestamp = arrival.header("webhook-timestamp");
    let signed = (arrival.header("webhook-id"), timestamp, arrival.header("webhook-signature"));
    let secret = posthaste::outbound::sign::parse_secret(secret).unwrap();
    verify(&secret, signed, &arrival.body, timestamp.parse().unwrap()).is_ok()
}

fn signatures(arrival: &Arrival) -> usize {
    let header = arrival.header("webhook-signature");
    assert!(header.split(' ').all(|one| one.starts_with("v1,")), "{header}");
    header.split(' ').count()
}

#[tokio::test]
async fn both_secrets_sign_until_the_overlap_ends() {
    let clock = StoppedClock::now();
    let (mut host, receiver) = (Host::at(clock.clone(), &[]).await, Receiver::start().await);
    let (id, first) = subscribed(&host, &receiver).await;
    let webhook = host.get(&format!("/webhooks/{id}")).await.expect(200);
    let mut rotated = rotate(&host, &id, "").await.expect(200);
    let second = secret(&rotated);
    assert_ne!(first, second);
    for field in ["signing_secret", "updated_at"] {
        rotated.as_object_mut().unwrap().remove(field);
    }
    let mut expected = webhook;
    expected.as_object_mut().unwrap().remove("updated_at");
    assert_eq!(rotated, expected);
    let arrival = sent(&host, &receiver).await;
    assert!(fits(&arrival, &first) && fits(&arrival, &second) && signatures(&arrival) == 2);
    let newest = arrival.header("webhook-signature").split(' ').next().unwrap().to_owned();
    host.restart().await;
    let arrival = sent(&host, &receiver).await;
    assert!(fits(&arrival, &first) && fits(&arrival, &second));
    assert_ne!(arrival.header("webhook-signature").split(' ').next().unwrap(), newest);
    assert!(host.get(&format!("/webhooks/{id}")).await.expect(200).get("signing_secret").is_none());
    let sealed: Vec<u8> = host.home().value("SELECT previous_secret FROM webhooks").await;
    let until: i64 = host.home().value("SELECT previous_until FROM webhooks").await;
    let plain = posthaste::outbound::sign::parse_secret(&first).unwrap();
    assert!(!sealed.windows(plain.len()).any(|part| part == plain), "it is kept encrypted");
    let day = 24 * 60 * 60 * 1000;
    assert_eq!(until - clock.now_ms(), day);
    // Ends the overlap of a day.
    host.stop().await;
    host.home().sql("UPDATE webhooks SET previous_until = 1000").await;
    host.restart().await;
    let arrival = sent(&host, &receiver).await;
    assert!(!fits(&arrival, &first) && fits(&arrival, &second) && signatures(&arrival) == 1);
    host.call(Method::PATCH, &format!("/webhooks/{id}"), &[], r#"{"name":"n"}"#).await.expect(200);
    assert_eq!(host.home().value::<Option<Vec<u8>>>("SELECT previous_secret FROM webhooks").await, None);
}

#[tokio::test]
async fn rotation_without_overlap_retires_the_old_secret_at_once() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (id, first) = subscribed(&host, &receiver).await;
    assert!(fits(&sent(&host, &receiver).await, &first));
    let second = secret(&rotate(&host, &id, r#"{"overlap": "0s"}"#).await.expect(200));
    let arrival = sent(&host, &receiver).await;
    assert!(!fits(&arrival, &first) && fits(&arrival, &second) && signatures(&arrival) == 1);
}

#[tokio::test]
async fn second_rotation_keeps_only_the_previous_secret() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (id, first) = subscribed(&host, &receiver).await;
    let second = secret(&rotate(&host, &id, r#"{"overlap": "1h"}"#).await.expect(200));
    let third = secret(&rotate(&host, &id, r#"{"overlap": "30d"}"#).await.expect(200));
    let arrival = sent(&host, &receiver).await;
    assert_eq!([&first, &second, &third].map(|secret| fits(&arrival, secret)), [false, true, true]);
    let fourth = secret(&rotate(&host, &id, r#"{"overlap": "0s"}"#).await.expect(200));
    let arrival = sent(&host, &receiver).await;
    assert_eq!([&second, &third, &fourth].map(|secret| fits(&arrival, secret)), [false, false, true]);
}

#[tokio::test]
async fn overwriting_and_patching_keep_both_secrets() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (id, first) = subscribed(&host, &receiver).await;
    let second = secret(&rotate(&host, &id, r#"{"overlap": null}"#).await.expect(200));
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/b")})).await.expect(200);
    host.call(Method::PATCH, &format!("/webhooks/{id}"), &[], r#"{"name":"n"}"#).await.expect(200);
    let arrival = sent(&host, &receiver).await;
    assert!(fits(&arrival, &first) && fits(&arrival, &second));
}

#[tokio::test]
async fn invalid_rotation_is_refused_with_a_pointer() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (id, first) = subscribed(&host, &receiver).await;
    for (body, status, part) in [
        (r#"{"overlap": "30d1h"}"#, 422, "[/overlap]"),
        (r#"{"overlap": "31d"}"#, 422, "30d"),
        (r#"{"overlap": "-1s"}"#, 422, "[/overlap]"),
        (r#"{"overlap": "soon"}"#, 422, "[/overlap]"),
        (r#"{"overlap": 5}"#, 422, "[/overlap]"),
        (r#"{"for": "5s"}"#, 422, "for"),
        ("{", 400, "not JSON"),
    ] {
        let text = rotate(&host, &id, body).await.problem(status);
        assert!(text.contains(part), "{body}: {text}");
    }
    rotate(&host, "wh_nobody", "").await.problem(404);
    rotate(&host.company("other").await, &id, "").await.problem(404);
    let reading = host.with_key(host.new_key(Some("acme"), Scopes::parse("webhooks:read").unwrap()).await);
    rotate(&reading, &id, "").await.problem(403);
    host.get(&format!("/webhooks/{id}/secret/rotate")).await.problem(405);
    let arrival = sent(&host, &receiver).await;
    assert!(fits(&arrival, &first) && signatures(&arrival) == 1);
}
