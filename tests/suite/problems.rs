//! Every error response is a problem (RFC 9457). [`bodies`]: what is wrong with a body.

mod bodies;

use http::Method;
use posthaste_tests::{Home, Host, Process, Receiver, binary, sqlite_only, until};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn unknown_paths_methods_and_parameters_are_problems() {
    let host = Host::start().await;
    host.get("!/nowhere").await.problem(404);
    for elsewhere in ["!/webhooks/wh_1", "!/v1/webhooks", "!/api/events", "!/api/v2/deliveries/"] {
        assert!(host.get(elsewhere).await.problem(404).contains("begin with /api/v1/"), "{elsewhere}");
    }
    assert!(host.get("!/").await.problem(404).contains("/api/v1/webhooks"));
    assert!(host.get("/webhooks/").await.problem(404).contains("leave out the `/`"));
    host.get("/nowhere").await.problem(404);
    host.get("/webhooks/wh_nobody").await.problem(404);
    host.get("/deliveries/dlv_nobody").await.problem(404);
    host.get("/plugins/nobody").await.problem(404);
    host.get("/plugins/nobody/versions/0123456789abcdef").await.problem(404);
    host.call(Method::PUT, "/webhooks", &[], "{}").await.problem(405);
    host.call(Method::PATCH, "!/healthz", &[], "").await.problem(405);
    assert!(host.get("/webhooks?colour=red").await.problem(422).contains("colour"));
    host.post("/events?colour=red", &json!({"type": "t", "data": 1})).await.problem(422);
    for list in ["/deliveries", "/events", "/plugins"] {
        for bad in ["101", "0", "-1", "many", ""] {
            let problem = host.get(&format!("{list}?limit={bad}")).await.problem(422);
            assert!(problem.contains("a whole number from 1 to 100"), "{problem}");
        }
        host.get(&format!("{list}?cursor=")).await.expect(200);
        assert!(host.get(&format!("{list}?cursor=x")).await.problem(422).contains("next_cursor"));
    }
    for list in ["/deliveries", "/events"] {
        let range = "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z";
        assert!(host.get(&format!("{list}?{range}")).await.problem(422).contains("before `since`"));
    }
    assert!(host.get("/deliveries?status=lost").await.problem(422).contains("delivered"));
    host.get("/deliveries?since=noon").await.problem(422);
    host.call(Method::GET, "/webhooks/%FF", &[], "").await.problem(400);
}

#[tokio::test]
async fn unsupported_method_lists_the_allowed_ones() {
    let host = Host::start().await;
    for (path, method, allowed) in [
        ("/webhooks", Method::PATCH, "GET,HEAD,POST,DELETE"),
        ("/webhooks", Method::OPTIONS, "GET,HEAD,POST,DELETE"),
        ("/webhooks/wh_1", Method::POST, "GET,HEAD,PATCH,DELETE"),
        ("/webhooks/wh_1/secret", Method::POST, "GET,HEAD"),
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
    for path in ["/events/", "/events/batch/x", "/webhooks/wh_1/secret/x", "/webhooks/wh_1/secret/rotate/x"] {
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
async fn lost_secret_key_is_reported_and_the_database_goes_on_with_new_secrets() {
    let (home, receiver) = (Home::new().await, Receiver::start().await);
    let first = Process::serve(&home, &[]).await;
    let headers = json!({"x-api-key": "s3cret"});
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "headers": headers});
    let created = first.client.post("/webhooks", &hook).await.expect(201);
    let id = created["id"].as_str().unwrap();
    let key_file = home.path().join("posthaste.key");
    let data = home.path().display().to_string();
    let reset = ["keys", "reset-secrets", "--data-dir", &data, "--database", home.database()];
    // Beside a server, and with the right key, nothing is reset.
    let (status, _, error) = Process::run(reset).await;
    assert!(status == 1 && (error.contains("another posthaste") || error.contains("stop all nodes")), "{error}");
    first.terminate().await;
    let (status, _, error) = Process::run(reset).await;
    assert!(status == 1 && error.contains("nothing needs to be reset"), "{error}");
    std::fs::remove_file(&key_file).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &data, "--database", home.database()];
    let (status, _, error) = Process::run(serve).await;
    assert!(status == 1 && error.contains("posthaste.key is missing") && error.contains("reset-secrets"), "{error}");
    assert!(!key_file.exists(), "nothing is written");
    let (status, lost, error) = Process::run(reset).await;
    assert!(status == 0 && error.contains("1 webhooks have new signing secrets"), "{error}");
    assert!(lost.contains(id) && error.contains("headers"), "{lost}{error}");
    let again = Process::serve(&home, &[]).await;
    let webhook = again.client.get(&format!("/webhooks/{id}")).await.expect(200);
    assert_eq!(webhook["headers"], json!({}));
    let rotated = again.client.post(&format!("/webhooks/{id}/secret/rotate"), &json!({})).await.expect(200);
    let secret = posthaste::outbound::sign::parse_secret(rotated["signing_secret"].as_str().unwrap()).unwrap();
    again.client.publish("t", &json!(1)).await;
    let arrival = receiver.first().await;
    let time = arrival.header("webhook-timestamp");
    let signed = (arrival.header("webhook-id"), time, arrival.header("webhook-signature"));
    posthaste_tests::verify(&secret, signed, &arrival.body, time.parse().unwrap()).unwrap();
}

#[tokio::test]
async fn files_of_a_new_database_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new().await;
    let (folder, database) = (home.path().join("data"), home.path().join("private.db"));
    let url = format!("sqlite://{}", database.display());
    let (status, _, error) = Process::run(["keys", "create", "--company", "acme", "--database", &url]).await;
    assert_eq!(status, 0, "{error}");
    let data = folder.to_str().unwrap();
    let mut command = tokio::process::Command::new(binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--database", &url, "--data-dir", data]).kill_on_drop(true);
    let _running = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let named = |end: &str| home.path().join(format!("private.db{end}"));
    until("the files", async || ["-wal", ".lock", ".reserve"].iter().all(|end| named(end).exists()).then_some(()))
        .await;
    until("the data directory", async || folder.exists().then_some(())).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut seen = 0;
    for entry in std::fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("private.db") {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}: the database, its log, its lock and its reserve");
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
