//! The result of one attempt.

use std::time::Duration;

use serde_json::value::RawValue;

use super::transform::PluginResult;
use crate::delivery::queue::ReceiverSignal;
use crate::domain::delivery::Attempt;
use crate::domain::delivery_control::DeliveryControl;
use crate::metrics::AttemptResult;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delivery) enum AttemptOutcome {
    /// The receiver answered 2xx.
    Delivered,
    /// The receiver answered 2xx and wants no further event (`webhook-delivery: disable`).
    DeliveredLast,
    /// The plugin dropped the event, or failed under the policy `drop`.
    Filtered,
    /// The receiver answered another status, or the plugin failed.
    Rejected {
        /// What the answer means for other events.
        rejection: Rejection,
        /// The shortest wait that it asked for.
        retry_after: Option<Duration>,
    },
    /// The receiver did not answer.
    NoResponse,
    /// The host could not make the attempt.
    HostError,
}

impl AttemptOutcome {
    /// Returns the meaning of an answer: of its status, of its `webhook-delivery`, and of its `Retry-After`.
    pub(in crate::delivery) fn of_answer(
        status: u16,
        control: Option<DeliveryControl>,
        retry_after: Option<Duration>,
    ) -> Self {
        let is_success = matches!(status, 200..300);
        let rejection = match control {
            Some(DeliveryControl::Disable) if is_success => return Self::DeliveredLast,
            Some(DeliveryControl::Disable) => Rejection::DisableRequested,
            // What was delivered is not retried anyway.
            _ if is_success => return Self::Delivered,
            Some(DeliveryControl::Abort) if status != GONE => Rejection::Aborted,
            _ => Rejection::of(status, retry_after.is_some()),
        };
        Self::Rejected { rejection, retry_after }
    }

    /// Returns the error of an attempt that was answered with this status; `None`: the event was delivered.
    pub(in crate::delivery) fn error(&self, status: u16) -> Option<String> {
        let asked = match self {
            Self::Delivered | Self::DeliveredLast => return None,
            Self::Rejected { rejection: Rejection::DisableRequested, .. } => {
                " and asked to disable the webhook (`webhook-delivery: disable`)"
            }
            Self::Rejected { rejection: Rejection::Aborted, .. } => {
                " and asked not to send this event again (`webhook-delivery: abort`)"
            }
            _ => "",
        };
        Some(format!("the receiver answered {status}{asked}"))
    }
}

/// The receiver is gone (RFC 9110 §15.5.11).
const GONE: u16 = 410;

/// What an answer other than 2xx means for other events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum Rejection {
    /// The receiver wants no further event, ever (410).
    Gone,
    /// The receiver wants no further event (`webhook-delivery: disable`).
    DisableRequested,
    /// The receiver does not want this event again (`webhook-delivery: abort`). It says nothing about other events.
    Aborted,
    /// The receiver is a Posthaste that gets its own events again and again (508 with `posthaste-hops`).
    Loop,
    /// The receiver accepts no event for a while (429, or 503 with `Retry-After`).
    Throttled,
    /// The receiver accepts no event (5xx).
    Overloaded,
    /// It concerns this event only.
    Refused,
}

impl Rejection {
    /// Returns the meaning of a status.
    pub(in crate::delivery) fn of(status: u16, names_wait: bool) -> Self {
        match status {
            GONE => Self::Gone,
            429 => Self::Throttled,
            503 if names_wait => Self::Throttled,
            500..=599 => Self::Overloaded,
            _ => Self::Refused,
        }
    }
}

/// The result of one attempt, as the recorder and the log need it.
#[derive(Debug)]
pub(in crate::delivery) struct AttemptReport {
    pub(in crate::delivery) outcome: AttemptOutcome,
    /// Milliseconds since 1970.
    pub(in crate::delivery) started_at: i64,
    pub(in crate::delivery) took: Duration,
    pub(in crate::delivery) status_code: Option<u16>,
    pub(in crate::delivery) error: Option<String>,
    /// The plugin failed or could not be loaded, so that nothing was sent.
    pub(in crate::delivery) plugin_failed: bool,
    pub(in crate::delivery) response_body: Option<String>,
    pub(in crate::delivery) url: Option<String>,
    pub(in crate::delivery) request_headers: Option<Box<RawValue>>,
    pub(in crate::delivery) response_headers: Option<Box<RawValue>>,
    /// As [`Attempt::plugin`].
    pub(in crate::delivery) plugin: Option<Box<RawValue>>,
    pub(in crate::delivery) plugin_result: PluginResult,
}

impl AttemptReport {
    pub(in crate::delivery) fn new(outcome: AttemptOutcome) -> Self {
        Self {
            outcome,
            started_at: 0,
            took: Duration::ZERO,
            status_code: None,
            error: None,
            plugin_failed: false,
            response_body: None,
            url: None,
            request_headers: None,
            response_headers: None,
            plugin: None,
            plugin_result: PluginResult::NotCalled,
        }
    }

    /// A failed attempt that counts against the webhook.
    pub(in crate::delivery) fn rejected(error: String) -> Self {
        Self {
            error: Some(error),
            ..Self::new(AttemptOutcome::Rejected { rejection: Rejection::Refused, retry_after: None })
        }
    }

    /// A failed attempt that says nothing about the receiver.
    pub(in crate::delivery) fn host_error(error: String) -> Self {
        Self { error: Some(error), ..Self::new(AttemptOutcome::HostError) }
    }

    /// What the attempt shows about the receiver.
    pub(in crate::delivery) fn receiver_signal(&self) -> ReceiverSignal {
        match self.outcome {
            AttemptOutcome::Delivered | AttemptOutcome::DeliveredLast => ReceiverSignal::Accepted,
            AttemptOutcome::Rejected { .. } if self.plugin_failed => ReceiverSignal::PluginFailed,
            AttemptOutcome::Rejected { rejection, retry_after } => match rejection {
                Rejection::Throttled => ReceiverSignal::Throttled(retry_after),
                Rejection::Overloaded => ReceiverSignal::Overloaded,
                Rejection::Aborted => ReceiverSignal::Nothing,
                Rejection::Refused | Rejection::Gone | Rejection::DisableRequested | Rejection::Loop => {
                    ReceiverSignal::Refused
                }
            },
            AttemptOutcome::NoResponse => ReceiverSignal::NoResponse,
            AttemptOutcome::Filtered | AttemptOutcome::HostError => ReceiverSignal::Nothing,
        }
    }

    /// The label under which the metrics count it.
    pub(in crate::delivery) fn result(&self) -> AttemptResult {
        match (&self.outcome, self.status_code) {
            (AttemptOutcome::Delivered | AttemptOutcome::DeliveredLast, _) => AttemptResult::Success,
            (AttemptOutcome::Filtered, _) => AttemptResult::Filtered,
            (_, Some(_)) => AttemptResult::HttpError,
            _ if self.plugin_failed => AttemptResult::PluginError,
            _ => AttemptResult::NoAnswer,
        }
    }

    /// The row that the log keeps; the first attempt has number 1.
    pub(in crate::delivery) fn into_attempt(self, number: u32) -> Attempt {
        Attempt {
            number,
            started_at: self.started_at,
            duration_ms: whole_ms(self.took),
            status_code: self.status_code,
            error: self.error,
            response_body: self.response_body,
            url: self.url,
            request_headers: self.request_headers,
            response_headers: self.response_headers,
            plugin: self.plugin,
        }
    }
}

/// Whole milliseconds; a time beyond any clock stays addable.
pub(in crate::delivery) fn whole_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: AttemptOutcome, status_code: Option<u16>, plugin_failed: bool) -> AttemptReport {
        AttemptReport { status_code, plugin_failed, ..AttemptReport::new(outcome) }
    }

    #[test]
    fn each_outcome_has_its_metric_label_and_its_receiver_signal() {
        const WAIT: Option<Duration> = Some(Duration::from_secs(7));
        let answered = |status| report(AttemptOutcome::of_answer(status, None, None), Some(status), false);
        let asked_to_wait = |status| report(AttemptOutcome::of_answer(status, None, WAIT), Some(status), false);
        let asked =
            |status, control| report(AttemptOutcome::of_answer(status, Some(control), WAIT), Some(status), false);
        let failed = AttemptReport::rejected(String::new());
        let plugin_failed = AttemptReport { plugin_failed: true, ..AttemptReport::rejected(String::new()) };
        let table = [
            (answered(204), AttemptResult::Success, ReceiverSignal::Accepted),
            (asked(204, DeliveryControl::Disable), AttemptResult::Success, ReceiverSignal::Accepted),
            (asked(500, DeliveryControl::Disable), AttemptResult::HttpError, ReceiverSignal::Refused),
            (asked(429, DeliveryControl::Abort), AttemptResult::HttpError, ReceiverSignal::Nothing),
            (report(AttemptOutcome::Filtered, None, false), AttemptResult::Filtered, ReceiverSignal::Nothing),
            (answered(500), AttemptResult::HttpError, ReceiverSignal::Overloaded),
            (answered(503), AttemptResult::HttpError, ReceiverSignal::Overloaded),
            (asked_to_wait(503), AttemptResult::HttpError, ReceiverSignal::Throttled(WAIT)),
            (asked_to_wait(500), AttemptResult::HttpError, ReceiverSignal::Overloaded),
            (answered(429), AttemptResult::HttpError, ReceiverSignal::Throttled(None)),
            (asked_to_wait(429), AttemptResult::HttpError, ReceiverSignal::Throttled(WAIT)),
            (answered(428), AttemptResult::HttpError, ReceiverSignal::Refused),
            (answered(410), AttemptResult::HttpError, ReceiverSignal::Refused),
            (answered(302), AttemptResult::HttpError, ReceiverSignal::Refused),
            (answered(600), AttemptResult::HttpError, ReceiverSignal::Refused),
            (plugin_failed, AttemptResult::PluginError, ReceiverSignal::PluginFailed),
            (failed, AttemptResult::NoAnswer, ReceiverSignal::Refused),
            (report(AttemptOutcome::NoResponse, None, false), AttemptResult::NoAnswer, ReceiverSignal::NoResponse),
            (report(AttemptOutcome::HostError, None, true), AttemptResult::PluginError, ReceiverSignal::Nothing),
        ];
        for (report, result, signal) in table {
            assert_eq!((report.result(), report.receiver_signal()), (result, signal), "{report:?}");
        }
    }

    #[test]
    fn answer_may_ask_to_disable_the_webhook_or_not_to_send_the_event_again_and_the_error_says_so() {
        let rejected = |rejection| AttemptOutcome::Rejected { rejection, retry_after: None };
        let disable = "the receiver answered 301 and asked to disable the webhook (`webhook-delivery: disable`)";
        let abort = "the receiver answered 500 and asked not to send this event again (`webhook-delivery: abort`)";
        let (on, off) = (DeliveryControl::Disable, DeliveryControl::Abort);
        let table = [
            (200, None, AttemptOutcome::Delivered, None),
            (299, Some(off), AttemptOutcome::Delivered, None),
            (200, Some(on), AttemptOutcome::DeliveredLast, None),
            (301, Some(on), rejected(Rejection::DisableRequested), Some(disable)),
            (500, Some(off), rejected(Rejection::Aborted), Some(abort)),
            (410, Some(off), rejected(Rejection::Gone), Some("the receiver answered 410")),
            (500, None, rejected(Rejection::Overloaded), Some("the receiver answered 500")),
        ];
        for (status, control, outcome, error) in table {
            let found = AttemptOutcome::of_answer(status, control, None);
            assert_eq!((found.error(status).as_deref(), &found), (error, &outcome), "{status} {control:?}");
        }
    }

    #[test]
    fn durations_are_whole_milliseconds_and_never_overflow() {
        assert_eq!(whole_ms(Duration::from_micros(2_999)), 2);
        assert_eq!(whole_ms(Duration::MAX), i64::MAX / 2);
    }
}
