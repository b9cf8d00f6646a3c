//! What a webhook says about the certificate of its receiver: `tls`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::Invalid;
use crate::domain::tls::{TlsSettings, parse_pin};
use crate::domain::webhook::Webhook;
use crate::outbound;

/// The member `tls` of a webhook, in requests and answers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsField {
    ca: Option<String>,
    pin_sha256: Option<String>,
}

impl TlsField {
    /// Returns the rules that it breaks.
    pub(super) fn broken_rules(&self) -> Vec<Invalid> {
        let rule = |pointer: &str, checked: Result<(), String>| checked.err().map(|text| Invalid::at(pointer, text));
        if self.ca.is_none() && self.pin_sha256.is_none() {
            return vec![Invalid::at(
                "/tls",
                "set `ca`, `pin_sha256` or both; for neither, leave `tls` out or set it to null",
            )];
        }
        let ca = self.ca.as_deref().and_then(|ca| rule("/tls/ca", outbound::check_ca(ca)));
        let pin = self.pin_sha256.as_deref().and_then(|pin| rule("/tls/pin_sha256", parse_pin(pin).map(drop)));
        ca.into_iter().chain(pin).collect()
    }

    /// Returns the settings. Their rules must have been checked.
    pub(super) fn settings(&self) -> Option<Arc<TlsSettings>> {
        TlsSettings::new(self.ca.as_deref(), self.pin_sha256.as_deref()).map(Arc::new)
    }
}

impl From<&TlsSettings> for TlsField {
    fn from(settings: &TlsSettings) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { ca: owned(settings.ca()), pin_sha256: owned(settings.pin_sha256()) }
    }
}

/// Checks that a webhook with `tls` has a target with TLS: otherwise its events would be sent in clear.
///
/// # Errors
/// What to change.
pub(super) fn check_scheme(webhook: &Webhook) -> Result<(), Invalid> {
    let Some(url) = webhook.recipient.url() else { return Ok(()) };
    let is_https = url.trim_start().get(..6).is_some_and(|start| start.eq_ignore_ascii_case("https:"));
    if webhook.tls.is_none() || is_https {
        return Ok(());
    }
    Err(Invalid::at("/tls", "`tls` has no effect without TLS: the target must begin with https://, or `tls` be null"))
}
