//! Every example of `docs/standard-transforms.md`, run in the sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use posthaste::domain::plugin::{Failure, Outcome, preset};
use posthaste::sandbox::{Limits, Sandbox};
use posthaste::standard_transforms::PLUGINS;
use posthaste_tests::shipped;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cases::{self, host_event};

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
        if let Some(plugin) = fence.strip_prefix("text std-") {
            examples.push(task(plugin, &block));
            continue;
        }
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

/// Returns the example of a task: a line each for the config, the event's data and the outcome.
fn task(plugin: &str, block: &str) -> Example {
    let part = |name: &str| {
        let line =
            block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {block}"));
        line.trim_start().to_owned()
    };
    let event = format!(r#"{{"type": "t", "data": {}}}"#, part("data "));
    Example { plugin: plugin.into(), config: part("config "), event, kind: "exactly".into(), outcome: part("sent ") }
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
    let (mut shown, mut compiled) = (BTreeSet::new(), BTreeMap::new());
    for example in examples(&std::fs::read_to_string(page).unwrap()) {
        // The data keeps its bytes.
        let published: BTreeMap<&str, &RawValue> = serde_json::from_str(&example.event).unwrap();
        if example.kind != "exactly" {
            assert_is_a_sample(&json(&example.event));
        }
        let name: String = serde_json::from_str(published["type"].get()).unwrap();
        let event = posthaste_plugin::testing::event(&name, published["data"].get());
        let preset = preset(&format!("std-{}", example.plugin));
        let component = if preset.is_some() { "template" } else { &example.plugin };
        let plugin = compiled
            .entry(component.to_owned())
            .or_insert_with(|| Arc::new(sandbox.compile(component, &shipped(component)).unwrap()));
        let plugin = preset.map_or(plugin.clone(), |preset| Arc::new(plugin.with_preset(preset)));
        let config: Arc<str> = example.config.as_str().into();
        sandbox.check_config(&plugin, config.clone()).await.result.unwrap();
        match sandbox.transform(&plugin, Arc::new(host_event(event)), config).await.result {
            Ok(Outcome::Replace(message)) if example.kind == "sent" => {
                assert_eq!(json(&message.body), json(&example.outcome), "{}", example.plugin);
            }
            Ok(Outcome::Replace(message)) if example.kind == "exactly" => assert_eq!(message.body, example.outcome),
            Ok(Outcome::Drop(reason)) if example.kind == "dropped" => assert_eq!(reason, example.outcome),
            Err(Failure::Refused(error)) if example.kind == "failed" => assert_eq!(error, example.outcome),
            other => panic!("{}: {} was expected, and came {other:?}", example.plugin, example.kind),
        }
        shown.insert(example.plugin);
    }
    let standard: BTreeSet<_> =
        PLUGINS.iter().filter_map(|(name, _)| name.strip_prefix("std-")).map(str::to_owned).collect();
    assert_eq!(shown, standard);
}

/// Its code runs only in the component, so its cases are not native tests.
#[tokio::test]
async fn every_case_of_std_js_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/js/cases");
    let cases = posthaste_plugin::testing::Case::load_dir(&folder).unwrap();
    assert!(cases.len() > 40, "{}", cases.len());
    cases::hold(&cases::sandbox(), "js", &shipped("js"), &cases).await;
}
