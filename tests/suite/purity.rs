//! Transforms are pure: the same event, config and version give the same bytes, in another process, hours later, in another
//! environment. This covers every shipped plugin, scaffold and example, and plugins that try to be impure (`tests/impure`).

use std::path::Path;
use std::sync::Arc;

use posthaste::domain::event::Event;
use posthaste::domain::plugin::{Failure, Outcome};
use posthaste_plugin::testing::{Case, Expect};
use posthaste_tests::{binary, shipped};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::cases;
use crate::languages::{self, Lang};

/// Two machines that differ in everything a process can read: the clock, by hours, and the environment.
const MACHINES: [(&str, [(&str, &str); 5]); 2] = [
    ("+0", [("TZ", "UTC"), ("LANG", "C"), ("LC_ALL", "C"), ("PYTHONHASHSEED", "1"), ("HOME", "/")]),
    (
        "+5h",
        [
            ("TZ", "Asia/Tokyo"),
            ("LANG", "tr_TR.UTF-8"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("PYTHONHASHSEED", "2"),
            ("HOME", "/tmp"),
        ],
    ),
];

/// Returns the output of `posthaste plugin run` on a machine, without the duration.
async fn run_on(machine: usize, folder: &Path) -> String {
    let (offset, environment) = MACHINES[machine];
    let mut command = Command::new("faketime");
    command.args(["-f", offset]).arg(binary()).envs(environment).current_dir(folder);
    command.args([
        "plugin",
        "run",
        "plugin.wasm",
        "--event",
        "event.json",
        "--config",
        "config.json",
        "--plugin-deadline",
        "10s",
    ]);
    let output = command.output().await.expect("`faketime` is missing: run the tests with `cargo xtask test`");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().filter(|line| !line.starts_with("time ")).collect::<Vec<_>>().join("\n")
}

/// Runs a plugin on both machines and returns both outputs.
async fn on_both(component: &[u8], event: &str, config: &str) -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    for (file, content) in
        [("plugin.wasm", component), ("event.json", event.as_bytes()), ("config.json", config.as_bytes())]
    {
        std::fs::write(folder.path().join(file), content).unwrap();
    }
    [run_on(0, folder.path()).await, run_on(1, folder.path()).await]
}

async fn is_pure(name: &str, component: &[u8], event: &str, config: &str) {
    let [here, there] = on_both(component, event, config).await;
    assert!(here.contains("\noutcome  "), "{name}: {here}");
    assert_eq!(here, there, "{name}");
}

/// Returns the event and config of a successful case in a folder, preferably one that replaces, as files of `posthaste plugin run`.
fn sample(cases: &Path) -> (String, String) {
    let mut cases = Case::load_dir(cases).unwrap();
    cases.retain(|case| matches!(case.expect, Expect::Replace { .. } | Expect::Pass | Expect::Drop(_)));
    cases.sort_by_key(|case| !matches!(case.expect, Expect::Replace { .. }));
    let case = cases.into_iter().next().unwrap();
    // Not through `Value`, so that the data keeps its bytes: some cases hold numbers that `Value` cannot represent.
    let (kind, at) = (json!(case.event.event_type), json!(case.event.occurred_at));
    let event = format!(r#"{{"type": {kind}, "id": "evt_1", "occurred_at": {at}, "data": {}}}"#, case.event.body);
    (event, case.config)
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Checks that the faked clocks differ, without which the other tests prove nothing: an event without a time gets the host's.
#[tokio::test]
async fn fake_machines_have_different_clocks() {
    let [here, there] = on_both(&shipped("envelope"), r#"{"type": "t", "data": 1}"#, "null").await;
    let at = |said: &str| {
        let after = said.lines().find_map(|line| line.strip_prefix("after ")).unwrap();
        let envelope: Value = serde_json::from_str(after).unwrap();
        posthaste::domain::time::parse_rfc3339(envelope["timestamp"].as_str().unwrap()).unwrap()
    };
    let hours = (at(&there) - at(&here)) / 3_600_000;
    assert_eq!(hours, 5, "{here}\n{there}");
}

#[tokio::test]
async fn every_shipped_plugin_is_pure() {
    let mut checked = 0;
    for entry in std::fs::read_dir(repository("plugins")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.join("Cargo.toml").exists() {
            let name = folder.file_name().unwrap().to_str().unwrap();
            let (event, config) = sample(&folder.join("cases"));
            is_pure(name, &shipped(name), &event, &config).await;
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked} plugins");
}

#[tokio::test]
async fn every_scaffold_is_pure() {
    for lang in Lang::ALL {
        let plugin = languages::scaffold(lang).await;
        is_pure(lang.name(), &plugin.component, &plugin.text("event.json"), &plugin.text("config.json")).await;
    }
}

#[tokio::test]
async fn every_example_is_pure() {
    for lang in Lang::ALL.into_iter().filter(|lang| *lang != Lang::Rust) {
        let plugin = languages::example(lang).await;
        let (event, config) = sample(&repository("plugins/examples").join(lang.name()).join("cases"));
        is_pure(lang.name(), &plugin.component, &event, &config).await;
    }
}

/// Builds the plugin that uses impure functions, compares its permitted results on both machines, and checks that each function in
/// `refused` fails with the reason beside it.
async fn tries(lang: Lang, file: &str, refused: &[(&str, &str)]) -> Value {
    let plugin = languages::impure(lang, file).await;
    let event = r#"{"type": "t", "data": 1, "id": "evt_1", "occurred_at": "2026-01-01T00:00:00Z"}"#;
    let [here, there] = on_both(&plugin.component, event, "null").await;
    assert_eq!(here, there);

    let sandbox = cases::sandbox();
    let compiled = Arc::new(sandbox.compile("impure", &plugin.component).unwrap());
    let event = Arc::new(Event {
        id: "evt_1".into(),
        event_type: "t".into(),
        company: "example".into(),
        occurred_at: 1_767_225_600_000,
        headers: Vec::new(),
        data: "1".into(),
    });
    for (what, reason) in refused {
        let call = sandbox.transform(&compiled, event.clone(), json!(what).to_string().into()).await;
        let logs: String = call.logs.lines.iter().map(|line| line.message.as_str()).collect();
        let why = match call.result {
            Err(Failure::Broke(why) | Failure::Refused(why)) => format!("{why} {logs}"),
            Ok(outcome) => panic!("{what} was answered: {outcome:?}"),
        };
        assert!(why.contains(reason), "{what}: {why}");
    }
    let call = sandbox.transform(&compiled, event, "null".into()).await;
    let Ok(Outcome::Replace(message)) = call.result else { panic!("{:?}", call.result) };
    let after = here.lines().find_map(|line| line.strip_prefix("after ")).unwrap().trim();
    assert_eq!(after, message.body);
    serde_json::from_str::<Vec<(String, Value)>>(&message.body).unwrap().into_iter().collect()
}

/// The text of a trap.
const TRAP: &str = "used something that the sandbox does not have (clock, random numbers, files, network, environment)";

#[tokio::test]
async fn rust_plugins_are_pure() {
    let refused =
        [("SystemTime", "time not implemented"), ("Instant", "time not implemented"), ("sleep", "can't sleep")];
    let seen = tries(Lang::Rust, "src/lib.rs", &refused).await;
    assert_eq!(seen["environment"], "Err(NotPresent) 0");
    for none in ["a file", "a thread", "a connection"] {
        assert_eq!(seen[none], "Err(Unsupported)", "{none}");
    }
}

#[tokio::test]
async fn javascript_plugins_are_pure() {
    let refused = [("Date.now", TRAP), ("new Date", TRAP), ("performance.now", TRAP)];
    let seen = tries(Lang::Js, "plugin.js", &refused).await;
    assert_eq!((&seen["time zone"], &seen["a given date"]), (&json!(0), &json!("Thu Jan 01 1970 00:00:00 GMT+0000")));
    assert!(seen["what there is"].as_array().unwrap().iter().all(|pair| pair[1] == "undefined"), "{seen}");
}

#[tokio::test]
async fn python_plugins_are_pure() {
    let refused = [
        "time.time",
        "time.monotonic",
        "datetime.now",
        "os.urandom",
        "uuid.uuid4",
        "secrets",
        "random.SystemRandom",
        "open",
        "a late import",
    ];
    let seen = tries(Lang::Python, "plugin.py", &refused.map(|what| (what, TRAP))).await;
    assert_eq!((&seen["environment"], &seen["time zone"]), (&json!({}), &json!(["UTC", "UTC"])));
}
