//! `posthaste migrate`: from SQLite to PostgreSQL and back, on whichever database the suite runs.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use posthaste_tests::{Arrival, Client, Home, Kind, Process, Receiver, binary, shipped, until, verify};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

async fn migrate(from: &str, to: &str) -> (i32, String, String) {
    Process::run(["migrate", "--from", from, "--to", to]).await
}

async fn moved(from: &str, to: &str) -> String {
    let (status, output, error) = migrate(from, to).await;
    assert_eq!(status, 0, "{output}{error}");
    output
}

async fn refused(from: &str, to: &str) -> String {
    let (status, output, error) = migrate(from, to).await;
    assert_eq!(status, 1, "{output}");
    error
}

/// Returns the resources of a company, without waiting deliveries.
async fn seen(client: &Client, delivered: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/webhooks", "/plugins", "/plugins/my-mask", &format!("/deliveries/{delivered}")] {
        all.push(client.get(path).await.expect(200));
    }
    // It follows the deliveries, which go on after the move.
    for webhook in all[0].as_array_mut().unwrap() {
        webhook.as_object_mut().unwrap().remove("health");
    }
    all.push(client.get(&format!("/deliveries/{delivered}/transformed")).await.bytes.into());
    all
}

/// Starts `serve` on the database of `home` and returns the reason for which it ended.
async fn not_served(home: &Home) -> String {
    match Process::start(home, "no key".into(), |_| ()).await {
        Ok(_) => panic!("it serves {}", home.database()),
        Err(output) => output,
    }
}

fn check_signature(arrival: &Arrival, secret: &str) {
    let secret = posthaste::outbound::sign::parse_secret(secret).unwrap();
    let [id, timestamp, signature] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| arrival.header(name));
    verify(&secret, (id, timestamp, signature), &arrival.body, timestamp.parse().unwrap()).unwrap();
}

fn texts(arrivals: &[Arrival]) -> HashSet<String> {
    arrivals.iter().map(Arrival::text).collect()
}

#[tokio::test]
async fn migration_to_postgresql_and_back_keeps_everything_and_delivers_the_backlog() {
    let (old, new) = (Home::of(Kind::Sqlite).await, Home::of(Kind::Postgres).await);
    let receiver = Receiver::start().await;
    let process = Process::serve(&old, &[]).await;
    process.client.upload("my-mask", &shipped("mask")).await.expect(201);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "my-mask", "config": {"fields": ["/a"]}});
    let secret = process.client.post("/webhooks", &hook).await.expect(201)["signing_secret"].clone();
    let order = json!({"type": "order", "target_url": receiver.url("/"), "ordered": true});
    process.client.post("/webhooks", &order).await.expect(201);
    let delivered = process.client.publish("t", &json!({"a": "hidden", "n": 0})).await;
    process.client.delivery(&delivered, "delivered").await;
    // At the kill some deliveries are in flight and all others in memory.
    receiver.hold();
    for number in 1..=40 {
        process.client.publish("t", &json!({"a": "hidden", "n": number})).await;
        process.client.publish("order", &json!(number)).await;
    }
    receiver.wait_for(2).await;
    let before = seen(&process.client, &delivered).await;

    let error = refused(old.database(), new.database()).await;
    assert!(error.contains("--from: another posthaste serves this database"), "{error}");
    let key = process.client.key.clone();
    process.kill().await;
    let output = moved(old.database(), new.database()).await;
    let line = output.lines().find(|line| line.starts_with("event_deliveries")).unwrap();
    assert!(line.contains(" 81 rows  sha-256 ") && output.contains("moved: "), "{output}");

    let output = not_served(&old).await;
    assert!(output.contains("this database was moved to postgres://"), "{output}");
    assert!(!output.contains(new.database()), "the password is shown: {output}");
    let output = not_served(&new).await;
    assert!(output.contains("posthaste.key is missing"), "{output}");

    std::fs::copy(old.path().join("posthaste.key"), new.path().join("posthaste.key")).unwrap();
    let arrived = receiver.arrivals().len();
    receiver.open();
    let process = Process::start(&new, key.clone(), |_| ()).await.unwrap_or_else(|output| panic!("{output}"));
    let expected: HashSet<String> =
        (1..=40).flat_map(|n| [format!(r#"{{"a":"***","n":{n}}}"#), n.to_string()]).collect();
    let all = receiver.wait_for(arrived + 80).await;
    assert_eq!(texts(&all[arrived..]), expected);
    let in_order: Vec<_> = all[arrived..].iter().filter_map(|arrival| arrival.text().parse::<i64>().ok()).collect();
    assert_eq!(in_order, (1..=40).collect::<Vec<_>>());
    assert_eq!(seen(&process.client, &delivered).await, before);
    let signed = all[arrived..].iter().find(|arrival| arrival.text().starts_with('{')).unwrap();
    check_signature(signed, secret.as_str().unwrap());

    back_again(&new, (process, key), &delivered, before).await;
}

/// Migrates back from PostgreSQL: refused while a node serves it, done after the node has stopped.
async fn back_again(new: &Home, (process, key): (Process, String), delivered: &str, before: Vec<Value>) {
    let back = Home::of(Kind::Sqlite).await;
    let error = refused(new.database(), back.database()).await;
    assert!(error.contains("stop every node first"), "{error}");
    assert_eq!(process.terminate().await, 0);
    moved(new.database(), back.database()).await;
    std::fs::copy(new.path().join("posthaste.key"), back.path().join("posthaste.key")).unwrap();
    let process = Process::start(&back, key, |_| ()).await.unwrap_or_else(|output| panic!("{output}"));
    assert_eq!(seen(&process.client, delivered).await, before);
    assert_eq!(process.client.get("/deliveries?status=pending").await.expect(200)["data"], json!([]));
}

/// Stores finished deliveries.
async fn fill(home: &Home, rows: usize) {
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 10000 UNION ALL SELECT i + 1 FROM n WHERE i < 9999 + {rows}) \
         SELECT 'dlv_' || i AS id, 'e' || i AS event_id, 't' AS event_type, 'wh_1' AS webhook_id, 'delivered' AS status, \
         1 AS attempt_count, CAST(NULL AS BIGINT) AS due, 0 AS parked, 5 AS created_at, 6 AS finished_at, \
         '\"é' || i || '\"' AS data FROM n"
    );
    home.fill_log(&fill).await;
}

fn start(from: &str, to: &str) -> Child {
    let mut command = Command::new(binary());
    command.args(["migrate", "--from", from, "--to", to]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[tokio::test]
async fn killed_migration_resumes_and_detects_differences() {
    let (old, new) = (Home::of(Kind::Sqlite).await, Home::of(Kind::Postgres).await);
    let (from, to) = (old.database(), new.database());
    Process::run(["keys", "create", "--company", "acme", "--database", from]).await;
    fill(&old, 2000).await;
    // A response with a NUL, which PostgreSQL text cannot hold.
    let answer = "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, response_body) \
                  VALUES ('dlv_10000', 1, 5, 1, 'a' || char(0) || 'b')";
    old.sql(answer).await;
    // Creates the tables.
    Process::run(["keys", "list", "--database", to]).await;

    // The copy blocks at a row that another transaction is inserting.
    let mut somebody = PgConnection::connect(to).await.unwrap();
    let row = "BEGIN; INSERT INTO event_deliveries SELECT 'acme', 'dlv_11000', 'x', 'x', 'x', NULL, 'x', 0, 0, NULL, NULL, 0, 0, NULL, 0";
    sqlx::raw_sql(AssertSqlSafe(row)).execute(&mut somebody).await.unwrap();
    let mut copying = start(from, to);
    let copied = || async { new.value::<i64>("SELECT COUNT(*) FROM event_deliveries").await };
    until("half of the rows are copied", || async { (copied().await > 900).then_some(()) }).await;
    copying.kill().unwrap();
    copying.wait().unwrap();
    somebody.close().await.unwrap();
    let half = copied().await;
    assert!((900..1100).contains(&half), "{half}");

    let output = not_served(&new).await;
    assert!(output.contains("run the same `posthaste migrate` again"), "{output}");
    let another = Home::of(Kind::Sqlite).await;
    Process::run(["keys", "create", "--company", "acme", "--database", another.database()]).await;
    let error = refused(another.database(), to).await;
    assert!(error.contains("holds an unfinished copy of sqlite://"), "{error}");

    new.sql("UPDATE event_deliveries SET event_type = 'other' WHERE id = 'dlv_10007'").await;
    let (status, output, error) = migrate(from, to).await;
    assert!(
        status == 1 && output.contains("continuing where an earlier run stopped: event_deliveries"),
        "{output}{error}"
    );
    assert!(error.contains("`event_deliveries` is not the same in both: 2000 rows"), "{error}");
    new.sql("UPDATE event_deliveries SET event_type = 't' WHERE id = 'dlv_10007'").await;
    let output = moved(from, to).await;
    assert!(output.contains("continuing where an earlier run stopped: the comparison"), "{output}");
    assert_eq!(copied().await, 2000);
    assert_eq!(new.value::<String>("SELECT response_body FROM attempts").await, "a\u{fffd}b");
}

#[tokio::test]
async fn migrate_refuses_missing_non_empty_and_identical_databases() {
    let (old, new) = (Home::of(Kind::Sqlite).await, Home::of(Kind::Postgres).await);
    let error = refused(old.database(), new.database()).await;
    assert!(
        error.contains("there is no such file") && !Path::new(&old.path().join("posthaste.db")).exists(),
        "{error}"
    );
    for database in [old.database(), new.database()] {
        Process::run(["keys", "create", "--company", "acme", "--database", database]).await;
    }
    let error = refused(old.database(), new.database()).await;
    assert!(error.contains("is not empty (there are rows in `api_keys`)"), "{error}");
    let error = refused(old.database(), old.database()).await;
    assert!(error.contains("the same database"), "{error}");
    let error = refused(old.database(), "mysql://x").await;
    assert!(error.contains("--to: `mysql:` is not a database that this version knows"), "{error}");
}
