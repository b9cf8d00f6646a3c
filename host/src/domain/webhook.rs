//! A webhook: a company's subscription of one URL to one event type.

use std::sync::Arc;

use super::plugin::{Digest, PluginRef};

/// What happens when the plugin fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// A failed attempt, tried again on the schedule.
    #[default]
    Retry,
    /// The event's own data is sent.
    SendOriginal,
    /// Nothing is sent: the delivery ends as `filtered`.
    Drop,
}

impl OnError {
    /// The name that the contract gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::SendOriginal => "send_original",
            Self::Drop => "drop",
        }
    }

    /// The policy of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Retry, Self::SendOriginal, Self::Drop].into_iter().find(|policy| policy.name() == name)
    }
}

/// A webhook as it is kept.
#[derive(Clone)]
pub struct Webhook {
    /// `wh_…`; kept when a new subscription overwrites.
    pub id: String,
    /// The company.
    pub company: String,
    /// The event type that it is for; at most one webhook per company and type.
    pub event_type: String,
    /// Where events are POSTed.
    pub target_url: String,
    /// Sent back in the challenge header.
    pub challenge: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// Whether events are sent, or wait.
    pub enabled: bool,
    /// Why the host disabled it.
    pub disabled_reason: Option<String>,
    /// The plugin asked for, if any.
    pub plugin: Option<PluginRef>,
    /// The version that runs: the pinned one, or whichever is active.
    pub plugin_digest: Option<Digest>,
    /// The plugin's config: JSON text as given; `null` where there is none.
    pub config: Arc<str>,
    /// Names the config in every attempt.
    pub config_digest: Digest,
    /// What happens when the plugin fails.
    pub on_error: OnError,
    /// Sent with every event.
    pub headers: Vec<(String, String)>,
    /// Most attempts in flight at once.
    pub max_in_flight: u32,
    /// Most attempts begun per second.
    pub rate_limit: Option<u32>,
    /// Whether events are sent strictly one after the other.
    pub ordered: bool,
    /// The first failure since the last success, milliseconds since 1970, once that is some time ago.
    pub failing_since: Option<i64>,
    /// Whether its receiver took the last event, as far as is known.
    pub proven: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
    /// The key that signs: raw bytes, shown once, in the answer that made it.
    pub signing_secret: Arc<[u8]>,
    /// The key that it took over from, while that one signs too.
    pub previous_secret: Option<PreviousSecret>,
}

/// A signing secret on its way out.
#[derive(Clone)]
pub struct PreviousSecret {
    /// Raw bytes.
    pub secret: Arc<[u8]>,
    /// Signs until then: milliseconds since 1970.
    pub until: i64,
}

impl Webhook {
    /// Whether, of several nodes, one alone sends to it, so that its limits hold over all of them. The
    /// store says the same in SQL.
    pub fn has_owner(&self) -> bool {
        self.ordered || self.rate_limit.is_some() || self.max_in_flight < OWNED_BELOW
    }

    /// The keys that sign what is stamped `timestamp_s`, seconds since 1970: the newest first (Standard Webhooks 1.0,
    /// "Signature scheme": several while secrets are rotated).
    pub fn signing_secrets(&self, timestamp_s: i64) -> impl Iterator<Item = &[u8]> {
        let previous =
            self.previous_secret.as_ref().filter(|previous| timestamp_s.saturating_mul(1000) < previous.until);
        std::iter::once(&*self.signing_secret).chain(previous.map(|previous| &*previous.secret))
    }
}

/// Default of `max_in_flight`.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 32;
/// A webhook with fewer slots than this has one owner among the nodes: divided among them, slots that are few would come
/// to more than the webhook allows, or leave most of them idle where the events come to one node.
pub const OWNED_BELOW: u32 = 16;
/// Most that `max_in_flight` may be.
pub const MAX_MAX_IN_FLIGHT: u32 = 1024;

/// Checks a challenge: up to 256 visible ASCII characters, so that it can stand in a header.
pub fn check_challenge(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 256 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a challenge is 1 to 256 visible ASCII characters, so that it can stand in a header".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_can_stand_in_a_header() {
        assert!(check_challenge("s3cr3t!~").is_ok());
        for bad in ["", "a b", "a\r\nb", "é", &"x".repeat(257)] {
            assert!(check_challenge(bad).is_err(), "{bad:?}");
        }
    }
}
