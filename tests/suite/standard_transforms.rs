//! Every example of `docs/standard-transforms.md`, run in the sandbox.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use posthaste::domain::plugin::{Failure, Outcome};
use posthaste::sandbox::{Limits, Sandbox};
use posthaste_tests::shipped;
use serde_json::Value;

use crate::cases::host_event;

/// One example: a config, an event, and the outcome with its kind.
#[derive(Debug, Default)]
struct Example {
    plugin: String,
    config: String,
    event: String,
    kind: String,
    outcome: String,
}

/// Returns the examples of the page; the fences of their blocks are marked `config`, `event`, and `sent`, `dropped` or `failed`.
fn examples(page: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut example = Example::default();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("## std-") {
            example = Example { plugin: name.into(), ..Example::default() };
        }
        let Some(fence) = line.strip_prefix("```") else { continue };
        let block = lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
        match fence.split_once(' ').unwrap_or_else(|| panic!("a block that nothing checks: {fence}\n{block}")).1 {
            "config" => example.config = block,
            "event" => example.event = block,
            kind => {
                let plugin = example.plugin.clone();
                examples.push(Example { kind: kind.into(), outcome: block, ..std::mem::take(&mut example) });
                example.plugin = plugin;
            }
        }
    }
    examples
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Checks that an event of the page equals the sample.
fn assert_is_a_sample(event: &Value) {
    let name = event["type"].as_str().unwrap().replace('/', "_");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/assets/events");
    let sample = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    assert_eq!(json(&sample), *event, "{name}");
}

#[tokio::test]
async fn every_example_of_the_standard_transforms_page_is_correct() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/standard-transforms.md");
    let sandbox = Sandbox::new(Limits { deadline: Duration::from_secs(10), ..Limits::default() }).unwrap();
    let mut shown = Vec::new();
    for example in examples(&std::fs::read_to_string(page).unwrap()) {
        let published = json(&example.event);
        assert_is_a_sample(&published);
        let name = published["type"].as_str().unwrap();
        let event = posthaste_plugin::testing::event(name, &published["data"].to_string());
        let plugin = Arc::new(sandbox.compile(&example.plugin, &shipped(&example.plugin)).unwrap());
        let config: Arc<str> = example.config.as_str().into();
        sandbox.check_config(&plugin, config.clone()).await.result.unwrap();
        match sandbox.transform(&plugin, Arc::new(host_event(event)), config).await.result {
            Ok(Outcome::Replace(message)) if example.kind == "sent" => {
                assert_eq!(json(&message.body), json(&example.outcome), "{}", example.plugin);
            }
            Ok(Outcome::Drop(reason)) if example.kind == "dropped" => assert_eq!(reason, example.outcome),
            Err(Failure::Refused(error)) if example.kind == "failed" => assert_eq!(error, example.outcome),
            other => panic!("{}: {} was expected, and came {other:?}", example.plugin, example.kind),
        }
        shown.push(example.plugin);
    }
    shown.dedup();
    assert_eq!(shown, ["mask", "filter", "envelope", "map", "template"]);
}
