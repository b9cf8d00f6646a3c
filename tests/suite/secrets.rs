//! Signing secrets that the company gives, and the call that shows them.

use http::Method;
use posthaste::domain::credential::Scopes;
use posthaste::outbound::sign::{parse_secret, show_secret};
use posthaste_tests::{Arrival, Host, Receiver, StoppedClock, verify};
use serde_json::{Value, json};

/// The displayed form of a secret of `bytes` bytes that all are `fill`.
fn secret(fill: u8, bytes: usize) -> String {
    show_secret(&vec![fill; bytes])
}

fn subscription(event_type: &str, receiver: &Receiver, secret: Option<&str>) -> Value {
    json!({"type": event_type, "target_url": receiver.url("/"), "signing_secret": secret})
}

/// Publishes one more event and returns its arrival.
async fn sent(host: &Host, receiver: &Receiver, event_type: &str) -> Arrival {
    let before = receiver.arrivals().len();
    host.publish(event_type, &json!(before)).await;
    receiver.wait_for(before + 1).await.remove(before)
}

/// Whether the secret, and no other, has signed.
fn signed_by(arrival: &Arrival, secret: &str) -> bool {
    let timestamp = arrival.header("webhook-timestamp");
    let signature = arrival.header("webhook-signature");
    let signed = (arrival.header("webhook-id"), timestamp, signature);
    let secret = parse_secret(secret).unwrap();
    !signature.contains(' ') && verify(&secret, signed, &arrival.body, timestamp.parse().unwrap()).is_ok()
}

async fn shown(host: &Host, id: &str) -> Value {
    host.get(&format!("/webhooks/{id}/secret")).await.expect(200)
}

#[tokio::test]
async fn webhooks_share_a_given_secret_of_24_to_64_bytes() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for (event_type, given) in [("a", secret(1, 24)), ("b", secret(1, 24)), ("c", secret(2, 32)), ("d", secret(3, 64))]
    {
        let created = host.post("/webhooks", &subscription(event_type, &receiver, Some(&given))).await.expect(201);
        assert_eq!(created["signing_secret"], given);
        assert!(signed_by(&sent(&host, &receiver, event_type).await, &given), "{event_type}");
        let id = created["id"].as_str().unwrap();
        assert_eq!(shown(&host, id).await, json!({"signing_secret": given}));
        assert!(host.get(&format!("/webhooks/{id}")).await.expect(200).get("signing_secret").is_none());
    }
}

#[tokio::test]
async fn overwriting_replaces_the_secret_only_if_one_is_given() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (first, second) = (secret(1, 32), secret(2, 32));
    host.post("/webhooks", &subscription("t", &receiver, Some(&first))).await.expect(201);
    host.post("/webhooks", &subscription("t", &receiver, None)).await.expect(200);
    assert!(signed_by(&sent(&host, &receiver, "t").await, &first));
    let overwritten = host.post("/webhooks", &subscription("t", &receiver, Some(&second))).await.expect(200);
    assert!(overwritten.get("signing_secret").is_none());
    assert!(signed_by(&sent(&host, &receiver, "t").await, &second));
}

#[tokio::test]
async fn patched_secret_replaces_both_at_once_and_outlives_a_restart() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&subscription("t", &receiver, None)).await;
    let path = format!("/webhooks/{id}");
    host.call(Method::POST, &format!("{path}/secret/rotate"), &[], "").await.expect(200);
    let given = secret(4, 40);
    let patched = host.patch(&path, &json!({"signing_secret": given})).await.expect(200);
    assert!(patched.get("signing_secret").is_none());
    assert!(signed_by(&sent(&host, &receiver, "t").await, &given));
    host.restart().await;
    assert!(signed_by(&sent(&host, &receiver, "t").await, &given));
    let sealed: Vec<u8> = host.home().value("SELECT signing_secret FROM webhooks").await;
    assert!(!sealed.windows(40).any(|part| part == [4; 40]), "it is kept encrypted");
}

#[tokio::test]
async fn a_corrected_secret_sends_waiting_retries_at_once() {
    let (host, receiver) = (Host::with(&["--retry-schedule", "1h"]).await, Receiver::start().await);
    let id = host.subscribe(&subscription("t", &receiver, None)).await;
    receiver.answer_status(401);
    host.publish("t", &json!(1)).await;
    receiver.first().await;
    receiver.answer_status(200);
    let given = secret(5, 32);
    host.patch(&format!("/webhooks/{id}"), &json!({"signing_secret": given})).await.expect(200);
    assert!(signed_by(&receiver.wait_for(2).await[1], &given));
}

#[tokio::test]
async fn a_rotation_shows_the_previous_secret_as_long_as_it_signs() {
    let clock = StoppedClock::now();
    let (host, receiver) = (Host::at(clock.clone(), &[]).await, Receiver::start().await);
    let first = secret(1, 32);
    let id = host.subscribe(&subscription("t", &receiver, Some(&first))).await;
    let rotated = host.call(Method::POST, &format!("/webhooks/{id}/secret/rotate"), &[], r#"{"overlap": "1h"}"#).await;
    let second = rotated.expect(200)["signing_secret"].clone();
    let during = shown(&host, &id).await;
    assert_eq!((&during["signing_secret"], &during["previous_signing_secret"]), (&second, &json!(first)));
    assert!(during["previous_until"].as_str().unwrap().ends_with('Z'), "{during}");
    clock.pass(60 * 60 * 1000);
    assert_eq!(shown(&host, &id).await, json!({"signing_secret": second}));
}

#[tokio::test]
async fn only_a_key_that_may_change_webhooks_sees_the_secret() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&subscription("t", &receiver, None)).await;
    let path = format!("/webhooks/{id}/secret");
    assert_eq!(host.get(&path).await.header("cache-control"), "no-store");
    for (scopes, status) in [("webhooks", 200), ("webhooks:read", 403), ("admin,events,deliveries,plugins", 403)] {
        let key = host.new_key(Some("acme"), Scopes::parse(scopes).unwrap()).await;
        let answer = host.with_key(key).get(&path).await;
        assert_eq!((answer.status, answer.json().get("signing_secret").is_some()), (status, status == 200), "{scopes}");
    }
    host.company("other").await.get(&path).await.problem(404);
    host.get("/webhooks/wh_nobody/secret").await.problem(404);
}

#[tokio::test]
async fn invalid_secret_is_refused_without_repeating_it() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let first = secret(1, 32);
    let id = host.subscribe(&subscription("t", &receiver, Some(&first))).await;
    let bad = [
        json!(secret(7, 23)),
        json!(secret(7, 65)),
        json!(secret(7, 32).trim_start_matches("whsec_")),
        json!(secret(7, 32).trim_end_matches('=')),
        json!(secret(255, 32).replace('/', "_")),
        json!("BwcHBwcHBwcHBwcH"),
        json!({"value": secret(7, 32)}),
        json!([secret(7, 32)]),
        json!(7_070_707),
        json!(true),
        json!(""),
    ];
    for bad in bad {
        let body = json!({"type": "t", "target_url": receiver.url("/"), "signing_secret": bad});
        let answers = [
            host.post("/webhooks", &body).await,
            host.patch(&format!("/webhooks/{id}"), &json!({"signing_secret": bad})).await,
        ];
        for answer in answers {
            let text = answer.problem(422);
            assert!(text.contains("[/signing_secret]"), "{bad}: {text}");
            for part in ["BwcHBw", "////", "____", "7070707"] {
                assert!(!text.contains(part), "{bad}: {text}");
            }
        }
    }
    let null = host.patch(&format!("/webhooks/{id}"), &json!({"signing_secret": null})).await.problem(422);
    assert!(null.contains("secret/rotate"), "{null}");
    assert!(signed_by(&sent(&host, &receiver, "t").await, &first));
}
