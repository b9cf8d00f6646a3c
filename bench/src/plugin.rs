//! Any plugin in the sandbox: how long compiling takes, the first call and the median of the next.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use posthaste::domain::event::Event;
use posthaste::sandbox::{Limits, Sandbox};

/// Calls measured after the first.
const CALLS: usize = 1_000;

/// Measures the component in `file` on the event in `event`, with the config in `config`.
pub(crate) async fn measure(file: &str, event: &str, config: &str) -> Result<(), Box<dyn Error>> {
    let (component, config) = (std::fs::read(file)?, std::fs::read_to_string(config)?);
    let event: serde_json::Value = serde_json::from_slice(&std::fs::read(event)?)?;
    let text = |field: &str| event.get(field).and_then(|value| value.as_str()).unwrap_or("none").to_owned();
    let event = Arc::new(Event {
        id: "evt_bench".into(),
        event_type: text("type"),
        company: "acme".into(),
        occurred_at: 1_795_000_000_000,
        headers: Vec::new(),
        data: event.get("data").map(ToString::to_string).unwrap_or_default().into(),
    });
    // The deadline is not what is measured.
    let sandbox = Sandbox::new(Limits { deadline: Duration::from_secs(10), ..Limits::default() })?;
    let begun = Instant::now();
    let plugin = Arc::new(sandbox.compile("plugin", &component)?);
    println!("{file}: {} bytes, compiled in {} ms", component.len(), begun.elapsed().as_millis());
    let mut times = Vec::with_capacity(CALLS + 1);
    let mut memory = 0;
    for _ in 0..=CALLS {
        let call = sandbox.transform(&plugin, event.clone(), config.trim().into()).await;
        call.result.map_err(|failure| failure.to_string())?;
        memory = call.memory_bytes;
        times.push(call.duration.as_micros());
    }
    let first = times.first().copied().unwrap_or_default();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    println!("first call {first} µs, median of the next {CALLS} {median} µs, linear memory {} KiB", memory >> 10);
    Ok(())
}
