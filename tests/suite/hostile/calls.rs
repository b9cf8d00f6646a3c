//! Hostile behaviour during a call. Every guest here passes the checks of the upload.

use posthaste_tests::{bomb, guest};
use serde_json::json;

use super::Stage;

async fn each_is_stopped(guests: &[(&str, &str)]) -> Stage {
    let stage = Stage::set().await;
    for (name, part) in guests {
        stage.stopped(name, &guest(name), part).await;
    }
    stage
}

#[tokio::test]
async fn loops_end_at_the_deadline_in_every_function() {
    each_is_stopped(&[
        ("loop", "deadline: 2s allowed"),
        ("loop_in_realloc", "deadline: 2s allowed"),
        ("loop_in_post_return", "deadline: 2s allowed"),
        ("log_without_end", "deadline: 2s allowed"),
        ("log_megabytes_in_lines", "deadline: 2s allowed"),
    ])
    .await;
}

#[tokio::test]
async fn memory_growth_is_limited_in_every_form() {
    let stage = each_is_stopped(&[
        ("greedy", "memory limit: 64 MiB allowed, 64.1 MiB wanted"),
        ("grow_at_once", "memory limit: 64 MiB allowed, 119.8 MiB wanted"),
        ("grow_table", "table limit: 20000 elements allowed, "),
        ("recursion", "stack exhausted: "),
    ])
    .await;
    stage.stopped("memories", &bomb("memories"), "memory limit: 64 MiB allowed, ").await;
    stage.stopped("handles", &bomb("handles"), "handle limit: 1000 handles to resources allowed, 1001 wanted").await;
}

#[tokio::test]
async fn invalid_result_pointers_are_not_followed() {
    each_is_stopped(&[
        ("result_out_of_bounds", "pointer out of bounds"),
        ("result_misaligned", "pointer not aligned"),
        ("outcome_of_no_case", "unexpected discriminant: 9"),
        ("body_out_of_bounds", "string pointer/length out of bounds of memory"),
        ("body_of_huge_length", "string pointer/length out of bounds of memory"),
        ("headers_of_huge_length", "list pointer/length out of bounds of memory"),
        ("headers_out_of_bounds", "list pointer/length out of bounds of memory"),
        ("headers_misaligned", "list pointer is not aligned"),
        ("headers_overlap", r"header `\u{0}`: a name must be 1 to 64"),
        ("log_of_no_level", "unexpected discriminant: 9"),
    ])
    .await;
}

#[tokio::test]
async fn invalid_utf_8_is_refused_everywhere() {
    each_is_stopped(&[
        ("utf8_in_body", "invalid utf-8"),
        ("utf8_in_reason", "invalid utf-8"),
        ("utf8_in_error", "invalid utf-8"),
        ("utf8_in_header", "invalid utf-8"),
        ("utf8_in_log", "invalid utf-8"),
    ])
    .await;
}

#[tokio::test]
async fn plugin_output_is_limited_before_it_is_copied() {
    let stage = Stage::set().await;
    let before = stage.process.peak_kib();
    for (name, part) in [
        ("flood", "over 4 MiB wanted in one result or log message"),
        ("huge_body", "over 4 MiB wanted in one result or log message"),
        ("many_headers", "a body of 1 MiB and 32 headers allowed, over 4 MiB wanted"),
        ("thousand_headers", "1000 headers; at most 32 are allowed"),
        ("one_string_many_times", "over 4 MiB wanted in one result or log message"),
        ("log_megabytes", "log limit: 1024 KiB allowed, 2 MiB wanted"),
    ] {
        stage.stopped(name, &guest(name), part).await;
    }
    // The guests themselves may have 64 MiB on each sandbox thread, of which there is one more than cores. Copying the string
    // that 5,000 headers refer to would alone take 5 GB.
    let threads = std::thread::available_parallelism().unwrap().get() as u64 + 1;
    let grown = stage.process.peak_kib() - before;
    assert!(grown < (threads * 64 + 64) << 10, "the host grew by {grown} KiB");
}

#[tokio::test]
async fn invalid_plugin_headers_are_refused_by_name() {
    each_is_stopped(&[
        ("header_injection", "header `x-a`: a value must be at most"),
        ("header_name_injection", r"header `x\r\ny`: a name must be 1 to 64"),
        ("header_without_name", "header ``: a name must be 1 to 64"),
        ("content_type_injection", "header `content-type`: a value must be at most"),
        ("protected_header", "header `Webhook-Signature` is set by the host"),
    ])
    .await;
}

#[tokio::test]
async fn traps_are_reported_with_their_cause() {
    each_is_stopped(&[
        ("trap", "`unreachable` executed"),
        ("divide_by_zero", "integer divide by zero"),
        ("read_out_of_bounds", "memory accessed out of bounds"),
        ("bad_indirect_call", "uninitialized element"),
        ("wrong_indirect_call", "indirect call type mismatch"),
    ])
    .await;
}

#[tokio::test]
async fn plugin_log_flood_is_truncated_and_counted() {
    let stage = Stage::set().await;
    let lines = stage.attempt("log_lines", &guest("log_lines")).await;
    assert_eq!((&lines["status_code"], &lines["plugin"]["logs_dropped"]), (&json!(200), &json!(936)));
    assert_eq!(lines["plugin"]["logs"].as_array().unwrap().len(), 64);
    let long = stage.attempt("log_long_line", &guest("log_long_line")).await;
    let line = long["plugin"]["logs"][0]["message"].as_str().unwrap();
    assert!(line.starts_with(r"hi\r\n\u{1b}") && line.len() <= 1024, "{line}");
    stage.unharmed("log_long_line").await;
}

#[tokio::test]
async fn plugin_of_several_components_runs() {
    let stage = Stage::set().await;
    let attempt = stage.attempt("strings_between_parts", &bomb("strings_between_parts")).await;
    assert_eq!((&attempt["status_code"], &attempt["plugin"]["outcome"]), (&json!(200), &json!("pass")), "{attempt}");
}

#[tokio::test]
async fn plugin_errors_and_refusals_are_shown_verbatim() {
    let stage = each_is_stopped(&[("error", "no such employee")]).await;
    let client = &stage.process.client;
    client.upload("refuse-config", &guest("refuse_config")).await.expect(201);
    let hook = json!({"type": "t", "target_url": stage.receiver.url("/"), "plugin": "refuse-config"});
    assert!(client.post("/webhooks", &hook).await.problem(422).contains("I take no config"));
}
