//! What a call may use, and the meter that stops it when it wants more.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::text::size;

/// Elements of all tables of one call together. SpiderMonkey has 7,689, Python 5,672.
pub(super) const TABLE_ELEMENTS: usize = 20_000;

/// Core instances of one plugin. Python has 71.
pub(super) const CORE_INSTANCES: u32 = 100;

/// Linear memories, and likewise tables, of one plugin.
pub(super) const MEMORIES: u32 = 16;

/// Handles to resources that a plugin may hold. The world has no resources; toolchains use some among their own parts.
pub(super) const HANDLES: usize = 1000;

/// What one call may use, and how many calls run at the same time.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time for one call, instantiation included.
    pub deadline: Duration,
    /// Bytes of all linear memories of one call together.
    pub memory_bytes: usize,
    /// Bytes of the body that a transform may answer with.
    pub output_bytes: usize,
    /// OS threads that run plugins. One plugin gets all but one of them (but always one), so that it never keeps
    /// the others waiting; the default is one more than the cores, so that one plugin alone can still use every core.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(100),
            memory_bytes: 64 << 20,
            output_bytes: 1 << 20,
            threads: std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1),
        }
    }
}

impl Limits {
    /// Bytes that the host copies out of a plugin at once, whether result or log message. Well above `output_bytes`, so
    /// that the refusal of a body that is only somewhat too large can still say how large it was.
    pub(super) fn lift_bytes(&self) -> usize {
        self.output_bytes.saturating_mul(4).max(1 << 20)
    }
}

/// A limit that a call ran into: what was allowed and, where it is known, what was wanted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct OverLimit(pub(super) String);

impl OverLimit {
    /// `what: … allowed, … wanted`, in bytes.
    pub(super) fn bytes(what: &str, allowed: usize, wanted: usize) -> Self {
        Self(format!("{what}: {} allowed, {} wanted", size(allowed), size(wanted)))
    }
}

/// Sums what one call has taken. Wasmtime's own `StoreLimits` looks at each memory alone, so a plugin with sixteen of
/// them would get sixteen times the limit.
#[derive(Debug)]
pub(super) struct Meter {
    memory_allowed: usize,
    memory: usize,
    tables: usize,
}

impl Meter {
    /// A meter that stands at zero.
    pub(super) fn new(memory_allowed: usize) -> Self {
        Self { memory_allowed, memory: 0, tables: 0 }
    }

    /// Bytes of all memories. They never shrink, so at the end of a call this is its peak.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory.saturating_add(desired.saturating_sub(current));
        if wanted > self.memory_allowed {
            // An error, not `false`: most languages turn a failed growth into a bare trap that names no reason.
            return Err(OverLimit::bytes("memory limit", self.memory_allowed, wanted).into());
        }
        // Beyond the memory's own declared maximum the growth fails by itself and must not be counted.
        let grows = maximum.is_none_or(|maximum| desired <= maximum);
        if grows {
            self.memory = wanted;
        }
        Ok(grows)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.tables.saturating_add(desired.saturating_sub(current));
        if wanted > TABLE_ELEMENTS {
            let text = format!("table limit: {TABLE_ELEMENTS} elements allowed, {wanted} wanted");
            return Err(OverLimit(text).into());
        }
        let grows = maximum.is_none_or(|maximum| desired <= maximum);
        if grows {
            self.tables = wanted;
        }
        Ok(grows)
    }
}
