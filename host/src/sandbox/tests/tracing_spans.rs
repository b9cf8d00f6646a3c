//! The tracing spans of calls and compilations.

use tracing_subscriber::fmt::format::FmtSpan;

use super::event;
use super::guest::{Guest, sandbox};
use crate::telemetry::log_buffer::LogBuffer;

#[tokio::test]
async fn a_call_has_a_span_with_plugin_company_and_event() {
    let sandbox = sandbox();
    let plugin = Guest::default().compile(&sandbox).unwrap();
    let lines = LogBuffer::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_span_events(FmtSpan::NEW)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    sandbox.transform(&plugin, event(), "null".into()).await.result.unwrap();
    sandbox.check_config(&plugin, "null".into()).await.result.unwrap();
    drop(guard);
    let text = lines.text();
    let transform = r#"plugin_call{function="transform" plugin="guest@00000000" company="1" event_id="evt_1"}"#;
    let check_config = r#"plugin_call{function="check-config" plugin="guest@00000000"}"#;
    assert!(text.contains(transform) && text.contains(check_config), "{text}");
}
