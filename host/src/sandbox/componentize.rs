//! Converts a core module that wit-bindgen made to a component.

use std::borrow::Cow;
use std::panic::catch_unwind;

use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

use super::inspect::looks_like;
use super::refusal::UploadRefusal;

/// Converts a core module that was built with wit-bindgen to a component; returns a component unchanged.
///
/// # Errors
/// If `bytes` is neither, or the module imports something that the host does not offer.
pub fn componentize(bytes: &[u8]) -> Result<Cow<'_, [u8]>, UploadRefusal> {
    if Parser::is_component(bytes) {
        return Ok(bytes.into());
    }
    if !Parser::is_core_wasm(bytes) {
        return Err(UploadRefusal::new(format!("not a WebAssembly component: {}", looks_like(bytes))));
    }
    check_module(bytes)?;
    // wit-component is written for the output of compilers and may panic; an upload is untrusted.
    let encoded = catch_unwind(|| ComponentEncoder::default().module(bytes)?.validate(true).encode());
    match encoded {
        Ok(Ok(component)) => Ok(component.into()),
        Ok(Err(error)) => Err(UploadRefusal::new(format!("this core module cannot become a component: {error:#}"))),
        Err(_) => Err(UploadRefusal::new("this core module cannot become a component: its metadata is broken")),
    }
}

/// Refuses modules that wit-component would accept, or refuse with an unhelpful text.
fn check_module(bytes: &[u8]) -> Result<(), UploadRefusal> {
    let broken = |error| UploadRefusal::new(format!("not a valid core module: {error}"));
    let mut metadata = false;
    let mut wasi = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Component, .. } => {
                return Err(UploadRefusal::new("not a valid core module: it holds a component"));
            }
            Payload::CustomSection(section) => metadata |= section.name().starts_with("component-type"),
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(broken)?;
                    // Compilers choose these module names; they belong to no interface of the component model.
                    if import.module.starts_with("wasi_") {
                        wasi.push(format!("{}/{}", import.module, import.name));
                    }
                }
            }
            _ => {}
        }
    }
    if !wasi.is_empty() {
        return Err(UploadRefusal::imports(&wasi));
    }
    if !metadata {
        return Err(UploadRefusal::new(
            "this is a core module without wit-bindgen's metadata, so its interface is unknown; build it with \
             wit-bindgen for the world `posthaste:transform/transform`, or upload a component",
        ));
    }
    Ok(())
}
