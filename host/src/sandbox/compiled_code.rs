//! Compiled code and the facts that are kept with it.

use serde::{Deserialize, Serialize};

use super::inspect::Inspection;

/// Compiled code that an engine can load, and the facts about its component.
pub struct CompiledCode {
    pub(super) facts: ComponentFacts,
    /// wasmtime's own format. It contains native code, so it may be loaded only if it is known to come from [`child`].
    pub(super) code: Vec<u8>,
}

/// The facts about a component that are kept with its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ComponentFacts {
    pub(super) inspection: Inspection,
    /// Milliseconds that compilation took.
    pub(super) compile_ms: u64,
}
