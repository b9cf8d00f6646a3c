//! A loaded plugin, ready to be instantiated.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::plugin::{Failure, preset_config};

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::bindings::v0_1::TransformPre;
use super::call_state::CallState;
use super::compiled_code::{CompiledCode, ComponentFacts};
use super::inspect::Inspection;
use super::refusal::UploadRefusal;

/// A loaded plugin. Concurrent calls share its code and nothing else.
pub struct Plugin {
    /// The number of its account in the scheduler.
    pub(super) id: u64,
    pub(super) pre: TransformPre<CallState>,
    label: Box<str>,
    facts: Arc<ComponentFacts>,
    code_bytes: usize,
    preset: Option<&'static str>,
}

impl Plugin {
    /// Links `compiled` to the imports that `linker` offers.
    ///
    /// # Errors
    /// If it was not compiled for `engine`, or its imports have other types than the contract's.
    pub(super) fn load(
        label: &str,
        engine: &Engine,
        linker: &Linker<CallState>,
        compiled: CompiledCode,
    ) -> Result<Self, UploadRefusal> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let refused = |error: wasmtime::Error| UploadRefusal::new(format!("{error:#}"));
        let component = component(engine, &compiled).map_err(refused)?;
        let pre = linker.instantiate_pre(&component).map_err(refused)?;
        let pre = TransformPre::new(pre).map_err(refused)?;
        let CompiledCode { facts, code } = compiled;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let facts = Arc::new(facts);
        Ok(Self { id, pre, label: label.into(), facts, code_bytes: code.len(), preset: None })
    }

    /// Returns the plugin as a preset of its component: the same code and account, with another config.
    #[must_use]
    pub fn with_preset(&self, preset: &'static str) -> Self {
        Self {
            id: self.id,
            pre: self.pre.clone(),
            label: self.label.clone(),
            facts: Arc::clone(&self.facts),
            code_bytes: self.code_bytes,
            preset: Some(preset),
        }
    }

    /// Returns the config that the component gets for a webhook's config.
    pub(super) fn config<'c>(&self, config: &'c str) -> Cow<'c, str> {
        self.preset.map_or(Cow::Borrowed(config), |preset| Cow::Owned(preset_config(preset, config)))
    }

    /// Returns the milliseconds that compilation took, in this process or in an earlier one that cached the code.
    pub fn compile_ms(&self) -> u64 {
        self.facts.compile_ms
    }

    /// Returns the bytes of its compiled code, which is most of its memory use.
    pub fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// Returns its name in error texts, for example `mask@1a2b3c4d`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns its imports and exports.
    pub fn inspection(&self) -> &Inspection {
        &self.facts.inspection
    }

    /// Returns a failure that is not the plugin's own answer, prefixed with the plugin's label.
    pub(super) fn broke(&self, why: &str) -> Failure {
        Failure::Broke(format!("{}: {why}", self.label))
    }
}

/// Deserializes compiled code. wasmtime trusts these bytes, so this is the one justified use of unsafe code.
#[expect(unsafe_code, reason = "loading compiled code")]
fn component(engine: &Engine, compiled: &CompiledCode) -> wasmtime::Result<Component> {
    // SAFETY: a `CompiledCode` is constructed in two places only: in `compile::child`, from the output of wasmtime's own
    // compiler, and in `Cache::read`, which has authenticated that this installation wrote it. wasmtime itself checks that
    // version and settings are those of `engine`.
    unsafe { Component::deserialize(engine, &compiled.code) }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("label", &self.label).field("facts", &self.facts).finish_non_exhaustive()
    }
}
