//! Generated guests, too large or too regular to be written by hand: each aims at one weakness that a host may have.

use std::fmt::Write;

use crate::frame::framed;
use crate::plugins::module;

/// The names that [`bomb`] accepts.
pub const BOMBS: [&str; 21] = [
    "nested",
    "nested_thousands",
    "instances",
    "instances_by_alias",
    "instances_of_the_given",
    "functions",
    "huge_function",
    "deep_blocks",
    "br_table",
    "br_tables",
    "locals",
    "types",
    "component_types",
    "globals",
    "data_segments",
    "element_segments",
    "imports",
    "exports",
    "handles",
    "memories",
    "strings_between_parts",
];

/// The functions of a plugin that does nothing.
const IDLE: &str = r#"
(func (export "posthaste:transform/handler@0.1.0#check-config") (type $check) (i32.const 1024))
(func (export "posthaste:transform/handler@0.1.0#transform") (type $transform) (i32.const 1024))
"#;

/// Makes a component look like a plugin, except that the handler has no functions.
const HANDLER: &str = r#"(instance $handler) (export "posthaste:transform/handler@0.1.0" (instance $handler))"#;

/// Generates the guest with this name.
pub fn bomb(name: &str) -> Vec<u8> {
    match name {
        "nested" => nested(17),
        "nested_thousands" => nested(5000),
        "instances" => instances(8),
        "instances_by_alias" => instances_by_alias(8),
        "instances_of_the_given" => component(
            r#"(component $one)
               (component $ten (import "a" (component $a)) (instance (instantiate $a)) (instance (instantiate $a)))
               (instance (instantiate $ten (with "a" (component $one))))"#,
        ),
        "functions" => idle_and("functions", &"(func)".repeat(40_001)),
        "huge_function" => idle_and("huge_function", &format!("(func {})", "(drop (i32.const 7))".repeat(1_500_000))),
        "deep_blocks" => idle_and("deep_blocks", &deep_blocks(50_000)),
        "br_table" => idle_and("br_table", &br_tables(1, 120_000)),
        "br_tables" => idle_and("br_tables", &br_tables(500, 1000)),
        "locals" => idle_and("locals", &locals(40, 49_000)),
        "types" => idle_and("types", &numbered(100_000, |n| format!("(type (func (param {})))", bits(n)))),
        "component_types" => component(&numbered(50_000, |n| format!("(type (record (field \"f{n}\" string)))"))),
        "globals" => idle_and("globals", &"(global (mut i32) (i32.const 0))".repeat(200_000)),
        "data_segments" => idle_and("data_segments", &"(data \"x\")".repeat(90_000)),
        "element_segments" => idle_and("element_segments", &"(elem func 0)".repeat(90_000)),
        "imports" => component(&numbered(30_000, |n| format!("(import \"a{n}\" (func))"))),
        "exports" => idle_and("exports", &numbered(90_000, |n| format!("(export \"e{n}\" (func 0))"))),
        "handles" => handles(),
        "memories" => memories(12),
        "strings_between_parts" => strings_between_parts(),
        _ => panic!("no bomb of the name {name}"),
    }
}

fn idle_and(name: &str, fields: &str) -> Vec<u8> {
    module(name, &format!("{IDLE}\n{fields}"))
}

fn component(fields: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {fields} {HANDLER})")).unwrap_or_else(|error| panic!("{error}"))
}

fn numbered(count: u32, text: impl Fn(u32) -> String) -> String {
    (0..count).fold(String::new(), |all, n| all + &text(n))
}

/// Returns a sequence of types that differs for each number.
fn bits(number: u32) -> String {
    (0..17).map(|bit| if number >> bit & 1 == 1 { "i32 " } else { "i64 " }).collect()
}

/// Nests components, in binary because the parser of the text format recurses for each of them.
fn nested(depth: usize) -> Vec<u8> {
    const COMPONENT_SECTION: u8 = 4;
    let header = b"\0asm\x0d\0\x01\0";
    (1..depth).fold(header.to_vec(), |inner, _| {
        let mut outer = [&header[..], &[COMPONENT_SECTION]].concat();
        let mut length = inner.len();
        while length >= 0x80 {
            outer.push(length as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend(inner);
        outer
    })
}

/// Ten instances of a component that makes ten instances of a component …: ten to the power of `levels`.
fn instances(levels: u32) -> Vec<u8> {
    let innermost = "(component $c (core module $m) (core instance (instantiate $m)))".to_owned();
    let all = (0..levels)
        .fold(innermost, |inner, _| format!("(component $c {inner} {})", "(instance (instantiate $c))".repeat(10)));
    component(&format!("{all} (instance (instantiate $c))"))
}

/// As above, but side by side: each component makes ten instances of the previous one.
fn instances_by_alias(levels: u32) -> Vec<u8> {
    let mut all = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..=levels {
        let before = level - 1;
        let ten = "(instance (instantiate $b))".repeat(10);
        write!(all, "(component $c{level} (alias outer 1 $c{before} (component $b)) {ten})").unwrap();
    }
    component(&format!("{all} (instance (instantiate $c{levels}))"))
}

fn deep_blocks(depth: usize) -> String {
    // Unfolded, because the parser of the text format recurses for folded instructions.
    format!("(func {} {})", "block ".repeat(depth), "end ".repeat(depth))
}

/// Functions that jump to one of many blocks.
fn br_tables(count: usize, targets: usize) -> String {
    let blocks = targets.min(1000);
    let names: String = (0..targets).map(|n| format!("{} ", n % blocks)).collect();
    let function = format!(
        "(func (param i32) {} local.get 0 br_table {names} {})",
        "block ".repeat(blocks),
        "end ".repeat(blocks)
    );
    function.repeat(count)
}

/// Functions with the maximum number of locals, set in many blocks.
fn locals(count: usize, locals: usize) -> String {
    let declared = "(local ".to_owned() + &"i32 ".repeat(locals) + ")";
    let used: String =
        (0..1000).map(|n| format!("local.get 0 if local.get {n} local.set {} end ", locals - 1 - n)).collect();
    format!("(func (param i32) {declared} {used})").repeat(count)
}

/// Creates handles to its own resource until it is stopped.
fn handles() -> Vec<u8> {
    framed(
        "(type $thing (resource (rep i32))) (core func $new (canon resource.new $thing))",
        r#"(export "new" (func $new))"#,
        r#"(import "parts" "new" (func $new (param i32) (result i32)))"#,
        "(loop $l (drop (call $new (i32.const 1))) (br $l)) unreachable",
    )
}

/// Grows `count` memories by 10 MiB each.
fn memories(count: u32) -> Vec<u8> {
    let parts = numbered(count, |n| {
        format!(
            r#"(core module $M{n} (memory 1) (func (export "grow") (drop (memory.grow (i32.const 160)))))
               (core instance $m{n} (instantiate $M{n})) (alias core export $m{n} "grow" (core func $grow{n}))"#
        )
    });
    framed(
        &parts,
        &numbered(count, |n| format!(r#"(export "grow{n}" (func $grow{n}))"#)),
        &numbered(count, |n| format!(r#"(import "parts" "grow{n}" (func $grow{n}))"#)),
        &(numbered(count, |n| format!("(call $grow{n})")) + "(i32.const 0)"),
    )
}

/// A harmless plugin of two components, each with its own memory, that pass a string between them.
fn strings_between_parts() -> Vec<u8> {
    framed(
        r#"(component $Reader
             (core module $M
               (memory (export "memory") 1)
               (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
               (func (export "read") (param i32 i32)))
             (core instance $m (instantiate $M))
             (func (export "read") (param "text" string)
               (canon lift (core func $m "read") (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))
           (instance $reader (instantiate $Reader))
           (core func $read (canon lower (func $reader "read") (memory $mem)))"#,
        r#"(export "read" (func $read))"#,
        r#"(import "parts" "read" (func $read (param i32 i32)))"#,
        "(i32.const 0)",
    )
}
