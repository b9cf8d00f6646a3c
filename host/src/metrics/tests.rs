//! The exported text, and the bound on its size.

use std::time::Duration;

use super::{AttemptResult, Metrics};
use crate::domain::delivery::Status;
use crate::domain::event_type::Validation;
use crate::domain::waiting::{Waiting, WaitingCount};

fn metrics() -> Metrics {
    let mut metrics = Metrics::new(1_700_000_000_250, ["std-mask", "std-map"]);
    metrics.describe_build("abc", "sqlite");
    metrics
}

/// Returns the values of every sample whose name and labels begin with `start`.
fn values(metrics: &Metrics, start: &str) -> Vec<String> {
    let text = metrics.text();
    let lines = text.lines().filter(|line| line.starts_with(start));
    lines.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

#[track_caller]
fn shows(metrics: &Metrics, sample: &str, value: &str) {
    assert_eq!(values(metrics, &format!("{sample} ")), [value], "{sample} in\n{}", metrics.text());
}

#[test]
fn known_counters_are_exported_from_the_start() {
    let metrics = metrics();
    let text = metrics.text();
    assert!(text.contains("# TYPE posthaste_events_accepted_total counter\n"), "{text}");
    assert!(text.contains("# TYPE posthaste_attempt_duration_seconds histogram\n"), "{text}");
    let build = format!("version=\"{}\",commit=\"abc\",database=\"sqlite\"", env!("CARGO_PKG_VERSION"));
    shows(&metrics, &format!("posthaste_build_info{{{build}}}"), "1");
    shows(&metrics, "process_start_time_seconds", "1700000000.25");
    shows(&metrics, "posthaste_events_accepted_total", "0");
    shows(&metrics, "posthaste_deliveries_total{outcome=\"failed\"}", "0");
    assert!(!text.contains("pending"), "{text}");
}

#[test]
fn five_minutes_have_a_bucket_and_a_counter() {
    let metrics = metrics();
    for seconds in [1, 300, 301] {
        metrics.event_delivered(Duration::from_secs(seconds));
    }
    shows(&metrics, "posthaste_event_to_delivery_seconds_bucket{le=\"300\"}", "2");
    shows(&metrics, "posthaste_event_to_delivery_seconds_count", "3");
    shows(&metrics, "posthaste_deliveries_on_time_total", "2");
}

#[test]
fn a_hundred_plugins_and_all_standard_ones_have_labels_of_their_own() {
    let metrics = metrics();
    for number in 0..300 {
        metrics.transform_ended(&format!("plugin-{number}"), Duration::from_millis(1), number % 2 == 0);
    }
    metrics.transform_ended("std-map", Duration::from_millis(1), true);
    metrics.transform_ended("plugin-7", Duration::from_millis(1), false);
    assert_eq!(values(&metrics, "posthaste_transform_duration_seconds_count").len(), 103);
    shows(&metrics, "posthaste_transform_duration_seconds_count{plugin=\"plugin-7\"}", "2");
    shows(&metrics, "posthaste_transform_duration_seconds_count{plugin=\"other\"}", "200");
    shows(&metrics, "posthaste_transform_duration_seconds_count{plugin=\"std-map\"}", "1");
    shows(&metrics, "posthaste_transform_errors_total{plugin=\"other\"}", "100");
    shows(&metrics, "posthaste_transform_errors_total{plugin=\"std-map\"}", "1");
}

#[test]
fn every_method_and_status_is_counted_without_new_labels() {
    let metrics = metrics();
    let counters = |text: String| text.lines().filter(|line| !line.contains("_duration_")).count();
    let before = counters(metrics.text());
    for method in ["GET", "POST", "BREW", "get"] {
        for status in [100, 204, 404, 599, 999] {
            let method = method.parse().unwrap();
            let status = http::StatusCode::from_u16(status).unwrap();
            metrics.request_answered(&method, Some("/events/{id}"), status, Duration::from_millis(2));
        }
    }
    assert_eq!(counters(metrics.text()), before);
    let durations = "posthaste_http_request_duration_seconds_count{method=\"other\",route=\"/events/{id}\"}";
    shows(&metrics, durations, "10");
    metrics.request_answered(&http::Method::DELETE, None, http::StatusCode::NOT_FOUND, Duration::ZERO);
    shows(&metrics, "posthaste_http_request_duration_seconds_count{method=\"DELETE\",route=\"none\"}", "1");
    shows(&metrics, "posthaste_http_requests_total{method=\"GET\",status=\"4xx\"}", "1");
    shows(&metrics, "posthaste_http_requests_total{method=\"other\",status=\"5xx\"}", "2");
    shows(&metrics, "posthaste_http_requests_total{method=\"POST\",status=\"1xx\"}", "1");
    shows(&metrics, "posthaste_http_requests_total{method=\"POST\",status=\"2xx\"}", "1");
    shows(&metrics, "posthaste_http_requests_total{method=\"GET\",status=\"3xx\"}", "0");
}

#[test]
fn events_attempts_and_deliveries_are_counted_by_result() {
    let metrics = metrics();
    metrics.event_accepted();
    metrics.event_refused("too-large");
    metrics.event_invalid(Validation::Warn);
    shows(&metrics, "posthaste_events_invalid_total{validate=\"warn\"}", "1");
    shows(&metrics, "posthaste_events_invalid_total{validate=\"reject\"}", "0");
    metrics.deliveries_ended(Status::Delivered, 2);
    metrics.deliveries_ended(Status::Pending, 5);
    for (result, name) in [
        (AttemptResult::Success, "success"),
        (AttemptResult::Filtered, "filtered"),
        (AttemptResult::HttpError, "http_error"),
        (AttemptResult::NoAnswer, "no_answer"),
        (AttemptResult::PluginError, "plugin_error"),
    ] {
        metrics.attempt_ended(result, Duration::from_secs(2));
        shows(&metrics, &format!("posthaste_attempts_total{{result=\"{name}\"}}"), "1");
    }
    shows(&metrics, "posthaste_attempt_duration_seconds_sum", "10.0");
    shows(&metrics, "posthaste_events_accepted_total", "1");
    shows(&metrics, "posthaste_events_refused_total{reason=\"too-large\"}", "1");
    shows(&metrics, "posthaste_deliveries_total{outcome=\"delivered\"}", "2");
    assert!(!metrics.text().contains("pending"));
}

#[test]
fn the_writer_and_the_connections_are_measured() {
    let metrics = metrics();
    metrics.committed(3, Duration::from_millis(500));
    metrics.writer_queue(7);
    metrics.database_size(4_096);
    shows(&metrics, "posthaste_database_size_bytes", "4096");
    shows(&metrics, "posthaste_writer_batch_size_sum", "3.0");
    shows(&metrics, "posthaste_writer_commit_duration_seconds_sum", "0.5");
    shows(&metrics, "posthaste_writer_queue_length", "7");
    let connection = metrics.connection_opened();
    shows(&metrics, "posthaste_http_connections_open", "1");
    drop(connection);
    shows(&metrics, "posthaste_http_connections_open", "0");
}

#[test]
fn gauges_decrease_again_and_an_age_is_never_negative() {
    let metrics = metrics();
    let attempt = metrics.attempt_began();
    shows(&metrics, "posthaste_attempts_in_flight", "1");
    drop(attempt);
    shows(&metrics, "posthaste_attempts_in_flight", "0");
    for (oldest, age) in [(Some(1_000), "1.5"), (Some(9_000), "0.0"), (None, "0.0")] {
        metrics.oldest_due(oldest, 2_500);
        shows(&metrics, "posthaste_oldest_due_delivery_age_seconds", age);
        metrics.waiting(&Waiting { backlog: WaitingCount { count: 3, oldest }, ..Waiting::default() }, 2_500);
        shows(&metrics, "posthaste_oldest_waiting_delivery_age_seconds{state=\"backlog\"}", age);
        metrics.waiting_in_memory(WaitingCount { count: 2, oldest }, 2_500);
        shows(&metrics, "posthaste_oldest_waiting_delivery_age_seconds{state=\"leased\"}", age);
    }
    for (state, count) in
        [("backlog", "3"), ("leased", "2"), ("scheduled", "0"), ("disabled", "0"), ("replayed", "0"), ("pulled", "0")]
    {
        shows(&metrics, &format!("posthaste_deliveries_waiting{{state=\"{state}\"}}"), count);
    }
}
