//! `posthaste event-types`.

use std::path::Path;
use std::process::Stdio;

use http::Method;
use posthaste_tests::{Host, Process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::put;

/// Runs a command about event types against a host.
async fn run(host: &Host, arguments: &[&str]) -> (i32, String, String) {
    let server = ["--url", &host.base, "--key", &host.key];
    Process::run(["event-types"].iter().chain(arguments).chain(&server).copied()).await
}

fn file(folder: &TempDir, content: &Value) -> String {
    let path = folder.path().join("types.json");
    std::fs::write(&path, content.to_string()).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn openapi_document_is_imported_with_schemas_that_events_are_checked_against() {
    let (host, folder) = (Host::start().await, tempfile::tempdir().unwrap());
    let content = json!({"application/json": {
        "schema": {"$ref": "#/components/schemas/Employee"}, "example": {"id": 1, "manager": {"id": 2}},
    }});
    let document = json!({
        "openapi": "3.1.0",
        "webhooks": {
            "employees/hired": {"post": {"description": "Hired", "tags": ["Staff"], "requestBody": {"content": content}}},
            "plain": {"post": {"deprecated": true}},
        },
        "components": {"schemas": {
            "Employee": {"required": ["id"], "properties": {
                "id": {"$ref": "#/components/schemas/Id"}, "manager": {"$ref": "#/components/schemas/Employee"},
            }},
            "Id": {"type": "integer"},
        }},
    });
    let document = file(&folder, &document);
    let (status, output, error) = run(&host, &["import", &document, "--dry-run"]).await;
    assert!(status == 0 && output.contains("would create  employees/hired"), "{output}{error}");
    assert_eq!(host.get("/event-types").await.expect(200)["data"], json!([]));
    let (status, output, error) = run(&host, &["import", &document, "--validate", "reject"]).await;
    assert!(
        status == 0 && output.contains("created       employees/hired\n") && output.ends_with("2 event types\n"),
        "{output}{error}"
    );
    let hired = host.get("/event-types/employees/hired").await.expect(200);
    assert_eq!(
        (&hired["group"], &hired["description"], &hired["validate"]),
        (&json!("Staff"), &json!("Hired"), &json!("reject"))
    );
    assert_eq!(host.get("/event-types/plain").await.expect(200)["deprecated"], true);
    let wrong = json!({"type": "employees/hired", "data": {"id": 1, "manager": {}}});
    assert!(host.post("/events", &wrong).await.problem(422).contains("[/data/manager] \"the member `id` is missing\""));
    let (status, output, _) = run(&host, &["import", &document, "--dry-run"]).await;
    assert!(status == 0 && output.contains("would replace plain"), "{output}");
    let (_, output, _) = run(&host, &["list"]).await;
    assert!(output.contains("employees/hired") && output.contains("Staff; schema, validate reject"), "{output}");
    let (_, output, _) = run(&host, &["list", "--group", "Staff"]).await;
    assert_eq!(output.lines().count(), 1, "{output}");
    let (_, output, _) = run(&host, &["show", "employees/hired"]).await;
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), hired);
    let (status, output, _) = run(&host, &["delete", "employees/hired"]).await;
    assert!(status == 0 && output == "deleted employees/hired\n", "{output}");
    let (status, _, error) = run(&host, &["show", "employees/hired"]).await;
    assert!(status == 1 && error.contains("404"), "{error}");
}

#[tokio::test]
async fn types_that_cannot_be_imported_are_named_with_the_reason() {
    let (host, folder) = (Host::start().await, tempfile::tempdir().unwrap());
    let list = json!({"data": [
        {"type": "good", "group": "g"},
        {"type": "ping"},
        {"type": "bad", "schema": {"type": "text"}, "group": ""},
        {"group": "nameless"},
        {"type": "extra", "colour": "red"},
    ]});
    let list = file(&folder, &list);
    let (status, output, error) = run(&host, &["import", &list]).await;
    assert!(status == 1 && error.contains("4 of 5 event types failed"), "{output}{error}");
    for part in [
        "created       good",
        "failed        ping: answered 422",
        "bad: answered 422: /group: ",
        "data[3]: it has no `type`",
        "extra: answered 422: /colour",
    ] {
        assert!(output.contains(part), "{part}: {output}");
    }
    let (status, output, _) = run(&host, &["import", &list, "--dry-run"]).await;
    assert!(
        status == 1 && output.contains("bad: /schema/type: a type is one of") && output.contains("would replace good"),
        "{output}"
    );
    let neither = file(&folder, &json!({"swagger": "2.0"}));
    let (status, _, error) = run(&host, &["import", &neither]).await;
    assert!(status == 1 && error.contains("neither an OpenAPI document"), "{error}");
}

#[tokio::test]
async fn exported_list_is_imported_elsewhere() {
    let (host, folder) = (Host::start().await, tempfile::tempdir().unwrap());
    put(&host, "a/b", &json!({"schema": {"type": "object"}, "example": {}, "validate": "warn"})).await.expect(201);
    let exported = host.get("/event-types").await.expect(200);
    host.call(Method::DELETE, "/event-types/a/b", &[], "").await.expect(200);
    let (status, output, error) = run(&host, &["import", &file(&folder, &exported)]).await;
    assert_eq!(status, 0, "{output}{error}");
    let again = host.get("/event-types/a/b").await.expect(200);
    assert_eq!((&again["schema"], &again["validate"]), (&json!({"type": "object"}), &json!("warn")));
}

/// Runs a command of the shell in a folder, and returns what it printed.
async fn sh(folder: &Path, command: &str) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-ec", command]).current_dir(folder).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    let output = shell.stdin(Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn event_types_of_factorial_are_imported_from_its_sdk() {
    let (host, folder) = (Host::start().await, tempfile::tempdir().unwrap());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/factorial-event-types");
    let readme = std::fs::read_to_string(example.join("README.md")).unwrap();
    let install = readme.split("$ python3 ").nth(1).unwrap().lines().next().unwrap();
    assert!(install.ends_with("factorial-api-client==3.0.0"), "{install}");
    sh(folder.path(), "python3 -m venv .venv").await;
    sh(folder.path(), &format!(".venv/bin/python {install} --quiet --disable-pip-version-check")).await;
    let script = example.join("event_types.py").display().to_string();
    sh(folder.path(), &format!(".venv/bin/python -B {script} > types.json")).await;
    let types = folder.path().join("types.json").display().to_string();
    let (status, output, error) = run(&host, &["import", &types, "--validate", "reject"]).await;
    assert!(status == 0 && output.ends_with("137 event types\n"), "{output}{error}");
    let group = host.get("/event-types?group=Employees").await.expect(200);
    assert!(!group["data"].as_array().unwrap().is_empty());
    let event = |data: Value| json!({"type": "employees/employee/update", "data": data});
    let problem = host.post("/events", &event(json!({"id": 7}))).await.problem(422);
    assert!(problem.contains("[/data/id] \"must be a string, but is a number\""), "{problem}");
    let required = host.get("/event-types/employees/employee/update").await.expect(200)["schema"]["required"].clone();
    let texts = required.as_array().unwrap().iter().map(|name| (name.as_str().unwrap().to_owned(), json!("x")));
    let employee: serde_json::Map<_, _> =
        texts.chain([("is_terminating".into(), json!(false)), ("attendable".into(), json!(true))]).collect();
    host.post("/events", &event(employee.into())).await.expect(202);
}
