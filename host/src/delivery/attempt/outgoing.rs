//! What an attempt sends.

use bytes::Bytes;

use crate::domain::event::Event;
use crate::domain::headers;
use crate::domain::plugin::{Failure, Outcome, PluginCall};

/// The body and the headers to send.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Outgoing {
    pub(in crate::delivery) body: Bytes,
    pub(in crate::delivery) content_type: Option<String>,
    pub(in crate::delivery) headers: Vec<(String, String)>,
}

impl Outgoing {
    pub(super) fn original(event: &Event) -> Self {
        Self { body: event.data.clone(), content_type: None, headers: Vec::new() }
    }
}

/// The result of the transforms.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Prepared {
    Send(Outgoing),
    Filtered,
    /// A plugin failed under the policy `retry`.
    PluginFailed(String),
    /// The host could not run a plugin. The event waits, whatever the policy is.
    HostFailed(String),
}

/// Makes a call that sets a protected header a failed one. `challenge_header` is the lower-case name of one of them.
pub(super) fn check_headers(mut call: PluginCall<Outcome>, challenge_header: &str) -> PluginCall<Outcome> {
    if let Ok(Outcome::Replace(message)) = &call.result {
        let own = headers::check_all(&message.headers, challenge_header);
        let content_type = message.content_type.as_ref();
        let content_type = content_type.map_or(Ok(()), |text| headers::check("content-type", text, challenge_header));
        if let Err(detail) = own.and(content_type) {
            call.result = Err(Failure::Broke(detail));
        }
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plugin::{Logs, Message};

    fn replaced(headers: &[(&str, &str)], content_type: Option<&str>) -> Outcome {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Outcome::Replace(Message { body: "new".into(), content_type: content_type.map(str::to_owned), headers })
    }

    #[test]
    fn plugin_that_sets_a_protected_header_has_failed() {
        let call = |outcome| PluginCall {
            result: Ok(outcome),
            logs: Logs::default(),
            duration: std::time::Duration::ZERO,
            memory_bytes: 0,
        };
        for fine in [replaced(&[("x-a", "1")], Some("text/plain")), Outcome::Pass] {
            assert!(check_headers(call(fine), "x-challenge").result.is_ok());
        }
        let bad = [
            replaced(&[("webhook-signature", "v1,x")], None),
            replaced(&[("x-challenge", "x")], None),
            replaced(&[], Some("text/plain\r\nx: y")),
        ];
        for bad in bad {
            assert!(matches!(check_headers(call(bad), "x-challenge").result, Err(Failure::Broke(_))));
        }
    }
}
