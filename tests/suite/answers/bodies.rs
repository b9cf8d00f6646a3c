//! The body of a response in the log: decoded and bounded, without any influence on the result.

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Host, Receiver};
use serde_json::json;

const PLAIN: &str = r#"{"error":"unknown employee"}"#;
/// [`PLAIN`] as gzip, deflate (zlib, then bare) and brotli.
const GZIP: &str = "1f8b0800000000000203ab564a2d2aca2f52b2522acdcbcecb2fcf5348cd2dc8c9af4c4d55aa05004e0e18981c000000";
const ZLIB: &str = "789cab564a2d2aca2f52b2522acdcbcecb2fcf5348cd2dc8c9af4c4d55aa050094dc0a75";
const DEFLATE: &str = "ab564a2d2aca2f52b2522acdcbcecb2fcf5348cd2dc8c9af4c4d55aa0500";
const BROTLI: &str = "1b1b00c08cd462cd19ee9422207ba5d3d78f483249278ad36a6200aa140a";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn response_body_is_decoded_for_the_log_and_the_status_decides() {
    let (host, receiver) = (Host::with(&["--retry-schedule=10h"]).await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let cut_off = bytes(&GZIP[..60]);
    let note = "(the gzip data is damaged or incomplete from here on)";
    for (status, encoding, content_type, body, expected) in [
        (422, "gzip", "application/json", bytes(GZIP), PLAIN.to_owned()),
        (200, "deflate", "application/json", bytes(ZLIB), PLAIN.to_owned()),
        (200, "deflate", "application/json", bytes(DEFLATE), PLAIN.to_owned()),
        (200, "br", "application/json", bytes(BROTLI), PLAIN.to_owned()),
        (200, "gzip", "application/json", cut_off, format!("{{\"error\":\"unknown e\n{note}")),
        (200, "gzip", "application/json", b"rubbish".to_vec(), note.to_owned()),
        (401, "identity", "text/plain; charset=iso-8859-1", b"Cl\xe9 p\xe9rim\xe9e".to_vec(), "Clé périmée".to_owned()),
        (500, "identity", "text/html; charset=Shift_JIS", b"\x83G\x83\x89\x81[".to_vec(), "エラー".to_owned()),
        (500, "identity", "text/plain; charset=utf-16", b"\xff\xfee\0r\0r\0".to_vec(), "err".to_owned()),
        (200, "identity", "image/png", b"\x89PNG\r\n\x1a\n\0\0".to_vec(), "(binary, 10 bytes)".to_owned()),
        (200, "identity", "text/plain", Vec::new(), String::new()),
    ] {
        let answer = StatusCode::from_u16(status).unwrap();
        let headers = [(CONTENT_ENCODING, encoding), (CONTENT_TYPE, content_type)];
        receiver.answer(move |_, _| (answer, headers.clone(), body.clone()).into_response());
        let id = host.publish("t", &json!(1)).await;
        let tried = host.delivery_when(&id, "an attempt", |delivery| delivery["attempt_count"] == 1).await;
        let attempt = &tried["attempts"][0];
        assert_eq!((&attempt["status_code"], &attempt["response_body"]), (&json!(status), &json!(expected)));
        assert_eq!((attempt["error"].is_null(), tried["status"] == "delivered"), (status == 200, status == 200));
    }
    assert_eq!(receiver.first().await.header("accept-encoding"), "");
}
