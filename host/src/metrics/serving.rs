//! The metrics of the HTTP API: connections and requests.

use http::{Method, StatusCode};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labelled_counters::{CounterFamily, LabelledCounters, Labels};
use super::{GaugeGuard, Metrics, add};

/// The methods of the API's routes. A client may send any text as a method: the last entry counts all others.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"];
/// The status classes of RFC 9110 §15.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A method and a status class, as indices into [`METHODS`] and [`STATUS_CLASSES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RequestKind {
    method: usize,
    status_class: usize,
}

impl RequestKind {
    fn all() -> impl Iterator<Item = Self> {
        let classes = |method| (0..STATUS_CLASSES.len()).map(move |status_class| Self { method, status_class });
        (0..METHODS.len()).flat_map(classes)
    }

    fn labels(self) -> Labels<2> {
        let text = |list: &[&'static str], index| list.get(index).copied().unwrap_or_default();
        [("method", text(&METHODS, self.method)), ("status", text(&STATUS_CLASSES, self.status_class))]
    }
}

#[derive(Debug)]
pub(super) struct HttpMetrics {
    connections: Gauge,
    requests: LabelledCounters<RequestKind>,
}

impl HttpMetrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        let requests = CounterFamily { name: "http_requests", help: "Answered requests, by method and status class" };
        Self {
            connections: add(to, "http_connections_open", "Open connections to this API", Gauge::default()),
            requests: LabelledCounters::register(to, requests, RequestKind::all(), RequestKind::labels),
        }
    }
}

impl Metrics {
    /// Counts a connection as open until the returned guard is dropped.
    pub fn connection_opened(&self) -> GaugeGuard {
        GaugeGuard::new(&self.serving.connections)
    }

    /// Counts a request of this method that was answered with this status.
    pub fn request_answered(&self, method: &Method, status: StatusCode) {
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let status_class = usize::from(status.as_u16() / 100).saturating_sub(1);
        self.serving.requests.add(RequestKind { method, status_class }, 1);
    }
}
