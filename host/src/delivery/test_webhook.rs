//! The webhook of the unit tests.

use std::sync::Arc;

use crate::domain::plugin::Digest;
use crate::domain::webhook::{OnError, Webhook};

/// A webhook of company `acme` for events of type `t`.
pub(super) fn webhook(id: &str) -> Webhook {
    Webhook {
        id: id.into(),
        company: "acme".into(),
        event_type: "t".into(),
        target_url: String::new(),
        challenge: None,
        name: None,
        enabled: true,
        disabled_reason: None,
        plugin: None,
        plugin_digest: None,
        config: "null".into(),
        config_digest: Digest::of(b"null"),
        on_error: OnError::Retry,
        headers: Vec::new(),
        max_in_flight: 32,
        rate_limit: None,
        ordered: false,
        failing_since: None,
        proven: false,
        created_at: 0,
        updated_at: 0,
        signing_secret: Arc::from([].as_slice()),
        previous_secret: None,
    }
}
