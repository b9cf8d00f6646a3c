//! The deliveries that a request about many of them selects.

use crate::domain::time::{HOW_WRITTEN, parse_rfc3339};
use crate::domain::{Invalid, event};

/// A selection by type and time, as it is in the request.
pub(super) struct Selection {
    pub(super) event_type: Option<String>,
    pub(super) since: String,
    pub(super) until: Option<String>,
}

impl Selection {
    /// Returns the type, and the range in milliseconds since 1970. It ends at `now`, by the same measure, at the latest: events
    /// that are accepted from now on are not meant.
    ///
    /// # Errors
    /// Every broken rule, with those in `errors`.
    pub(super) fn check(self, now: i64, mut errors: Vec<Invalid>) -> Result<(Option<String>, i64, i64), Vec<Invalid>> {
        if let Some(Err(detail)) = self.event_type.as_deref().map(event::check_type) {
            errors.insert(0, Invalid::at("/type", detail));
        }
        let mut instant = |pointer: &str, text: &str| {
            let parsed = parse_rfc3339(text);
            if parsed.is_none() {
                errors.push(Invalid::at(pointer, HOW_WRITTEN));
            }
            parsed
        };
        let since = instant("/since", &self.since);
        let until = self.until.as_deref().map_or(Some(now), |text| instant("/until", text)).map(|until| until.min(now));
        match (since, until) {
            (Some(since), Some(until)) if until < since && self.until.is_some() => {
                errors.push(Invalid::at("/until", "`until` is before `since`"));
                Err(errors)
            }
            (Some(since), Some(until)) if errors.is_empty() => Ok((self.event_type, since, until)),
            _ => Err(errors),
        }
    }
}
