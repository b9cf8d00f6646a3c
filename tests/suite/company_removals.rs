//! Removing companies with everything that they have.

use std::path::Path;

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use posthaste::clock::{Clock as _, SystemClock};
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Client, Home, Host, Kind, Process, Receiver, guest, until};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::metrics::Scrape;

/// What is searched for once the company is removed.
const MARKER: &str = "marker-9c41ab77e2";

/// The tables with a column `company`.
const OF_COMPANIES: [&str; 18] = [
    "api_keys",
    "cancellations",
    "company_configs",
    "company_limits",
    "company_removals",
    "company_usage",
    "deliveries",
    "event_cancellations",
    "event_deliveries",
    "event_erasures",
    "event_replays",
    "event_types",
    "events",
    "plugin_versions",
    "plugins",
    "pull_entries",
    "replays",
    "webhooks",
];

async fn platform(host: &Host) -> Client {
    host.client.with_key(host.new_key(None, Scopes::all()).await)
}

async fn remove(platform: &Client, company: &str) -> posthaste_tests::Answer {
    platform.delete(&format!("/companies/{company}"), &Value::Null).await
}

/// Returns the entry of a company in the list.
async fn listed(platform: &Client, company: &str) -> Option<Value> {
    let page = platform.get("/companies?limit=100").await.expect(200);
    page["data"].as_array().unwrap().iter().find(|one| one["company"] == company).cloned()
}

async fn gone(platform: &Client, company: &str) {
    until("the company is removed", async || listed(platform, company).await.is_none().then_some(())).await;
}

/// Checks that no table has a row of the company.
async fn check_tables(home: &Home, company: &str) {
    for table in OF_COMPANIES {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE company = '{company}'");
        assert_eq!(home.value::<i64>(&sql).await, 0, "{table}");
    }
}

async fn count(home: &Home, table: &str) -> i64 {
    home.value(&format!("SELECT COUNT(*) FROM {table}")).await
}

/// Returns where the marker is found in the files of a database.
fn files_with_marker(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let has = |path: &Path| {
        path.is_file() && std::fs::read(path).unwrap().windows(MARKER.len()).any(|part| part == MARKER.as_bytes())
    };
    files.filter(|file| has(&file.path())).map(|file| file.file_name().into_string().unwrap()).collect()
}

/// Returns whether the folder has compiled code of this digest.
fn is_compiled(folder: &Path, digest: &Value) -> bool {
    let files = std::fs::read_dir(folder.join("compiled")).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    files.map(name).any(|name| name.starts_with(digest.as_str().unwrap()))
}

/// Stores events of company `acme` of the last hour, whose deliveries to this webhook have failed.
async fn fill_failed(home: &Home, number: u32, webhook: &str) {
    let at = format!("{} + i", SystemClock.now_ms() - 3_600_000);
    let rows = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}) \
         SELECT 'dlv_' || {} || '70000000000000000000' AS id, 'filled' || i AS event_id, 't' AS event_type, \
         '{webhook}' AS webhook_id, 'failed' AS status, 1 AS attempt_count, CAST(NULL AS BIGINT) AS due, 0 AS parked, \
         {at} AS created_at, {at} AS finished_at, '\"{MARKER}\"' AS data FROM n",
        home.kind().hex(&at, 12)
    );
    home.fill_log(&rows).await;
}

/// Gives a company one of everything, with deliveries in flight, in memory, that wait for a retry, behind another of an ordered
/// webhook, for a consumer, and in a backlog. Returns the id of the webhook of the last.
async fn furnish(client: &Client, receiver: &Receiver, name: &str) -> String {
    let target = |path: &str| receiver.url(&format!("/{name}/{path}"));
    let config = json!({"marker": MARKER});
    client.upload("p", &guest("pass")).await.expect(201);
    let hooks = [
        json!({"label": "slow", "target_url": target("slow"), "max_in_flight": 1, "plugin": "p", "config": config}),
        json!({"label": "fails", "target_url": target("fails"), "headers": {"x-marker": MARKER}}),
        json!({"label": "off", "target_url": target("off"), "enabled": false, "name": MARKER}),
        json!({"label": "ordered", "target_url": target("fails"), "ordered": true}),
        json!({"label": "pull", "delivery": "pull"}),
    ];
    let mut ids = Vec::new();
    for mut hook in hooks {
        hook["type"] = json!("t");
        ids.push(client.subscribe(&hook).await);
    }
    client.subscribe(&json!({"type": "posthaste.*", "target_url": target("told"), "enabled": false})).await;
    let described = json!({"description": MARKER, "schema": {"type": ["object", "string"]}, "validate": "warn"});
    client.call(Method::PUT, "/event-types/t", &[], described.to_string()).await.expect(201);
    for id in ["e1", "e2"] {
        let data = json!({"name": MARKER, "long": format!("{MARKER} ").repeat(1_000)});
        let event = json!({"type": "t", "id": id, "data": data});
        let accepted = client.post("/events", &event).await.expect(202);
        assert_eq!(accepted["delivery_ids"].as_array().unwrap().len(), 5);
    }
    client.post("/events", &json!({"type": "nobody", "id": "e3", "data": MARKER})).await.expect(202);
    ids.swap_remove(2)
}

#[tokio::test]
async fn removed_company_leaves_nothing_and_its_neighbour_everything() {
    let (mut host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    receiver.answer(|_, arrival| match arrival.path.ends_with("/fails") {
        true => (StatusCode::BAD_GATEWAY, arrival.body.clone()).into_response(),
        false => (StatusCode::OK, arrival.body.clone()).into_response(),
    });
    let (platform, neighbour) = (platform(&host).await, host.company("neighbour").await);
    host.upload("own", &guest("drop")).await.expect(201);
    receiver.hold();
    let mut off = Vec::new();
    for (client, name) in [(&host.client, "acme"), (&neighbour, "neighbour")] {
        off.push(furnish(client, &receiver, name).await);
        receiver.wait_for_one(|arrival| arrival.path == format!("/{name}/slow")).await;
        // Those that fail wait for their retries.
        let fails = |arrival: &posthaste_tests::Arrival| arrival.path == format!("/{name}/fails");
        until("they are attempted", async || {
            (receiver.arrivals().into_iter().filter(fails).count() == 3).then_some(())
        })
        .await;
    }
    fill_failed(host.home(), 1_500, &off[0]).await;
    let replay = json!({"status": "failed", "since": "2026-01-01T00:00:00Z"});
    assert_eq!(host.post("/deliveries/replay", &replay).await.expect(202)["count"], 1_500);
    host.post("/events/erase", &json!({"type": "nobody", "pointer": "/none", "equals": MARKER})).await.expect(202);
    let limits = json!({"webhooks": 99}).to_string();
    platform.call(Method::PUT, "/limits?company=acme", &[], limits).await.expect(200);
    let shared = host.get("/plugins/p").await.expect(200)["digest"].clone();
    let own = host.get("/plugins/own").await.expect(200)["digest"].clone();
    assert!(is_compiled(host.folder(), &shared) && is_compiled(host.folder(), &own));
    let before = receiver.arrivals().len();

    let answer = remove(&platform, "acme").await.expect(202);
    assert_eq!((&answer["company"], answer.as_object().unwrap().len()), (&json!("acme"), 2));
    host.get("/webhooks").await.problem(401);
    host.post("/events", &json!({"type": "t", "data": 1})).await.problem(401);
    assert_eq!(listed(&platform, "acme").await.unwrap()["removing_since"], answer["created_at"]);
    assert_eq!(listed(&platform, "neighbour").await.unwrap()["removing_since"], Value::Null);
    assert_eq!(remove(&platform, "acme").await.expect(202), answer);
    gone(&platform, "acme").await;
    check_tables(host.home(), "acme").await;
    // The attempts in flight end: those of the neighbour are recorded, those of the company are not.
    receiver.open();
    receiver.wait_for_one(|arrival| arrival.path == "/neighbour/slow" && arrival.json()["name"] == MARKER).await;
    let waits = "posthaste_attempts_in_flight";
    until("they have ended", async || (Scrape::of(&platform).await.get(waits) == 0.0).then_some(())).await;
    let of_company = |arrival: &posthaste_tests::Arrival| arrival.path.starts_with("/acme");
    assert_eq!(receiver.arrivals().iter().skip(before).filter(|arrival| of_company(arrival)).count(), 0);
    check_tables(host.home(), "acme").await;
    let deliveries = neighbour.get("/deliveries?limit=100").await.expect(200)["data"].as_array().unwrap().len();
    assert_eq!(deliveries, 10);
    let of_none = "SELECT COUNT(*) FROM attempts WHERE delivery_id NOT IN (SELECT id FROM event_deliveries)";
    assert_eq!(host.home().value::<i64>(of_none).await, 0);
    assert!(is_compiled(host.folder(), &shared) && !is_compiled(host.folder(), &own));
    assert_eq!(count(host.home(), "configs").await, 2);
    let of_none = "SELECT COUNT(*) FROM lane_owners WHERE webhook_id NOT IN (SELECT id FROM webhooks)";
    assert_eq!(host.home().value::<i64>(of_none).await, 0);
    let used = platform.get("/limits?company=acme").await.expect(200);
    assert_eq!(
        (&used["quotas"]["event-bytes"]["used"], &used["quotas"]["webhooks"]["limit"]),
        (&json!(0), &json!(1_000))
    );
    remove(&platform, "acme").await.problem(404);

    remove(&platform, "neighbour").await.expect(202);
    gone(&platform, "neighbour").await;
    assert!(!is_compiled(host.folder(), &shared));
    for table in ["attempts", "pull_entries", "configs"] {
        assert_eq!(count(host.home(), table).await, 0, "{table}");
    }
    until("nothing waits", async || {
        let scrape = Scrape::of(&platform).await;
        let waiting = |state: &str| scrape.get(&format!("posthaste_deliveries_waiting{{state=\"{state}\"}}"));
        let states = ["disabled", "scheduled", "backlog", "replayed", "leased"];
        states.iter().all(|state| waiting(state) == 0.0).then_some(())
    })
    .await;
    if host.home().kind() == Kind::Sqlite {
        host.stop().await;
        assert_eq!(files_with_marker(host.home().path()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn name_of_a_removed_company_can_be_used_at_once() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let platform = platform(&host).await;
    host.upload("p", &guest("pass")).await.expect(201);
    let hook = |path: &str| json!({"type": "t", "target_url": receiver.url(path), "plugin": "p"});
    let former = host.subscribe(&hook("/former")).await;
    fill_failed(host.home(), 2_000, &former).await;
    remove(&platform, "acme").await.expect(202);
    // Its plugins went with it.
    let text = platform.post("/webhooks?company=acme", &hook("/")).await.problem(422);
    assert!(text.contains("/plugin"), "{text}");
    let client = host.company("acme").await;
    client.upload("p", &guest("pass")).await.expect(201);
    client.subscribe(&hook("/new")).await;
    let delivery = client.publish("t", &json!("new")).await;
    client.delivery(&delivery, "delivered").await;
    until("the removal ends", async || {
        let shown = listed(&platform, "acme").await.unwrap();
        (shown["removing_since"].is_null()).then_some(())
    })
    .await;
    let shown = listed(&platform, "acme").await.unwrap();
    assert_eq!((&shown["events"], &shown["deliveries"]), (&json!(1), &json!(1)));
    let again = client.publish("t", &json!("again")).await;
    let attempt = client.delivery(&again, "delivered").await["attempts"][0].clone();
    assert_eq!(attempt["plugin"]["outcome"], "pass");
    assert_eq!(client.delivery(&delivery, "delivered").await["payload"], "new");
    let paths: Vec<_> = receiver.arrivals().into_iter().map(|arrival| arrival.path).collect();
    assert_eq!(paths, ["/new", "/new"]);
}

#[tokio::test]
async fn removing_a_company_needs_a_platform_key_that_may_write() {
    let host = Host::start().await;
    host.publish("t", &json!(1)).await;
    assert!(remove(&host, "acme").await.problem(403).contains("platform key"));
    assert!(remove(&host, "other").await.problem(403).contains("platform key"));
    let reader = host.client.with_key(host.new_key(None, Scopes::parse("admin:read,events").unwrap()).await);
    assert!(remove(&reader, "acme").await.problem(403).contains("`admin`"));
    let platform = host.client.with_key(host.new_key(None, Scopes::parse("admin").unwrap()).await);
    assert!(remove(&platform, "nobody").await.problem(404).contains("nothing is stored"));
    remove(&platform, "a%20b").await.problem(404);
    remove(&platform, "acme?company=other").await.problem(422);
    assert_eq!(listed(&platform, "acme").await.unwrap()["events"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_that_a_kill_interrupts_is_completed_by_the_next_process() {
    let (home, receiver) = (Home::new().await, Receiver::start().await);
    let process = Process::serve(&home, &["--retry-schedule=1h"]).await;
    let key = process.client.key.clone();
    let former =
        process.client.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 1})).await;
    receiver.hold();
    for number in 0..5 {
        process.client.publish("t", &json!(number)).await;
    }
    receiver.wait_for(1).await;
    fill_failed(&home, 20_000, &former).await;
    let create = ["keys", "create", "--platform", "--database", home.database()];
    let (status, platform, error) = Process::run(create).await;
    assert_eq!(status, 0, "{error}");
    remove(&process.client.with_key(platform.trim()), "acme").await.expect(202);
    process.kill().await;
    assert!(count(&home, "company_removals").await == 1 && count(&home, "event_deliveries").await > 0);
    receiver.open();
    let process = Process::start(&home, platform.trim().to_owned(), |_| ()).await;
    let process = process.unwrap_or_else(|log| panic!("serve ended: {log}"));
    gone(&process.client, "acme").await;
    check_tables(&home, "acme").await;
    process.client.with_key(key).get("/webhooks").await.problem(401);
    let line = "a company was removed with all that it had";
    until("it is recorded", async || process.log_lines().iter().any(|text| text.contains(line)).then_some(())).await;
    let lines = process.log_lines();
    let line = lines.iter().find(|text| text.contains(line)).unwrap();
    for part in ["company=\"acme\"", "events=20005", "deliveries=20005", "by=\"key_"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(receiver.arrivals().len(), 1);
}

/// Starts a node of this database with a folder of its own.
async fn node(home: &Home, folder: &Path, key: String) -> Process {
    // The harness gives it the folder of the database, where the secret key is.
    let script = "for word do shift; [ \"$word\" = \"$SHARED\" ] && word=\"$OWN\"; set -- \"$@\" \"$word\"; done; exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(posthaste_tests::binary()).env("SHARED", home.path()).env("OWN", folder);
    let started = Process::start_by(shell, home, key, |command| {
        command.arg(format!("--secret-key-file={}", home.path().join("posthaste.key").display()));
    });
    started.await.unwrap_or_else(|log| panic!("serve ended: {log}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_through_one_node_reaches_the_memory_and_compiled_code_of_another() {
    let (home, folder) = (Home::new().await, tempfile::tempdir().unwrap());
    if home.kind() == Kind::Sqlite {
        return;
    }
    let first = Process::serve(&home, &[]).await;
    let create = ["keys", "create", "--platform", "--database", home.database()];
    let (_, platform, _) = Process::run(create).await;
    let second = node(&home, folder.path(), first.client.key.clone()).await;
    let (client, receiver) = (&second.client, Receiver::start().await);
    client.upload("own", &guest("pass")).await.expect(201);
    client.upload("shared", &guest("drop")).await.expect(201);
    second.company("neighbour").await.upload("p", &guest("drop")).await.expect(201);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 2, "plugin": "own"});
    client.subscribe(&hook).await;
    receiver.hold();
    for number in 0..10 {
        client.publish("t", &json!(number)).await;
    }
    // Its part of the slots.
    receiver.wait_for(1).await;
    let digest = async |name: &str| client.get(&format!("/plugins/{name}")).await.expect(200)["digest"].clone();
    let (own, shared) = (digest("own").await, digest("shared").await);
    assert!(is_compiled(folder.path(), &own) && is_compiled(folder.path(), &shared));
    let platform = first.client.with_key(platform.trim());
    remove(&platform, "acme").await.expect(202);
    until("the key opens nothing", async || (client.get("/webhooks").await.status == 401).then_some(())).await;
    gone(&platform, "acme").await;
    until("the code is dropped", async || (!is_compiled(folder.path(), &own)).then_some(())).await;
    assert!(is_compiled(folder.path(), &shared));
    let begun = receiver.arrivals().len();
    receiver.open();
    let waits = "posthaste_attempts_in_flight";
    until("they have ended", async || (Scrape::of(client).await.get(waits) == 0.0).then_some(())).await;
    assert_eq!(receiver.arrivals().len(), begun);
    check_tables(&home, "acme").await;
    assert_eq!(count(&home, "attempts").await, 0);
}

#[tokio::test]
async fn start_drops_compiled_code_that_was_removed_while_the_node_was_down() {
    let mut host = Host::start().await;
    let platform_key = host.new_key(None, Scopes::all()).await;
    host.upload("p", &guest("pass")).await.expect(201);
    let digest = host.get("/plugins/p").await.expect(200)["digest"].clone();
    host.stop().await;
    host.home().sql("DELETE FROM plugins; DELETE FROM plugin_versions WHERE company <> ''").await;
    host.home().sql("DELETE FROM plugin_bytes WHERE digest NOT IN (SELECT digest FROM plugin_versions)").await;
    assert!(is_compiled(host.folder(), &digest));
    host.restart().await;
    until("the code is dropped", async || (!is_compiled(host.folder(), &digest)).then_some(())).await;
    host.client.with_key(platform_key).get("/companies").await.expect(200);
}
