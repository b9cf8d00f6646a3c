//! The metrics of the HTTP API: connections and requests.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labelled_counters::{CounterFamily, LabelledCounters, Labels};
use super::{GaugeGuard, Metrics, add};

/// The methods of the API's routes. A client may send any text as a method: the last entry counts all others.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"];
/// The status classes of RFC 9110 §15.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Buckets in seconds: from a list out of memory to an upload that waits to be compiled.
const REQUEST_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];
/// The label of requests for paths that are no route.
const NO_ROUTE: &str = "none";

/// A method and a route: the template of a path.
type RouteLabels = [(&'static str, String); 2];

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
    duration: Family<RouteLabels, Histogram>,
}

impl HttpMetrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        let requests = CounterFamily { name: "http_requests", help: "Answered requests, by method and status class" };
        let duration: Family<RouteLabels, Histogram> = Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS));
        let help = "Time from a request's head to the head of its response, by method and route";
        to.register_with_unit("http_request_duration", help, Unit::Seconds, duration.clone());
        Self {
            duration,
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

    /// Counts a request of this method that was answered with this status after `took`. `route` is the template of its path,
    /// of which there are as many as routes; `None` if it has none.
    pub fn request_answered(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let status_class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let kind = RequestKind { method, status_class };
        self.serving.requests.add(kind, 1);
        let [name, _] = kind.labels();
        let labels = [(name.0, name.1.to_owned()), ("route", route.unwrap_or(NO_ROUTE).to_owned())];
        self.serving.duration.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
