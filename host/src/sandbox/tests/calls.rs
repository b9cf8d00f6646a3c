//! A plugin's answers arrive unchanged, and every call starts with a fresh instance.

use crate::domain::plugin::{Failure, LogLevel, Message, Outcome};

use super::guest::{DROP, ERROR, Guest, REFUSE, REPLACE, sandbox};
use super::{event, transform};

#[tokio::test]
async fn a_plugin_can_pass_the_event() {
    let call = transform(Guest::default(), "null").await;
    assert_eq!(call.result, Ok(Outcome::Pass));
    assert_eq!(call.memory_bytes, 1 << 20);
    assert!(!call.duration.is_zero());
}

#[tokio::test]
async fn a_plugin_can_replace_body_and_headers() {
    let call = transform(Guest::transforming(REPLACE), "null").await;
    let body = r#"{"name":"Ada"}"#.into();
    let message = Message { body, content_type: None, headers: vec![("a".into(), "b".into())] };
    assert_eq!(call.result, Ok(Outcome::Replace(message)));
}

#[tokio::test]
async fn the_reason_of_a_drop_is_printable_and_bounded() {
    let call = transform(Guest::transforming(DROP), "not\nwanted").await;
    assert_eq!(call.result, Ok(Outcome::Drop(r"not\nwanted".into())));
    let call = transform(Guest::transforming(DROP), &"x".repeat(5000)).await;
    assert_eq!(call.result, Ok(Outcome::Drop("x".repeat(4096))));
}

#[tokio::test]
async fn a_plugins_own_error_keeps_its_text() {
    let call = transform(Guest::transforming(ERROR), "no\u{1b}[31m name").await;
    assert_eq!(call.result, Err(Failure::Refused(r"no\u{1b}[31m name".into())));
}

#[tokio::test]
async fn a_plugin_can_accept_or_refuse_a_config() {
    let sandbox = sandbox();
    let plain = Guest::default().compile(&sandbox).unwrap();
    assert_eq!(sandbox.check_config(&plain, "{}".into()).await.result, Ok(()));
    let picky = Guest { check_config: REFUSE, ..Guest::default() }.compile(&sandbox).unwrap();
    let refused = Err(Failure::Refused("{}".into()));
    assert_eq!(sandbox.check_config(&picky, "{}".into()).await.result, refused);
}

#[tokio::test]
async fn every_field_of_the_event_arrives_in_its_position() {
    const FIELDS: [(&str, &str); 5] = [
        ("(local.get 0) (local.get 1)", "evt_1"),
        ("(local.get 2) (local.get 3)", "employee_updated"),
        ("(local.get 4) (local.get 5)", "1"),
        ("(local.get 6) (local.get 7)", "2023-11-14T22:13:20.007Z"),
        ("(i32.load (local.get 8)) (i32.load (i32.add (local.get 8) (i32.const 4)))", "x-a"),
    ];
    let sandbox = sandbox();
    for (at, expected) in FIELDS {
        let body = format!("(call $log (i32.const 2) {at}) (i32.const 0)");
        let plugin = Guest::transforming(body.leak()).compile(&sandbox).unwrap();
        let logs = sandbox.transform(&plugin, event(), "null".into()).await.logs;
        let line = logs.lines.first().unwrap();
        assert_eq!((line.level, line.message.as_str()), (LogLevel::Warn, expected));
    }
}

#[tokio::test]
async fn no_state_of_a_call_is_visible_to_the_next() {
    // Counts its calls in memory and in a global; passes only if both still read zero.
    let counting = Guest {
        fields: "(global $calls (mut i32) (i32.const 0))",
        transform: "
            (if (i32.or (global.get $calls) (i32.load (i32.const 900000))) (then unreachable))
            (global.set $calls (i32.const 1)) (i32.store (i32.const 900000) (i32.const 1))
            (i32.const 0)",
        ..Guest::default()
    };
    let sandbox = sandbox();
    let plugin = counting.compile(&sandbox).unwrap();
    for _ in 0..20 {
        assert_eq!(sandbox.transform(&plugin, event(), "null".into()).await.result, Ok(Outcome::Pass));
    }
}

#[tokio::test]
async fn not_a_number_has_the_same_bits_on_every_machine() {
    let payload = "(f32.add (f32.const nan:0x200001) (f32.load (i32.const 0)))";
    let body = format!(
        "(if (i32.ne (i32.reinterpret_f32 {payload}) (i32.const 0x7fc00000)) (then unreachable)) (i32.const 0)"
    );
    assert_eq!(transform(Guest::transforming(body.leak()), "null").await.result, Ok(Outcome::Pass));
}

#[tokio::test]
async fn other_patch_versions_of_the_contract_are_compatible() {
    for patches in [(0, 3), (3, 0), (7, 9)] {
        let call = transform(Guest { patches, ..Guest::transforming(REPLACE) }, "null").await;
        assert!(matches!(call.result, Ok(Outcome::Replace(_))), "{patches:?}: {:?}", call.result);
    }
}

#[tokio::test]
async fn concurrent_calls_do_not_interfere() {
    let sandbox = sandbox();
    let plugin = Guest::transforming(DROP).compile(&sandbox).unwrap();
    let calls = (0..50).map(|n| {
        let (sandbox, plugin) = (sandbox.clone(), plugin.clone());
        tokio::spawn(async move { sandbox.transform(&plugin, event(), n.to_string().into()).await.result })
    });
    for (n, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), Ok(Outcome::Drop(n.to_string())));
    }
}
