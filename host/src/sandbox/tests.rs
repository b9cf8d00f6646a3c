//! Tests the sandbox with small plugins, benign and hostile.

mod calls;
mod fuel;
pub(super) mod guest;
mod hostile;
mod threads;
mod tracing_spans;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::event::Event;
use crate::domain::plugin::{Failure, Outcome, PluginCall};

use super::Sandbox;
use guest::Guest;

fn event() -> Arc<Event> {
    Arc::new(Event {
        id: "evt_1".into(),
        event_type: "employee_updated".into(),
        company: "1".into(),
        occurred_at: 1_700_000_000_007,
        headers: vec![("x-a".into(), "b".into())],
        data: Bytes::from_static(br#"{"name":"Ada"}"#),
    })
}

/// Transforms [`event`] once, in a sandbox of its own.
async fn transform(guest: Guest, config: &str) -> PluginCall<Outcome> {
    transform_in(&guest::sandbox(), guest, config).await
}

async fn transform_in(sandbox: &Sandbox, guest: Guest, config: &str) -> PluginCall<Outcome> {
    let plugin = guest.compile(sandbox).unwrap();
    sandbox.transform(&plugin, event(), config.into()).await
}

/// The error text of a call that trapped or exceeded a limit.
fn broke<T: std::fmt::Debug>(call: &PluginCall<T>) -> &str {
    match &call.result {
        Err(Failure::Broke(text)) => text,
        other => panic!("did not break: {other:?}"),
    }
}
