//! The fields of a subscription as a request of Factorial's later API sends them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{FieldRules, FieldUpdate, NewFields, WebhookFields};
use crate::api::author_field::id_text;
use crate::domain::Invalid;
use crate::domain::webhook::Webhook;

/// The body of `POST` and `PUT`. A `PUT` may send a whole subscription as it was shown, so `type` is allowed for
/// `subscription_type`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::api) struct SubscriptionFields<'b> {
    #[serde(borrow)]
    id: Option<&'b RawValue>,
    #[serde(borrow)]
    company_id: Option<&'b RawValue>,
    r#type: FieldUpdate<String>,
    subscription_type: FieldUpdate<String>,
    target_url: FieldUpdate<String>,
    name: FieldUpdate<String>,
    challenge: FieldUpdate<String>,
    enabled: FieldUpdate<bool>,
    api_version: FieldUpdate<String>,
}

/// A new subscription, whose rules hold.
pub(in crate::api) struct NewSubscription {
    pub(in crate::api) company_id: Option<String>,
    pub(in crate::api) new: NewFields,
}

/// A change to a subscription, whose rules hold.
pub(in crate::api) struct ChangedSubscription {
    pub(in crate::api) company_id: Option<String>,
    pub(in crate::api) changes: WebhookFields,
}

/// Reads an id at `pointer`, and adds an error if it is no id.
fn read_id(sent: Option<&RawValue>, pointer: &str, errors: &mut Vec<Invalid>) -> Option<String> {
    let id = sent.map(|raw| id_text(raw).ok_or_else(|| Invalid::at(pointer, "an id is a string or an integer")));
    id.and_then(|id| id.map_err(|error| errors.push(error)).ok())
}

impl SubscriptionFields<'_> {
    /// Checks the rules of a new subscription. `version` is that of the path, and the default of `api_version`.
    ///
    /// # Errors
    /// Every broken rule.
    pub(in crate::api) fn check_new(
        mut self,
        version: &str,
        rules: FieldRules<'_>,
    ) -> Result<NewSubscription, Vec<Invalid>> {
        let mut errors = Vec::new();
        if self.id.is_some() {
            errors.push(Invalid::at("/id", "the service chooses the id of a new subscription: leave it out"));
        }
        let company_id = read_id(self.company_id, "/company_id", &mut errors);
        if matches!(self.api_version, FieldUpdate::Absent) {
            self.api_version = FieldUpdate::Null;
        }
        let checked = self.webhook_fields(version).check_new(rules).map_err(named_as_here);
        with(checked, errors).map(|new| NewSubscription { company_id, new })
    }

    /// Checks the rules of a change to `current`. `version` is that of the path.
    ///
    /// # Errors
    /// Every broken rule.
    pub(in crate::api) fn check_change(
        self,
        current: &Webhook,
        version: &str,
        rules: FieldRules<'_>,
    ) -> Result<ChangedSubscription, Vec<Invalid>> {
        let mut errors = Vec::new();
        let id = read_id(self.id, "/id", &mut errors);
        if id.is_some_and(|id| id != current.id) {
            errors.push(Invalid::at("/id", "this is another id than that of the path; it cannot be changed"));
        }
        let company_id = read_id(self.company_id, "/company_id", &mut errors);
        let checked = self.webhook_fields(version).check_change(current, rules);
        with(checked, errors).map(|changes| ChangedSubscription { company_id, changes })
    }

    /// An `api_version` of null becomes that of the path.
    fn webhook_fields(self, version: &str) -> WebhookFields {
        let api_version = match self.api_version {
            FieldUpdate::Null => FieldUpdate::Value(version.to_owned()),
            sent => sent,
        };
        WebhookFields {
            r#type: self.r#type,
            subscription_type: self.subscription_type,
            target_url: self.target_url,
            challenge: self.challenge,
            name: self.name,
            enabled: self.enabled,
            api_version,
            ..WebhookFields::default()
        }
    }
}

/// Adds errors to what a check has found.
fn with<T>(checked: Result<T, Vec<Invalid>>, mut errors: Vec<Invalid>) -> Result<T, Vec<Invalid>> {
    match checked {
        Ok(value) if errors.is_empty() => Ok(value),
        Ok(_) => Err(errors),
        Err(more) => {
            errors.extend(more);
            Err(errors)
        }
    }
}

/// A missing type is reported under its name in this API.
fn named_as_here(errors: Vec<Invalid>) -> Vec<Invalid> {
    let rename = |error: Invalid| match error.pointer.as_str() {
        "/type" => Invalid { pointer: "/subscription_type".into(), ..error },
        _ => error,
    };
    errors.into_iter().map(rename).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::Guard;

    const VERSION: &str = "2026-10-01";

    fn pointers<T>(result: Result<T, Vec<Invalid>>) -> Vec<String> {
        result.err().into_iter().flatten().map(|error| error.pointer).collect()
    }

    fn check<R>(body: &str, with: impl FnOnce(SubscriptionFields<'_>, FieldRules<'_>) -> R) -> R {
        let guard = Guard::new(Vec::new(), false);
        with(serde_json::from_str(body).unwrap(), FieldRules { challenge_header: "x-challenge", guard: &guard })
    }

    #[test]
    fn a_new_subscription_has_the_version_of_the_path_unless_it_names_one() {
        for (sent, expected) in
            [("", VERSION), (r#", "api_version": null"#, VERSION), (r#", "api_version": "v2""#, "v2")]
        {
            let body =
                format!(r#"{{"subscription_type": "t", "target_url": "https://a.test/", "company_id": 55{sent}}}"#);
            let checked = check(&body, |fields, rules| fields.check_new(VERSION, rules)).ok().unwrap();
            assert_eq!(checked.company_id.as_deref(), Some("55"));
            let mut webhook = Webhook::sample("55", "wh_1");
            checked.new.fields.apply(&mut webhook);
            assert_eq!(webhook.api_version.as_deref(), Some(expected), "{sent}");
        }
    }

    #[test]
    fn every_broken_rule_of_a_new_subscription_is_reported_at_its_place() {
        let new = |body| pointers(check(body, |fields, rules| fields.check_new(VERSION, rules)));
        assert_eq!(new("{}"), ["/subscription_type", "/target_url"]);
        assert_eq!(
            new(r#"{"id": 1, "company_id": 1.5, "subscription_type": "a b", "target_url": "x", "api_version": ""}"#),
            ["/id", "/company_id", "/subscription_type", "/target_url", "/api_version"]
        );
    }

    #[test]
    fn a_change_names_the_same_id_and_type_or_none() {
        let webhook = Webhook::sample("acme", "wh_1");
        let change = |body| pointers(check(body, |fields, rules| fields.check_change(&webhook, VERSION, rules)));
        assert!(change("{}").is_empty() && change(r#"{"id": "wh_1", "type": "t", "company_id": "acme"}"#).is_empty());
        assert_eq!(change(r#"{"id": "wh_2", "subscription_type": "u"}"#), ["/id", "/subscription_type"]);
    }
}
