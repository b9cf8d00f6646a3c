//! What a webhook subscribes to: an event type, or a pattern of types, and a label that tells several webhooks for the same
//! types apart.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use super::event::{self, HOST_PREFIX, PING, is_host_type};

/// The pattern that matches the service's own events, and no others.
const HOST_PATTERN: &str = "posthaste.*";
/// Most bytes of a label.
const MAX_LABEL_BYTES: usize = 64;
/// Most webhooks that may match one event.
pub const MAX_MATCHES: usize = 100;

/// Returns whether the type of a subscription may match several types.
pub fn is_pattern(subscribed: &str) -> bool {
    subscribed.contains('*')
}

/// The type of a subscription: an event type, or a pattern, which is `*`, ends in `/*`, or is `posthaste.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTypePattern<'t>(&'t str);

impl<'t> EventTypePattern<'t> {
    /// Checks the type of a subscription.
    ///
    /// # Errors
    /// The rule, for people.
    pub fn parse(text: &'t str) -> Result<Self, String> {
        event::check_type(text)?;
        let Some(prefix) = text.strip_suffix('*') else {
            return if text.contains('*') { Err(stray_star(text)) } else { Ok(Self(text)) };
        };
        if text == HOST_PATTERN || prefix.is_empty() {
            return Ok(Self(text));
        }
        if prefix.starts_with(HOST_PREFIX) {
            return Err(format!(
                "`{text}` matches nothing: the pattern of the service's own events is `{HOST_PATTERN}`"
            ));
        }
        if prefix.contains('*') || !prefix.ends_with('/') { Err(stray_star(text)) } else { Ok(Self(text)) }
    }

    /// Returns the type of a stored webhook, which has been checked.
    pub fn stored(text: &'t str) -> Self {
        Self(text)
    }

    /// Returns whether it matches events of this type. The service's own events match only their exact type and, except for
    /// `ping`, the pattern `posthaste.*`.
    pub fn matches(self, event_type: &str) -> bool {
        if self.0 == event_type {
            return true;
        }
        let Some(prefix) = self.0.strip_suffix('*') else { return false };
        event_type.starts_with(prefix) && is_host_type(event_type) == (self.0 == HOST_PATTERN)
    }

    /// Returns whether there can be an event that both match.
    pub fn overlaps(self, other: EventTypePattern<'_>) -> bool {
        match (self.0.strip_suffix('*'), other.0.strip_suffix('*')) {
            (None, _) => other.matches(self.0),
            (_, None) => self.matches(other.0),
            (Some(own), Some(others)) => {
                let is_nested = own.starts_with(others) || others.starts_with(own);
                is_nested && (self.0 == HOST_PATTERN) == (other.0 == HOST_PATTERN)
            }
        }
    }
}

fn stray_star(text: &str) -> String {
    format!(
        "`{text}`: a `*` may stand only alone, for every type, or at the end after a `/`, for the types that begin so \
         (`employees/*`), or in `{HOST_PATTERN}`"
    )
}

/// Checks a label: 1 to 64 of `a-z 0-9 -`.
///
/// # Errors
/// The rule, for people.
pub fn check_label(text: &str) -> Result<(), String> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() || text.len() > MAX_LABEL_BYTES || !text.bytes().all(fine) {
        return Err(format!("a label is 1 to {MAX_LABEL_BYTES} of a-z 0-9 -"));
    }
    Ok(())
}

/// Returns every type of a subscription that matches events of this type, each once: its own, and the patterns.
pub fn matching_types(event_type: &str) -> Vec<String> {
    let patterns = if event_type == PING {
        Vec::new()
    } else if event_type.starts_with(HOST_PREFIX) {
        vec![HOST_PATTERN.to_owned()]
    } else {
        let below = event_type.match_indices('/').filter_map(|(at, _)| Some(format!("{}*", event_type.get(..=at)?)));
        std::iter::once("*".to_owned()).chain(below).collect()
    };
    // Earlier versions accepted events whose type is a pattern by now.
    let others = patterns.into_iter().filter(|pattern| pattern != event_type);
    std::iter::once(event_type.to_owned()).chain(others).collect()
}

/// What one webhook of a company subscribes to. Only one webhook of the company has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription<'s> {
    /// The event type, or the pattern of types.
    pub event_type: &'s str,
    /// The label.
    pub label: Option<&'s str>,
}

impl<'s> Subscription<'s> {
    /// Orders the webhooks that match an event of `event_type`: exact types come before patterns, longer patterns before
    /// shorter ones, and then labels in order, after none.
    pub fn rank(self, event_type: &str) -> impl Ord + use<'s> {
        (self.event_type != event_type, Reverse(self.event_type.len()), self.label)
    }
}

/// For people: `` `t` ``, or `` `t`, label `x` ``.
impl fmt::Display for Subscription<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`", self.event_type)?;
        self.label.map_or(Ok(()), |label| write!(formatter, ", label `{label}`"))
    }
}

/// Events that match more webhooks than [`MAX_MATCHES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooManyMatches {
    /// The events, for people.
    events: String,
    matches: usize,
}

impl fmt::Display for TooManyMatches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, matches } = self;
        write!(
            formatter,
            "with this one, {matches} webhooks of the company would match {events}, and one event goes to {MAX_MATCHES} at \
             most: remove one of the others first, or subscribe to fewer types"
        )
    }
}

/// Checks that a webhook of the type `new` leaves every event with at most [`MAX_MATCHES`] webhooks. `subscribed` has the
/// types of all webhooks of the company, the new one included.
///
/// # Errors
/// The events that would match too many.
pub fn check_matches<'s>(new: &str, subscribed: impl Iterator<Item = &'s str>) -> Result<(), TooManyMatches> {
    let mut webhooks: BTreeMap<&str, usize> = BTreeMap::new();
    for event_type in subscribed {
        *webhooks.entry(event_type).or_default() += 1;
    }
    let new = EventTypePattern(new);
    // Types that nobody subscribes to match the same webhooks if they lie below the same patterns: one of them stands for all. The
    // character is in no type.
    let unseen = |pattern: &str| pattern.strip_suffix('*').map(|prefix| format!("{prefix}\0"));
    for subscribed in webhooks.keys().copied() {
        let event_type = unseen(subscribed).unwrap_or_else(|| subscribed.to_owned());
        if !new.matches(&event_type) {
            continue;
        }
        let matches = matching_types(&event_type).iter().filter_map(|one| webhooks.get(one.as_str())).sum();
        if matches > MAX_MATCHES {
            let events = match subscribed {
                "*" => "events of any other type".to_owned(),
                pattern if is_pattern(pattern) => format!("events of types below `{pattern}`"),
                exact => format!("events of type `{exact}`"),
            };
            return Err(TooManyMatches { events, matches });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: [&str; 12] = [
        "a",
        "b",
        "a/",
        "a/b",
        "a/b/c",
        "ab/c",
        "/a",
        "ping",
        "pinger",
        "posthaste.webhook.disabled",
        "posthaste.a/b",
        "posthaste",
    ];
    const PATTERNS: [&str; 6] = ["*", "a/*", "a/b/*", "/*", "posthaste/*", "posthaste.*"];

    fn matched(pattern: &str) -> Vec<&'static str> {
        let pattern = EventTypePattern::parse(pattern).unwrap();
        TYPES.into_iter().filter(|event_type| pattern.matches(event_type)).collect()
    }

    #[test]
    fn types_match_themselves_and_patterns_what_begins_like_them() {
        for event_type in TYPES {
            assert_eq!(matched(event_type), [event_type]);
        }
        assert_eq!(matched("*"), ["a", "b", "a/", "a/b", "a/b/c", "ab/c", "/a", "pinger", "posthaste"]);
        assert_eq!(matched("a/*"), ["a/", "a/b", "a/b/c"]);
        assert_eq!(matched("a/b/*"), ["a/b/c"]);
        assert_eq!(matched("/*"), ["/a"]);
        assert_eq!(matched("posthaste.*"), ["posthaste.webhook.disabled", "posthaste.a/b"]);
    }

    #[test]
    fn star_stands_alone_or_after_a_slash() {
        for fine in PATTERNS.into_iter().chain(TYPES) {
            assert!(EventTypePattern::parse(fine).is_ok(), "{fine}");
            assert_eq!(is_pattern(fine), fine.ends_with('*'), "{fine}");
        }
        for bad in ["a*", "*/", "*a", "a/*/b", "a/**", "**", "*/*", "a.*", "ping*", "posthaste*"] {
            assert!(EventTypePattern::parse(bad).unwrap_err().contains("may stand only alone"), "{bad}");
        }
        for bad in ["posthaste.a/*", "posthaste.webhook.*"] {
            assert!(EventTypePattern::parse(bad).unwrap_err().contains("matches nothing"), "{bad}");
        }
        for bad in ["", "a b", "é", &"x".repeat(129)] {
            assert!(EventTypePattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_that_match_an_event_are_those_that_say_so() {
        for event_type in TYPES.into_iter().chain(["a/*", "*", "posthaste.*"]) {
            let all = matching_types(event_type);
            for pattern in TYPES.into_iter().chain(PATTERNS) {
                let listed = all.iter().filter(|one| *one == pattern).count();
                assert_eq!(listed == 1, EventTypePattern(pattern).matches(event_type), "{pattern} {event_type}");
                assert!(listed < 2, "{pattern} {event_type}");
            }
        }
    }

    #[test]
    fn labels_are_short_and_lower_case() {
        for fine in ["a", "crm-2", "-", &"x".repeat(64)] {
            assert_eq!(check_label(fine), Ok(()), "{fine}");
        }
        for bad in ["", "A", "a b", "a_b", "é", &"x".repeat(65)] {
            assert!(check_label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn exact_types_come_first_then_longer_patterns_then_labels() {
        let webhook = |event_type, label| Subscription { event_type, label };
        let mut found = [
            webhook("*", None),
            webhook("a/*", Some("x")),
            webhook("a/b", Some("y")),
            webhook("a/*", None),
            webhook("a/b", Some("x")),
            webhook("a/b", None),
        ];
        found.sort_by_key(|one| one.rank("a/b"));
        let texts = found.map(|one| one.to_string());
        let expected = ["`a/b`", "`a/b`, label `x`", "`a/b`, label `y`", "`a/*`", "`a/*`, label `x`", "`*`"];
        assert_eq!(texts, expected);
    }

    fn repeated(parts: &[(&'static str, usize)]) -> Vec<&'static str> {
        parts.iter().flat_map(|(event_type, count)| vec![*event_type; *count]).collect()
    }

    #[test]
    fn event_matches_a_hundred_webhooks_at_most() {
        for (new, subscribed) in [
            ("a/b", repeated(&[("a/b", 40), ("a/*", 30), ("*", 30), ("a/c", 99), ("posthaste.*", 100)])),
            ("*", repeated(&[("a/b", 60), ("b/c", 60), ("*", 40)])),
            ("posthaste.*", repeated(&[("*", 100), ("posthaste.*", 99), ("posthaste.x", 1), ("ping", 100)])),
            // Too many match already, but not because of this one.
            ("b", repeated(&[("a", 101), ("b", 1)])),
        ] {
            assert_eq!(check_matches(new, subscribed.into_iter()), Ok(()), "{new}");
        }
        for (new, subscribed, events) in [
            ("a/b", repeated(&[("a/b", 41), ("a/*", 30), ("*", 30)]), "events of type `a/b`"),
            ("*", repeated(&[("a/b", 60), ("b/c", 61), ("*", 40)]), "events of type `b/c`"),
            ("*", repeated(&[("a/*", 60), ("*", 41)]), "events of types below `a/*`"),
            ("a/*", repeated(&[("a/*", 60), ("*", 41)]), "events of types below `a/*`"),
            ("*", repeated(&[("a", 1), ("*", 101)]), "events of any other type"),
            ("posthaste.*", repeated(&[("posthaste.*", 100), ("posthaste.x", 1)]), "events of type `posthaste.x`"),
            ("ping", repeated(&[("ping", 101)]), "events of type `ping`"),
        ] {
            let text = check_matches(new, subscribed.into_iter()).unwrap_err().to_string();
            assert!(text.contains("101 webhooks") && text.contains(events), "{text}");
        }
    }
}
