//! What a candidate would do otherwise than the active version, on one event.

mod patch;

use serde_json::{Map, Value, json};

use super::event::Event;
use super::plugin::{Failure, Outcome, Sent, told};
pub use patch::Patch;

/// Bytes of JSON that the operations of one difference may take.
const PATCH_BYTES: usize = 16 * 1024;

/// How a candidate differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something else would be sent; or one of the two sends nothing, in a way that the other kinds do not name.
    Different,
    /// It fails where the active version does not.
    NewlyFailing,
    /// It drops what the active version does not.
    NewlyFiltered,
}

impl Kind {
    /// The name that the contract gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::NewlyFailing => "newly_failing",
            Self::NewlyFiltered => "newly_filtered",
        }
    }
}

/// What the paths of a difference lead into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The bodies, which are both JSON; all else is the same.
    Body,
    /// `{"content_type", "headers", "body"}`, with the body as text.
    Message,
    /// `{"outcome", "reason"}`: one of the two sends nothing.
    Outcome,
}

impl Subject {
    /// Its name in the answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Message => "message",
            Self::Outcome => "outcome",
        }
    }
}

/// What both versions answered to one event.
pub struct Pair<'a> {
    /// The event.
    pub event: &'a Event,
    /// The headers of the webhook that it went to.
    pub webhook_headers: &'a [(String, String)],
    /// The active version's answer.
    pub active: &'a Result<Outcome, Failure>,
    /// The candidate's.
    pub candidate: &'a Result<Outcome, Failure>,
}

impl Pair<'_> {
    /// How the candidate differs. `None`: to the receiver it is the same. Two failures are the same, and so are two
    /// drops, whatever their reasons.
    pub fn kind(&self) -> Option<Kind> {
        match (self.active, self.candidate) {
            (Err(_), Err(_)) | (Ok(Outcome::Drop(_)), Ok(Outcome::Drop(_))) => None,
            (_, Err(_)) => Some(Kind::NewlyFailing),
            (_, Ok(Outcome::Drop(_))) => Some(Kind::NewlyFiltered),
            _ => (self.sent(self.active) != self.sent(self.candidate)).then_some(Kind::Different),
        }
    }

    /// The way from the active version's output to the candidate's. Takes as long as reading both bodies does.
    pub fn diff(&self) -> (Subject, Patch) {
        let patch = |before: &Value, after: &Value| Patch::between(before, after, PATCH_BYTES);
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

    fn sent<'s>(&'s self, answer: &'s Result<Outcome, Failure>) -> Option<Sent<'s>> {
        Sent::of(answer.as_ref().ok()?, self.event, &[self.webhook_headers, &self.event.headers])
    }
}

fn message(sent: Sent) -> Value {
    let headers: Map<_, _> = sent.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    json!({"content_type": sent.content_type, "headers": headers, "body": sent.body})
}

fn outcome(answer: &Result<Outcome, Failure>) -> Value {
    let (outcome, reason) = told(answer);
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

    fn compared(active: &Result<Outcome, Failure>, candidate: &Result<Outcome, Failure>) -> (Option<Kind>, Value) {
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
    fn what_the_receiver_sees_is_what_counts() {
        let (pass, drop, error) =
            (Ok(Outcome::Pass), Ok(Outcome::Drop("no".into())), Err(Failure::Refused("bad".into())));
        let kind = |active: &_, candidate: &_| compared(active, candidate).0;
        assert_eq!(kind(&pass, &answer(r#"{"a":1.50}"#, Some("application/json"))), None);
        assert_eq!(kind(&drop, &Ok(Outcome::Drop("another".into()))), None);
        assert_eq!(kind(&error, &Err(Failure::Broke("another".into()))), None);
        assert_eq!(kind(&pass, &error), Some(Kind::NewlyFailing));
        assert_eq!(kind(&drop, &error), Some(Kind::NewlyFailing));
        assert_eq!(kind(&pass, &drop), Some(Kind::NewlyFiltered));
        assert_eq!(kind(&drop, &pass), Some(Kind::Different));
        assert_eq!(kind(&error, &pass), Some(Kind::Different));
    }

    #[test]
    fn any_difference_shows() {
        let pass = Ok(Outcome::Pass);
        let (kind, diff) = compared(&pass, &answer(r#"{"a":2}"#, None));
        assert_eq!(kind, Some(Kind::Different));
        assert_eq!(diff, json!(["body", [{"op": "replace", "path": "/a", "value": 2}]]));
        let (kind, diff) = compared(&pass, &answer(r#"{"a":1.5}"#, None));
        assert_eq!(kind, Some(Kind::Different), "the same number in other bytes");
        assert_eq!(diff, json!(["message", [{"op": "replace", "path": "/body", "value": "{\"a\":1.5}"}]]));
        let (_, diff) = compared(&pass, &answer(r#"{"a":1.50}"#, Some("text/plain")));
        assert_eq!(diff, json!(["message", [{"op": "replace", "path": "/content_type", "value": "text/plain"}]]));
        let drop = Ok(Outcome::Drop("no".into()));
        let (_, diff) = compared(&pass, &drop);
        assert_eq!(diff[0], "outcome");
        assert_eq!(diff[1][1], json!({"op": "replace", "path": "/reason", "value": "no"}));
    }
}
