//! What a webhook subscribes to, as the column `event_type` of `webhooks` has it: the type, and for a webhook with a label a
//! space and the label behind it.
//!
//! Types contain no spaces. So the pair of company and `event_type` is unique also among webhooks with labels, and nodes of the
//! previous version, which look for the type of an event there, do not find them.

use crate::domain::subscription::Subscription;

/// Returns the value of the column.
pub(super) fn subscription_key(subscription: Subscription<'_>) -> String {
    match subscription.label {
        None => subscription.event_type.to_owned(),
        Some(label) => format!("{} {label}", subscription.event_type),
    }
}

/// Returns the subscription that a value of the column stands for.
pub(super) fn subscription_of(key: &str) -> Subscription<'_> {
    match key.split_once(' ') {
        None => Subscription { event_type: key, label: None },
        Some((event_type, label)) => Subscription { event_type, label: Some(label) },
    }
}

/// Returns the first value behind those of all subscriptions to this type, whatever their labels: `!` follows the space.
pub(super) fn keys_end(event_type: &str) -> String {
    format!("{event_type}!")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscription_is_read_back_from_its_key() {
        for (event_type, label, key) in [("a/b", None, "a/b"), ("a/*", Some("crm-1"), "a/* crm-1")] {
            let subscription = Subscription { event_type, label };
            assert_eq!((subscription_key(subscription).as_str(), subscription_of(key)), (key, subscription));
        }
    }

    #[test]
    fn keys_of_a_type_are_a_range() {
        let range = |key: &str| key >= "a" && key < keys_end("a").as_str();
        assert!(["a", "a -", "a z9"].into_iter().all(range));
        assert!(!["a!", "a/b", "a0", "a/* x", "A", "b", "*"].into_iter().any(range));
    }
}
