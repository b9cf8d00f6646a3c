//! A compiled plugin, ready to be instantiated.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::plugin::Failure;

use super::bindings::v0_1::TransformPre;
use super::inspect::Inspection;
use super::state::State;

/// A compiled plugin. Many calls can use it at the same time; they share its code and nothing else.
pub struct Plugin {
    /// Names the plugin's queue in the pool.
    pub(super) id: u64,
    pub(super) pre: TransformPre<State>,
    label: Box<str>,
    inspection: Inspection,
}

impl Plugin {
    pub(super) fn new(label: &str, pre: TransformPre<State>, inspection: Inspection) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), pre, label: label.into(), inspection }
    }

    /// What error texts call it, for example `mask@1a2b3c4d`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it imports and exports.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// A failure that is not the plugin's own answer, with the plugin's name before it.
    pub(super) fn broke(&self, why: &str) -> Failure {
        Failure::Broke(format!("{}: {why}", self.label))
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("label", &self.label)
            .field("inspection", &self.inspection)
            .finish_non_exhaustive()
    }
}
