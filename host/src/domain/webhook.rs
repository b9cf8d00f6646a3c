//! Webhooks: a company's subscription of a target URL to an event type, or to a pattern of types.

use std::sync::Arc;

use super::attempt_timeout::AttemptTimeout;
use super::payload_retention::PayloadRetention;
use super::plugin::{Digest, PluginRef};
use super::plugin_config::PluginConfig;
use super::rate_limit::RateLimit;
use super::subscription::{EventTypePattern, Subscription};
use super::tls::TlsSettings;
use super::transform::{MAX_TRANSFORMS, OnError, Transform, TransformRef};

/// Most bytes of a config that a webhook's answers show; a larger one has an answer of its own.
pub const MAX_INLINE_CONFIG_BYTES: usize = 64 * 1024;
/// As [`MAX_INLINE_CONFIG_BYTES`], for each of several transforms.
pub const MAX_INLINE_CHAIN_CONFIG_BYTES: usize = MAX_INLINE_CONFIG_BYTES / MAX_TRANSFORMS;

/// How events get to the receiver of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// They are POSTed to this URL.
    Url(String),
    /// They wait until their consumer fetches and acknowledges them.
    Consumer,
}

impl Recipient {
    /// The value of `delivery` in the API for [`Recipient::Url`].
    pub const PUSH: &str = "push";
    /// The value of `delivery` in the API, and in the database, for [`Recipient::Consumer`].
    pub const PULL: &str = "pull";

    /// Returns the name that the API gives it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Url(_) => Self::PUSH,
            Self::Consumer => Self::PULL,
        }
    }

    /// Returns the URL that events are POSTed to, if they are.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Url(url) => Some(url),
            Self::Consumer => None,
        }
    }
}

/// The health of a webhook, as its recent deliveries show it. Instants are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookHealth {
    /// As [`Webhook::failing_since`].
    pub failing_since: Option<i64>,
    /// As [`Webhook::proven`].
    pub proven: bool,
    /// The error of the last failed attempt that was found.
    pub last_error: Option<String>,
    /// When that attempt began.
    pub last_error_at: Option<i64>,
    /// When the last delivery that was found was delivered.
    pub last_success_at: Option<i64>,
    /// Deliveries that wait; there may be more.
    pub waiting: u64,
    /// When the oldest of them was created.
    pub oldest_waiting: Option<i64>,
}

/// Whether a webhook's receiver accepts events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// It accepted the last one.
    Healthy,
    /// It accepted none since the given instant, in milliseconds since 1970.
    Failing(i64),
    /// Nothing was attempted yet, or the attempts are no longer in the log.
    Unknown,
}

impl WebhookHealth {
    /// Returns whether the receiver accepts events.
    pub fn state(&self) -> HealthState {
        match (self.failing_since, self.last_error_at, self.last_success_at) {
            (Some(since), ..) => HealthState::Failing(since),
            // A streak of failures is stored when it is a minute old.
            (None, Some(error), success) if success.is_none_or(|success| success < error) => {
                HealthState::Failing(error)
            }
            (None, _, Some(_)) => HealthState::Healthy,
            // Its last success is behind many deliveries of others.
            (None, _, None) if self.proven => HealthState::Healthy,
            (None, _, None) => HealthState::Unknown,
        }
    }
}

/// A webhook: one company's subscription to one event type, or to a pattern of types.
///
/// [`Webhook::new`] gives every setting its default. Code that needs other values sets those fields only, so that a new
/// setting does not concern it.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `wh_…`; kept when a new subscription overwrites this one.
    pub id: String,
    /// The company that subscribed.
    pub company: String,
    /// The event type, or the pattern of types: `*`, `employees/*` or `posthaste.*`.
    pub event_type: String,
    /// Tells several webhooks of the company for the same type apart: it has at most one for each type and label, and one
    /// without a label.
    pub label: Option<String>,
    /// Who gets the events, and how.
    pub recipient: Recipient,
    /// The value of the challenge header.
    pub challenge: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// Whether events are sent; otherwise they wait.
    pub enabled: bool,
    /// Why the service disabled it.
    pub disabled_reason: Option<String>,
    /// The plugin, as the subscription names it. This field and the next four are the only transform; of a webhook with several,
    /// they have their defaults.
    pub plugin: Option<PluginRef>,
    /// The version that runs: the pinned one, otherwise the plugin's active one.
    pub plugin_digest: Option<Digest>,
    /// The plugin's config.
    pub config: PluginConfig,
    /// The config's digest, which every attempt records.
    pub config_digest: Digest,
    /// What happens to an event if the plugin fails on it.
    pub on_error: OnError,
    /// Its transforms, if there are several.
    pub chain: Vec<Transform>,
    /// Headers that are sent with every event.
    pub headers: Vec<(String, String)>,
    /// The certificates that its receiver may present; `None`: those that the service trusts.
    pub tls: Option<Arc<TlsSettings>>,
    /// Limit on attempts in flight.
    pub max_in_flight: u32,
    /// Limit on the attempts that begin in a time; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
    /// Whether events are sent strictly one after the other.
    pub ordered: bool,
    /// Time limit of one attempt; `None`: the one that the service was started with.
    pub timeout: Option<AttemptTimeout>,
    /// How long the data of its events is kept: of those that are accepted from now on.
    pub keep_payload: PayloadRetention,
    /// The version of Factorial's API whose payloads it gets, as its subscriber named it. It is shown to who publishes; the
    /// service itself sends what is published.
    pub api_version: Option<String>,
    /// The first failure since the last success, milliseconds since 1970; only set once failures last for some time.
    pub failing_since: Option<i64>,
    /// Whether its receiver accepted the last event, as far as is known.
    pub proven: bool,
    /// How many thresholds of its failures were announced by operational events since its last success.
    pub failing_announced: u32,
    /// Creation time, in milliseconds since 1970.
    pub created_at: i64,
    /// Time of the last change, in milliseconds since 1970.
    pub updated_at: i64,
    /// The key that signs: raw bytes, shown in the answer to the request that made it, and by a call of its own.
    pub signing_secret: Arc<[u8]>,
    /// The key before it, while that one signs too.
    pub previous_secret: Option<PreviousSecret>,
}

/// The signing secret before the current one.
#[derive(Clone, PartialEq, Eq)]
pub struct PreviousSecret {
    /// Raw bytes.
    pub secret: Arc<[u8]>,
    /// The time until which it signs too: milliseconds since 1970.
    pub until: i64,
}

/// The fields of a webhook that have no default.
pub struct NewWebhook {
    /// As [`Webhook::id`].
    pub id: String,
    /// As [`Webhook::company`].
    pub company: String,
    /// As [`Webhook::event_type`].
    pub event_type: String,
    /// As [`Webhook::recipient`].
    pub recipient: Recipient,
    /// As [`Webhook::signing_secret`].
    pub signing_secret: Arc<[u8]>,
    /// As [`Webhook::created_at`], and the first [`Webhook::updated_at`].
    pub created_at: i64,
}

impl Webhook {
    /// Returns whether an attempt may have another result under `other`, this webhook as it was before: what it sends,
    /// where, or how long it waits for the answer, has changed.
    pub fn sends_otherwise_than(&self, other: &Self) -> bool {
        let sent = |webhook: &Self| {
            let own = |one: TransformRef<'_>| (one.digest.cloned(), one.config_digest.clone(), one.on_error);
            let transforms: Vec<_> = webhook.transforms().map(own).collect();
            let address = (webhook.recipient.clone(), webhook.tls.clone());
            let request = (address, webhook.challenge.clone(), webhook.headers.clone(), webhook.signing_secret.clone());
            (request, webhook.timeout.clone(), transforms)
        };
        sent(self) != sent(other)
    }

    /// Returns its transforms, in the order in which they run.
    pub fn transforms(&self) -> impl Iterator<Item = TransformRef<'_>> {
        let only = self.plugin.as_ref().map(|plugin| TransformRef {
            plugin,
            digest: self.plugin_digest.as_ref(),
            config: &self.config,
            config_digest: &self.config_digest,
            on_error: self.on_error,
            policy: None,
        });
        only.into_iter().chain(self.chain.iter().map(Transform::borrowed))
    }

    /// Gives it these transforms in place of those that it has.
    pub fn set_transforms(&mut self, mut transforms: Vec<Transform>) {
        let only = if transforms.len() == 1 { transforms.pop() } else { None };
        (self.plugin, self.plugin_digest, self.config, self.config_digest, self.on_error) = match only {
            Some(Transform { plugin, digest, config, config_digest, on_error }) => {
                (Some(plugin), digest, config, config_digest, on_error)
            }
            None => (None, None, "null".into(), Digest::of(b"null"), OnError::default()),
        };
        self.chain = transforms;
    }

    /// Returns whether it has several transforms.
    pub fn has_several_transforms(&self) -> bool {
        !self.chain.is_empty()
    }

    /// Returns whether its events wait until a consumer fetches them.
    pub fn is_pulled(&self) -> bool {
        self.recipient == Recipient::Consumer
    }

    /// Returns whether the data of its events is erased once they have been delivered.
    pub fn is_transient(&self) -> bool {
        self.keep_payload == PayloadRetention::UntilDelivered
    }

    /// Returns whether it receives events of this type.
    pub fn matches(&self, event_type: &str) -> bool {
        EventTypePattern::stored(&self.event_type).matches(event_type)
    }

    /// Returns what it subscribes to.
    pub fn subscription(&self) -> Subscription<'_> {
        Subscription { event_type: &self.event_type, label: self.label.as_deref() }
    }

    /// Makes a webhook with every other field at its default.
    pub fn new(new: NewWebhook) -> Self {
        Self {
            id: new.id,
            company: new.company,
            event_type: new.event_type,
            label: None,
            recipient: new.recipient,
            challenge: None,
            name: None,
            enabled: true,
            disabled_reason: None,
            plugin: None,
            plugin_digest: None,
            config: "null".into(),
            config_digest: Digest::of(b"null"),
            on_error: OnError::default(),
            chain: Vec::new(),
            headers: Vec::new(),
            tls: None,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            rate_limit: None,
            ordered: false,
            timeout: None,
            keep_payload: PayloadRetention::default(),
            api_version: None,
            failing_since: None,
            proven: false,
            failing_announced: 0,
            created_at: new.created_at,
            updated_at: new.created_at,
            signing_secret: new.signing_secret,
            previous_secret: None,
        }
    }

    /// Whether one node alone, of several, sends to it, so that its limits hold across all of them. The
    /// store has the same rule in SQL.
    pub fn needs_single_owner(&self) -> bool {
        self.ordered || self.rate_limit.is_some() || self.max_in_flight < SINGLE_OWNER_BELOW
    }

    /// Returns the keys that sign a request stamped `timestamp_s`, seconds since 1970: the newest first (Standard
    /// Webhooks 1.0, "Signature scheme": several while secrets are rotated).
    pub fn signing_secrets(&self, timestamp_s: i64) -> impl Iterator<Item = &[u8]> {
        let previous =
            self.previous_secret.as_ref().filter(|previous| timestamp_s.saturating_mul(1000) < previous.until);
        std::iter::once(&*self.signing_secret).chain(previous.map(|previous| &*previous.secret))
    }
}

/// The default of `max_in_flight`.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 32;
/// A webhook with a smaller `max_in_flight` than this has one owner among the nodes. Divided among the nodes, so few
/// slots would add up to more than the webhook allows, or most would stay idle while one node gets all the events.
pub const SINGLE_OWNER_BELOW: u32 = 16;
/// The highest `max_in_flight`.
pub const MAX_MAX_IN_FLIGHT: u32 = 1024;

/// Checks a challenge: 1 to 256 visible ASCII characters, so that it can be sent in a header.
///
/// # Errors
/// The rule, for people.
pub fn check_challenge(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 256 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a challenge is 1 to 256 visible ASCII characters, so that it can be sent in a header".into());
    }
    Ok(())
}

/// Checks a version of Factorial's API, such as `2026-10-01`: 1 to 32 visible ASCII characters.
///
/// # Errors
/// The rule, for people.
pub fn check_api_version(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 32 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a version of the API is 1 to 32 visible ASCII characters, for example `2026-10-01`".into());
    }
    Ok(())
}

#[cfg(test)]
impl Webhook {
    /// Makes a webhook for unit tests: of type `t`, with every setting at its default.
    pub(crate) fn sample(company: &str, id: &str) -> Self {
        Self::new(NewWebhook {
            id: id.into(),
            company: company.into(),
            event_type: "t".into(),
            recipient: Recipient::Url("https://a.test/".into()),
            signing_secret: [1].as_slice().into(),
            created_at: 7,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(names: &[&str]) -> Vec<Transform> {
        let one = |name: &&str| Transform {
            plugin: PluginRef { name: (*name).into(), digest_prefix: None },
            digest: None,
            config: "null".into(),
            config_digest: Digest::of(b"null"),
            on_error: OnError::Retry,
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn a_webhook_has_the_transforms_that_it_was_given() {
        let mut webhook = Webhook { on_error: OnError::Drop, ..Webhook::sample("acme", "wh_1") };
        for names in [&["a", "b", "c"][..], &["d"], &[], &["e", "f"]] {
            webhook.set_transforms(chain(names));
            let set: Vec<_> = webhook.transforms().map(|transform| transform.plugin.name.as_str()).collect();
            assert_eq!((&*set, webhook.has_several_transforms()), (names, names.len() > 1));
            assert_eq!((webhook.plugin.is_some(), webhook.on_error), (names.len() == 1, OnError::Retry));
        }
    }

    #[test]
    fn a_challenge_is_short_visible_ascii() {
        assert!(check_challenge("s3cr3t!~").is_ok());
        for bad in ["", "a b", "a\r\nb", "é", &"x".repeat(257)] {
            assert!(check_challenge(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_version_of_the_api_is_short_visible_ascii() {
        assert!(check_api_version("2026-10-01").is_ok() && check_api_version(&"x".repeat(32)).is_ok());
        for bad in ["", "a b", "é", &"x".repeat(33)] {
            assert!(check_api_version(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_new_webhook_is_enabled_unlimited_and_unordered() {
        let new = Webhook::sample("acme", "wh_1");
        assert_eq!((new.enabled, new.ordered, new.rate_limit, new.max_in_flight), (true, false, None, 32));
        assert_eq!((new.created_at, new.updated_at), (7, 7));
        assert_eq!(new.config_digest, Digest::of(b"null"));
        assert!(!new.needs_single_owner());
    }

    #[test]
    fn a_webhook_whose_limits_cannot_be_divided_has_an_owner() {
        assert!(Webhook { ordered: true, ..Webhook::sample("acme", "wh_1") }.needs_single_owner());
        assert!(
            Webhook { rate_limit: RateLimit::parse("5/h").ok(), ..Webhook::sample("acme", "wh_1") }
                .needs_single_owner()
        );
        assert!(
            Webhook { max_in_flight: SINGLE_OWNER_BELOW - 1, ..Webhook::sample("acme", "wh_1") }.needs_single_owner()
        );
        assert!(!Webhook { max_in_flight: SINGLE_OWNER_BELOW, ..Webhook::sample("acme", "wh_1") }.needs_single_owner());
    }

    #[test]
    fn the_previous_secret_signs_until_its_time_is_over() {
        let previous = PreviousSecret { secret: [2].as_slice().into(), until: 5000 };
        let rotated = Webhook { previous_secret: Some(previous), ..Webhook::sample("acme", "wh_1") };
        let keys = |timestamp_s| rotated.signing_secrets(timestamp_s).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(keys(4), [vec![1], vec![2]]);
        assert_eq!(keys(5), [vec![1]]);
    }

    #[test]
    fn only_what_is_sent_where_and_how_long_changes_the_result_of_an_attempt() {
        let plugin = PluginRef { name: "a".into(), digest_prefix: None };
        let before = Webhook { plugin: Some(plugin), ..Webhook::sample("acme", "wh_1") };
        type Edit = fn(&mut Webhook);
        let changes: [(Edit, bool); 13] = [
            (|webhook| webhook.signing_secret = [2].as_slice().into(), true),
            (|webhook| webhook.tls = TlsSettings::new(None, Some("pin")).map(Arc::new), true),
            (|webhook| webhook.recipient = Recipient::Url("https://b.test/".into()), true),
            (|webhook| webhook.recipient = Recipient::Consumer, true),
            (|webhook| webhook.challenge = Some("c".into()), true),
            (|webhook| webhook.headers = vec![("x-a".into(), "1".into())], true),
            (|webhook| webhook.plugin_digest = Some(Digest::of(b"p")), true),
            (|webhook| webhook.config_digest = Digest::of(b"{}"), true),
            (|webhook| webhook.on_error = OnError::Drop, true),
            (|webhook| (webhook.plugin, webhook.chain) = (None, chain(&["a", "b"])), true),
            (|webhook| webhook.timeout = AttemptTimeout::parse("30s").ok(), true),
            (|webhook| webhook.name = Some("n".into()), false),
            (|webhook| (webhook.max_in_flight, webhook.updated_at, webhook.ordered) = (1, 9, true), false),
        ];
        for (number, (change, expected)) in changes.into_iter().enumerate() {
            let mut after = before.clone();
            change(&mut after);
            assert_eq!(after.sends_otherwise_than(&before), expected, "{number}");
        }
    }
}
