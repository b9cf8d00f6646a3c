//! The listener and its requests.

use http::{Method, StatusCode};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::known::Known;
use super::{Held, Metrics, add};

/// The methods that routes take; any text can be a method, so every other is the last one.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"];
/// The classes of RFC 9110 §15.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Debug)]
pub(super) struct Serving {
    connections: Gauge,
    /// By the places of method and class in the two lists.
    requests: Known<(usize, usize)>,
}

impl Serving {
    pub(super) fn register(to: &mut Registry) -> Self {
        let all = (0..METHODS.len()).flat_map(|method| (0..CLASSES.len()).map(move |class| (method, class)));
        let text = |list: &[&'static str], place| list.get(place).copied().unwrap_or_default();
        let labels = |(method, class)| [("method", text(&METHODS, method)), ("status", text(&CLASSES, class))];
        let requests = ("http_requests", "Requests that were answered, by method and class of the status");
        Self {
            connections: add(to, "http_connections_open", "Connections to this API", Gauge::default()),
            requests: Known::register(to, requests, all, labels),
        }
    }
}

impl Metrics {
    /// A connection is open for as long as the answer lives.
    pub fn connection_opened(&self) -> Held {
        Held::new(&self.serving.connections)
    }

    /// A request of this method was answered with this status.
    pub fn request_answered(&self, method: &Method, status: StatusCode) {
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        self.serving.requests.add((method, class), 1);
    }
}
