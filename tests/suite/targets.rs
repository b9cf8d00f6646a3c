//! Addresses that targets may have.

use posthaste_tests::{Home, Host, Process, Receiver};
use serde_json::json;

async fn refused(host: &Host, url: &str, part: &str) {
    let text = host.post("/webhooks", &json!({"type": "t", "target_url": url})).await.problem(422);
    assert!(text.contains("[/target_url]") && text.contains(part), "{url}: {text}");
}

#[tokio::test]
async fn non_public_addresses_are_refused_in_every_spelling() {
    let host = Host::with(&["--allow-target=192.0.2.7"]).await;
    for (url, part) in [
        ("https://10.1.2.3/", "10.1.2.3"),
        ("https://192.168.0.1/", "192.168.0.1"),
        ("https://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("https://0xa000001/", "10.0.0.1"),
        ("https://012.0.0.1/", "10.0.0.1"),
        ("https://167772161/", "10.0.0.1"),
        ("https://[::1]/", "::1"),
        ("https://[::ffff:10.0.0.1]/", "10.0.0.1"),
        ("https://[64:ff9b::10.0.0.1]/", ""),
        ("https://[fd00::1]/", "fd00::1"),
        ("https://[fe80::1]/", "fe80::1"),
        ("http://93.184.216.34/", "93.184.216.34"),
        ("https://user:pass@93.184.216.34/", "password"),
        ("ftp://93.184.216.34/", "http"),
        ("//93.184.216.34/", ""),
        ("https://", ""),
        ("", ""),
    ] {
        refused(&host, url, part).await;
    }
}

#[tokio::test]
async fn public_targets_and_names_that_do_not_resolve_are_accepted() {
    let host = Host::start().await;
    for (number, url) in
        ["https://93.184.216.34/hook", "https://nowhere.invalid/hook", "http://nowhere.invalid/", "http://127.0.0.1:1/"]
            .iter()
            .enumerate()
    {
        host.post("/webhooks", &json!({"type": format!("t{number}"), "target_url": url})).await.expect(201);
    }
}

#[tokio::test]
async fn name_of_a_loopback_address_needs_allow_target() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let url = receiver.url("/").replace("127.0.0.1", "localhost");
    host.post("/webhooks", &json!({"type": "t", "target_url": url})).await.expect(201);
    host.publish("t", &json!(1)).await;
    receiver.first().await;
    let folder = Home::new().await;
    let strict = Process::serve(&folder, &["--allow-target", "192.0.2.7"]).await;
    strict.client.post("/webhooks", &json!({"type": "t", "target_url": "https://127.0.0.1/"})).await.expect(201);
}

#[tokio::test]
async fn deliveries_ignore_proxy_variables() {
    let (folder, receiver) = (Home::new().await, Receiver::start().await);
    // Nothing listens there: a client that used the proxy would fail.
    let proxies = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9"));
    let process = Process::serve_in(&proxies, &folder, &[]).await;
    process.client.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    process.client.publish("t", &json!(1)).await;
    receiver.first().await;
}

#[tokio::test]
async fn missing_ca_certificates_are_explained() {
    let folder = Home::new().await;
    let data = folder.path().display().to_string();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &data, "--database", folder.database()];
    let (status, _, error) = Process::run_in(&[("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "")], args).await;
    assert!(status == 1 && error.contains("install the package ca-certificates, or set SSL_CERT_FILE"), "{error}");
}
