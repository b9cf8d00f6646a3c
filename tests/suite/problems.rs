//! Every error response is a problem (RFC 9457).

use http::Method;
use posthaste_tests::{Home, Host, Process, sqlite_only};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn unknown_paths_methods_and_parameters_are_problems() {
    let host = Host::start().await;
    host.get("!/nowhere").await.problem(404);
    host.get("/nowhere").await.problem(404);
    host.get("/webhooks/wh_nobody").await.problem(404);
    host.get("/deliveries/dlv_nobody").await.problem(404);
    host.get("/plugins/nobody").await.problem(404);
    host.get("/plugins/nobody/versions/0123456789abcdef").await.problem(404);
    host.call(Method::PUT, "/webhooks", &[], "{}").await.problem(405);
    host.call(Method::PATCH, "!/healthz", &[], "").await.problem(405);
    assert!(host.get("/webhooks?colour=red").await.problem(422).contains("colour"));
    host.post("/events?colour=red", &json!({"type": "t", "data": 1})).await.problem(422);
    host.get("/deliveries?limit=101").await.problem(422);
    host.get("/deliveries?limit=many").await.problem(422);
    assert!(host.get("/deliveries?status=lost").await.problem(422).contains("delivered"));
    host.get("/deliveries?since=noon").await.problem(422);
    host.get("/plugins?cursor=x").await.problem(422);
    host.call(Method::POST, "/webhooks", &[], "x".repeat(300_000)).await.problem(413);
    host.call(Method::GET, "/webhooks/%FF", &[], "").await.problem(400);
}

#[tokio::test]
async fn unsupported_method_lists_the_allowed_ones() {
    let host = Host::start().await;
    for (path, method, allowed) in [
        ("/webhooks", Method::PATCH, "GET,HEAD,POST,DELETE"),
        ("/webhooks", Method::OPTIONS, "GET,HEAD,POST,DELETE"),
        ("/webhooks/wh_1", Method::POST, "GET,HEAD,PATCH,DELETE"),
        ("/webhooks/wh_1/secret/rotate", Method::GET, "POST"),
        ("/events", Method::DELETE, "GET,HEAD,POST"),
        ("/events/batch", Method::PUT, "POST"),
    ] {
        let answer = host.call(method.clone(), path, &[], "").await;
        answer.problem(405);
        let mut given: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        let mut expected: Vec<_> = allowed.split(',').collect();
        given.sort_unstable();
        expected.sort_unstable();
        assert_eq!(given, expected, "{method} {path}");
    }
    let head = host.call(Method::HEAD, "/webhooks", &[], "").await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    let head = host.call(Method::HEAD, "/webhooks/wh_nobody", &[], "").await;
    assert_eq!((head.status, head.header("content-type")), (404, "application/problem+json"));
    for path in ["/events/", "/events/batch/x", "/webhooks/wh_1/secret", "/webhooks/wh_1/secret/rotate/x"] {
        host.call(Method::POST, path, &[], "{}").await.problem(404);
    }
}

#[tokio::test]
async fn health_needs_no_credential() {
    let host = Host::start().await;
    let nobody = host.with_key("");
    nobody.get("!/healthz").await.expect(200);
    nobody.get("!/readyz").await.expect(200);
}

#[tokio::test]
async fn input_that_is_not_http_does_no_harm() {
    let host = Host::start().await;
    let address = host.base.strip_prefix("http://").unwrap().to_owned();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0",
        b"POST /api/v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{",
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    host.get("/webhooks").await.expect(200);
}

#[tokio::test]
async fn invalid_flag_is_explained() {
    for (flags, part) in [
        (vec!["serve", "--listen", "nowhere"], "--listen nowhere"),
        (vec!["serve", "--retry-schedule", "5"], "1h30m"),
        (vec!["serve", "--plugin-memory", "big"], "64MiB"),
        (vec!["serve", "--allow-target", "here"], "127.0.0.0/8"),
        (vec!["serve", "--otlp-endpoint", "http://127.0.0.1:1"], "--otlp-endpoint"),
        (vec!["serve", "--listen", "127.0.0.1:0", "--secret-key", "AAAA"], "32"),
        (vec!["serve", "--listen", "127.0.0.1:0", "--database", "mysql://x"], "sqlite://"),
        (vec!["serve", "--listen", "127.0.0.1:0", "--database", "sqlite:///nowhere/x.db"], "/nowhere/x.db"),
        (vec!["sevre"], "serve"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        let data: &[&str] = if flags.contains(&"127.0.0.1:0") { &["--data-dir", &data] } else { &[] };
        let (status, _, error) = Process::run(flags.iter().chain(data)).await;
        assert!(status != 0 && error.contains(part), "{flags:?}: {error}");
    }
}

#[tokio::test]
async fn database_sealed_under_another_key_is_not_served() {
    use base64::Engine;
    let folder = Home::new().await;
    Process::serve(&folder, &[]).await.terminate().await;
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder.path().join("posthaste.key")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let args = ["serve", "--listen", "127.0.0.1:0", "--secret-key", &key, "--database", folder.database()];
    let (status, _, error) = Process::run(args).await;
    assert!(status == 1 && error.contains("--secret-key"), "{error}");
}

#[tokio::test]
async fn sqlite_database_is_served_by_one_process_at_a_time() {
    if sqlite_only("the lock file") {
        return;
    }
    let folder = Home::new().await;
    let first = Process::serve(&folder, &[]).await;
    let data = folder.path().display().to_string();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &data, "--database", folder.database()];
    let (status, _, error) = Process::run(args).await;
    assert!(status == 1 && error.contains("another posthaste serves this database"), "{error}");
    first.kill().await;
    Process::serve(&folder, &[]).await.client.get("/webhooks").await.expect(200);
}
