//! Inspects an upload before any of it is compiled or run.

use std::fmt;

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Validator};

use super::declared_limits;
use super::engine::FEATURES;
use super::refusal::{UploadRefusal, list};

/// A track of compatible versions of the WIT package `posthaste:transform`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Track {
    /// 0.1.x.
    V0_1,
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V0_1 => f.write_str("0.1"),
        }
    }
}

/// The facts that a component declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Size of the upload, in bytes.
    pub size: usize,
    /// Names of its imports, for example `posthaste:transform/log@0.1.0`.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// The track of the contract that it was built for.
    pub track: Track,
}

/// Checks a component's declared limits, imports and exports, and validates it. Compiles nothing.
///
/// # Errors
/// If `bytes` is not a component, exceeds a declared limit, uses a Wasm proposal that the sandbox has disabled, imports
/// something that the host does not offer, or does not export `posthaste:transform/handler@0.1.x`.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, UploadRefusal> {
    if !Parser::is_component(bytes) {
        return Err(UploadRefusal::new(format!("not a WebAssembly component: {}", looks_like(bytes))));
    }
    let names = declared_limits::check(bytes)?;
    let refused: Vec<_> = names.imports.iter().filter(|name| !is_offered(name)).cloned().collect();
    if !refused.is_empty() {
        return Err(UploadRefusal::imports(&refused));
    }
    if !names.exports.iter().any(|name| patch_of(name, "handler").is_some()) {
        return Err(missing_handler(&names.exports));
    }
    Validator::new_with_features(FEATURES)
        .validate_all(bytes)
        .map_err(|error| UploadRefusal::new(format!("not a valid component: {error}")))?;
    Ok(Inspection { size: bytes.len(), imports: names.imports, exports: names.exports, track: Track::V0_1 })
}

/// Returns whether the host offers an import of this name.
fn is_offered(import: &str) -> bool {
    ["log", "types"].iter().any(|interface| patch_of(import, interface).is_some())
}

/// Returns the patch version if `name` is `posthaste:transform/<interface>@0.1.<patch>`.
fn patch_of(name: &str, interface: &str) -> Option<u64> {
    let patch = name.strip_prefix("posthaste:transform/")?.strip_prefix(interface)?.strip_prefix("@0.1.")?;
    patch.bytes().all(|digit| digit.is_ascii_digit()).then(|| patch.parse().ok())?
}

fn missing_handler(exports: &[String]) -> UploadRefusal {
    let found = if exports.is_empty() { "nothing".into() } else { list(exports) };
    UploadRefusal::new(format!(
        "does not export `posthaste:transform/handler@0.1.x`, which the world `posthaste:transform/transform` asks for; it \
         exports {found}"
    ))
}

/// Says what bytes that are not a component look like, and what to do about it.
pub(super) fn looks_like(bytes: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 8] = [
        (b"\0asm\x01\0\0\0", "this is a core module; turn it into a component first"),
        (b"\0asm", "this is WebAssembly of an unknown version, or cut short"),
        (b"\x7fELF", "this looks like a native program (ELF); build for wasm32-unknown-unknown"),
        (b"\x1f\x8b", "this looks like gzip; unpack it first"),
        (b"PK\x03\x04", "this looks like a zip archive; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "this looks like zstd; unpack it first"),
        (b"!<arch>\n", "this looks like a library archive (.a); upload the .wasm file"),
        (b"#!", "this looks like a script; build it to a component first"),
    ];
    if bytes.is_empty() {
        return "the file is empty";
    }
    if let Some((_, text)) = KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return text;
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return "the file holds only zeroes";
    }
    if bytes.trim_ascii_start().starts_with(b"(") || bytes.trim_ascii_start().starts_with(b";;") {
        return "this looks like WebAssembly text; turn it into a binary first (`wasm-tools parse`)";
    }
    if std::str::from_utf8(bytes).is_ok() {
        return "this looks like text";
    }
    "a component begins with the bytes 00 61 73 6d 0d 00 01 00, and this does not"
}
