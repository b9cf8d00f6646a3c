//! Small plugins as text: a fixed component around a few lines of WAT, which are the plugin's behaviour.

use std::sync::Arc;
use std::time::Duration;

use crate::sandbox::{Limits, Plugin, Sandbox, UploadRefusal};

/// A plugin under construction: `Guest { transform: TRAP, ..Guest::default() }.bytes()`.
#[derive(Clone)]
pub(crate) struct Guest {
    /// Body of `check-config`: locals 0 and 1 are the config's address and length; returns the result's address.
    pub(crate) check_config: &'static str,
    /// Body of `transform`: locals 0–13 are id, type, company, occurred-at, headers, body and config, each as address
    /// and length, local 14 is free; returns the result's address.
    pub(crate) transform: &'static str,
    /// Additional fields of the core module.
    pub(crate) fields: &'static str,
    /// Initial pages of each of the two memories.
    pub(crate) pages: u32,
    /// Additional imports of the component.
    pub(crate) imports: &'static str,
    /// Patch versions of the contract: of the imports, and of the export.
    pub(crate) patches: (u32, u32),
}

/// Returns `pass`; as `check-config`, accepts.
pub(crate) const PASS: &str = "(i32.const 0)";
/// Traps.
pub(crate) const TRAP: &str = "unreachable";
/// Loops forever.
pub(crate) const LOOP: &str = "(loop (br 0)) unreachable";
/// Replaces the message by the event's body and one header `a: b`.
pub(crate) const REPLACE: &str = "
    (i32.store8 (i32.const 4) (i32.const 1))
    (i32.store (i32.const 8) (local.get 10)) (i32.store (i32.const 12) (local.get 11))
    (i32.store8 (i32.const 64) (i32.const 97)) (i32.store8 (i32.const 65) (i32.const 98))
    (i32.store (i32.const 80) (i32.const 64)) (i32.store (i32.const 84) (i32.const 1))
    (i32.store (i32.const 88) (i32.const 65)) (i32.store (i32.const 92) (i32.const 1))
    (i32.store (i32.const 28) (i32.const 80)) (i32.store (i32.const 32) (i32.const 1))
    (i32.const 0)";
/// Drops the event; the reason is the config.
pub(crate) const DROP: &str = "
    (i32.store8 (i32.const 4) (i32.const 2))
    (i32.store (i32.const 8) (local.get 12)) (i32.store (i32.const 12) (local.get 13))
    (i32.const 0)";
/// Returns an error; its text is the config.
pub(crate) const ERROR: &str = "
    (i32.store8 (i32.const 0) (i32.const 1))
    (i32.store (i32.const 4) (local.get 12)) (i32.store (i32.const 8) (local.get 13))
    (i32.const 0)";
/// As `check-config`, refuses the config; the error text is the config itself.
pub(crate) const REFUSE: &str = "
    (i32.store8 (i32.const 0) (i32.const 1))
    (i32.store (i32.const 4) (local.get 0)) (i32.store (i32.const 8) (local.get 1))
    (i32.const 0)";
/// A field: the function `$deep`, which recurses forever.
pub(crate) const DEEP: &str = "(func $deep (param i64) (result i64)
    (i64.add (i64.const 1) (call $deep (i64.add (local.get 0) (i64.const 1)))))";

impl Default for Guest {
    fn default() -> Self {
        Self { check_config: PASS, transform: PASS, fields: "", pages: 16, imports: "", patches: (0, 0) }
    }
}

impl Guest {
    /// Returns a plugin with this `transform`.
    pub(crate) fn transforming(transform: &'static str) -> Self {
        Self { transform, ..Self::default() }
    }

    /// Returns the component. Its bump allocator starts at 4 KiB; the bodies write their results below that.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { check_config, transform, fields, pages, imports, patches: (imported, exported) } = self;
        let text = format!(
            r#"(component
  {imports}
  (import "posthaste:transform/types@0.1.{imported}" (instance $types
    (type $header (tuple string string)) (export "header" (type $h (eq $header)))
    (type $event (record (field "id" string) (field "event-type" string) (field "company" string)
      (field "occurred-at" string) (field "headers" (list $h)) (field "body" string)))
    (export "event" (type (eq $event)))
    (type $message (record (field "body" string) (field "content-type" (option string)) (field "headers" (list $h))))
    (export "message" (type $m (eq $message)))
    (type $outcome (variant (case "pass") (case "replace" $m) (case "drop" string)))
    (export "outcome" (type (eq $outcome)))))
  (import "posthaste:transform/log@0.1.{imported}" (instance $log
    (type $level (enum "debug" "info" "warn" "error")) (export "level" (type $l (eq $level)))
    (export "write" (func (param "level" $l) (param "message" string)))))
  (alias export $types "event" (type $event))
  (alias export $types "outcome" (type $outcome))
  (core module $Memory
    (memory (export "memory") {pages})
    (global $free (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (core func $write (canon lower (func $log "write") (memory (core memory $memory "memory"))))
  (core module $Main
    (import "m" "memory" (memory 1))
    (import "l" "write" (func $log (param i32 i32 i32)))
    {fields}
    (func (export "check-config") (param i32 i32) (result i32) {check_config})
    (func (export "transform")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (local i32) {transform}))
  (core instance $main (instantiate $Main
    (with "m" (instance $memory)) (with "l" (instance (export "write" (func $write))))))
  (func $check-config (param "config" string) (result (result (error string)))
    (canon lift (core func $main "check-config")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func $transform (param "event" $event) (param "config" string) (result (result $outcome (error string)))
    (canon lift (core func $main "transform") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "check-config" (func $check-config)) (export "transform" (func $transform)))
  (export "posthaste:transform/handler@0.1.{exported}" (instance $handler)))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// Compiles the plugin, with the label `guest@00000000`.
    pub(crate) fn compile(&self, sandbox: &Sandbox) -> Result<Arc<Plugin>, UploadRefusal> {
        sandbox.compile("guest@00000000", &self.bytes()).map(Arc::new)
    }
}

/// Returns a sandbox with two threads and enough time for every call on a busy machine.
pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(Limits { threads: 2, deadline: Duration::from_secs(20), ..Limits::default() }).unwrap()
}

/// Returns a sandbox with two threads and the default deadline, for plugins that exceed it.
pub(crate) fn hurried() -> Sandbox {
    Sandbox::new(Limits { threads: 2, ..Limits::default() }).unwrap()
}
