//! Which certificates are trusted: `--tls-ca`, and `tls` of a webhook.

use std::sync::Arc;

use posthaste::domain::plugin::Digest;
use posthaste_tests::{Home, Host, MovedClock, Process};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::raw::{Raw, answer};
use super::tls::{Authority, acceptor, authority, signed};

/// Milliseconds after which the files of `--tls-ca` are read again.
const READ_AGAIN_MS: i64 = 10_000;

async fn receiver(acceptor: TlsAcceptor) -> Raw {
    Raw::start(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream).await;
            }
        }
    })
    .await
}

/// Returns a receiver with a certificate of this authority, and its URL.
async fn receiver_of(authority: &Authority) -> (Raw, String) {
    let raw = receiver(signed(authority, "127.0.0.1", 2999)).await;
    let url = raw.url().replace("http:", "https:");
    (raw, url)
}

/// Publishes an event and returns its first attempt's error, empty if there is none.
async fn error_of_next(host: &Host, event_type: &str) -> String {
    let id = host.publish(event_type, &json!(1)).await;
    let tried = host.delivery_when(&id, "an attempt", |delivery| delivery["attempt_count"] != 0).await;
    tried["attempts"][0]["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn file_of_certificates_is_trusted_and_read_again_when_it_changes() {
    let (clock, folder) = (Arc::new(MovedClock::default()), Home::new().await);
    let (first, second) = (authority("first"), authority("second"));
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, first.pem()).unwrap();
    let host = Host::at(clock.clone(), &["--retry-schedule=1h", &format!("--tls-ca={}", file.display())]).await;
    let (raw, url) = receiver_of(&second).await;
    host.subscribe(&json!({"type": "t", "target_url": url})).await;
    let error = error_of_next(&host, "t").await;
    assert!(
        error.contains("signed by second, which is not a trusted authority") && error.contains("--tls-ca"),
        "{error}"
    );
    std::fs::write(&file, second.pem()).unwrap();
    clock.pass(READ_AGAIN_MS);
    assert_eq!(error_of_next(&host, "t").await, "");
    // A file that cannot be used changes nothing, and the idle connection stays in use.
    let connections = raw.connections();
    std::fs::write(&file, "rubbish").unwrap();
    clock.pass(READ_AGAIN_MS);
    assert_eq!((error_of_next(&host, "t").await, raw.connections()), (String::new(), connections));
    // What is no longer trusted is not used either.
    std::fs::write(&file, first.pem()).unwrap();
    clock.pass(READ_AGAIN_MS);
    assert!(error_of_next(&host, "t").await.contains("signed by second"));
}

#[tokio::test]
async fn file_without_certificates_is_refused_at_the_start() {
    let folder = Home::new().await;
    let data = folder.path().display().to_string();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "rubbish").unwrap();
    let file = file.display().to_string();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &data, "--database", folder.database()];
    let (status, _, error) = Process::run_in(&[("POSTHASTE_TLS_CA", &file)], args).await;
    assert!(status == 1 && error.contains(&format!("--tls-ca {file}: this is not PEM")), "{error}");
}

/// Starts a host that trusts this authority besides those of the system, and that retries only when asked to.
async fn trusting(authority: &Authority) -> (Host, Home) {
    let folder = Home::new().await;
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    (Host::with(&["--retry-schedule=10h", &format!("--tls-ca={}", file.display())]).await, folder)
}

#[tokio::test]
async fn authority_of_a_webhook_is_trusted_in_place_of_all_others() {
    let (first, second) = (authority("first"), authority("second"));
    let (host, _folder) = trusting(&first).await;
    let ((_one, url_1), (_two, url_2)) = (receiver_of(&first).await, receiver_of(&second).await);
    let tls = json!({"ca": second.pem()});
    host.subscribe(&json!({"type": "t1", "target_url": url_1, "tls": tls})).await;
    host.subscribe(&json!({"type": "t2", "target_url": url_2, "tls": tls})).await;
    let error = error_of_next(&host, "t1").await;
    assert!(
        error.contains("signed by first, which is not") && error.ends_with("change `tls` of the webhook"),
        "{error}"
    );
    assert_eq!(error_of_next(&host, "t2").await, "");
}

#[tokio::test]
async fn pinned_key_is_trusted_and_a_corrected_pin_retries_at_once() {
    let (host, key) = (Host::with(&["--retry-schedule=10h"]).await, KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pin = Digest::of(&key.subject_public_key_info()).to_string();
    let raw = receiver(acceptor(certificate.der().clone(), &key)).await;
    let url = raw.url().replace("http:", "https:");
    let wrong = json!({"type": "t", "target_url": url, "tls": {"pin_sha256": "a1".repeat(32)}});
    let webhook = host.subscribe(&wrong).await;
    let id = host.publish("t", &json!(1)).await;
    let tried = host.delivery_when(&id, "an attempt", |delivery| delivery["attempt_count"] == 1).await;
    let error = tried["attempts"][0]["error"].as_str().unwrap();
    assert!(error.contains("another key than the webhook's `tls.pin_sha256`") && error.ends_with(&pin), "{error}");
    host.patch(&format!("/webhooks/{webhook}"), &json!({"tls": {"pin_sha256": pin}})).await.expect(200);
    assert_eq!(host.delivery(&id, "delivered").await["attempt_count"], 2);
}

#[tokio::test]
async fn webhooks_that_trust_differently_share_no_connection() {
    let (first, second) = (authority("first"), authority("second"));
    let (host, _folder) = trusting(&first).await;
    let (raw, url) = receiver_of(&first).await;
    for (event_type, tls) in
        [("t", Value::Null), ("right", json!({"ca": first.pem()})), ("wrong", json!({"ca": second.pem()}))]
    {
        host.subscribe(&json!({"type": event_type, "target_url": url, "tls": tls})).await;
    }
    for (event_type, fails, connections) in [
        ("t", false, 1),
        ("t", false, 1),
        ("wrong", true, 2),
        ("right", false, 3),
        ("right", false, 3),
        ("t", false, 3),
    ] {
        let error = error_of_next(&host, event_type).await;
        assert_eq!((!error.is_empty(), raw.connections()), (fails, connections), "{event_type}: {error}");
    }
}

#[tokio::test]
async fn tls_of_a_webhook_is_checked_shown_and_reset() {
    let (host, ca) = (Host::start().await, authority("Acme").pem());
    let hook = |tls: Value| json!({"type": "t", "target_url": "https://127.0.0.1:1/", "tls": tls});
    let key = KeyPair::generate().unwrap().serialize_pem();
    for (tls, part) in [
        (json!({"ca": "/etc/ssl/ca.pem"}), "[/tls/ca] \"this is not PEM"),
        (json!({"ca": key}), "[/tls/ca] \"this contains a private key"),
        (json!({"ca": ca.repeat(9)}), "[/tls/ca] \"9 certificates; at most 8 are allowed"),
        (json!({"ca": " ".repeat(33_000)}), "[/tls/ca] \"33000 bytes; at most 32768 are allowed"),
        (json!({"pin_sha256": "A1".repeat(32)}), "[/tls/pin_sha256] \"a pin is the SHA-256"),
        (json!({"pin_sha256": 1}), "[/tls/pin_sha256]"),
        (json!({}), "[/tls] \"set `ca`, `pin_sha256` or both"),
        (json!({"cert": ca}), "cert"),
    ] {
        let text = host.post("/webhooks", &hook(tls)).await.problem(422);
        assert!(text.contains(part), "{text}");
    }
    let tls = json!({"ca": ca, "pin_sha256": "a1".repeat(32)});
    let created = host.post("/webhooks", &hook(tls.clone())).await.expect(201);
    let path = format!("/webhooks/{}", created["id"].as_str().unwrap());
    assert_eq!((&created["tls"], &host.get(&path).await.expect(200)["tls"]), (&tls, &tls));
    // Without TLS, events would be sent in clear.
    let plain = json!({"target_url": "http://127.0.0.1:1/"});
    assert!(host.patch(&path, &plain).await.problem(422).contains("[/tls]"));
    let both = json!({"type": "u", "target_url": "http://127.0.0.1:1/", "tls": tls});
    assert!(host.post("/webhooks", &both).await.problem(422).contains("[/tls]"));
    // Each change replaces the whole member.
    let alone = json!({"ca": ca, "pin_sha256": null});
    assert_eq!(host.patch(&path, &json!({"tls": {"ca": ca}})).await.expect(200)["tls"], alone);
    assert_eq!(host.patch(&path, &json!({"tls": null})).await.expect(200)["tls"], Value::Null);
    assert_eq!(host.patch(&path, &plain).await.expect(200)["tls"], Value::Null);
    assert!(host.patch(&path, &json!({"tls": tls})).await.problem(422).contains("[/tls]"));
    host.post("/webhooks", &hook(tls.clone())).await.expect(200);
    assert_eq!(host.post("/webhooks", &hook(Value::Null)).await.expect(200)["tls"], Value::Null);
}
