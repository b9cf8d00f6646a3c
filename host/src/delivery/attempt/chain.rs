//! Several transforms, one after the other: each gets what the one before made. Fast ones run in one visit to the sandbox's threads.

use std::mem::{replace, take};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::outgoing::{Outgoing, Prepared, check_headers};
use crate::domain::event::Event;
use crate::domain::headers;
use crate::domain::plugin::{Failure, Message, Outcome, PluginCall, outcome_name_and_reason};
use crate::domain::transform::OnError;
use crate::sandbox::Plugin;

const CONTENT_TYPE: &str = "content-type";

/// One transform of a chain, ready to be called.
#[derive(Clone)]
pub struct ChainStep<P = Arc<Plugin>> {
    /// The name of its plugin.
    pub name: String,
    /// The version.
    pub plugin: P,
    /// The config, JSON text.
    pub config: Arc<str>,
    /// What happens to the event if the plugin fails on it.
    pub on_error: OnError,
}

/// One call of a chain.
#[derive(Debug)]
pub struct ChainCall {
    /// The outcome's name in the API.
    pub outcome: &'static str,
    /// The reason of a drop or of a failure.
    pub reason: Option<String>,
    /// The rest of the call, without what it made.
    pub call: PluginCall<()>,
}

/// What transforms make of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ChainEnd {
    /// It is sent as it was published.
    Unchanged,
    Changed(Outgoing),
    /// It is not sent, for this reason.
    Dropped(String),
    /// The attempt fails: this plugin failed.
    Failed(String, Failure),
}

impl ChainEnd {
    /// Returns what one call of the plugin `name` makes of the event that it was given.
    pub(super) fn of(result: Result<Outcome, Failure>, on_error: OnError, name: &str) -> Self {
        match (result, on_error) {
            (Ok(Outcome::Pass), _) | (Err(_), OnError::SendOriginal) => Self::Unchanged,
            (Ok(Outcome::Replace(Message { body, content_type, headers })), _) => {
                Self::Changed(Outgoing { body: body.into(), content_type, headers })
            }
            (Ok(Outcome::Drop(reason)), _) => Self::Dropped(reason),
            (Err(failure), OnError::Drop) => Self::Dropped(failure.to_string()),
            (Err(failure), OnError::Retry) => Self::Failed(name.to_owned(), failure),
        }
    }

    /// Returns what is done with `event`, the event that the transforms were given.
    pub(super) fn prepared(self, event: &Event) -> Prepared {
        match self {
            Self::Unchanged => Prepared::Send(Outgoing::original(event)),
            Self::Changed(outgoing) => Prepared::Send(outgoing),
            Self::Dropped(_) => Prepared::Filtered,
            Self::Failed(name, failure) => Prepared::PluginFailed(format!("plugin `{name}`: {failure}")),
        }
    }
}

/// The result of a chain. That of an empty one changes nothing.
#[derive(Debug)]
pub struct ChainRun {
    /// The calls that were made, in their order.
    pub calls: Vec<ChainCall>,
    end: ChainEnd,
}

impl ChainRun {
    /// Returns the result of a chain whose first call, of the plugin `name`, was not made for this reason.
    pub(super) fn not_made(name: String, why: &str) -> Self {
        let failure = Failure::Broke(why.to_owned());
        let (outcome, reason) = outcome_name_and_reason(&Err(failure.clone()));
        let call = ChainCall { outcome, reason, call: PluginCall::failed(failure.clone()) };
        Self { calls: vec![call], end: ChainEnd::Failed(name, failure) }
    }

    /// Returns what it does to `event`, the event that it was given.
    pub(in crate::delivery) fn prepared(self, event: &Event) -> Prepared {
        self.end.prepared(event)
    }

    /// Returns its outcome, as if it were that of one plugin.
    ///
    /// # Errors
    /// The failure that ended it.
    pub fn outcome(self) -> Result<Outcome, Failure> {
        match self.end {
            ChainEnd::Unchanged => Ok(Outcome::Pass),
            ChainEnd::Changed(Outgoing { body, content_type, headers }) => {
                // The body was a text.
                let body = String::from_utf8(body.into()).unwrap_or_default();
                Ok(Outcome::Replace(Message { body, content_type, headers }))
            }
            ChainEnd::Dropped(reason) => Ok(Outcome::Drop(reason)),
            ChainEnd::Failed(_, failure) => Err(failure),
        }
    }
}

/// Transforms at work on an event, until one drops it or fails under another policy than `send_original`, which sends on what the
/// failed one was given.
pub(super) struct Chain<P = Arc<Plugin>> {
    event: Arc<Event>,
    steps: Vec<ChainStep<P>>,
    /// The calls that were made: the next step has their number.
    calls: Vec<ChainCall>,
    /// What the steps before made of the event.
    made: Option<Outgoing>,
    /// What the next step gets, if that is not the event itself.
    given: Option<Event>,
    /// How it ended, if a step has ended it.
    end: Option<ChainEnd>,
}

impl<P> Chain<P> {
    pub(super) fn new(event: Arc<Event>, steps: Vec<ChainStep<P>>) -> Self {
        let calls = Vec::with_capacity(steps.len());
        Self { event, steps, calls, made: None, given: None, end: None }
    }

    /// Returns the step that is called next, if there is one.
    pub(super) fn next(&self) -> Option<&ChainStep<P>> {
        self.steps.get(self.calls.len()).filter(|_| self.end.is_none())
    }

    /// Runs steps by `call`, until the calls have taken as long as `most`: one more may follow then. `challenge_header` is a name
    /// that no plugin may set.
    pub(super) fn advance(
        &mut self,
        challenge_header: &str,
        most: Duration,
        mut call: impl FnMut(&ChainStep<P>, &Event) -> PluginCall<Outcome>,
    ) {
        let mut spent = Duration::ZERO;
        while spent < most
            && let Some(step) = self.next()
        {
            let ended = call(step, self.given.as_ref().unwrap_or(&self.event));
            spent = spent.saturating_add(ended.duration);
            self.follow(check_headers(ended, challenge_header), challenge_header);
        }
    }

    /// Takes what the next step made.
    fn follow(&mut self, mut call: PluginCall<Outcome>, challenge_header: &str) {
        let Some(step) = self.steps.get(self.calls.len()) else { return };
        let replaced = match &mut call.result {
            Ok(Outcome::Replace(message)) => Some(overlaid(self.made.as_ref(), take(message), challenge_header)),
            _ => None,
        };
        let replaced = replaced.transpose().unwrap_or_else(|detail| {
            call.result = Err(Failure::Broke(detail));
            None
        });
        let (outcome, reason) = outcome_name_and_reason(&call.result);
        let result = replace(&mut call.result, Ok(Outcome::Pass));
        let call = call.ended(result.as_ref().map(drop).map_err(Clone::clone));
        self.calls.push(ChainCall { outcome, reason, call });
        self.end = match ChainEnd::of(result, step.on_error, &step.name) {
            // The chain goes on; `made` has what replaces the event.
            ChainEnd::Unchanged | ChainEnd::Changed(_) => None,
            end => Some(end),
        };
        if let Some(outgoing) = replaced {
            self.given = self.next().map(|_| transformed(&self.event, &outgoing));
            self.made = Some(outgoing);
        }
    }

    /// Returns the result, once there is no next step.
    pub(super) fn ended(self) -> ChainRun {
        let end = self.end.unwrap_or_else(|| self.made.map_or(ChainEnd::Unchanged, ChainEnd::Changed));
        ChainRun { calls: self.calls, end }
    }
}

/// Returns what is sent once `message` replaces what the steps before made: their headers and their content type hold, unless it
/// sets them.
///
/// # Errors
/// There are too many headers by now.
fn overlaid(before: Option<&Outgoing>, message: Message, challenge_header: &str) -> Result<Outgoing, String> {
    let earlier = before.map_or(&[][..], |before| &before.headers);
    let mut all = headers::merge([earlier, &message.headers]);
    let named = all.iter().position(|(name, _)| name == CONTENT_TYPE).map(|at| all.remove(at).1);
    let inherited = || before.and_then(|before| before.content_type.clone());
    headers::check_all(&all, challenge_header)?;
    let content_type = message.content_type.or(named).or_else(inherited);
    Ok(Outgoing { body: Bytes::from(message.body), content_type, headers: all })
}

/// Returns the event as the next step gets it.
fn transformed(event: &Event, made: &Outgoing) -> Event {
    let content_type = made.content_type.iter().map(|value| (CONTENT_TYPE.to_owned(), value.clone()));
    let set: Vec<_> = made.headers.iter().cloned().chain(content_type).collect();
    Event {
        id: event.id.clone(),
        event_type: event.event_type.clone(),
        company: event.company.clone(),
        occurred_at: event.occurred_at,
        headers: headers::merge([&event.headers[..], &set]),
        data: made.body.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plugin::Logs;

    fn event() -> Event {
        Event {
            id: "evt_1".into(),
            event_type: "t".into(),
            company: "acme".into(),
            occurred_at: 0,
            headers: vec![("X-A".into(), "event".into()), ("x-b".into(), "event".into())],
            data: Bytes::from_static(b"{}"),
        }
    }

    fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn replaced(body: &str, content_type: Option<&str>, headers: &[(&str, &str)]) -> Result<Outcome, Failure> {
        let content_type = content_type.map(str::to_owned);
        Ok(Outcome::Replace(Message { body: body.into(), content_type, headers: pairs(headers) }))
    }

    fn failed() -> Result<Outcome, Failure> {
        Err(Failure::Broke("it trapped".into()))
    }

    fn called(result: Result<Outcome, Failure>, duration: Duration) -> PluginCall<Outcome> {
        PluginCall { result, logs: Logs::default(), duration, memory_bytes: 0 }
    }

    fn prepared(result: Result<Outcome, Failure>, on_error: OnError) -> Prepared {
        ChainEnd::of(result, on_error, "mask").prepared(&event())
    }

    #[test]
    fn failing_plugin_follows_its_policy() {
        let original = Prepared::Send(Outgoing::original(&event()));
        let retry = Prepared::PluginFailed("plugin `mask`: it trapped".into());
        assert_eq!(prepared(failed(), OnError::Retry), retry);
        assert_eq!(prepared(failed(), OnError::SendOriginal), original);
        assert_eq!(prepared(failed(), OnError::Drop), Prepared::Filtered);
    }

    #[test]
    fn outcome_decides_what_is_sent_whatever_the_policy() {
        for policy in [OnError::Retry, OnError::SendOriginal, OnError::Drop] {
            let original = Prepared::Send(Outgoing::original(&event()));
            assert_eq!(prepared(Ok(Outcome::Pass), policy), original);
            let dropped = Ok(Outcome::Drop("not wanted".into()));
            assert_eq!(prepared(dropped, policy), Prepared::Filtered);
            let outgoing = Outgoing {
                body: Bytes::from_static(b"new"),
                content_type: Some("text/plain".into()),
                headers: vec![("x-a".into(), "1".into())],
            };
            let outcome = replaced("new", Some("text/plain"), &[("x-a", "1")]);
            assert_eq!(prepared(outcome, policy), Prepared::Send(outgoing));
        }
    }

    #[test]
    fn slow_steps_leave_the_thread_to_others_between_them() {
        let step = |body: &str| {
            let plugin = replaced(body, None, &[]);
            ChainStep { name: "p".into(), plugin, config: "null".into(), on_error: OnError::Retry }
        };
        let (slow, most) = (Duration::from_millis(60), Duration::from_millis(100));
        let mut chain = Chain::new(Arc::new(event()), ["1", "2", "3"].map(step).into());
        let (mut visits, mut given) = (Vec::new(), Vec::new());
        while chain.next().is_some() {
            let before = chain.calls.len();
            chain.advance("x-challenge", most, |step, event| {
                given.push(event.data_text().to_owned());
                called(step.plugin.clone(), slow)
            });
            visits.push(chain.calls.len() - before);
        }
        assert_eq!((visits, given), (vec![2, 1], ["{}", "1", "2"].map(str::to_owned).to_vec()));
        assert_eq!(chain.ended().outcome(), replaced("3", None, &[]));
    }

    /// Runs steps that answer so. Returns the result, and the events that the steps were given.
    fn ran(answers: Vec<(Result<Outcome, Failure>, OnError)>) -> (ChainRun, Vec<Event>) {
        let step = |(answer, on_error)| ChainStep { name: "p".into(), plugin: answer, config: "null".into(), on_error };
        let steps: Vec<_> = answers.into_iter().map(step).collect();
        let mut given = Vec::new();
        let mut chain = Chain::new(Arc::new(event()), steps);
        chain.advance("x-challenge", Duration::MAX, |step, event| {
            given.push(event.clone());
            called(step.plugin.clone(), Duration::ZERO)
        });
        assert!(chain.next().is_none());
        (chain.ended(), given)
    }

    fn outcomes(run: &ChainRun) -> Vec<&'static str> {
        run.calls.iter().map(|call| call.outcome).collect()
    }

    #[test]
    fn each_step_gets_what_the_one_before_made() {
        let (run, given) = ran(vec![
            (replaced("one", Some("text/plain"), &[("X-A", "1"), ("x-c", "1")]), OnError::Retry),
            (Ok(Outcome::Pass), OnError::Retry),
            (replaced("two", None, &[("x-c", "2"), ("x-d", "2")]), OnError::Retry),
        ]);
        assert_eq!(given.iter().map(Event::data_text).collect::<Vec<_>>(), ["{}", "one", "one"]);
        assert_eq!(given[0].headers, event().headers);
        let overlaid = pairs(&[("x-a", "1"), ("x-b", "event"), ("x-c", "1"), ("content-type", "text/plain")]);
        assert_eq!((&given[1].headers, &given[2].headers), (&overlaid, &overlaid));
        assert_eq!((&*given[2].id, &*given[2].event_type, &*given[2].company), ("evt_1", "t", "acme"));
        assert_eq!(outcomes(&run), ["replace", "pass", "replace"]);
        let Prepared::Send(Outgoing { body, content_type, headers }) = run.prepared(&event()) else { panic!() };
        assert_eq!((&*body, content_type.as_deref()), (&b"two"[..], Some("text/plain")));
        assert_eq!(headers, pairs(&[("x-a", "1"), ("x-c", "2"), ("x-d", "2")]));
    }

    #[test]
    fn later_content_type_wins_whichever_way_it_is_set() {
        for (first, second, expected) in [
            (replaced("", Some("a/b"), &[]), replaced("", Some("c/d"), &[]), "c/d"),
            (replaced("", Some("a/b"), &[]), replaced("", None, &[("Content-Type", "c/d")]), "c/d"),
            (replaced("", None, &[("content-type", "a/b")]), replaced("", None, &[]), "a/b"),
        ] {
            let (run, _) = ran(vec![(first, OnError::Retry), (second, OnError::Retry)]);
            let Prepared::Send(outgoing) = run.prepared(&event()) else { panic!() };
            assert_eq!((outgoing.content_type.as_deref(), outgoing.headers), (Some(expected), vec![]));
        }
    }

    #[test]
    fn first_step_that_drops_or_fails_ends_the_chain() {
        let later = || (replaced("later", None, &[]), OnError::Retry);
        let (run, given) = ran(vec![(Ok(Outcome::Drop("no".into())), OnError::Retry), later()]);
        assert_eq!((outcomes(&run), given.len()), (vec!["drop"], 1));
        assert_eq!(run.prepared(&event()), Prepared::Filtered);
        let (run, given) = ran(vec![(failed(), OnError::Drop), later()]);
        assert_eq!((outcomes(&run), given.len()), (vec!["error"], 1));
        assert_eq!(run.outcome(), Ok(Outcome::Drop("it trapped".into())));
        let (run, given) = ran(vec![later(), (failed(), OnError::Retry), later()]);
        assert_eq!((outcomes(&run), given.len()), (vec!["replace", "error"], 2));
        assert_eq!(run.prepared(&event()), Prepared::PluginFailed("plugin `p`: it trapped".into()));
    }

    #[test]
    fn failed_step_under_send_original_sends_on_what_it_was_given() {
        let (run, given) = ran(vec![
            (replaced("one", None, &[]), OnError::Retry),
            (failed(), OnError::SendOriginal),
            (Ok(Outcome::Pass), OnError::Retry),
        ]);
        assert_eq!((outcomes(&run), given[2].data_text()), (vec!["replace", "error", "pass"], "one"));
        assert_eq!(run.outcome(), replaced("one", None, &[]));
        let (run, _) = ran(vec![(failed(), OnError::SendOriginal), (Ok(Outcome::Pass), OnError::Retry)]);
        assert_eq!(run.prepared(&event()), Prepared::Send(Outgoing::original(&event())));
    }

    #[test]
    fn step_that_sets_a_protected_header_or_one_too_many_has_failed() {
        let fill: Vec<_> = (0..32).map(|number| (format!("x-{number}"), "1".to_owned())).collect();
        let full = Ok(Outcome::Replace(Message { headers: fill, ..Message::default() }));
        for (first, second) in [
            (Ok(Outcome::Pass), replaced("", None, &[("webhook-id", "x")])),
            (full.clone(), replaced("", None, &[("x-more", "1")])),
        ] {
            let (run, _) = ran(vec![(first, OnError::Retry), (second, OnError::Retry)]);
            assert_eq!(run.calls[1].outcome, "error");
            assert!(matches!(run.outcome(), Err(Failure::Broke(_))));
        }
        let (run, _) = ran(vec![(full, OnError::Retry), (replaced("", None, &[("x-1", "2")]), OnError::Retry)]);
        assert_eq!(outcomes(&run), ["replace", "replace"]);
    }
}
