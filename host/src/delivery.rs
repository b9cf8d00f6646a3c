//! The delivery engine: the components that carry an event from its acceptance to the record of its last attempt.
#![allow(dead_code, unused_imports)] // Until the engine is built on it.

mod queue;
