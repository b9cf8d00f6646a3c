//! Commands that need no server of their own.

use posthaste_tests::{Home, Host, Kind, Process, guest, shipped};

fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn plugin_check_agrees_with_the_upload() {
    let folder = tempfile::tempdir().unwrap();
    let mask = file(&folder, "mask.wasm", &shipped("mask"));
    let (status, output, error) = Process::run(["plugin", "check", &mask]).await;
    assert!(status == 0 && output.contains("posthaste:transform/handler@0.1"), "{output}{error}");
    let wasi = file(&folder, "wasi.wasm", &guest("wasi"));
    let (status, _, error) = Process::run(["plugin", "check", &wasi]).await;
    assert!(status == 1 && error.contains("wasi:cli/environment"), "{error}");
}

#[tokio::test]
async fn plugin_run_shows_one_transform() {
    let folder = tempfile::tempdir().unwrap();
    let mask = file(&folder, "mask.wasm", &shipped("mask"));
    let event = file(&folder, "event.json", br#"{"type":"t","data":{"a":1,"b":2.50}}"#);
    let config = file(&folder, "config.json", br#"{"fields":["/a"]}"#);
    let run = ["plugin", "run", &mask, "--plugin-deadline", "10s", "--event", &event, "--config", &config];
    let (status, output, error) = Process::run(run).await;
    assert_eq!(status, 0, "{error}");
    for part in
        ["outcome  replace", r#"before   {"a":1,"b":2.50}"#, r#"after    {"a":"***","b":2.50}"#, "time ", "memory "]
    {
        assert!(output.contains(part), "{part}: {output}");
    }
    let (status, _, error) = Process::run(["plugin", "run", &mask, "--event", &event]).await;
    assert!(status == 1 && error.contains("the config is refused"), "{error}");
}

#[tokio::test]
async fn plugin_push_uploads_and_reports_a_refusal() {
    let host = Host::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mask = file(&folder, "mask.wasm", &shipped("mask"));
    let push = |file: String, name: &'static str, key: String| {
        let base = host.base.clone();
        async move { Process::run(["plugin", "push", &file, "--name", name, "--url", &base, "--key", &key]).await }
    };
    let (status, output, error) = push(mask.clone(), "mask", host.key.clone()).await;
    assert!(status == 0 && output.contains("digest"), "{output}{error}");
    assert_eq!(host.get("/plugins").await.expect(200)["data"][0]["name"], "mask");
    let (status, _, error) = push(mask, "mask", "phk_wrong".into()).await;
    assert!(status == 1 && error.contains("401"), "{error}");
    let wasi = file(&folder, "wasi.wasm", &guest("wasi"));
    let (status, _, error) = push(wasi, "wasi", host.key.clone()).await;
    assert!(status == 1 && error.contains("wasi:cli/environment"), "{error}");
}

#[tokio::test]
async fn demo_runs_to_its_end() {
    let (status, output, error) = Process::run(["demo", "--once"]).await;
    assert_eq!(status, 0, "{output}{error}");
    for part in ["mask", "filter", "envelope", "webhook-signature", "503", "x-factorial-wh-challenge"] {
        assert!(output.contains(part), "{part}: {output}");
    }
}

#[tokio::test]
async fn version_start_line_and_metrics_name_the_same_commit() {
    let (status, output, _) = Process::run(["--version"]).await;
    assert_eq!(status, 0);
    let version = output.trim().strip_prefix("posthaste ").unwrap();
    let (number, commit) = version.strip_suffix(')').and_then(|version| version.split_once(" (")).unwrap();
    assert_eq!(number, env!("CARGO_PKG_VERSION"));
    let hex = commit.len() == 12 && commit.bytes().all(|digit| digit.is_ascii_hexdigit());
    assert!(hex || commit == "unknown", "{commit}");

    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let metrics = process.client.get("!/metrics").await;
    let metrics = String::from_utf8(metrics.bytes).unwrap();
    assert!(metrics.contains(&format!("commit=\"{commit}\"")), "{metrics}");
    let lines = process.log_lines();
    let folder = home.path().display().to_string();
    let place = if home.kind() == Kind::Sqlite { "sqlite:///" } else { "postgres://" };
    let said = lines.iter().filter(|line| line.contains("starting") && line.contains(version));
    let said: Vec<_> = said.filter(|line| line.contains(place) && line.contains(&folder)).collect();
    assert_eq!(said.len(), 1, "{lines:?}");
}

#[tokio::test]
async fn help_covers_every_command() {
    let (status, output, _) = Process::run(["--help"]).await;
    assert_eq!(status, 0);
    for command in ["serve", "demo", "keys", "backup", "restore", "plugin", "listen"] {
        assert!(output.contains(command), "{command}: {output}");
        let (status, help, _) = Process::run([command, "--help"]).await;
        assert!(status == 0 && help.len() > 100, "{help}");
    }
}
