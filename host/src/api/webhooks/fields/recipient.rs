//! Who gets the events of a webhook, as its fields `delivery` and `target_url` say together.

use super::{FieldUpdate, WebhookFields};
use crate::domain::Invalid;
use crate::domain::webhook::{Recipient, Webhook};

const NEEDED: &str = "a webhook needs this field";

fn no_url() -> Invalid {
    let detail = "a webhook with `delivery` `pull` has no `target_url`: its events wait at GET /webhooks/{id}/events; leave \
                  the field out, or set `delivery` to `push`";
    Invalid::at("/target_url", detail)
}

impl WebhookFields {
    /// Returns whether its events are to wait for a consumer; `None`: the field is not sent, or is no valid one.
    fn pulled(&self) -> Option<bool> {
        match &self.delivery {
            FieldUpdate::Absent => None,
            FieldUpdate::Null => Some(false),
            FieldUpdate::Value(name) => match name.as_str() {
                Recipient::PUSH => Some(false),
                Recipient::PULL => Some(true),
                _ => None,
            },
        }
    }

    /// Returns the rule that the field `delivery` breaks by itself.
    pub(super) fn broken_delivery(&self) -> Option<Invalid> {
        let known = |name: &String| [Recipient::PUSH, Recipient::PULL].contains(&name.as_str());
        let rule = || Invalid::at("/delivery", "a webhook's delivery is `push` or `pull`");
        self.delivery.value().is_some_and(|name| !known(name)).then(rule)
    }

    /// Returns the recipient of a new webhook.
    ///
    /// # Errors
    /// There is a target too many, or none.
    pub(super) fn new_recipient(&self) -> Result<Recipient, Invalid> {
        match (self.pulled().unwrap_or(false), self.target_url()) {
            (true, None) => Ok(Recipient::Consumer),
            (true, Some(_)) => Err(no_url()),
            (false, Some(url)) => Ok(Recipient::Url(url.to_owned())),
            (false, None) => Err(Invalid::at("/target_url", NEEDED)),
        }
    }

    /// Returns the rule that a change to `current` breaks.
    pub(super) fn broken_recipient(&self, current: &Webhook) -> Option<Invalid> {
        let pulled = self.pulled().unwrap_or(current.is_pulled());
        match (pulled, &self.target_url) {
            (true, FieldUpdate::Value(_)) => Some(no_url()),
            (false, FieldUpdate::Null) => Some(Invalid::at("/target_url", NEEDED)),
            (false, FieldUpdate::Absent) if current.is_pulled() => Some(Invalid::at("/target_url", NEEDED)),
            _ => None,
        }
    }

    /// Sets the recipient as the fields say. Their rules must have been checked.
    pub(super) fn apply_recipient(&self, webhook: &mut Webhook) {
        match (self.target_url(), self.pulled()) {
            (Some(url), _) => webhook.recipient = Recipient::Url(url.to_owned()),
            (None, Some(true)) => webhook.recipient = Recipient::Consumer,
            (None, _) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(body: serde_json::Value) -> WebhookFields {
        serde_json::from_value(body).unwrap()
    }

    const URL: &str = "https://b.test/";

    #[test]
    fn a_new_webhook_has_a_target_or_a_consumer() {
        let new = |body| fields(body).new_recipient().map_err(|error| error.pointer);
        for body in [json!({"target_url": URL}), json!({"target_url": URL, "delivery": null})] {
            assert_eq!(new(body), Ok(Recipient::Url(URL.into())));
        }
        assert_eq!(new(json!({"target_url": URL, "delivery": "push"})), Ok(Recipient::Url(URL.into())));
        for body in [json!({"delivery": "pull"}), json!({"delivery": "pull", "target_url": null})] {
            assert_eq!(new(body), Ok(Recipient::Consumer));
        }
        for body in [json!({"delivery": "pull", "target_url": URL}), json!({}), json!({"delivery": "push"})] {
            assert_eq!(new(body), Err("/target_url".to_owned()));
        }
        assert!(fields(json!({"delivery": "poll"})).broken_delivery().is_some());
    }

    #[test]
    fn a_change_keeps_the_recipient_or_names_the_other_one() {
        let pushed = Webhook::sample("acme", "wh_1");
        let pulled = Webhook { recipient: Recipient::Consumer, ..pushed.clone() };
        let url = Recipient::Url(URL.into());
        for (current, body, expected) in [
            (&pushed, json!({}), Some(pushed.recipient.clone())),
            (&pushed, json!({"target_url": URL}), Some(url.clone())),
            (&pushed, json!({"target_url": null}), None),
            (&pushed, json!({"delivery": "pull"}), Some(Recipient::Consumer)),
            (&pushed, json!({"delivery": "pull", "target_url": null}), Some(Recipient::Consumer)),
            (&pushed, json!({"delivery": "pull", "target_url": URL}), None),
            (&pulled, json!({}), Some(Recipient::Consumer)),
            (&pulled, json!({"target_url": null}), Some(Recipient::Consumer)),
            (&pulled, json!({"target_url": URL}), None),
            (&pulled, json!({"delivery": null}), None),
            (&pulled, json!({"delivery": "push", "target_url": URL}), Some(url)),
        ] {
            let fields = fields(body.clone());
            let mut changed = current.clone();
            fields.apply_recipient(&mut changed);
            let valid = fields.broken_recipient(current).is_none().then_some(changed.recipient);
            assert_eq!(valid, expected, "{body}");
        }
    }
}
