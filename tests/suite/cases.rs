//! The cases of every plugin in `plugins/`, run in the sandbox; the plugins' own tests run them natively.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use posthaste::domain::event::Event;
use posthaste::domain::plugin::{Failure, Outcome};
use posthaste::domain::time::parse_rfc3339;
use posthaste::sandbox::{Limits, Sandbox};
use posthaste_plugin::testing::Case;
use posthaste_tests::shipped;

/// Converts the event to the host's type.
pub(crate) fn host_event(event: posthaste_plugin::Event) -> Event {
    Event {
        id: event.id,
        event_type: event.event_type,
        company: event.company,
        occurred_at: parse_rfc3339(&event.occurred_at).unwrap(),
        headers: event.headers,
        data: event.body.into(),
    }
}

/// Converts the host's outcome to the type of the plugin's crate.
fn native(outcome: Outcome) -> posthaste_plugin::Outcome {
    match outcome {
        Outcome::Pass => posthaste_plugin::Outcome::pass(),
        Outcome::Drop(reason) => posthaste_plugin::Outcome::drop(reason),
        Outcome::Replace(message) => {
            let mut same = posthaste_plugin::Message::new(message.body);
            same.content_type = message.content_type;
            same.headers = message.headers;
            posthaste_plugin::Outcome::replace(same)
        }
    }
}

fn answer<T>(result: Result<T, Failure>, case: &Case) -> Result<T, String> {
    result.map_err(|failure| match failure {
        Failure::Refused(text) => text,
        Failure::Broke(text) => panic!("{}: {text}", case.name),
    })
}

/// A sandbox with a long deadline: these tests are not about it, and the machine may be slow.
pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(Limits { deadline: Duration::from_secs(10), ..Limits::default() }).unwrap()
}

/// Runs the cases of one plugin.
pub(crate) async fn hold(sandbox: &Sandbox, name: &str, component: &[u8], cases: &[Case]) {
    let plugin = Arc::new(sandbox.compile(name, component).unwrap());
    for case in cases {
        let config: Arc<str> = case.config.as_str().into();
        let checked = sandbox.check_config(&plugin, config.clone()).await.result;
        case.check_config(answer(checked, case)).unwrap_or_else(|error| panic!("{name}: {}: {error}", case.name));
        if case.transforms() {
            let call = sandbox.transform(&plugin, Arc::new(host_event(case.event.clone())), config).await;
            let outcome = answer(call.result.map(native), case);
            case.check(outcome).unwrap_or_else(|error| panic!("{name}: {}: {error}", case.name));
        }
    }
}

#[tokio::test]
async fn every_case_of_every_plugin_passes_in_the_sandbox() {
    let sandbox = sandbox();
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let mut run = 0;
    for entry in std::fs::read_dir(plugins).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("Cargo.toml").exists() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let cases = Case::load_dir(&folder.join("cases")).unwrap();
        assert!(cases.len() >= 3, "{name} has {} cases", cases.len());
        hold(&sandbox, &name, &shipped(&name), &cases).await;
        run += cases.len();
    }
    assert!(run >= 100, "{run} cases");
}
