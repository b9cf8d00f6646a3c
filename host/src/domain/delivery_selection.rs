//! Which deliveries of a company a list, a replay or a cancellation is about.

use serde::{Deserialize, Serialize};

use super::delivery::StatusFilter;

/// Most types in one selection.
pub const MAX_TYPES: usize = 20;
/// Most bytes of the text that is looked for in errors.
pub const MAX_ERROR_TEXT: usize = 200;

/// The deliveries that meet every condition that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeliverySelection {
    /// Those of these event types; none: of any.
    pub types: Vec<String>,
    /// Those with one of these statuses; none: with any.
    pub statuses: Vec<StatusFilter>,
    /// Those of the webhook with this id.
    pub webhook: Option<String>,
    /// Those of webhooks that had this label.
    pub label: Option<String>,
    /// Those whose last attempt has an error with this text in it, whatever the case of its ASCII letters.
    pub error: Option<String>,
}

impl DeliverySelection {
    /// Returns the only type.
    pub fn only_type(&self) -> Option<&str> {
        match &self.types[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Returns the only status.
    pub fn only_status(&self) -> Option<StatusFilter> {
        match self.statuses[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Returns whether it has deliveries of this type and this webhook.
    pub fn concerns(&self, event_type: &str, webhook: &str, label: Option<&str>) -> bool {
        (self.types.is_empty() || self.types.iter().any(|name| name == event_type))
            && self.webhook.as_deref().is_none_or(|id| id == webhook)
            && self.label.as_deref().is_none_or(|own| Some(own) == label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Status;

    #[test]
    fn delivery_meets_every_condition_that_is_set() {
        let all = DeliverySelection::default();
        assert!(all.concerns("t", "wh_1", None) && all.only_type().is_none() && all.only_status().is_none());
        let some = DeliverySelection {
            types: vec!["t".into(), "u".into()],
            webhook: Some("wh_1".into()),
            label: Some("a".into()),
            ..all
        };
        assert!(some.concerns("u", "wh_1", Some("a")) && some.only_type().is_none());
        assert!(!some.concerns("v", "wh_1", Some("a")) && !some.concerns("u", "wh_2", Some("a")));
        assert!(!some.concerns("u", "wh_1", None) && !some.concerns("u", "wh_1", Some("b")));
    }

    #[test]
    fn stored_form_stays_readable() {
        let some = DeliverySelection {
            types: vec!["t".into()],
            statuses: vec![StatusFilter::Is(Status::Failed), StatusFilter::Retrying],
            error: Some("x".into()),
            ..DeliverySelection::default()
        };
        let text = r#"{"types":["t"],"statuses":["failed","retrying"],"webhook":null,"label":null,"error":"x"}"#;
        assert_eq!(serde_json::to_string(&some).unwrap(), text);
        assert_eq!(serde_json::from_str::<DeliverySelection>(text).unwrap(), some);
        assert_eq!(serde_json::from_str::<DeliverySelection>("{}").unwrap(), DeliverySelection::default());
    }
}
