//! Policies: transforms that run for every webhook of a company whose events match, after its own, whatever its subscription says.

use super::plugin::check_name_of;
use super::subscription::EventTypePattern;
use super::transform::{OnError, Transform, TransformRef};

/// Most policies of a company.
pub const MAX_POLICIES: usize = 8;

/// Most event types and patterns of a policy.
pub const MAX_POLICY_TYPES: usize = 16;

/// A policy. If one of its transforms fails, nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The company that has it.
    pub company: String,
    /// Its name; the policies of a company run in the order of their names, byte by byte.
    pub name: String,
    /// The event types, and patterns of them, that it is for.
    pub types: Vec<String>,
    /// What it runs; at least one.
    pub transforms: Vec<Transform>,
    /// Creation time, in milliseconds since 1970.
    pub created_at: i64,
    /// Time of the last change, in milliseconds since 1970.
    pub updated_at: i64,
}

impl Policy {
    /// Returns whether it is for events of this type.
    pub fn matches(&self, event_type: &str) -> bool {
        self.patterns().any(|pattern| pattern.matches(event_type))
    }

    /// Returns whether it may be for an event of a webhook that subscribes to this type, or to this pattern of types.
    pub fn concerns(&self, subscribed: &str) -> bool {
        self.patterns().any(|pattern| pattern.overlaps(EventTypePattern::stored(subscribed)))
    }

    fn patterns(&self) -> impl Iterator<Item = EventTypePattern<'_>> {
        self.types.iter().map(|text| EventTypePattern::stored(text))
    }

    /// Returns its transforms, in the order in which they run. Whatever is stored, a failure ends the attempt.
    pub fn transforms(&self) -> impl Iterator<Item = TransformRef<'_>> {
        let own = |transform| TransformRef { policy: Some(&self.name), on_error: OnError::Retry, ..transform };
        self.transforms.iter().map(Transform::borrowed).map(own)
    }
}

/// Checks a policy's name: `[a-z0-9][a-z0-9-]{0,62}`.
///
/// # Errors
/// The rule, for people.
pub fn check_name(name: &str) -> Result<(), String> {
    check_name_of("policy", name)
}

/// Checks the types of a policy.
///
/// # Errors
/// The place of the one that breaks a rule, if it is one of them, and the rule, for people.
pub fn check_types(types: &[String]) -> Result<(), (Option<usize>, String)> {
    if types.is_empty() || types.len() > MAX_POLICY_TYPES {
        let rule = format!("1 to {MAX_POLICY_TYPES} event types or patterns; `[\"*\"]` is for every type");
        return Err((None, rule));
    }
    let broken = types.iter().enumerate().find_map(|(index, text)| Some((index, EventTypePattern::parse(text).err()?)));
    broken.map_or(Ok(()), |(index, rule)| Err((Some(index), rule)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(types: &[&str]) -> Policy {
        Policy {
            company: "acme".into(),
            name: "pii".into(),
            types: types.iter().map(|text| (*text).to_owned()).collect(),
            transforms: Vec::new(),
            created_at: 0,
            updated_at: 0,
        }
    }

    #[test]
    fn a_policy_is_for_events_that_one_of_its_types_matches() {
        let one = policy(&["a/*", "b"]);
        assert!(["a/x", "b"].into_iter().all(|event_type| one.matches(event_type)));
        assert!(!["c", "a", "ping"].into_iter().any(|event_type| one.matches(event_type)));
        // The service's own events carry no data of the company's events.
        assert!(!policy(&["*"]).matches("posthaste.webhook.created") && !policy(&["*"]).matches("ping"));
        assert!(policy(&["posthaste.*"]).matches("posthaste.webhook.created"));
    }

    #[test]
    fn a_policy_concerns_the_webhooks_whose_types_can_match() {
        for (types, subscribed, expected) in [
            (&["*"][..], "a", true),
            (&["*"], "a/*", true),
            (&["a/*"], "*", true),
            (&["a/*"], "a/b/*", true),
            (&["a/b/*"], "a/*", true),
            (&["a/*"], "b/*", false),
            (&["b", "a/x"], "a/*", true),
            (&["b"], "c", false),
            (&["b"], "b", true),
            (&["*"], "posthaste.*", false),
            (&["posthaste.*"], "*", false),
            (&["posthaste.*"], "posthaste.webhook.created", true),
            (&["*"], "ping", false),
        ] {
            assert_eq!(policy(types).concerns(subscribed), expected, "{types:?} {subscribed}");
        }
    }

    #[test]
    fn names_and_types_have_rules() {
        for fine in ["a", "pii-2", &"x".repeat(63)] {
            assert_eq!(check_name(fine), Ok(()), "{fine}");
        }
        for bad in ["", "-a", "A", "a_b", "a:b", &"x".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        let checked = |types: &[&str]| check_types(&policy(types).types).map_err(|(index, _)| index);
        assert_eq!((checked(&["*"]), checked(&["a/*", "posthaste.*"])), (Ok(()), Ok(())));
        assert_eq!((checked(&[]), checked(&["a"; 17]), checked(&["a", "b*"])), (Err(None), Err(None), Err(Some(1))));
    }
}
