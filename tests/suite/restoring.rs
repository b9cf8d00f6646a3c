//! Backup and restore of an SQLite database, and a database that is malformed.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use posthaste_tests::{Answer, Client, Home, Process, Receiver, sqlite_only, until};
use serde_json::json;

/// Runs a command on the database of `home`; returns its status and what it wrote to stderr.
async fn run(home: &Home, args: &[&str]) -> (i32, String) {
    let folder = home.path().display().to_string();
    let mut all = [args, &["--database", home.database()]].concat();
    if args[0] == "restore" {
        all.extend(["--data-dir", &folder]);
    }
    let (status, _, said) = Process::run(all).await;
    (status, said)
}

async fn backup(home: &Home, to: &Path) -> (i32, String) {
    run(home, &["backup", "--to", to.to_str().unwrap()]).await
}

async fn restore(home: &Home, from: &Path) -> (i32, String) {
    run(home, &["restore", "--from", from.to_str().unwrap()]).await
}

async fn start(home: &Home, key: &str) -> Result<Process, String> {
    Process::start(home, key.to_owned(), |_| ()).await
}

fn database(home: &Home) -> PathBuf {
    home.path().join("posthaste.db")
}

fn log_of(home: &Home) -> PathBuf {
    home.path().join("posthaste.db-wal")
}

/// Returns the names of files in the folder of the database that begin so.
fn files(home: &Home, prefix: &str) -> Vec<String> {
    let names = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

async fn publish(client: &Client, id: &str, data: &str) -> Answer {
    client.post("/events", &json!({"type": "t", "id": id, "data": data})).await
}

#[tokio::test]
async fn backup_beside_a_server_is_restored_and_the_earlier_database_is_kept() {
    if sqlite_only("the database file") {
        return;
    }
    let (home, receiver) = (Home::new().await, Receiver::start().await);
    let process = Process::serve(&home, &[]).await;
    let key = process.client.key.clone();
    process.client.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    publish(&process.client, "before", "x").await.expect(202);
    let copy = home.path().join("copy.db");
    let (status, said) = backup(&home, &copy).await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("the secret key is not in it"), "{said}");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    publish(&process.client, "after", "x").await.expect(202);
    let (status, said) = backup(&home, &copy).await;
    assert!(status == 1 && said.contains("this file exists"), "{said}");
    let (status, said) = restore(&home, &copy).await;
    assert!(status == 1 && said.contains("another posthaste serves this database"), "{said}");
    process.kill().await;

    let (status, said) = restore(&home, &copy).await;
    assert_eq!(status, 0, "{said}");
    let kept = files(&home, "posthaste.db.replaced-");
    assert!(kept.len() == 2 && kept[1].ends_with("-wal") && said.contains(&kept[0]), "{said} {kept:?}");
    let process = start(&home, &key).await.unwrap();
    process.client.get("/events/before").await.expect(200);
    process.client.get("/events/after").await.problem(404);
    let id = process.client.publish("t", &json!("again")).await;
    process.client.delivery(&id, "delivered").await;
    assert_eq!(process.terminate().await, 0);

    // The earlier database is complete.
    let (status, said) = restore(&home, &home.path().join(&kept[0])).await;
    assert_eq!(status, 0, "{said}");
    let process = start(&home, &key).await.unwrap();
    process.client.get("/events/after").await.expect(200);
    assert_eq!(files(&home, ".posthaste"), [""; 0], "nothing is left behind");
}

#[tokio::test]
async fn unsuitable_backup_is_refused_and_changes_nothing() {
    if sqlite_only("the database file") {
        return;
    }
    let home = Home::new().await;
    home.migrated().await;
    let whole = home.path().join("whole.db");
    assert_eq!(backup(&home, &whole).await.0, 0);
    let bytes = fs::read(database(&home)).unwrap();
    let bad = |name: &str, content: &[u8]| {
        let path = home.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let mut torn = fs::read(&whole).unwrap();
    let half = torn.len() / 2;
    torn[half..].fill(0x55);
    let newer = Home::new().await;
    newer.migrated().await;
    newer.sql("INSERT INTO _sqlx_migrations SELECT 999999, 'later', installed_on, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1").await;
    let other = Home::new().await;
    fs::write(database(&other), "").unwrap();
    other.sql("CREATE TABLE a (b)").await;
    for (from, why) in [
        (home.path().join("missing.db"), "No such file"),
        (bad("text", b"not a database"), "not an SQLite database"),
        (bad("torn.db", &torn), "malformed"),
        (database(&newer), "a newer version of Posthaste"),
        (database(&other), "not a database of Posthaste"),
        (database(&home), "the database itself"),
    ] {
        let (status, said) = restore(&home, &from).await;
        assert!(status == 1 && said.contains(why), "{why}: {said}");
        assert_eq!(fs::read(database(&home)).unwrap(), bytes, "{why}");
    }
    let (status, said) = run(&other, &["backup", "--to", "/nonexistent/copy.db"]).await;
    assert!(status == 1 && said.contains("--to /nonexistent/copy.db"), "{said}");
    let nowhere = Home::new().await;
    let (status, said) = backup(&nowhere, &nowhere.path().join("copy.db")).await;
    assert!(status == 1 && said.contains("there is no database"), "{said}");
    let postgres = ["backup", "--to", "copy.db", "--database", "postgres://a:secret@127.0.0.1/b"];
    let (status, _, said) = Process::run(postgres).await;
    assert!(status == 1 && said.contains("pg_dump") && !said.contains("secret"), "{said}");
}

#[tokio::test]
async fn restore_tells_whether_the_secret_key_fits() {
    if sqlite_only("the database file") {
        return;
    }
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let copy = home.path().join("copy.db");
    assert_eq!(backup(&home, &copy).await.0, 0);
    assert_eq!(process.terminate().await, 0);
    let elsewhere = Home::new().await;
    let (status, said) = restore(&elsewhere, &copy).await;
    assert!(status == 0 && said.contains("posthaste.key") && !said.contains("earlier"), "{said}");
    fs::write(elsewhere.path().join("posthaste.key"), format!("{}=\n", "A".repeat(43))).unwrap();
    let (status, said) = restore(&elsewhere, &copy).await;
    assert!(status == 0 && said.contains("is another than that of the backup"), "{said}");
    fs::copy(home.path().join("posthaste.key"), elsewhere.path().join("posthaste.key")).unwrap();
    let (status, said) = restore(&elsewhere, &copy).await;
    assert!(status == 0 && !said.contains("secret key"), "{said}");
}

#[tokio::test]
async fn interrupted_restore_has_to_be_finished() {
    if sqlite_only("the database file") {
        return;
    }
    let home = Home::new().await;
    home.migrated().await;
    let restoring = home.path().join("posthaste.db.restoring");
    assert_eq!(backup(&home, &restoring).await.0, 0);
    // The worst moment: the earlier database has its other name, and the new one is not yet in place.
    for file in files(&home, "posthaste.db").iter().filter(|file| !file.ends_with(".restoring")) {
        fs::remove_file(home.path().join(file)).unwrap();
    }
    let said = start(&home, "phk_any").await.err().expect("it starts");
    assert!(said.contains("was interrupted"), "{said}");
    let (status, said) = run(&home, &["keys", "create", "--company", "acme"]).await;
    assert!(status == 1 && said.contains("was interrupted"), "{said}");
    assert_eq!(files(&home, "posthaste"), ["posthaste.db.restoring"], "nothing was written");
    let (status, said) = restore(&home, &restoring).await;
    assert_eq!(status, 0, "{said}");
    assert!(start(&home, "phk_any").await.is_ok());
}

#[tokio::test]
async fn log_without_its_database_is_kept() {
    if sqlite_only("the database file") {
        return;
    }
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let key = process.client.key.clone();
    publish(&process.client, "before", "x").await.expect(202);
    let copy = home.path().join("copy.db");
    assert_eq!(backup(&home, &copy).await.0, 0);
    let elsewhere = Home::new().await;
    let (status, said) = restore(&elsewhere, &database(&home)).await;
    assert!(status == 1 && said.contains("another posthaste serves this database"), "{said}");
    process.kill().await;
    fs::remove_file(database(&home)).unwrap();
    let log = fs::read(log_of(&home)).unwrap();
    let said = start(&home, &key).await.err().expect("it starts");
    assert!(said.contains("posthaste.db-wal, which belongs to it"), "{said}");
    let (status, said) = run(&home, &["keys", "list"]).await;
    assert!(status == 1 && said.contains("posthaste.db-wal, which belongs to it"), "{said}");
    assert_eq!(fs::read(log_of(&home)).unwrap(), log);
    let (status, said) = restore(&home, &copy).await;
    assert!(status == 0 && said.contains(".replaced-"), "{said}");
    start(&home, &key).await.unwrap().client.get("/events/before").await.expect(200);
}

/// Returns what the write-ahead log has drawn for its present round (the salts of its header): SQLite begins a new round
/// once a checkpoint has copied all of it into the database.
fn round_of_log(home: &Home) -> [u8; 8] {
    let mut salts = [0; 8];
    File::open(log_of(home)).unwrap().read_exact_at(&mut salts, 16).unwrap();
    salts
}

#[tokio::test]
async fn old_copy_beside_a_later_log_is_not_served() {
    if sqlite_only("the database file") {
        return;
    }
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let key = process.client.key.clone();
    publish(&process.client, "before", "x").await.expect(202);
    assert_eq!(process.terminate().await, 0);
    assert_eq!(fs::metadata(log_of(&home)).map_or(0, |log| log.len()), 0, "a clean stop leaves no log");
    let copy = home.path().join("copy.db");
    fs::copy(database(&home), &copy).unwrap();

    let process = start(&home, &key).await.unwrap();
    let data = "x".repeat(9_000);
    publish(&process.client, "first", &data).await.expect(202);
    let first = round_of_log(&home);
    for number in 0..100 {
        publish(&process.client, &format!("a{number}"), &data).await.expect(202);
    }
    until("a new round of the log", || async {
        process.client.post("/events", &json!({"type": "t", "data": data})).await.expect(202);
        (round_of_log(&home) != first).then_some(())
    })
    .await;
    process.kill().await;
    // Into the same file, as `cp` does.
    fs::copy(&copy, database(&home)).unwrap();
    let log = fs::read(log_of(&home)).unwrap();
    let said = start(&home, &key).await.err().expect("a malformed database is served");
    assert!(said.contains("is malformed") && said.contains("posthaste restore"), "{said}");
    assert_eq!(fs::read(log_of(&home)).unwrap(), log, "nothing was changed");

    let (status, said) = restore(&home, &copy).await;
    assert_eq!(status, 0, "{said}");
    let process = start(&home, &key).await.unwrap();
    process.client.get("/events/before").await.expect(200);
    process.client.get("/events/first").await.problem(404);
}

#[tokio::test]
async fn database_that_turns_out_to_be_malformed_takes_no_more_events() {
    if sqlite_only("the database file") {
        return;
    }
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let client = &process.client;
    // More than the caches of all connections hold.
    let data = "x".repeat(100_000);
    for number in 0..200 {
        publish(client, &format!("e{number}"), &data).await.expect(202);
    }
    let size = fs::metadata(database(&home)).unwrap().len();
    let file = File::options().write(true).open(database(&home)).unwrap();
    file.write_all_at(&vec![0xaa; usize::try_from(size).unwrap() - 4096], 4096).unwrap();
    let refused = until("an event is refused", || async {
        for number in 0..200 {
            client.get(&format!("/events/e{number}")).await;
        }
        let answer = client.post("/events", &json!({"type": "t", "data": 1})).await;
        (answer.status != 202).then_some(answer)
    })
    .await;
    let text = "the database is malformed and takes no writes";
    assert!(refused.problem(503).starts_with(text), "{}", refused.problem(503));
    assert!(client.get("!/readyz").await.problem(503).starts_with(text));
    client.get("!/healthz").await.expect(200);
    let hook = json!({"type": "t", "target_url": "http://127.0.0.1:9/"});
    assert!(client.post("/webhooks", &hook).await.problem(503).starts_with(text));
    let batch = client.call(
        http::Method::POST,
        "/events/batch",
        &[("content-type", "application/x-ndjson")],
        "{\"type\": \"t\", \"data\": 1}",
    );
    let batch = batch.await;
    // Its key may be on a damaged page; otherwise each line has the answer of a single event.
    let of_line = |batch: &serde_json::Value| batch["results"][0]["error"]["status"].clone();
    assert!(batch.status == 503 || of_line(&batch.json()) == 503, "{}", batch.json());
    let lines = process.log_lines();
    let said = lines.iter().filter(|line| line.contains("ERROR") && line.contains("the database is malformed"));
    assert_eq!(said.count(), 1, "{lines:?}");
    assert_eq!(process.terminate().await, 0);
}
