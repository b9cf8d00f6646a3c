//! A compiled plugin, ready to be instantiated.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::plugin::Failure;

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::bindings::v0_1::TransformPre;
use super::compile::{Compiled, Facts};
use super::inspect::{Inspection, Refusal};
use super::state::State;

/// A compiled plugin. Many calls can use it at the same time; they share its code and nothing else.
pub struct Plugin {
    /// Names the plugin's queue in the pool.
    pub(super) id: u64,
    pub(super) pre: TransformPre<State>,
    label: Box<str>,
    facts: Facts,
    code_bytes: usize,
}

impl Plugin {
    /// Links `compiled` to what `linker` offers.
    ///
    /// # Errors
    /// When it was not compiled for `engine`, or asks for other types than the contract's.
    pub(super) fn load(
        label: &str,
        engine: &Engine,
        linker: &Linker<State>,
        compiled: Compiled,
    ) -> Result<Self, Refusal> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let refused = |error: wasmtime::Error| Refusal::new(format!("{error:#}"));
        let component = component(engine, &compiled).map_err(refused)?;
        let pre = linker.instantiate_pre(&component).map_err(refused)?;
        let pre = TransformPre::new(pre).map_err(refused)?;
        let Compiled { facts, code } = compiled;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { id, pre, label: label.into(), facts, code_bytes: code.len() })
    }

    /// Milliseconds that compiling it took, here or in an earlier process that kept the code.
    pub fn compile_ms(&self) -> u64 {
        self.facts.compile_ms
    }

    /// Bytes of its compiled code, which is most of what it takes in memory.
    pub fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// What error texts call it, for example `mask@1a2b3c4d`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it imports and exports.
    pub fn inspection(&self) -> &Inspection {
        &self.facts.inspection
    }

    /// A failure that is not the plugin's own answer, with the plugin's name before it.
    pub(super) fn broke(&self, why: &str) -> Failure {
        Failure::Broke(format!("{}: {why}", self.label))
    }
}

/// wasmtime trusts what it loads: this is the one place where unsafe code is justified.
#[expect(unsafe_code, reason = "loading compiled code")]
fn component(engine: &Engine, compiled: &Compiled) -> wasmtime::Result<Component> {
    // SAFETY: a `Compiled` is made in two places only: by `compile::child`, out of wasmtime's own compiler, and by
    // `Cache::read`, which has authenticated that this installation wrote it. wasmtime itself checks that version and
    // settings are those of `engine`.
    unsafe { Component::deserialize(engine, &compiled.code) }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("label", &self.label).field("facts", &self.facts).finish_non_exhaustive()
    }
}
