//! Compares the outputs of a plugin's active version and of a candidate for one event.

mod patch;

use serde_json::{Map, Value, json};

use super::event::Event;
use super::plugin::{Failure, Outcome, RenderedMessage, outcome_name_and_reason};
pub use patch::Patch;

/// Bounds the JSON of one difference's operations, in bytes.
const MAX_PATCH_BYTES: usize = 16 * 1024;

/// The kind of difference between a candidate and the active version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The two would send different messages, or one of them sends nothing in a case that the other kinds do not cover.
    Different,
    /// The candidate fails and the active version does not.
    NewlyFailing,
    /// The candidate drops the event and the active version does not drop it.
    NewlyFiltered,
}

impl DifferenceKind {
    /// Returns the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::NewlyFailing => "newly_failing",
            Self::NewlyFiltered => "newly_filtered",
        }
    }
}

/// The document that the paths of a difference refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The body: both are JSON, and everything else is equal.
    Body,
    /// `{"content_type", "headers", "body"}`, with the body as text.
    Message,
    /// `{"outcome", "reason"}`: at least one of the two sends nothing.
    Outcome,
}

impl Subject {
    /// Returns the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Message => "message",
            Self::Outcome => "outcome",
        }
    }
}

/// The results of both versions for one event.
pub struct Pair<'a> {
    /// The event.
    pub event: &'a Event,
    /// The headers of the webhook to which the event was delivered.
    pub webhook_headers: &'a [(String, String)],
    /// The active version's result.
    pub active: &'a Result<Outcome, Failure>,
    /// The candidate's result.
    pub candidate: &'a Result<Outcome, Failure>,
}

impl Pair<'_> {
    /// Returns the kind of the difference, and `None` if the receiver would notice none. Two failures count as equal,
    /// and so do two drops, regardless of their reasons.
    pub fn kind(&self) -> Option<DifferenceKind> {
        match (self.active, self.candidate) {
            (Err(_), Err(_)) | (Ok(Outcome::Drop(_)), Ok(Outcome::Drop(_))) => None,
            (_, Err(_)) => Some(DifferenceKind::NewlyFailing),
            (_, Ok(Outcome::Drop(_))) => Some(DifferenceKind::NewlyFiltered),
            _ => (self.sent(self.active) != self.sent(self.candidate)).then_some(DifferenceKind::Different),
        }
    }

    /// Returns the patch from the active version's output to the candidate's. Takes time linear in the size of both
    /// bodies.
    pub fn diff(&self) -> (Subject, Patch) {
        let patch = |before: &Value, after: &Value| Patch::between(before, after, MAX_PATCH_BYTES);
        let (Some(before), Some(after)) = (self.sent(self.active), self.sent(self.candidate)) else {
            return (Subject::Outcome, patch(&outcome(self.active), &outcome(self.candidate)));
        };
        if (&before.content_type, &before.headers) == (&after.content_type, &after.headers)
            && let Ok(old) = serde_json::from_str::<Value>(before.body)
            && let Ok(new) = serde_json::from_str::<Value>(after.body)
            && old != new
        {
            return (Subject::Body, patch(&old, &new));
        }
        (Subject::Message, patch(&message(before), &message(after)))
    }

    fn sent<'s>(&'s self, answer: &'s Result<Outcome, Failure>) -> Option<RenderedMessage<'s>> {
        RenderedMessage::of(answer.as_ref().ok()?, self.event, &[self.webhook_headers, &self.event.headers])
    }
}

fn message(sent: RenderedMessage) -> Value {
    let headers: Map<_, _> = sent.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    json!({"content_type": sent.content_type, "headers": headers, "body": sent.body})
}

fn outcome(answer: &Result<Outcome, Failure>) -> Value {
    let (outcome, reason) = outcome_name_and_reason(answer);
    json!({"outcome": outcome, "reason": reason})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plugin::Message;

    fn answer(body: &str, content_type: Option<&str>) -> Result<Outcome, Failure> {
        let content_type = content_type.map(Into::into);
        Ok(Outcome::Replace(Message { body: body.into(), content_type, headers: Vec::new() }))
    }

    fn compared(
        active: &Result<Outcome, Failure>,
        candidate: &Result<Outcome, Failure>,
    ) -> (Option<DifferenceKind>, Value) {
        let event = Event {
            id: "e".into(),
            event_type: "t".into(),
            company: "acme".into(),
            occurred_at: 0,
            headers: Vec::new(),
            data: r#"{"a":1.50}"#.into(),
        };
        let pair = Pair { event: &event, webhook_headers: &[], active, candidate };
        let (subject, patch) = pair.diff();
        (pair.kind(), json!([subject.name(), patch.operations]))
    }

    #[test]
    fn versions_differ_if_the_receiver_would_notice() {
        let (pass, drop, error) =
            (Ok(Outcome::Pass), Ok(Outcome::Drop("no".into())), Err(Failure::Refused("bad".into())));
        let kind = |active: &_, candidate: &_| compared(active, candidate).0;
        assert_eq!(kind(&pass, &answer(r#"{"a":1.50}"#, Some("application/json"))), None);
        assert_eq!(kind(&drop, &Ok(Outcome::Drop("another".into()))), None);
        assert_eq!(kind(&error, &Err(Failure::Broke("another".into()))), None);
        assert_eq!(kind(&pass, &error), Some(DifferenceKind::NewlyFailing));
        assert_eq!(kind(&drop, &error), Some(DifferenceKind::NewlyFailing));
        assert_eq!(kind(&pass, &drop), Some(DifferenceKind::NewlyFiltered));
        assert_eq!(kind(&drop, &pass), Some(DifferenceKind::Different));
        assert_eq!(kind(&error, &pass), Some(DifferenceKind::Different));
    }

    #[test]
    fn every_difference_has_a_subject_and_a_patch() {
        let pass = Ok(Outcome::Pass);
        let (kind, diff) = compared(&pass, &answer(r#"{"a":2}"#, None));
        assert_eq!(kind, Some(DifferenceKind::Different));
        assert_eq!(diff, json!(["body", [{"op": "replace", "path": "/a", "value": 2}]]));
        let (kind, diff) = compared(&pass, &answer(r#"{"a":1.5}"#, None));
        assert_eq!(kind, Some(DifferenceKind::Different), "the same number in other bytes");
        assert_eq!(diff, json!(["message", [{"op": "replace", "path": "/body", "value": "{\"a\":1.5}"}]]));
        let (_, diff) = compared(&pass, &answer(r#"{"a":1.50}"#, Some("text/plain")));
        assert_eq!(diff, json!(["message", [{"op": "replace", "path": "/content_type", "value": "text/plain"}]]));
        let drop = Ok(Outcome::Drop("no".into()));
        let (_, diff) = compared(&pass, &drop);
        assert_eq!(diff[0], "outcome");
        assert_eq!(diff[1][1], json!({"op": "replace", "path": "/reason", "value": "no"}));
    }
}
