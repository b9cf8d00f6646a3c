//! The plugins that tests upload.

use std::path::Path;

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The prelude of every guest in `tests/guests`.
///
/// At 1024 lies a result that is all zeroes: `ok` for `check-config`, `ok(pass)` for `transform`.
const PRELUDE: &str = r#"
  (memory (export "memory") 16 2000)
  (type $check (func (param i32 i32) (result i32)))
  (type $transform (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
"#;

/// A bump allocator, for guests without one.
const ALLOCATOR: &str = r#"
  (global $next (mut i32) (i32.const 8192))
  (func $alloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
"#;

/// Reads a plugin of `plugins/`, which `cargo xtask test` builds from source.
pub fn shipped(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("POSTHASTE_PLUGINS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist"), std::path::PathBuf::from);
    let file = folder.join(format!("{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test`", file.display()))
}

/// Assembles `tests/guests/NAME.wat`: a whole component, or the fields of a core module after [`PRELUDE`].
pub fn guest(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(format!("{name}.wat"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    if text.contains("(component") {
        return wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    module(name, &text)
}

/// Assembles a core module of these fields, with the description of the world that wit-bindgen adds.
pub(crate) fn module(name: &str, fields: &str) -> Vec<u8> {
    // The text format requires imports first.
    let (imports, fields): (Vec<_>, Vec<_>) = fields.lines().partition(|line| line.starts_with("(import "));
    let (imports, fields) = (imports.join("\n"), fields.join("\n"));
    let allocator = if fields.contains("cabi_realloc") { "" } else { ALLOCATOR };
    let text = format!("(module {imports} {PRELUDE} {allocator} {fields})");
    let mut module = wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/v0.1");
    let (package, _) = resolve.push_path(wit).unwrap();
    let world = resolve.select_world(&[package], Some("transform")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}
