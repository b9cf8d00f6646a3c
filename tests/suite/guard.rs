//! Attempts to bypass the address guard.

use axum::response::IntoResponse;
use posthaste_tests::{Home, Host, Process, Receiver};
use serde_json::json;

#[tokio::test]
async fn unusual_urls_are_refused_with_their_reason() {
    let host = Host::with(&["--allow-target=192.0.2.7"]).await;
    let long_label = format!("https://{}.test/", "a".repeat(64));
    let long_name = format!("https://{}test/", "abcdefgh.".repeat(30));
    for (url, part) in [
        ("https://127.1/", "127.0.0.1 is a loopback address"),
        ("https://127。0。0。1/", "127.0.0.1 is a loopback address"),
        ("https://１２７．０．０．１/", "127.0.0.1 is a loopback address"),
        ("https://127.0.0.1\u{200b}/", "127.0.0.1 is a loopback address"),
        ("https://1\u{ad}27.0.0.1/", "127.0.0.1 is a loopback address"),
        ("https://%31%32%37%2e0%2e0%2e1/", "127.0.0.1 is a loopback address"),
        ("https://ⓛocalhost/", "127.0.0.1 is a loopback address"),
        ("HTTPS://LOCALHOST./", "127.0.0.1 is a loopback address"),
        ("https://[::ffff:0:127.0.0.1]/", "outside the public range"),
        ("https://[::127.0.0.1]/", "IPv4-compatible"),
        ("https://[64:ff9b:1::8.8.8.8]/", "local NAT64"),
        ("https://[2001:0:a00:1::]/", "Teredo"),
        ("https://[2002:a00:1::]/", "a way to 10.0.0.1"),
        ("https://[2a00::5efe:10.0.0.1]/", "a way to 10.0.0.1"),
        ("https://[fe80::1%25eth0]/", "cannot be parsed"),
        ("https://93.184.216.34:0/", "port is 0"),
        ("https://192.0.2.7:0/", "port is 0"),
        ("https://93.184.216.34:25/", "port 25 is another protocol's"),
        ("https://hook.invalid:65536/", "cannot be parsed"),
        ("https://trusted.test@127.0.0.1/", "user name"),
        ("https://127.0.0.1\\@trusted.test/", "127.0.0.1 is a loopback address"),
        ("https://a..test/", "an empty part"),
        (&long_label, "64 bytes"),
        (&long_name, "a name has at most 253"),
        ("gopher://127.0.0.1/", "unknown scheme"),
        ("ftp://hook.test/", "unknown scheme"),
        ("ws://hook.test/", "unknown scheme"),
        ("file:///etc/passwd", "unknown scheme"),
        ("unix:///run/docker.sock", "unknown scheme"),
        ("data:text/plain,x", "not absolute"),
        ("javascript:alert(1)", "not absolute"),
        ("http+unix://%2Frun/x", "unknown scheme"),
    ] {
        let text = host.post("/webhooks", &json!({"type": "t", "target_url": url})).await.problem(422);
        assert!(text.contains("[/target_url]") && text.contains(part), "{url}: {text}");
    }
}

#[tokio::test]
async fn ports_of_other_protocols_need_an_allowed_address() {
    let host = Host::start().await;
    for url in ["http://127.0.0.1:25/", "https://localhost:6667/", "http://nowhere.invalid:25/"] {
        host.post("/webhooks", &json!({"type": url.replace(' ', ""), "target_url": url})).await.expect(201);
    }
}

#[tokio::test]
async fn proxy_settings_of_the_environment_are_not_used() {
    let (folder, receiver, proxy) = (Home::new().await, Receiver::start().await, Receiver::start().await);
    let address = proxy.url("");
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let mut environment: Vec<_> = names.map(|name| (name, address.as_str())).into();
    environment.extend([("no_proxy", ""), ("NO_PROXY", "")]);
    let process = Process::serve_in(&environment, &folder, &["--retry-schedule=20ms"]).await;
    let client = &process.client;
    client.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    client.delivery(&client.publish("t", &json!(1)).await, "delivered").await;
    // By name, which a proxy would resolve, and over TLS, for which a proxy would get a CONNECT.
    let tls = receiver.url("/").replace("http:", "https:");
    for (event_type, url) in [("n", "http://nowhere.invalid/"), ("s", tls.as_str())] {
        client.post("/webhooks", &json!({"type": event_type, "target_url": url})).await.expect(201);
        let failed = client.delivery(&client.publish(event_type, &json!(1)).await, "failed").await;
        assert!(failed["attempts"][0]["error"].is_string(), "{failed}");
    }
    assert_eq!((receiver.arrivals().len(), proxy.arrivals().len()), (1, 0));
}

#[tokio::test]
async fn response_headers_lead_to_no_other_address() {
    let (host, receiver, elsewhere) = (Host::start().await, Receiver::start().await, Receiver::start().await);
    let (location, service) = (elsewhere.url("/"), elsewhere.url("").replace("http://", ""));
    receiver.answer(move |_, _| {
        let headers = [
            ("location", location.clone()),
            ("alt-svc", format!("h2=\"{service}\"; ma=3600; persist=1")),
            ("refresh", format!("0; url={location}")),
            ("link", format!("<{location}>; rel=preload")),
        ];
        (axum::http::StatusCode::PERMANENT_REDIRECT, headers).into_response()
    });
    host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    let id = host.publish("t", &json!(1)).await;
    let failed = host.delivery(&id, "failed").await;
    assert_eq!(failed["attempts"][0]["error"], "the receiver answered 308");
    assert_eq!((receiver.arrivals().len(), elsewhere.arrivals().len()), (4, 0));
    let own = receiver.url("").replace("http://", "");
    assert!(receiver.arrivals().iter().all(|arrival| arrival.header("host") == own));
}
