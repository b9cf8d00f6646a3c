//! The fields of a webhook as a request sends them, with one set of rules for subscribing and for changing.

mod recipient;
mod subscription;
mod transforms;

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::tls::TlsField;
use crate::api::header_fields::HeaderFields;
use crate::api::whole_number::WholeNumber;
use crate::domain::Invalid;
use crate::domain::attempt_timeout::AttemptTimeout;
use crate::domain::payload_retention::PayloadRetention;
use crate::domain::plugin::{Digest, PluginRef};
use crate::domain::rate_limit::RateLimit;
use crate::domain::subscription::{EventTypePattern, check_label};
use crate::domain::transform::OnError;
use crate::domain::webhook::{self, DEFAULT_MAX_IN_FLIGHT, MAX_MAX_IN_FLIGHT, Recipient, Webhook};
use crate::outbound::{Guard, sign};
pub(in crate::api) use subscription::{ChangedSubscription, NewSubscription, SubscriptionFields};
pub(in crate::api) use transforms::{TransformFields, broken_rules as broken_transforms, transforms};

/// Most bytes of a webhook's name.
const MAX_NAME_BYTES: usize = 256;

/// The value that a request sends for one field.
#[derive(Default)]
enum FieldUpdate<T> {
    /// Not sent: a new webhook gets the default, a change leaves the field as it is.
    #[default]
    Absent,
    /// Null: the field gets its default.
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FieldUpdate<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl<T> FieldUpdate<T> {
    fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    fn is_sent(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Sets `field` if the request sent it: to `value`, or for null to `default`.
    fn set<U>(&self, field: &mut U, default: U, value: impl FnOnce(&T) -> U) {
        if self.is_sent() {
            *field = self.value().map_or(default, value);
        }
    }
}

/// The body of `POST /webhooks` and of `PATCH /webhooks/{id}`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::api) struct WebhookFields {
    r#type: FieldUpdate<String>,
    subscription_type: FieldUpdate<String>,
    label: FieldUpdate<String>,
    target_url: FieldUpdate<String>,
    delivery: FieldUpdate<String>,
    challenge: FieldUpdate<String>,
    name: FieldUpdate<String>,
    enabled: FieldUpdate<bool>,
    plugin: FieldUpdate<String>,
    config: FieldUpdate<Box<RawValue>>,
    on_error: FieldUpdate<String>,
    transforms: FieldUpdate<Vec<TransformFields>>,
    headers: FieldUpdate<HeaderFields>,
    tls: FieldUpdate<TlsField>,
    max_in_flight: FieldUpdate<WholeNumber>,
    rate_limit: FieldUpdate<Value>,
    ordered: FieldUpdate<bool>,
    timeout: FieldUpdate<Value>,
    keep_payload: FieldUpdate<String>,
    signing_secret: FieldUpdate<Value>,
    api_version: FieldUpdate<String>,
}

/// The fields of a new webhook, with those that it must have.
pub(in crate::api) struct NewFields {
    pub(super) event_type: String,
    pub(super) label: Option<String>,
    pub(super) recipient: Recipient,
    pub(super) fields: WebhookFields,
}

/// What the rules of the fields depend on.
#[derive(Clone, Copy)]
pub(in crate::api) struct FieldRules<'a> {
    /// The challenge header's name, lower-case.
    pub(super) challenge_header: &'a str,
    pub(super) guard: &'a Guard,
}

/// The event type as a request sends it: under either of its two names.
struct EventTypeField<'a> {
    pointer: &'static str,
    sent: &'a FieldUpdate<String>,
}

impl WebhookFields {
    /// Checks the rules of a new webhook.
    ///
    /// # Errors
    /// Every broken rule.
    pub(super) fn check_new(self, rules: FieldRules<'_>) -> Result<NewFields, Vec<Invalid>> {
        let mut errors = self.broken_rules(rules);
        let event_type = self.event_type().sent;
        if event_type.value().is_none() {
            errors.push(Invalid::at("/type", "a webhook needs this field"));
        }
        let recipient = self.new_recipient().map_err(|error| errors.push(error)).ok();
        match (event_type.value().cloned(), recipient) {
            (Some(event_type), Some(recipient)) if errors.is_empty() => {
                Ok(NewFields { event_type, label: self.label.value().cloned(), recipient, fields: self })
            }
            _ => Err(errors),
        }
    }

    /// Checks the rules of a change to a webhook as it is: `current`.
    ///
    /// # Errors
    /// Every broken rule.
    pub(super) fn check_change(self, current: &Webhook, rules: FieldRules<'_>) -> Result<Self, Vec<Invalid>> {
        let mut errors = self.broken_rules(rules);
        errors.extend(self.broken_recipient(current));
        if current.has_several_transforms() && !self.list_transforms() {
            let several = "this webhook has several transforms: send all of them as `transforms`";
            errors.extend(self.only_transform().map(|pointer| Invalid::at(pointer, several)));
        }
        let current = current.subscription();
        if matches!(self.signing_secret, FieldUpdate::Null) {
            let detail = "a webhook needs a signing secret: POST /webhooks/{id}/secret/rotate makes a new one";
            errors.push(Invalid::at("/signing_secret", detail));
        }
        let EventTypeField { pointer, sent } = self.event_type();
        let mut fixed = |pointer: &str, what: &str| {
            let detail = format!(
                "the {what} of a webhook cannot be changed: this webhook is for {current}; subscribe to the other {what} \
                 with POST /webhooks"
            );
            errors.push(Invalid::at(pointer, detail));
        };
        if sent.is_sent() && sent.value().is_none_or(|sent| sent != current.event_type) {
            fixed(pointer, "type");
        }
        if self.label.is_sent() && self.label.value().map(String::as_str) != current.label {
            fixed("/label", "label");
        }
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }

    /// Returns the target, if it is sent.
    pub(super) fn target_url(&self) -> Option<&str> {
        self.target_url.value().map(String::as_str)
    }

    /// Returns the signing secret as raw bytes, if a valid one is sent.
    pub(super) fn signing_secret(&self) -> Option<Arc<[u8]>> {
        self.signing_secret.value().and_then(|value| parse_signing_secret(value).ok())
    }

    /// Whether plugins must check their configs.
    pub(super) fn concern_plugins(&self) -> bool {
        self.plugin.is_sent() || self.config.is_sent() || self.list_transforms()
    }

    /// Whether the transforms are sent as a list.
    pub(super) fn list_transforms(&self) -> bool {
        self.transforms.is_sent()
    }

    /// Returns where the fields are sent that stand for a list of one transform.
    fn only_transform(&self) -> impl Iterator<Item = &'static str> {
        let sent = [
            ("/plugin", self.plugin.is_sent()),
            ("/config", self.config.is_sent()),
            ("/on_error", self.on_error.is_sent()),
        ];
        sent.into_iter().filter(|(_, is_sent)| *is_sent).map(|(pointer, _)| pointer)
    }

    fn event_type(&self) -> EventTypeField<'_> {
        if self.r#type.is_sent() {
            EventTypeField { pointer: "/type", sent: &self.r#type }
        } else {
            EventTypeField { pointer: "/subscription_type", sent: &self.subscription_type }
        }
    }

    fn broken_rules(&self, FieldRules { challenge_header, guard }: FieldRules<'_>) -> Vec<Invalid> {
        let mut errors = Vec::new();
        let mut rule = |pointer: &str, result: Option<Result<(), String>>| {
            errors.extend(result.and_then(Result::err).map(|detail| Invalid::at(pointer, detail)));
        };
        let event_type = self.event_type();
        rule(event_type.pointer, event_type.sent.value().map(|text| EventTypePattern::parse(text).map(drop)));
        if self.r#type.is_sent() && self.subscription_type.is_sent() {
            rule("/subscription_type", Some(Err("this is another name for `type`: send only one of the two".into())));
        }
        rule("/label", self.label.value().map(|text| check_label(text)));
        rule("/target_url", self.target_url().map(|url| guard.parse_target(url).map(drop)));
        rule("/challenge", self.challenge.value().map(|text| webhook::check_challenge(text)));
        rule("/name", self.name.value().map(|text| check_name(text)));
        rule("/plugin", self.plugin.value().map(|text| PluginRef::parse(text).map(drop)));
        rule("/on_error", self.on_error.value().map(|text| check_on_error(text)));
        rule("/max_in_flight", self.max_in_flight.value().map(|number| max_in_flight(number).map(drop)));
        rule("/rate_limit", self.rate_limit.value().map(|value| parse_rate_limit(value).map(drop)));
        rule("/timeout", self.timeout.value().map(|value| parse_timeout(value).map(drop)));
        rule("/keep_payload", self.keep_payload.value().map(|text| parse_keep_payload(text).map(drop)));
        rule("/signing_secret", self.signing_secret.value().map(|value| parse_signing_secret(value).map(drop)));
        rule("/api_version", self.api_version.value().map(|text| webhook::check_api_version(text)));
        if self.list_transforms() {
            let both = "`transforms` stands for this field too: send only one of the two";
            errors.extend(self.only_transform().map(|pointer| Invalid::at(pointer, both)));
        }
        errors.extend(self.transforms.value().into_iter().flat_map(|list| broken_transforms(list)));
        errors.extend(self.broken_delivery());
        errors.extend(self.headers.value().into_iter().flat_map(|headers| headers.errors(challenge_header)));
        errors.extend(self.tls.value().into_iter().flat_map(TlsField::broken_rules));
        errors
    }

    /// Sets the fields that were sent. Their rules must have been checked.
    pub(super) fn apply(&self, webhook: &mut Webhook) {
        self.apply_recipient(webhook);
        self.challenge.set(&mut webhook.challenge, None, |text| Some(text.clone()));
        self.name.set(&mut webhook.name, None, |text| Some(text.clone()));
        self.enabled.set(&mut webhook.enabled, true, |enabled| *enabled);
        if self.enabled.is_sent() && webhook.enabled {
            webhook.disabled_reason = None;
        }
        self.apply_transforms(webhook);
        self.headers.set(&mut webhook.headers, Vec::new(), HeaderFields::pairs);
        self.tls.set(&mut webhook.tls, None, TlsField::settings);
        let default = DEFAULT_MAX_IN_FLIGHT;
        self.max_in_flight.set(&mut webhook.max_in_flight, default, |number| max_in_flight(number).unwrap_or(default));
        self.rate_limit.set(&mut webhook.rate_limit, None, |value| parse_rate_limit(value).ok());
        self.ordered.set(&mut webhook.ordered, false, |ordered| *ordered);
        self.timeout.set(&mut webhook.timeout, None, |value| parse_timeout(value).ok());
        let default = PayloadRetention::default();
        self.keep_payload.set(&mut webhook.keep_payload, default, |name| parse_keep_payload(name).unwrap_or(default));
        self.api_version.set(&mut webhook.api_version, None, |text| Some(text.clone()));
        if let Some(secret) = self.signing_secret() {
            // The one that it replaces may be known to somebody else.
            (webhook.signing_secret, webhook.previous_secret) = (secret, None);
        }
    }

    fn apply_transforms(&self, webhook: &mut Webhook) {
        if self.list_transforms() {
            let list = self.transforms.value().map(|list| transforms(list)).unwrap_or_default();
            return webhook.set_transforms(list);
        }
        if self.plugin.is_sent() {
            webhook.chain.clear();
        }
        // Another request may have given it several transforms since this one was checked.
        if webhook.has_several_transforms() {
            return;
        }
        self.plugin.set(&mut webhook.plugin, None, |text| PluginRef::parse(text).ok());
        if self.config.is_sent() {
            let text = self.config.value().map_or("null", |raw| raw.get());
            (webhook.config, webhook.config_digest) = (text.into(), Digest::of(text.as_bytes()));
        }
        self.on_error.set(&mut webhook.on_error, OnError::default(), |name| OnError::named(name).unwrap_or_default());
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(format!("a name is at most {MAX_NAME_BYTES} bytes, without control characters"));
    }
    Ok(())
}

fn check_on_error(name: &str) -> Result<(), String> {
    let known = OnError::named(name).map(drop);
    known.ok_or_else(|| "the policies are retry, send_original and drop".into())
}

/// A value of another type is refused with the same rule.
fn parse_rate_limit(value: &Value) -> Result<RateLimit, String> {
    match value {
        Value::String(text) => RateLimit::parse(text),
        other => RateLimit::per_second(other.as_u64().unwrap_or_default()),
    }
}

/// A value of another type is refused with the same rule.
fn parse_timeout(value: &Value) -> Result<AttemptTimeout, String> {
    AttemptTimeout::parse(value.as_str().unwrap_or_default())
}

fn parse_keep_payload(name: &str) -> Result<PayloadRetention, String> {
    let rule = "`keep_payload` is `retention`, as long as the log keeps the event, or `until_delivered`";
    PayloadRetention::named(name).ok_or_else(|| rule.into())
}

/// A value of another type is refused with the same rule. The text never repeats the value.
fn parse_signing_secret(value: &Value) -> Result<Arc<[u8]>, String> {
    sign::parse_secret(value.as_str().unwrap_or_default()).map(Arc::from)
}

fn max_in_flight(number: &WholeNumber) -> Result<u32, String> {
    number.within(1..=MAX_MAX_IN_FLIGHT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::webhook::PreviousSecret;

    fn fields(body: serde_json::Value) -> WebhookFields {
        serde_json::from_value(body).unwrap()
    }

    fn guard() -> Guard {
        Guard::new(Vec::new(), false)
    }

    fn rules(guard: &Guard) -> FieldRules<'_> {
        FieldRules { challenge_header: "x-challenge", guard }
    }

    fn pointers<T>(result: Result<T, Vec<Invalid>>) -> Vec<String> {
        result.err().into_iter().flatten().map(|error| error.pointer).collect()
    }

    fn full() -> WebhookFields {
        fields(json!({
            "type": "t", "target_url": "https://b.test/", "challenge": "c", "name": "n", "enabled": false,
            "plugin": "mask", "config": {"a": 1}, "on_error": "drop", "headers": {"x-a": "b"}, "max_in_flight": 7,
            "rate_limit": "9/min", "ordered": true, "timeout": "30s", "keep_payload": "until_delivered", "api_version": "2026-10-01", "tls": {"pin_sha256": "a1".repeat(32)},
        }))
    }

    #[test]
    fn absent_fields_stay_and_null_fields_get_their_defaults() {
        let mut changed = Webhook::sample("acme", "wh_1");
        full().apply(&mut changed);
        assert_eq!((changed.recipient.url(), changed.enabled, changed.ordered), (Some("https://b.test/"), false, true));
        assert_eq!((changed.max_in_flight, changed.on_error), (7, OnError::Drop));
        assert_eq!(changed.rate_limit, RateLimit::parse("9/min").ok());
        assert_eq!(changed.timeout, AttemptTimeout::parse("30s").ok());
        assert_eq!(changed.api_version.as_deref(), Some("2026-10-01"));
        assert_eq!(changed.keep_payload, PayloadRetention::UntilDelivered);
        assert_eq!(changed.config_digest, Digest::of(br#"{"a":1}"#));
        assert_eq!(changed.tls.as_ref().and_then(|tls| tls.pin_sha256()), Some(&*"a1".repeat(32)));
        let before = changed.clone();
        fields(json!({})).apply(&mut changed);
        assert!(changed == before);
        let nulls = json!({
            "challenge": null, "name": null, "enabled": null, "plugin": null, "config": null, "on_error": null,
            "headers": null, "max_in_flight": null, "rate_limit": null, "ordered": null, "timeout": null, "tls": null, "api_version": null,
            "keep_payload": null,
        });
        fields(nulls).apply(&mut changed);
        assert!(
            changed
                == Webhook { recipient: Recipient::Url("https://b.test/".into()), ..Webhook::sample("acme", "wh_1") }
        );
    }

    #[test]
    fn a_given_secret_signs_alone() {
        let previous = PreviousSecret { secret: [2; 24].as_slice().into(), until: i64::MAX };
        let mut webhook = Webhook { previous_secret: Some(previous), ..Webhook::sample("acme", "wh_1") };
        let sent = |secret: &[u8]| json!({"signing_secret": sign::show_secret(secret)});
        fields(json!({"signing_secret": null})).apply(&mut webhook);
        assert!(webhook.previous_secret.is_some());
        fields(sent(&[3; 24])).apply(&mut webhook);
        assert_eq!(webhook.signing_secrets(0).collect::<Vec<_>>(), [[3; 24]]);
        let current = Webhook::sample("acme", "wh_1");
        let change = |body| pointers(fields(body).check_change(&current, rules(&guard())));
        assert!(change(sent(&[3; 64])).is_empty());
        for bad in [sent(&[3; 23]), json!({"signing_secret": null}), json!({"signing_secret": 7})] {
            assert_eq!(change(bad), ["/signing_secret"]);
        }
    }

    #[test]
    fn enabling_clears_the_reason_for_which_the_service_disabled_it() {
        for (body, reason) in [(json!({"enabled": true}), None), (json!({"enabled": false}), Some("410"))] {
            let mut disabled =
                Webhook { enabled: false, disabled_reason: Some("410".into()), ..Webhook::sample("acme", "wh_1") };
            fields(body).apply(&mut disabled);
            assert_eq!(disabled.disabled_reason.as_deref(), reason);
        }
    }

    #[test]
    fn a_new_webhook_needs_a_type_and_a_target() {
        let check = |body| pointers(fields(body).check_new(rules(&guard())));
        assert_eq!(check(json!({})), ["/type", "/target_url"]);
        assert_eq!(check(json!({"subscription_type": "t", "target_url": null})), ["/target_url"]);
        let both = json!({"type": "t", "subscription_type": "t", "target_url": "https://b.test/"});
        assert_eq!(check(both), ["/subscription_type"]);
        assert!(full().check_new(rules(&guard())).is_ok());
    }

    #[test]
    fn a_change_keeps_the_type_the_label_and_a_target() {
        let check = |body, label: Option<&str>| {
            let current = Webhook { label: label.map(str::to_owned), ..Webhook::sample("acme", "wh_1") };
            pointers(fields(body).check_change(&current, rules(&guard())))
        };
        assert!(check(json!({}), Some("x")).is_empty() && check(json!({"type": "t", "label": null}), None).is_empty());
        assert!(check(json!({"label": "x"}), Some("x")).is_empty());
        assert_eq!(check(json!({"type": "u", "target_url": null}), None), ["/target_url", "/type"]);
        assert_eq!(
            check(json!({"subscription_type": null, "label": null}), Some("x")),
            ["/subscription_type", "/label"]
        );
        assert_eq!(check(json!({"label": "x"}), None), ["/label"]);
    }

    #[test]
    fn every_broken_rule_is_reported_at_its_place() {
        let bad = fields(json!({
            "type": "a b", "label": "A", "target_url": "x", "challenge": "a b", "name": "a\nb", "plugin": "A!", "on_error": "explode",
            "max_in_flight": -1, "rate_limit": 100_001, "timeout": 30, "keep_payload": "forever", "headers": {"x-challenge": "1"},
            "tls": {"ca": "x", "pin_sha256": "x"},
        }));
        let found = pointers(bad.check_new(rules(&guard())));
        let expected = [
            "type",
            "label",
            "target_url",
            "challenge",
            "name",
            "plugin",
            "on_error",
            "max_in_flight",
            "rate_limit",
            "timeout",
            "keep_payload",
        ];
        let expected = expected
            .iter()
            .map(|field| format!("/{field}"))
            .chain(["/headers/x-challenge", "/tls/ca", "/tls/pin_sha256"].map(str::to_owned));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    #[test]
    fn only_the_plugin_and_the_config_need_a_check_by_the_plugin() {
        for (body, expected) in [
            (json!({"plugin": null}), true),
            (json!({"config": 1}), true),
            (json!({"target_url": "https://b.test/", "on_error": "drop"}), false),
        ] {
            assert_eq!(fields(body).concern_plugins(), expected);
        }
    }
}
