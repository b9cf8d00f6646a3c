//! `GET /metrics`: the format, and the counters after known events. [`waiting`]: the gauges of what waits.

mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use posthaste_tests::{Client, Host, Kind, Receiver, until};
use serde_json::json;

/// The metrics of the process that every Prometheus client library has.
const PROCESS_METRICS: [&str; 6] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
];

/// One scrape: each sample by its name and labels as written, and the type of each family.
pub(crate) struct Scrape {
    samples: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Scrape {
    /// Reads `/metrics`, without a credential.
    pub(crate) async fn of(client: &Client) -> Self {
        let answer = client.with_key("").get("!/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(&String::from_utf8(answer.bytes).unwrap())
    }

    /// Parses the text format 0.0.4, as strictly as a strict reader.
    fn parse(text: &str) -> Self {
        let (mut scrape, mut helped) = (Self { samples: BTreeMap::new(), types: BTreeMap::new() }, BTreeSet::new());
        assert!(text.ends_with('\n'));
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap();
                assert!(words.ends_with('.') && !words.ends_with(".."), "{line}");
                assert!(helped.insert(name.to_owned()), "declared twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(helped.contains(name) && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(scrape.types.insert(name.to_owned(), kind.to_owned()).is_none(), "declared twice: {line}");
                family = name.to_owned();
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
                let name = series.split('{').next().unwrap();
                labels(&series[name.len()..]);
                let rest = name.strip_prefix(&family).unwrap_or_else(|| panic!("not in its family: {line}"));
                let parts: &[&str] =
                    if scrape.types[&family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(parts.contains(&rest), "{line}");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("no value: {line}"));
                assert!(value.is_finite(), "{line}");
                assert!(scrape.samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        scrape
    }

    /// Checks that every histogram has a bucket for everything, which holds as many as its count.
    fn check_histograms(&self) {
        for name in self.types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let start = format!("{name}_count");
            let counts: Vec<_> = self.samples.iter().filter(|(series, _)| series.starts_with(&start)).collect();
            for (series, count) in counts {
                let labels = series[start.len()..].trim_matches(['{', '}']);
                let comma = if labels.is_empty() { "" } else { "," };
                let all = [format!("{{{labels}{comma}le=\"+Inf\"}}"), format!("{{le=\"+Inf\"{comma}{labels}}}")];
                let all = all.iter().find_map(|labels| self.samples.get(&format!("{name}_bucket{labels}")));
                assert_eq!(all, Some(count), "{series}");
            }
        }
    }

    /// The sum of all samples whose name and labels begin like this.
    pub(crate) fn sum(&self, start: &str) -> f64 {
        self.samples.iter().filter(|(series, _)| series.starts_with(start)).map(|(_, value)| value).sum()
    }

    /// The value of one sample, which has to be there.
    #[track_caller]
    pub(crate) fn get(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples.keys()))
    }
}

/// Checks `{name="value",…}`; no value here contains a quote.
fn labels(text: &str) {
    let Some(inside) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        return assert_eq!(text, "");
    };
    for label in inside.split(',') {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("no label: {text}"));
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{text}");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
        assert!(!value.contains(['"', '\\', '\n']), "{text}");
    }
}

/// Waits until every series has its value: some counters change shortly after the work is visible.
async fn settled(client: &Client, wanted: &[(&str, f64)]) -> Scrape {
    until(&format!("{wanted:?}"), || async {
        let scrape = Scrape::of(client).await;
        wanted.iter().all(|(series, value)| scrape.samples.get(*series) == Some(value)).then_some(scrape)
    })
    .await
}

#[tokio::test]
async fn metrics_need_no_credential_and_are_well_formed() {
    let host = Host::start().await;
    let scrape = Scrape::of(&host.client).await;
    let database = if host.home().kind() == Kind::Sqlite { "sqlite" } else { "postgres" };
    let build = scrape.samples.keys().find(|series| series.starts_with("posthaste_build_info{")).unwrap();
    assert!(build.contains(&format!("version=\"{}\",commit=\"", env!("CARGO_PKG_VERSION"))), "{build}");
    assert!(build.ends_with(&format!(",database=\"{database}\"}}")), "{build}");
    assert!(scrape.get("process_start_time_seconds") > 1.7e9);
    for (name, kind) in &scrape.types {
        assert!(name.starts_with("posthaste_") || PROCESS_METRICS.contains(&&**name), "{name}");
        if kind == "histogram" && name != "posthaste_writer_batch_size" {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        // Prometheus's own rules: base units only, and no kind of metric in a name.
        let parts: Vec<_> = name.split('_').collect();
        let odd =
            ["ms", "milliseconds", "minutes", "kb", "kilobytes", "mib", "percent", "gauge", "counter", "histogram"];
        assert!(!parts.iter().any(|part| odd.contains(part)), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    }
    for name in PROCESS_METRICS {
        assert!(scrape.get(name) > 0.0 || name == "process_cpu_seconds_total", "{name}");
    }
    assert!(scrape.get("process_open_fds") <= scrape.get("process_max_fds"));
    scrape.check_histograms();
    // Each family is in the manual.
    let page = include_str!("../../docs/operations.md");
    for name in scrape.types.keys() {
        assert!(page.contains(&format!("`{name}")), "docs/operations.md does not tell of {name}");
    }
}

#[tokio::test]
async fn events_deliveries_and_attempts_are_counted_by_outcome() {
    let (host, receiver) = (Host::with(&["--retry-schedule=5ms"]).await, Receiver::start().await);
    receiver.answer(|_, arrival| match arrival.path.as_str() {
        "/bad" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => StatusCode::OK.into_response(),
    });
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let filter =
        |config| json!({"type": "filtered", "target_url": receiver.url("/"), "plugin": "std-filter", "config": config});
    for hook in [
        json!({"type": "good", "target_url": receiver.url("/")}),
        json!({"type": "bad", "target_url": receiver.url("/bad")}),
        json!({"type": "gone", "target_url": format!("http://{closed}/")}),
        filter(json!({"drop": [{"field": "/n", "is": 1}]})),
    ] {
        host.post("/webhooks", &hook).await.expect(201);
    }
    for (event_type, status) in
        [("good", "delivered"), ("good", "delivered"), ("bad", "failed"), ("gone", "failed"), ("filtered", "filtered")]
    {
        host.delivery(&host.publish(event_type, &json!({"n": 1})).await, status).await;
    }
    host.publish("nobody-subscribes", &json!(1)).await;
    let wanted = [
        ("posthaste_events_accepted_total", 6.0),
        ("posthaste_deliveries_total{outcome=\"delivered\"}", 2.0),
        ("posthaste_deliveries_total{outcome=\"failed\"}", 2.0),
        ("posthaste_deliveries_total{outcome=\"filtered\"}", 1.0),
        ("posthaste_deliveries_total{outcome=\"cancelled\"}", 0.0),
        ("posthaste_attempts_total{result=\"success\"}", 2.0),
        ("posthaste_attempts_total{result=\"filtered\"}", 1.0),
        ("posthaste_attempts_total{result=\"http_error\"}", 2.0),
        ("posthaste_attempts_total{result=\"no_answer\"}", 2.0),
        ("posthaste_attempts_total{result=\"plugin_error\"}", 0.0),
        ("posthaste_attempt_duration_seconds_count", 7.0),
        ("posthaste_event_to_delivery_seconds_count", 2.0),
        ("posthaste_event_to_delivery_seconds_bucket{le=\"300\"}", 2.0),
        ("posthaste_deliveries_on_time_total", 2.0),
        ("posthaste_transform_duration_seconds_count{plugin=\"std-filter\"}", 1.0),
        ("posthaste_transform_errors_total{plugin=\"std-filter\"}", 0.0),
        ("posthaste_attempts_in_flight", 0.0),
        ("posthaste_writer_queue_length", 0.0),
    ];
    let scrape = settled(&host.client, &wanted).await;
    assert!(scrape.get("posthaste_writer_batch_size_sum") >= 13.0 + 4.0);
    assert!(scrape.get("posthaste_writer_commit_duration_seconds_count") > 0.0);
}

#[tokio::test]
async fn replay_and_ping_do_not_count_as_delivery_latency() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let webhook = host.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    let id = host.publish("t", &json!(1)).await;
    host.delivery(&id, "delivered").await;
    let replay = json!({"since": "2020-01-01T00:00:00Z"});
    assert_eq!(host.post("/deliveries/replay", &replay).await.expect(202)["count"], 1);
    host.post(&format!("/webhooks/{}/test", webhook["id"].as_str().unwrap()), &json!({})).await.expect(200);
    let wanted = [
        ("posthaste_deliveries_total{outcome=\"delivered\"}", 2.0),
        ("posthaste_attempts_total{result=\"success\"}", 2.0),
        ("posthaste_event_to_delivery_seconds_count", 1.0),
        ("posthaste_deliveries_on_time_total", 1.0),
    ];
    settled(&host.client, &wanted).await;
    assert_eq!(receiver.arrivals().len(), 3);
}

#[tokio::test]
async fn failing_plugin_is_counted_by_name_and_by_attempt_result() {
    let (host, receiver) = (Host::with(&["--retry-schedule=5ms"]).await, Receiver::start().await);
    host.upload("trap", &posthaste_tests::guest("trap")).await.expect(201);
    let hook = |policy| json!({"type": "t", "target_url": receiver.url("/"), "plugin": "trap", "on_error": policy});
    host.post("/webhooks", &hook("retry")).await.expect(201);
    host.delivery(&host.publish("t", &json!(1)).await, "failed").await;
    host.post("/webhooks", &hook("send_original")).await.expect(200);
    host.delivery(&host.publish("t", &json!(1)).await, "delivered").await;
    let wanted = [
        ("posthaste_attempts_total{result=\"plugin_error\"}", 2.0),
        ("posthaste_attempts_total{result=\"success\"}", 1.0),
        ("posthaste_transform_errors_total{plugin=\"trap\"}", 3.0),
        ("posthaste_transform_duration_seconds_count{plugin=\"trap\"}", 3.0),
    ];
    settled(&host.client, &wanted).await;
}

#[tokio::test]
async fn refused_events_and_requests_are_counted_and_the_same_id_once() {
    let host = Host::start().await;
    let event = json!({"type": "t", "data": 1, "id": "same"});
    for _ in 0..2 {
        host.post("/events", &event).await.expect(202);
    }
    host.post("/events", &json!({"type": "t"})).await.expect(422);
    host.call(Method::POST, "/events", &[], "{").await.expect(400);
    host.with_key("unknown").post("/events", &event).await.expect(401);
    host.post("/webhooks", &json!({"type": "t"})).await.expect(422);
    let batch = "{\"type\":\"t\",\"data\":1}\n{\"type\":\"ping\",\"data\":1}";
    host.call(Method::POST, "/events/batch", &[("content-type", "application/x-ndjson")], batch).await.expect(202);
    host.get("/webhooks").await.expect(200);
    host.get("/nowhere").await.expect(404);
    let scrape = Scrape::of(&host.client).await;
    assert_eq!(scrape.get("posthaste_events_accepted_total"), 2.0);
    for (reason, count) in [("broken-rule", 2.0), ("malformed", 1.0), ("credential", 1.0)] {
        assert_eq!(scrape.get(&format!("posthaste_events_refused_total{{reason=\"{reason}\"}}")), count, "{reason}");
    }
    for (labels, count) in [("POST\",status=\"2xx", 3.0), ("POST\",status=\"4xx", 4.0), ("GET\",status=\"4xx", 1.0)] {
        assert_eq!(scrape.get(&format!("posthaste_http_requests_total{{method=\"{labels}\"}}")), count, "{labels}");
    }
    assert!(scrape.get("posthaste_http_connections_open") >= 1.0);
}
