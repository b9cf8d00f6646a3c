//! `docs/verify-webhooks.md`: its code verifies what Posthaste sends, with the official libraries from their registries.

use std::path::Path;
use std::process::Stdio;

use posthaste::outbound::sign;
use posthaste_tests::{Arrival, Host, Receiver};
use serde_json::{Value, json};
use tokio::process::Command;

const PAGE: &str = include_str!("../../docs/verify-webhooks.md");

/// Returns the page's only block of code in this language.
fn code(language: &str) -> String {
    let blocks: Vec<_> = PAGE.split(&format!("\n```{language}\n")).skip(1).collect();
    let [block] = blocks[..] else { panic!("{} blocks of {language}", blocks.len()) };
    block.split("\n```").next().unwrap().to_owned()
}

/// Returns the command after the page's heading of this language.
fn install(heading: &str) -> &'static str {
    let section = PAGE.split(&format!("\n## In {heading}\n")).nth(1).unwrap();
    section.split("$ ").nth(1).unwrap().lines().next().unwrap()
}

/// Runs a command of the shell in a folder, and returns what it printed.
async fn sh(folder: &Path, command: &str, secret: &str) -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verifying");
    let mut shell = Command::new("sh");
    shell.args(["-ec", command]).current_dir(folder).env("CARGO_TARGET_DIR", target).env("WEBHOOK_SECRET", secret);
    let output = shell.stdin(Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn case(arrival: &Arrival) -> Value {
    let header = |name| (String::from(name), json!(arrival.header(name)));
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header);
    json!({"headers": serde_json::Map::from_iter(headers), "body": arrival.text()})
}

/// What a receiver gets, and whether it is genuine under the first secret and under the one after its rotation.
struct Requests {
    secrets: [String; 2],
    cases: Vec<Value>,
    genuine: Vec<[bool; 2]>,
}

async fn requests() -> Requests {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    // Parsed and written again it would be another body.
    let body = r#"{"name": "Jos\u00e9 \/ é", "iban":  "ES91", "n": 1.0, "big": 18446744073709551617}"#;
    let event = format!(r#"{{"type": "t", "data": {body}}}"#);
    host.call(http::Method::POST, "/events", &[], event.clone()).await.expect(202);
    let first = receiver.first().await;
    let rotate = format!("/webhooks/{}/secret/rotate", hook["id"].as_str().unwrap());
    let rotated = host.post(&rotate, &json!({})).await.expect(200);
    host.call(http::Method::POST, "/events", &[], event).await.expect(202);
    let second = receiver.wait_for(2).await[1].clone();
    assert_eq!(second.header("webhook-signature").split(' ').count(), 2);
    let [mut written_again, mut old] = [case(&first), case(&second)];
    written_again["body"] = serde_json::from_str::<Value>(body).unwrap().to_string().into();
    let secret = hook["signing_secret"].as_str().unwrap();
    let (key, now) = (sign::parse_secret(secret).unwrap(), second.header("webhook-timestamp").parse::<i64>().unwrap());
    old["headers"]["webhook-timestamp"] = (now - 1_000).to_string().into();
    let signature = sign::sign(&key, second.header("webhook-id"), now - 1_000, &second.body);
    old["headers"]["webhook-signature"] = signature.into();
    Requests {
        secrets: [secret.to_owned(), rotated["signing_secret"].as_str().unwrap().to_owned()],
        cases: vec![case(&first), case(&second), written_again, old],
        genuine: vec![[true, false], [true, true], [false, false], [false, false]],
    }
}

/// Runs `command`, which prints whether each of the requests in `cases.json` is genuine, under both secrets.
async fn check(folder: &Path, prepare: &str, command: &str) {
    let requests = requests().await;
    std::fs::write(folder.join("cases.json"), json!(requests.cases).to_string()).unwrap();
    sh(folder, prepare, "").await;
    for (index, secret) in requests.secrets.iter().enumerate() {
        let printed = sh(folder, command, secret).await;
        let expected: Vec<_> = requests.genuine.iter().map(|genuine| genuine[index].to_string()).collect();
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "secret {index}");
    }
}

#[tokio::test]
async fn python_code_verifies_genuine_requests_only() {
    let folder = tempfile::tempdir().unwrap();
    let main = r#"
import json
for case in json.load(open("cases.json", encoding="utf-8")):
    try:
        verify(case["headers"], case["body"].encode())
        print("true")
    except Exception:
        print("false")
"#;
    std::fs::write(folder.path().join("main.py"), code("python") + "\n" + main).unwrap();
    let prepare = format!("python3 -m venv env && env/bin/{}", install("Python"));
    check(folder.path(), &prepare, "env/bin/python main.py").await;
}

#[tokio::test]
async fn javascript_code_verifies_genuine_requests_only() {
    let folder = tempfile::tempdir().unwrap();
    let main = r#"
import { readFileSync } from "node:fs";
for (const { headers, body } of JSON.parse(readFileSync("cases.json", "utf8"))) {
  let genuine = true;
  try {
    verify(headers, Buffer.from(body));
  } catch {
    genuine = false;
  }
  console.log(genuine);
}
"#;
    std::fs::write(folder.path().join("main.mjs"), code("js") + "\n" + main).unwrap();
    check(folder.path(), install("JavaScript"), "node main.mjs").await;
}

#[tokio::test]
async fn rust_code_verifies_genuine_requests_only() {
    let folder = tempfile::tempdir().unwrap();
    let main = r#"
fn main() {
    let cases: Vec<serde_json::Value> = serde_json::from_str(&std::fs::read_to_string("cases.json").unwrap()).unwrap();
    let secret = std::env::var("WEBHOOK_SECRET").unwrap();
    for case in cases {
        let mut headers = HeaderMap::new();
        for (name, value) in case["headers"].as_object().unwrap() {
            headers.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.as_str().unwrap().parse().unwrap());
        }
        println!("{}", verify(&secret, &headers, case["body"].as_str().unwrap().as_bytes()).is_ok());
    }
}
"#;
    let manifest = "[package]\nname = \"verifying\"\nedition = \"2024\"\n\n[workspace]\n";
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/main.rs"), code("rust") + "\n" + main).unwrap();
    let prepare = format!("{} serde_json && cargo build", install("Rust"));
    check(folder.path(), &prepare, "cargo run --quiet").await;
}
