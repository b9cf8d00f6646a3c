//! Webhooks: a company's subscription of a target URL to an event type.

use std::sync::Arc;

use super::plugin::{Digest, PluginRef};

/// The reaction to a failure of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The attempt counts as failed and is retried on the schedule.
    #[default]
    Retry,
    /// The event's own data is sent.
    SendOriginal,
    /// Nothing is sent: the delivery ends as `filtered`.
    Drop,
}

impl OnError {
    /// Returns the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::SendOriginal => "send_original",
            Self::Drop => "drop",
        }
    }

    /// Returns the policy with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Retry, Self::SendOriginal, Self::Drop].into_iter().find(|policy| policy.name() == name)
    }
}

/// A stored webhook.
#[derive(Clone)]
pub struct Webhook {
    /// The identifier, `wh_…`; a new subscription to the same type overwrites the webhook and keeps it.
    pub id: String,
    /// The company.
    pub company: String,
    /// The event type; a company has at most one webhook for each.
    pub event_type: String,
    /// The URL to which events are POSTed.
    pub target_url: String,
    /// The value of the challenge header.
    pub challenge: Option<String>,
    /// A display name.
    pub name: Option<String>,
    /// Whether events are sent; if not, they wait.
    pub enabled: bool,
    /// Why the host disabled it.
    pub disabled_reason: Option<String>,
    /// The reference to its plugin, if it has one.
    pub plugin: Option<PluginRef>,
    /// The plugin version to run: the pinned one, or else the active one.
    pub plugin_digest: Option<Digest>,
    /// The plugin's config: JSON text as given, `null` if there is none.
    pub config: Arc<str>,
    /// The digest of the config; every attempt records it.
    pub config_digest: Digest,
    /// The reaction to a failure of the plugin.
    pub on_error: OnError,
    /// Headers that are sent with every event.
    pub headers: Vec<(String, String)>,
    /// Limit on attempts in flight.
    pub max_in_flight: u32,
    /// Limit on attempts started per second.
    pub rate_limit: Option<u32>,
    /// Whether events are sent strictly one after the other.
    pub ordered: bool,
    /// Time of the first failure since the last success, in milliseconds since 1970. Stored only once the failures have
    /// lasted for some time.
    pub failing_since: Option<i64>,
    /// Whether the receiver accepted the last event, as far as is known.
    pub proven: bool,
    /// Creation time, in milliseconds since 1970.
    pub created_at: i64,
    /// Time of the last change, in milliseconds since 1970.
    pub updated_at: i64,
    /// The signing secret: raw bytes. The API shows it once, in the answer to the request that created it.
    pub signing_secret: Arc<[u8]>,
    /// The signing secret before the last rotation, while it still signs too.
    pub previous_secret: Option<PreviousSecret>,
}

/// A signing secret that a rotation replaced.
#[derive(Clone)]
pub struct PreviousSecret {
    /// Raw bytes.
    pub secret: Arc<[u8]>,
    /// The time until which it signs, in milliseconds since 1970.
    pub until: i64,
}

impl Webhook {
    /// Returns whether a single owner among the nodes serves the webhook, so that its limits hold over all nodes. The
    /// store has the same rule in SQL.
    pub fn has_owner(&self) -> bool {
        self.ordered || self.rate_limit.is_some() || self.max_in_flight < OWNED_BELOW
    }

    /// Returns the secrets that sign a request with the timestamp `timestamp_s`, in seconds since 1970, the newest first
    /// (Standard Webhooks 1.0, "Signature scheme": several while secrets are rotated).
    pub fn signing_secrets(&self, timestamp_s: i64) -> impl Iterator<Item = &[u8]> {
        let previous =
            self.previous_secret.as_ref().filter(|previous| timestamp_s.saturating_mul(1000) < previous.until);
        std::iter::once(&*self.signing_secret).chain(previous.map(|previous| &*previous.secret))
    }
}

/// The default of `max_in_flight`.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 32;
/// A webhook whose `max_in_flight` is below this has one owner among the nodes. If so few slots were divided among the
/// nodes, their sum could exceed the webhook's limit, or most of them would be idle if the events arrive at one node.
pub const OWNED_BELOW: u32 = 16;
/// Bounds `max_in_flight`.
pub const MAX_MAX_IN_FLIGHT: u32 = 1024;

/// Checks a challenge: up to 256 visible ASCII characters, so that a header can carry it.
pub fn check_challenge(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 256 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a challenge must be 1 to 256 visible ASCII characters, so that a header can carry it".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_must_be_a_valid_header_value() {
        assert!(check_challenge("s3cr3t!~").is_ok());
        for bad in ["", "a b", "a\r\nb", "é", &"x".repeat(257)] {
            assert!(check_challenge(bad).is_err(), "{bad:?}");
        }
    }
}
