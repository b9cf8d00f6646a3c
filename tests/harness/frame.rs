//! A component around a guest, for guests that test the component rather than the core module in it.

/// Assembles a plugin of several parts. `parts` are definitions of the component, with the `(core func …)`s that `links` passes
/// to the main module as `(export "name" (func …))` of its import `parts`. `fields` are the fields of the main module and
/// `transform` is the body of its function; 0 is the address of a result `pass`.
pub(crate) fn framed(parts: &str, links: &str, fields: &str, transform: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
  (import "posthaste:transform/types@0.1.0" (instance $types
    (type $header (tuple string string)) (export "header" (type $h (eq $header)))
    (type $event (record (field "id" string) (field "event-type" string) (field "company" string)
      (field "occurred-at" string) (field "headers" (list $h)) (field "body" string)))
    (export "event" (type (eq $event)))
    (type $message (record (field "body" string) (field "content-type" (option string)) (field "headers" (list $h))))
    (export "message" (type $m (eq $message)))
    (type $outcome (variant (case "pass") (case "replace" $m) (case "drop" string)))
    (export "outcome" (type (eq $outcome)))))
  (alias export $types "event" (type $event))
  (alias export $types "outcome" (type $outcome))
  (core module $Memory
    (memory (export "memory") 16)
    (global $free (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  {parts}
  (core module $Main
    (import "memory" "memory" (memory 1))
    {fields}
    (func (export "check-config") (param i32 i32) (result i32) (i32.const 0))
    (func (export "transform")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {transform}))
  (core instance $main (instantiate $Main (with "memory" (instance $memory)) (with "parts" (instance {links}))))
  (func $check-config (param "config" string) (result (result (error string)))
    (canon lift (core func $main "check-config") (memory $mem) (realloc $realloc)))
  (func $transform (param "event" $event) (param "config" string) (result (result $outcome (error string)))
    (canon lift (core func $main "transform") (memory $mem) (realloc $realloc)))
  (instance $handler (export "check-config" (func $check-config)) (export "transform" (func $transform)))
  (export "posthaste:transform/handler@0.1.0" (instance $handler)))"#
    );
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}
