//! Tests of the receiver: each of its checks refuses by itself, and a duplicate is answered like the first.

// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use receiver::{Settings, TOLERANCE_S, parse_secret, router, verify};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = br#"{"employee":7}"#;
const NOW_S: i64 = 1_700_000_000;

fn settings() -> Settings {
    let key = parse_secret(SECRET).unwrap();
    Settings { key, challenge: Some("c1".into()), now_s: || NOW_S, on_event: Box::new(|_| ()) }
}

fn signature(id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let message = [format!("{id}.{timestamp_s}.").as_bytes(), body].concat();
    format!("v1,{}", STANDARD.encode(hmac::sign(&parse_secret(SECRET).unwrap(), &message)))
}

/// The headers of a request that verifies.
fn headers(timestamp_s: i64) -> http::HeaderMap {
    let headers = [
        ("webhook-id", "evt_1".to_owned()),
        ("webhook-timestamp", timestamp_s.to_string()),
        ("webhook-signature", signature("evt_1", timestamp_s, BODY)),
        ("x-factorial-wh-challenge", "c1".to_owned()),
    ];
    headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

#[track_caller]
fn refused(headers: &http::HeaderMap, body: &[u8], part: &str) {
    let why = verify(&settings(), headers, body).unwrap_err();
    assert!(why.contains(part), "{why}");
}

#[test]
fn signed_request_with_the_challenge_is_accepted() {
    assert_eq!(verify(&settings(), &headers(NOW_S), BODY), Ok("evt_1"));
}

#[test]
fn one_of_several_signatures_suffices() {
    let mut headers = headers(NOW_S);
    let both = format!("v1,AAAA {}", signature("evt_1", NOW_S, BODY));
    headers.insert("webhook-signature", both.parse().unwrap());
    assert_eq!(verify(&settings(), &headers, BODY), Ok("evt_1"));
}

#[test]
fn changed_body_id_or_signature_is_refused() {
    refused(&headers(NOW_S), br#"{"employee":8}"#, "no signature");
    for (name, value) in [("webhook-id", "evt_2"), ("webhook-signature", "v1,AAAA"), ("webhook-signature", "v2,x")] {
        let mut headers = headers(NOW_S);
        headers.insert(name, value.parse().unwrap());
        refused(&headers, BODY, "no signature");
    }
}

#[test]
fn timestamp_is_tolerated_up_to_five_minutes_off() {
    let tolerance = TOLERANCE_S.cast_signed();
    for off in [-tolerance, tolerance] {
        assert_eq!(verify(&settings(), &headers(NOW_S + off), BODY), Ok("evt_1"));
        refused(&headers(NOW_S + off + off.signum()), BODY, "300 s off");
    }
}

#[test]
fn wrong_challenge_is_refused() {
    let mut headers = headers(NOW_S);
    headers.insert("x-factorial-wh-challenge", "another".parse().unwrap());
    refused(&headers, BODY, "challenge");
}

#[test]
fn missing_headers_are_named() {
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature", "x-factorial-wh-challenge"] {
        let mut headers = headers(NOW_S);
        headers.remove(name);
        refused(&headers, BODY, name);
    }
}

#[tokio::test]
async fn duplicate_is_answered_2xx_and_processed_once() {
    let events = Arc::new(Mutex::new(Vec::<bytes::Bytes>::new()));
    let taken = events.clone();
    let on_event = Box::new(move |body| taken.lock().unwrap().push(body));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = router(Settings { on_event, ..settings() });
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |headers: http::HeaderMap| {
        client.post(&url).headers(headers).body(BODY).send().await.unwrap().status().as_u16()
    };
    assert_eq!((send(headers(NOW_S)).await, send(headers(NOW_S)).await), (204, 204));
    assert_eq!(send(headers(NOW_S - 1000)).await, 401);
    assert_eq!(*events.lock().unwrap(), [BODY]);
    serving.abort();
}
