//! Which certificates are trusted: `--tls-ca`, and `tls` of a webhook.

use std::sync::Arc;

use posthaste_tests::{Home, Host, MovedClock, Process};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::raw::{Raw, answer};
use super::tls::{Authority, authority, signed};

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
