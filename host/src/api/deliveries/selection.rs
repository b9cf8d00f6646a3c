//! The deliveries that a request about many of them selects.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::parse_status_filter;
use crate::domain::delivery::StatusFilter;
use crate::domain::delivery_selection::{DeliverySelection, MAX_ERROR_TEXT, MAX_TYPES};
use crate::domain::time::instant;
use crate::domain::{Invalid, event};

/// One name, or several: in a text separated by commas, or in a list.
#[derive(Debug, Default, Clone)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// Splits a text at its commas.
    pub(super) fn split(text: &str) -> Self {
        Self(text.split(',').map(str::to_owned).collect())
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;

        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Names, E> {
                Ok(Names::split(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_any(NamesVisitor)
    }
}

/// The conditions of a selection, as they are in the request.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) types: Option<Names>,
    pub(super) statuses: Option<Names>,
    pub(super) webhook: Option<String>,
    pub(super) label: Option<String>,
    pub(super) error: Option<String>,
}

impl Conditions {
    /// Checks the conditions. A type or an id that nothing has is no error: it selects nothing.
    ///
    /// # Errors
    /// Every broken rule, at the name of its field.
    pub(super) fn check(self) -> Result<DeliverySelection, Vec<Invalid>> {
        let mut errors = Vec::new();
        let Names(types) = self.types.unwrap_or_default();
        if types.len() > MAX_TYPES {
            errors.push(Invalid::at("/type", format!("at most {MAX_TYPES} types can be selected at once")));
        }
        let Names(names) = self.statuses.unwrap_or_default();
        let mut statuses: Vec<StatusFilter> = Vec::new();
        for name in names {
            match parse_status_filter(&name) {
                Ok(status) if statuses.contains(&status) => (),
                Ok(status) => statuses.push(status),
                Err(detail) => errors.push(Invalid::at("/status", detail)),
            }
        }
        if self.error.as_ref().is_some_and(|text| text.is_empty() || text.len() > MAX_ERROR_TEXT) {
            errors.push(Invalid::at("/error", format!("a text of 1 to {MAX_ERROR_TEXT} bytes")));
        }
        let Self { webhook, label, error, .. } = self;
        if errors.is_empty() { Ok(DeliverySelection { types, statuses, webhook, label, error }) } else { Err(errors) }
    }
}

/// The selection of a request body about many deliveries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SelectionFields {
    #[serde(alias = "types")]
    r#type: Option<Names>,
    #[serde(alias = "statuses")]
    status: Option<Names>,
    webhook: Option<String>,
    label: Option<String>,
    event: Option<String>,
    error: Option<String>,
    since: Option<String>,
    until: Option<String>,
    only: Option<String>,
    dry_run: Option<bool>,
}

/// A selection whose rules hold.
pub(super) struct Selection {
    pub(super) conditions: DeliverySelection,
    /// The id of the event.
    pub(super) event: Option<String>,
    /// Milliseconds since 1970.
    pub(super) since: i64,
    /// Milliseconds since 1970.
    pub(super) until: i64,
    /// Selects the deliveries that the webhook does not have.
    pub(super) missing: bool,
    /// Only counts.
    pub(super) dry_run: bool,
}

impl SelectionFields {
    /// Checks the selection. Its range ends at `now`, in milliseconds since 1970, at the latest: events that are accepted from now
    /// on are not meant.
    ///
    /// # Errors
    /// Every broken rule.
    pub(super) fn check(self, now: i64) -> Result<Selection, Vec<Invalid>> {
        let mut errors = Vec::new();
        if let Some(Names(types)) = &self.r#type {
            let wrong = types.iter().filter_map(|name| event::check_type(name).err());
            errors.extend(wrong.map(|detail| Invalid::at("/type", detail)));
        }
        let missing = self.check_only(&mut errors);
        let of_event = self.event.is_some();
        let Self { r#type: types, status: statuses, webhook, label, error, .. } = self;
        let conditions = Conditions { types, statuses, webhook, label, error }.check();
        let conditions = conditions.map_err(|broken| errors.extend(broken)).ok();
        let range = check_range(self.since.as_deref(), self.until.as_deref(), (now, of_event), &mut errors);
        match (conditions, range) {
            (Some(conditions), Some((since, until))) if errors.is_empty() => {
                let dry_run = self.dry_run.unwrap_or_default();
                Ok(Selection { conditions, event: self.event, since, until, missing, dry_run })
            }
            _ => Err(errors),
        }
    }

    /// Returns whether the deliveries are meant that the webhook does not have.
    fn check_only(&self, errors: &mut Vec<Invalid>) -> bool {
        let missing = match self.only.as_deref() {
            None => false,
            Some("missing") => true,
            Some(_) => {
                errors.push(Invalid::at("/only", "the only value is `missing`: the deliveries that the webhook lacks"));
                false
            }
        };
        if missing {
            if self.webhook.is_none() {
                errors.push(Invalid::at("/webhook", "`\"only\": \"missing\"` needs the id of the webhook"));
            }
            let excluded = [
                ("/status", self.status.is_some()),
                ("/error", self.error.is_some()),
                ("/label", self.label.is_some()),
            ];
            let wrong = excluded.into_iter().filter(|(_, given)| *given);
            errors
                .extend(wrong.map(|(pointer, _)| Invalid::at(pointer, "a delivery that does not exist yet has none")));
        }
        missing
    }
}

/// Reads the range of time: of an event, all of it if none is given. Returns milliseconds since 1970.
fn check_range(
    since: Option<&str>,
    until: Option<&str>,
    (now, of_event): (i64, bool),
    errors: &mut Vec<Invalid>,
) -> Option<(i64, i64)> {
    let begins = match since {
        Some(text) => instant("/since", text),
        None if of_event => Ok(0),
        None => Err(Invalid::at("/since", "needed, unless `event` is given: the instant from which on")),
    };
    let ends = until.map_or(Ok(now), |text| instant("/until", text)).map(|until| until.min(now));
    match (begins, ends) {
        (Ok(begins), Ok(ends)) if ends < begins && until.is_some() => {
            errors.push(Invalid::at("/until", "`until` is before `since`"));
            None
        }
        (Ok(begins), Ok(ends)) => Some((begins, ends)),
        (begins, ends) => {
            errors.extend([begins.err(), ends.err()].into_iter().flatten());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::delivery::Status;
    use crate::domain::time::rfc3339;

    const NOW: i64 = 1_790_000_000_000;

    fn check(body: Value) -> Result<Selection, Vec<Invalid>> {
        serde_json::from_value::<SelectionFields>(body).unwrap().check(NOW)
    }

    fn pointers(body: Value) -> Vec<String> {
        let errors = check(body).err().unwrap_or_default();
        errors.into_iter().map(|error| error.pointer.to_string()).collect()
    }

    #[test]
    fn selection_ends_now_at_the_latest() {
        let until = |until: Option<i64>| {
            check(json!({"since": rfc3339(0), "until": until.map(rfc3339)})).unwrap_or_else(|_| panic!("refused")).until
        };
        assert_eq!((until(None), until(Some(NOW + 5000)), until(Some(NOW - 5000))), (NOW, NOW, NOW - 5000));
    }

    #[test]
    fn only_a_given_until_before_since_is_refused() {
        assert_eq!(pointers(json!({"since": rfc3339(NOW), "until": rfc3339(NOW - 1000)})), ["/until"]);
        assert_eq!(pointers(json!({"since": rfc3339(NOW), "until": rfc3339(NOW)})), [""; 0]);
        assert_eq!(pointers(json!({"since": rfc3339(NOW + 5000)})), [""; 0]);
    }

    #[test]
    fn names_are_a_text_with_commas_or_a_list() {
        for types in [json!("a,b"), json!(["a", "b"])] {
            let fields = json!({"types": types, "status": "failed,failed,retrying", "event": "e-1"});
            let selection = check(fields).unwrap_or_else(|_| panic!("refused"));
            assert_eq!((selection.conditions.types, selection.since), (vec!["a".to_owned(), "b".to_owned()], 0));
            assert_eq!(selection.conditions.statuses, [StatusFilter::Is(Status::Failed), StatusFilter::Retrying]);
        }
    }

    #[test]
    fn every_broken_rule_of_a_selection_is_reported() {
        let body =
            json!({"type": "a b", "status": "lost", "since": "noon", "until": "later", "error": "", "only": "new"});
        assert_eq!(pointers(body), ["/type", "/only", "/status", "/error", "/since", "/until"]);
        assert_eq!(pointers(json!({})), ["/since"]);
        let many: Vec<_> = (0..=MAX_TYPES).map(|number| number.to_string()).collect();
        assert_eq!(pointers(json!({"types": many, "event": "e"})), ["/type"]);
        let missing = json!({"only": "missing", "status": "failed", "label": "a", "error": "x", "event": "e"});
        assert_eq!(pointers(missing), ["/webhook", "/status", "/error", "/label"]);
    }
}
