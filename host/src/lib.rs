//! Posthaste, a webhook dispatcher that runs an optional, sandboxed WebAssembly transform before each POST.

pub mod clock;
pub mod domain;
pub mod store;
