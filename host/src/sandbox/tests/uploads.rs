//! The checks of an upload, and the texts of their refusals.

use std::sync::Arc;

use crate::domain::plugin::Outcome;
use crate::sandbox::{Limits, Sandbox, Track, componentize, inspect};

use super::event;
use super::guest::{Guest, LOOP, REFUSE, TRAP, hurried, sandbox};

fn refusal(bytes: &[u8]) -> String {
    inspect(bytes).unwrap_err().to_string()
}

#[test]
fn an_inspection_lists_size_imports_exports_and_track() {
    let bytes = Guest::default().bytes();
    let inspection = inspect(&bytes).unwrap();
    assert_eq!(inspection.size, bytes.len());
    assert_eq!(inspection.imports, ["posthaste:transform/types@0.1.0", "posthaste:transform/log@0.1.0"]);
    assert_eq!(inspection.exports, ["posthaste:transform/handler@0.1.0"]);
    assert_eq!((inspection.track, inspection.track.to_string().as_str()), (Track::V0_1, "0.1"));
}

#[test]
fn bytes_that_are_not_wasm_are_refused_with_their_likely_format() {
    let cases: [(&[u8], &str); 8] = [
        (b"", "empty"),
        (&[0; 100], "only zeroes"),
        (b"\x7fELF\x02\x01", "native program (ELF)"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"  (component)", "WebAssembly text"),
        (b"fn main() {}", "text"),
        (b"\0as\xff", "begins with the bytes 00 61 73 6d"),
        (b"\0asm\x0d\0\x09\0", "unknown version"),
    ];
    for (bytes, expected) in cases {
        for text in [refusal(bytes), componentize(bytes).unwrap_err().to_string()] {
            assert!(text.starts_with("not a WebAssembly component: ") && text.contains(expected), "{text}");
        }
    }
}

#[test]
fn every_truncated_plugin_is_refused() {
    let bytes = Guest::default().bytes();
    let accepted = (0..bytes.len()).filter(|length| inspect(&bytes[..*length]).is_ok());
    // The one exception: without exactly the section of debug names at its end it is complete.
    assert_eq!(accepted.map(|length| &bytes[length + 4..length + 18]).collect::<Vec<_>>(), [b"component-name"]);
}

#[test]
fn no_changed_byte_causes_a_panic() {
    let (bytes, sandbox) = (Guest::default().bytes(), sandbox());
    for at in 8..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x15;
        let _ = sandbox.compile("changed", &bytes);
    }
}

#[test]
fn all_imports_that_the_host_does_not_offer_are_named_before_compiling() {
    let imports = r#"
        (import "wasi:cli/environment@0.2.6" (instance (export "f" (func))))
        (import "posthaste:transform/log@0.2.0" (instance))
        (import "posthaste:transform/log@0.1.0-rc1" (instance))
        (import "posthaste:transform/handler@0.1.0" (instance))
        (import "clock" (func))"#;
    let text = refusal(&Guest { imports, ..Guest::default() }.bytes());
    let listed = "`wasi:cli/environment@0.2.6`, `posthaste:transform/log@0.2.0`, `posthaste:transform/log@0.1.0-rc1`, \
                  `posthaste:transform/handler@0.1.0`, `clock`;";
    assert!(text.contains(listed), "{text}");
}

#[test]
fn a_component_of_another_world_is_refused_with_the_missing_export() {
    let empty = refusal(&wat::parse_str("(component)").unwrap());
    assert!(
        empty.contains("does not export `posthaste:transform/handler@0.1.x`") && empty.ends_with("exports nothing")
    );
    let other = r#"(component (instance $i) (export "posthaste:transform/handler@0.2.0" (instance $i)))"#;
    let other = refusal(&wat::parse_str(other).unwrap());
    assert!(other.ends_with("it exports `posthaste:transform/handler@0.2.0`"), "{other}");
}

#[test]
fn a_handler_without_its_functions_is_refused_with_the_name_of_one() {
    let hollow = r#"(component (instance $i) (export "posthaste:transform/handler@0.1.0" (instance $i)))"#;
    let text = sandbox().compile("hollow", &wat::parse_str(hollow).unwrap()).unwrap_err().to_string();
    assert!(text.contains("check-config"), "{text}");
}

#[tokio::test]
async fn a_handler_with_other_types_is_refused() {
    let other = r#"(component
        (core module $M (func (export "f") (param i32) (result i32) local.get 0))
        (core instance $m (instantiate $M))
        (func $f (param "n" u32) (result u32) (canon lift (core func $m "f")))
        (instance $i (export "check-config" (func $f)) (export "transform" (func $f)))
        (export "posthaste:transform/handler@0.1.0" (instance $i)))"#;
    let sandbox = sandbox();
    let plugin = Arc::new(sandbox.compile("other", &wat::parse_str(other).unwrap()).unwrap());
    let text = sandbox.verify(&plugin).await.unwrap_err().to_string();
    assert!(text.contains("type mismatch with parameters"), "{text}");
}

#[test]
fn disabled_wasm_proposals_are_refused() {
    for fields in [
        "(memory 1)",
        "(global externref (ref.null extern))",
        "(tag)",
        "(memory 1 1 shared)",
        "(type (struct))",
        "(memory i64 1)",
    ] {
        let refusal = inspect(&Guest { fields, ..Guest::default() }.bytes()).expect_err(fields).to_string();
        assert!(refusal.starts_with("not a valid component: "), "{fields}: {refusal}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let nested = (0..20).fold(String::new(), |inner, _| format!("(component {inner})"));
    let text = refusal(&wat::parse_str(nested).unwrap());
    assert!(text.contains("inside each other: 16 allowed, 17 or more wanted"), "{text}");
}

#[test]
fn more_memory_than_the_limit_is_refused_at_upload() {
    let sandbox = Sandbox::new(Limits { memory_bytes: 1 << 20, threads: 1, ..Limits::default() }).unwrap();
    let text = Guest { pages: 17, ..Guest::default() }.compile(&sandbox).unwrap_err().to_string();
    assert!(text.contains("memory") && text.contains("1114112"), "{text}");
}

#[test]
fn the_refusal_of_a_core_module_says_what_to_do() {
    let plain = wat::parse_str("(module)").unwrap();
    assert!(componentize(&plain).unwrap_err().to_string().contains("without wit-bindgen's metadata"));
    let wasi = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)) (import "env" "x" (func)))"#;
    let text = componentize(&wat::parse_str(wasi).unwrap()).unwrap_err().to_string();
    assert!(text.contains("`wasi_snapshot_preview1/fd_write`"), "{text}");
    let broken = r#"(module (@custom "component-type:x" "\00\01\02"))"#;
    let text = componentize(&wat::parse_str(broken).unwrap()).unwrap_err().to_string();
    assert!(text.starts_with("this core module cannot become a component: "), "{text}");
}

/// The core module that wit-bindgen would produce for a plugin that always returns `pass`.
fn core_module() -> Vec<u8> {
    let mut module = wat::parse_str(
        r#"(module
            (import "posthaste:transform/log@0.1.0" "write" (func $log (param i32 i32 i32)))
            (memory (export "memory") 2)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "posthaste:transform/handler@0.1.0#check-config") (param i32 i32) (result i32) (i32.const 0))
            (func (export "posthaste:transform/handler@0.1.0#transform")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (i32.const 0)))"#,
    )
    .unwrap();
    let wit_component::DecodedWasm::Component(resolve, world) =
        wit_component::decode(&Guest::default().bytes()).unwrap()
    else {
        panic!("a guest is a component");
    };
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8).unwrap();
    module
}

#[tokio::test]
async fn a_core_module_with_metadata_becomes_a_plugin() {
    let (sandbox, module) = (sandbox(), core_module());
    let plugin = Arc::new(sandbox.compile("module", &module).unwrap());
    assert_eq!(plugin.inspection().size, module.len());
    assert_eq!(plugin.inspection().imports.last().unwrap(), "posthaste:transform/log@0.1.0");
    let call = sandbox.transform(&plugin, event(), "null".into()).await;
    assert_eq!((call.result, call.logs.lines.len()), (Ok(Outcome::Pass), 1));
}

#[test]
fn a_component_is_returned_unchanged() {
    let bytes = Guest::default().bytes();
    assert_eq!(componentize(&bytes).unwrap(), bytes.as_slice());
}

#[tokio::test]
async fn the_upload_check_refuses_a_trap_and_a_loop_but_not_an_error() {
    let sandbox = hurried();
    let verdict = async |check_config| {
        let plugin = Guest { check_config, ..Guest::default() }.compile(&sandbox).unwrap();
        sandbox.verify(&plugin).await.map_err(|refusal| refusal.to_string())
    };
    assert_eq!(verdict(REFUSE).await, Ok(()));
    let trap = verdict(TRAP).await.unwrap_err();
    assert!(trap.starts_with("check-config(\"null\") broke: guest@00000000: `unreachable` executed"), "{trap}");
    assert!(verdict(LOOP).await.unwrap_err().contains("deadline: 100ms allowed"));
}

#[tokio::test]
async fn the_label_names_the_plugin() {
    let sandbox = sandbox();
    let plugin = Arc::new(sandbox.compile("mask@1a2b3c4d", &Guest::default().bytes()).unwrap());
    assert_eq!(plugin.label(), "mask@1a2b3c4d");
}
