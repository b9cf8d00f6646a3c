//! Factorial's official SDK, unmodified, with its `base_url` at the service. It comes from Python's package index; if that is not
//! available, these tests fail.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use posthaste_tests::{Host, Receiver};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::OnceCell;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/factorial");
const VENV: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/factorial-sdk");

/// An event of Factorial's catalogue, as its producer publishes it.
const DOCUMENT: &str = include_str!("../../host/assets/events/documents_document_create.json");

/// Runs a step of the installation; `remedy` says what to do if it fails.
async fn step(program: &str, arguments: &[&str], remedy: &str) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    let failed = |why: &str| panic!("`{program} {}` failed: {remedy}\n{why}", arguments.join(" "));
    match output {
        Ok(output) if output.status.success() => (),
        Ok(output) => failed(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => failed(&error.to_string()),
    }
}

/// Installs the SDK into a virtual environment, once for all tests and runs, and returns its Python.
async fn python() -> PathBuf {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let (venv, wanted) = (Path::new(VENV), format!("{SOURCES}/requirements.txt"));
    let python = venv.join("bin/python");
    let install = || async {
        // Written last, so that an interrupted installation is repeated; compared, so that changed requirements are installed.
        let marker = venv.join("installed-requirements.txt");
        let requirements = std::fs::read(&wanted).unwrap();
        if std::fs::read(&marker).is_ok_and(|installed| installed == requirements) {
            return;
        }
        let missing =
            "run `apt-get install python3 python3-venv` (Python 3.11 or later), or `cargo xtask test` as root";
        step("python3", &["-m", "venv", "--clear", VENV], missing).await;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", &wanted];
        let unreachable = "pip must reach Python's package index, and Python be 3.11 or later";
        step(&python.to_string_lossy(), &pip, unreachable).await;
        std::fs::write(&marker, requirements).unwrap();
    };
    INSTALLED.get_or_init(install).await;
    python
}

/// Runs the program and returns what it saw.
async fn run(arguments: &[&str], input: &[u8]) -> Value {
    let mut command = Command::new(python().await);
    // Neither the user's settings of Python nor those of the SDK.
    for name in ["PYTHONPATH", "PYTHONHOME", "FACTORIAL_API_KEY", "FACTORIAL_TOKEN", "FACTORIAL_BASE_URL"] {
        command.env_remove(name);
    }
    command.env("NO_PROXY", "127.0.0.1").arg(format!("{SOURCES}/sdk.py")).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Lets the SDK manage the subscriptions of company 55.
async fn managed(host: &Host, target: &str) -> Value {
    let key = host.company("55").await.key;
    run(&["manage", &host.base, &key, target], b"").await
}

#[tokio::test]
async fn sdk_lists_creates_gets_updates_and_deletes_subscriptions() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let target = receiver.url("/hook");
    let seen = managed(&host, &target).await;
    let newest_first = json!([
        "teams/team/create",
        "employees/employee/update",
        "employees/employee/create",
        "documents/document/create",
        "contracts/contract_version/update",
    ]);
    assert_eq!(seen["empty"], json!([[], 0, false]));
    let mut subscription = json!({
        "id": seen["created"]["id"], "type": "contracts/contract_version/update", "target_url": target, "company_id": "55",
        "challenge": "knock-knock", "enabled": true, "api_version": "2026-10-01",
    });
    assert_eq!((&seen["created"], &seen["got"]), (&subscription, &subscription));
    assert_eq!(seen["page"], json!([newest_first, 5, false]));
    for pages in ["pages", "pages_async", "all"] {
        assert_eq!(seen[pages], newest_first, "{pages}");
    }
    assert_eq!(seen["first_three"], json!(newest_first.as_array().unwrap()[..3]));
    assert_eq!(
        (&seen["filtered"], &seen["by_id"]),
        (&json!(["documents/document/create"]), &json!(["employees/employee/create"]))
    );
    assert_eq!((&seen["taken"]["status"], &seen["other_company"]["status"]), (&json!(422), &json!(403)));
    assert!(seen["taken"]["problem"]["detail"].as_str().unwrap().contains("already been taken"), "{seen}");
    (subscription["name"], subscription["enabled"]) = (json!("renamed"), json!(false));
    assert_eq!(seen["updated"], subscription);
    subscription["enabled"] = json!(true);
    assert_eq!(seen["sent_back"], subscription);
    assert_eq!((&seen["deleted"]["type"], &seen["gone"]["status"]), (&json!("teams/team/create"), &json!(404)));
    let webhooks = host.company("55").await.get("/webhooks").await.expect(200);
    assert_eq!(webhooks.as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn payload_classes_of_the_sdk_parse_what_a_receiver_gets() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    managed(&host, &receiver.url("/hook")).await;
    let company = host.company("55").await;
    let mut event: Value = serde_json::from_str(DOCUMENT).unwrap();
    event["author"] = json!({"id": "9921", "type": "employee"});
    company.post("/events", &event).await.expect(202);
    let arrival = receiver.first().await;
    let parsed = run(&["parse", arrival.header("webhook-event-type")], &arrival.body).await;
    assert_eq!(parsed, json!({"class": "DocumentsDocument", "unknown": [], "payload": event["data"]}));
    let headers = ["x-factorial-wh-challenge", "x-factorial-author-id", "x-factorial-author-type"];
    assert_eq!(headers.map(|name| arrival.header(name)), ["knock-knock", "9921", "employee"]);
}
