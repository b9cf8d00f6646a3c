//! Hostile plugins: each is stopped with a text that says why, and does not affect the next call.

use std::time::Duration;

use crate::domain::plugin::Outcome;
use crate::sandbox::{Limits, Sandbox};

use super::guest::{DEEP, Guest, LOOP, REPLACE, TRAP, hurried, sandbox};
use super::{broke, event, transform, transform_in};

#[tokio::test]
async fn endless_loops_end_at_the_deadline_in_every_function() {
    let looping = [
        Guest::transforming(LOOP),
        Guest { fields: "(func $go (loop (br 0))) (start $go)", ..Guest::default() },
        Guest { fields: "(func $f (call $f2)) (func $f2 (loop (br 0))) (start $f)", ..Guest::default() },
        // A log call in every iteration: the host's own work does not hide the loop.
        Guest::transforming("(loop (call $log (i32.const 0) (i32.const 0) (i32.const 9)) (br 0)) unreachable"),
    ];
    for guest in looping {
        let call = transform_in(&hurried(), guest, "null").await;
        assert_eq!(broke(&call), "guest@00000000: deadline: 100ms allowed");
        assert!(call.duration >= Duration::from_millis(100), "{:?}", call.duration);
    }
}

#[tokio::test]
async fn the_deadline_counts_from_the_start_of_the_call() {
    let sandbox = hurried();
    let looping = Guest::transforming(LOOP).compile(&sandbox).unwrap();
    for _ in 0..3 {
        let call = sandbox.transform(&looping, event(), "null".into()).await;
        assert!(call.duration >= Duration::from_millis(100), "{:?}", call.duration);
    }
}

#[tokio::test]
async fn memory_beyond_the_limit_is_refused_with_both_numbers() {
    let growing = "(loop (drop (memory.grow (i32.const 16))) (br 0)) unreachable";
    let call = transform(Guest::transforming(growing), "null").await;
    assert_eq!(broke(&call), "guest@00000000: memory limit: 64 MiB allowed, 65 MiB wanted");
    assert_eq!(call.memory_bytes, 64 << 20);
}

#[tokio::test]
async fn the_memory_limit_applies_to_the_sum_of_all_memories() {
    let limits = Limits { memory_bytes: 3 << 20, threads: 1, ..Limits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    // Each memory alone is below the limit: its own one of 1 MiB, and the shared one of 1 MiB that grows by 2 MiB.
    let two = "(drop (memory.grow (i32.const 32))) (i32.const 0)";
    assert_eq!(transform_in(&sandbox, Guest::transforming(two), "null").await.result, Ok(Outcome::Pass));
    let more = r#"(core module $Other (memory 16)) (core instance (instantiate $Other))"#;
    let call = transform_in(&sandbox, Guest { imports: more, ..Guest::transforming(two) }, "null").await;
    assert_eq!(broke(&call), "guest@00000000: memory limit: 3 MiB allowed, 4 MiB wanted");
}

#[tokio::test]
async fn a_growth_beyond_the_declared_maximum_fails_in_the_plugin_and_is_not_counted() {
    let fields = r#"(table $t 1 10 funcref)"#;
    let body = "
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)) (then unreachable))
        (i32.const 0)";
    let call = transform(Guest { fields, ..Guest::transforming(body) }, "null").await;
    assert_eq!(call.result, Ok(Outcome::Pass));
}

#[tokio::test]
async fn the_table_limit_applies_to_the_sum_of_all_tables() {
    let fields = "(table 1 funcref) (table 15000 funcref) (table 10000 funcref)";
    let call = transform(Guest { fields, ..Guest::default() }, "null").await;
    assert_eq!(broke(&call), "guest@00000000: table limit: 20000 elements allowed, 25001 wanted");
}

#[tokio::test]
async fn deep_recursion_exhausts_the_stack_of_the_plugin_only() {
    let body = "(drop (call $deep (i64.const 0))) (i32.const 0)";
    let call = transform(Guest { fields: DEEP, ..Guest::transforming(body) }, "null").await;
    assert_eq!(broke(&call), "guest@00000000: stack exhausted: the plugin calls itself too deeply");
}

/// A body at address 64 KiB, of as many MiB as the config has bytes.
const MANY: &str = "
    (drop (memory.grow (i32.const 600)))
    (memory.fill (i32.const 65536) (i32.const 120) (i32.mul (local.get 13) (i32.const 1048576)))
    (i32.store8 (i32.const 4) (i32.const 1))
    (i32.store (i32.const 8) (i32.const 65536))
    (i32.store (i32.const 12) (i32.mul (local.get 13) (i32.const 1048576)))
    (i32.const 0)";

#[tokio::test]
async fn large_bodies_are_refused_with_both_sizes() {
    let sandbox = sandbox();
    let fits = transform_in(&sandbox, Guest::transforming(MANY), "1").await;
    assert!(matches!(fits.result, Ok(Outcome::Replace(message)) if message.body.len() == 1 << 20));
    let call = transform_in(&sandbox, Guest::transforming(MANY), "333").await;
    assert_eq!(broke(&call), "guest@00000000: output limit: 1 MiB allowed, 3 MiB wanted");
    let call = transform_in(&sandbox, Guest::transforming(MANY), &"x".repeat(30)).await;
    let text = "output limit: a body of 1 MiB and 32 headers allowed, over 4 MiB wanted in one result or log message";
    assert_eq!(broke(&call), format!("guest@00000000: {text}"));
}

#[tokio::test]
async fn one_string_shared_by_many_headers_is_refused_before_it_is_copied() {
    // 100 headers whose value is the same megabyte: 100 MB, if the host copied them.
    let body = "
        (drop (memory.grow (i32.const 32)))
        (local.set 14 (i32.const 100))
        (loop
            (i32.store (i32.add (i32.const 131080) (i32.mul (local.get 14) (i32.const 16))) (i32.const 1048576))
            (i32.store (i32.add (i32.const 131084) (i32.mul (local.get 14) (i32.const 16))) (i32.const 1048576))
            (br_if 0 (local.tee 14 (i32.sub (local.get 14) (i32.const 1)))))
        (i32.store8 (i32.const 4) (i32.const 1))
        (i32.store (i32.const 28) (i32.const 131088)) (i32.store (i32.const 32) (i32.const 100))
        (i32.const 0)";
    let call = transform(Guest::transforming(body), "null").await;
    assert!(broke(&call).contains("output limit: "), "{call:?}");
}

#[tokio::test]
async fn log_lines_beyond_the_bound_are_counted_and_not_kept() {
    let flood = "
        (memory.fill (i32.const 65536) (i32.const 120) (i32.const 5000))
        (local.set 14 (i32.const 1000))
        (loop
            (call $log (i32.const 3) (i32.const 65536) (i32.const 5000))
            (br_if 0 (local.tee 14 (i32.sub (local.get 14) (i32.const 1)))))
        (i32.const 0)";
    let call = transform(Guest::transforming(flood), "null").await;
    assert_eq!(call.result, Ok(Outcome::Pass));
    assert_eq!((call.logs.lines.len(), call.logs.dropped), (64, 936));
    assert!(call.logs.lines.iter().all(|line| line.message == "x".repeat(1024)));
}

#[tokio::test]
async fn a_log_message_of_a_megabyte_fails_the_call_and_keeps_earlier_lines() {
    let fields = r#"(data $hello "hello\n")"#;
    let at_once = "
        (memory.init $hello (i32.const 64) (i32.const 0) (i32.const 6))
        (call $log (i32.const 1) (i32.const 64) (i32.const 6))
        (drop (memory.grow (i32.const 200)))
        (call $log (i32.const 1) (i32.const 65536) (i32.mul (local.get 13) (i32.const 1048576)))
        (i32.const 0)";
    let sandbox = sandbox();
    let plugin = Guest { fields, ..Guest::transforming(at_once) }.compile(&sandbox).unwrap();
    let call = sandbox.transform(&plugin, event(), "12".into()).await;
    assert_eq!(broke(&call), "guest@00000000: log limit: 1024 KiB allowed, 2 MiB wanted");
    assert_eq!(call.logs.lines.first().unwrap().message, r"hello\n");
    let call = sandbox.transform(&plugin, event(), "12345678".into()).await;
    assert!(broke(&call).contains("over 4 MiB wanted in one result or log message"), "{call:?}");
}

#[tokio::test]
async fn a_trap_names_the_plugin_and_the_likely_cause_and_does_not_affect_the_next_call() {
    let sandbox = sandbox();
    let call = transform_in(&sandbox, Guest::transforming(TRAP), "null").await;
    let text = broke(&call);
    assert!(text.starts_with("guest@00000000: `unreachable` executed: the plugin panicked, or used"), "{text}");
    let call = transform_in(&sandbox, Guest::transforming("(i32.load (i32.const -4))"), "null").await;
    assert_eq!(
        broke(&call),
        "guest@00000000: memory accessed out of bounds: the plugin's stack is exhausted, or its code has a memory error"
    );
    let call = transform_in(&sandbox, Guest::transforming(REPLACE), "null").await;
    assert!(matches!(call.result, Ok(Outcome::Replace(_))));
}

#[tokio::test]
async fn answers_that_violate_the_canonical_abi_fail_the_call() {
    let sandbox = sandbox();
    for body in [
        "(i32.const -4)",
        "(i32.store8 (i32.const 0) (i32.const 7)) (i32.const 0)",
        "(i32.store8 (i32.const 4) (i32.const 9)) (i32.const 0)",
        "(i32.store8 (i32.const 4) (i32.const 2)) (i32.store (i32.const 12) (i32.const -1)) (i32.const 0)",
        "(i32.store8 (i32.const 4) (i32.const 2)) (i32.store8 (i32.const 64) (i32.const 255))
         (i32.store (i32.const 8) (i32.const 64)) (i32.store (i32.const 12) (i32.const 1)) (i32.const 0)",
    ] {
        let call = transform_in(&sandbox, Guest::transforming(body), "null").await;
        let text = broke(&call);
        assert!(text.len() < 200 && text.starts_with("guest@00000000: "), "{text}");
    }
}
