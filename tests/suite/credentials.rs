//! Keys: authentication, scopes, companies, and rate-limiting of failed authentication.

use http::Method;
use posthaste::clock::Clock as _;
use posthaste::domain::credential::{Key, Owner, Scopes};
use posthaste_tests::{Home, Host, Kind, Process, Receiver, StoppedClock, until};
use serde_json::json;

#[tokio::test]
async fn key_is_accepted_as_bearer_token_or_x_api_key() {
    let host = Host::start().await;
    host.get("/webhooks").await.expect(200);
    let nobody = host.with_key("");
    nobody.call(Method::GET, "/webhooks", &[("x-api-key", &host.key)], "").await.expect(200);
    nobody.call(Method::GET, "/webhooks", &[("authorization", &format!("bearer {}", host.key))], "").await.expect(200);
    for headers in
        [vec![], vec![("x-api-key", "phk_wrong")], vec![("authorization", "Basic eDp5")], vec![("x-api-key", "")]]
    {
        let answer = nobody.call(Method::GET, "/webhooks", &headers, "").await;
        answer.problem(401);
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    nobody.call(Method::POST, "/events", &[], "not even JSON").await.problem(401);
}

#[tokio::test]
async fn key_is_limited_to_its_scopes() {
    let host = Host::start().await;
    let client = |scopes: &str| {
        let scopes = Scopes::parse(scopes).unwrap();
        let host = &host;
        async move { host.with_key(host.new_key(Some("acme"), scopes).await) }
    };
    let reader = client("webhooks:read").await;
    reader.get("/webhooks").await.expect(200);
    let hook = json!({"type": "t", "target_url": "http://127.0.0.1:1/"});
    assert!(reader.post("/webhooks", &hook).await.problem(403).contains("`webhooks`"));
    reader.delete("/webhooks", &json!({"type": "t"})).await.problem(403);
    reader.get("/deliveries").await.problem(403);
    reader.get("/plugins").await.problem(403);
    reader.post("/events", &json!({"type": "t", "data": 1})).await.problem(403);
    let producer = client("events").await;
    producer.post("/events", &json!({"type": "t", "data": 1})).await.expect(202);
    producer.get("/webhooks").await.problem(403);
}

#[tokio::test]
async fn company_cannot_see_resources_of_another() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let created = host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    let delivery = host.publish("t", &json!(1)).await;
    host.delivery(&delivery, "delivered").await;
    host.upload("p", &posthaste_tests::guest("pass")).await.expect(201);
    let other = host.company("other").await;
    assert_eq!(other.get("/webhooks").await.expect(200), json!([]));
    let id = created["id"].as_str().unwrap();
    for path in [format!("/webhooks/{id}"), format!("/deliveries/{delivery}"), "/plugins/p".into()] {
        other.get(&path).await.problem(404);
    }
    other.delete(&format!("/webhooks/{id}"), &json!(null)).await.problem(404);
    other.get("/webhooks?company=acme").await.problem(403);
    assert_eq!(other.publish("t", &json!(1)).await, "", "another company's webhook is not sent this event");
    host.get("/webhooks?company=acme").await.expect(200);
}

#[tokio::test]
async fn platform_key_has_to_name_a_company() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let platform = host.with_key(host.new_key(None, Scopes::all()).await);
    assert!(platform.get("/webhooks").await.problem(422).contains("company"));
    let hook = json!({"type": "t", "target_url": receiver.url("/")});
    assert_eq!(platform.post("/webhooks?company=acme", &hook).await.expect(201)["company"], "acme");
    platform.post("/events", &json!({"type": "t", "data": 1})).await.problem(422);
    platform.post("/events", &json!({"type": "t", "data": 1, "company": "acme"})).await.expect(202);
    receiver.first().await;
    assert_eq!(host.get("/webhooks").await.expect(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn keys_command_works_beside_a_running_server() {
    let folder = Home::new().await;
    let process = Process::serve(&folder, &[]).await;
    let keys = |args: &[&str]| {
        let all: Vec<String> =
            ["keys"].iter().chain(args).chain(&["--database", folder.database()]).map(ToString::to_string).collect();
        Process::run(all)
    };
    let (status, created, _) = keys(&["create", "--company", "acme", "--scopes", "events,webhooks:read"]).await;
    assert_eq!((status, created.lines().count()), (0, 1));
    let client = process.client.with_key(created.trim());
    client.get("/webhooks").await.expect(200);
    let (_, list, _) = keys(&["list"]).await;
    assert!(!list.contains(created.trim()), "the key itself is not kept");
    let id = list.lines().find(|line| line.contains("events,webhooks:read")).unwrap().split(' ').next().unwrap();
    assert_eq!(keys(&["revoke", id]).await.0, 0);
    until("the revoked key is refused", || async { (client.get("/webhooks").await.status == 401).then_some(()) }).await;
    let (status, _, error) = keys(&["revoke", "key_nobody"]).await;
    assert!(status == 1 && error.contains("key_nobody"), "{error}");
    let (status, _, error) = keys(&["create", "--company", "acme", "--scopes", "event"]).await;
    assert!(status == 2 && error.contains("there is no scope `event`"), "{error}");
    let (_, platform, _) = keys(&["create", "--platform"]).await;
    process.client.with_key(platform.trim()).get("/webhooks?company=any").await.expect(200);
}

#[tokio::test]
async fn key_is_refused_from_its_expiry_on() {
    let clock = StoppedClock::now();
    let host = Host::at(clock.clone(), &[]).await;
    let (owner, now) = (Owner::Company("acme".into()), clock.now_ms());
    let key = Key { expires_at: Some(now + 1_000), ..Key::new("key_ends".into(), owner, Scopes::all(), now) };
    let client = host.with_key(host.store_key(&key).await);
    client.get("/webhooks").await.expect(200);
    clock.pass_seconds(1);
    assert!(client.get("/webhooks").await.problem(401).contains("has expired"));
    host.get("/webhooks").await.expect(200);
}

#[tokio::test]
async fn keys_command_names_its_database_and_shows_name_and_expiry() {
    let home = Home::new().await;
    let keys = |args: &[&str]| {
        let all = [&["keys"], args, &["--database", home.database()]].concat();
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        Process::run_in(&[("POSTHASTE_DATABSE", "not to be shown")], all)
    };
    let create = ["create", "--company", "acme", "--name", "Billing export", "--expires", "9999-01-31T00:00:00Z"];
    let place = match home.kind() {
        Kind::Sqlite => home.path().canonicalize().unwrap().join("posthaste.db").display().to_string(),
        Kind::Postgres => home.database().rsplit('/').next().unwrap().to_owned(),
    };
    let (status, key, said) = keys(&create).await;
    assert!(status == 0 && key.lines().count() == 1 && key.starts_with("phk_"), "{key}{said}");
    assert!(said.contains("made a new database") && said.contains("stored key_") && said.contains(&place), "{said}");
    assert!(said.contains("POSTHASTE_DATABSE") && said.contains("POSTHASTE_DATABASE (--database)"), "{said}");
    assert!(!said.contains("not to be shown") && !said.contains(key.trim()), "{said}");
    let (_, _, said) = keys(&create).await;
    assert!(!said.contains("made a new database") && said.contains("stored key_"), "{said}");
    let (_, list, _) = keys(&["list"]).await;
    let shown =
        list.lines().filter(|line| line.contains("9999-01-31T00:00:00.000Z") && line.ends_with("Billing export"));
    assert_eq!(shown.count(), 2, "{list}");
    for (flag, value, status, why) in [
        ("--name", "", 2, "1 to 64 printable characters"),
        ("--name", "a\nb", 2, "1 to 64 printable characters"),
        ("--expires", "soon", 2, "neither a duration"),
        ("--expires", "2020-01-01T00:00:00Z", 1, "has passed"),
    ] {
        let (ended, _, said) = keys(&["create", "--company", "acme", flag, value]).await;
        assert!(ended == status && said.contains(why), "{flag} {value}: {said}");
    }
}

#[tokio::test]
async fn misspelt_variable_is_in_the_log_of_the_service() {
    let home = Home::new().await;
    let process = Process::serve_in(&[("POSTHASTE_RETENTON", "1d")], &home, &[]).await;
    let lines = process.log_lines();
    let warned = |line: &&String| line.contains("WARN") && line.contains("POSTHASTE_RETENTION (--retention)");
    assert_eq!(lines.iter().filter(warned).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn failed_authentication_is_rate_limited_per_client_address() {
    let clock = StoppedClock::now();
    let host = Host::at(clock.clone(), &[]).await;
    let wrong = host.with_key("phk_wrong");
    for count in 0..60 {
        let answer = wrong.get("/webhooks").await;
        if count < 20 {
            answer.problem(401);
            assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
        } else {
            assert!(answer.problem(429).contains("unknown or has been revoked"));
            assert_eq!(answer.header("retry-after"), "1");
        }
        host.get("/webhooks").await.expect(200);
    }
    host.with_key("").get("/webhooks").await.problem(429);
    host.company("another").await.get("/webhooks").await.expect(200);
    clock.pass_seconds(1);
    wrong.get("/webhooks").await.problem(401);
    wrong.get("/webhooks").await.problem(429);
}

#[tokio::test]
async fn errors_are_reported_in_a_fixed_order() {
    let host = Host::start().await;
    let client = async |company: Option<&str>, scopes: &str| {
        host.with_key(host.new_key(company, Scopes::parse(scopes).unwrap()).await)
    };
    // Credential, query, path, scope, company, body.
    host.with_key("phk_wrong").get("/webhooks/%FF?colour=red").await.problem(401);
    let publisher = client(Some("acme"), "events").await;
    publisher.get("/webhooks/%FF?colour=red").await.problem(422);
    publisher.get("/webhooks/%FF").await.problem(400);
    assert!(publisher.get("/webhooks/wh_1?company=other").await.problem(403).contains("`webhooks:read`"));
    assert!(host.get("/webhooks/wh_1?company=other").await.problem(403).contains("another company"));
    host.call(Method::POST, "/webhooks?company=other", &[], "{").await.problem(403);
    host.call(Method::POST, "/webhooks", &[], "{").await.problem(400);
    let reader = client(Some("acme"), "events:read").await;
    reader.call(Method::POST, "/events", &[], "{").await.problem(403);
    reader.call(Method::POST, "/events/batch", &[("content-type", "text/plain")], "{").await.problem(403);
    // A comparison needs two scopes; the company is checked after the first.
    let platform = client(None, "plugins:read").await;
    platform.call(Method::POST, "/plugins/p/compare", &[], "{").await.problem(422);
    let text = platform.call(Method::POST, "/plugins/p/compare?company=acme", &[], "{").await.problem(403);
    assert!(text.contains("`deliveries:read`"), "{text}");
    client(Some("acme"), "deliveries").await.call(Method::POST, "/plugins/p/compare", &[], "{").await.problem(403);
}
