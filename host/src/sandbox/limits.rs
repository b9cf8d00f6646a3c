//! The resources that a call may use, and the meter that fails a call which needs more.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::text::size;

/// Elements of all tables of one call in total. SpiderMonkey has 7,689, Python 5,672.
pub(super) const TABLE_ELEMENTS: usize = 20_000;

/// Core instances of one plugin. Python has 71.
pub(super) const CORE_INSTANCES: u32 = 100;

/// Linear memories, and likewise tables, of one plugin.
pub(super) const MEMORIES: u32 = 16;

/// Handles to resources that a plugin may hold. The world defines no resources; toolchains use some between their own
/// components.
pub(super) const HANDLES: usize = 1000;

/// Bounds the resources of one call, and the number of concurrent calls.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time for one call, instantiation included.
    pub deadline: Duration,
    /// Bytes of all linear memories of one call in total.
    pub memory_bytes: usize,
    /// Bytes of the body that a transform may return.
    pub output_bytes: usize,
    /// OS threads that run plugins. One plugin may hold all but one of them (and always at least one), so that it never blocks
    /// all others. The default is one more than the number of cores, so that a single busy plugin can still use every core.
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
    /// Returns the bytes that the host copies out of a plugin for one result or log message. Well above `output_bytes`, so
    /// that the error for a body somewhat over its limit can still say how large the body was.
    pub(super) fn lift_bytes(&self) -> usize {
        self.output_bytes.saturating_mul(4).max(1 << 20)
    }
}

/// A limit that a call exceeded: the allowed amount and, if known, the requested one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LimitExceeded(pub(super) String);

impl LimitExceeded {
    /// Returns the error text `what: … allowed, … wanted`, in bytes.
    pub(super) fn bytes(what: &str, allowed: usize, wanted: usize) -> Self {
        Self(format!("{what}: {} allowed, {} wanted", size(allowed), size(wanted)))
    }
}

/// Sums the memory and table elements of one call. Wasmtime's own `StoreLimits` bounds each memory separately, so a plugin
/// with sixteen memories would get sixteen times the limit.
#[derive(Debug)]
pub(super) struct ResourceMeter {
    memory_allowed: usize,
    memory: usize,
    tables: usize,
}

impl ResourceMeter {
    /// Returns a meter at zero.
    pub(super) fn new(memory_allowed: usize) -> Self {
        Self { memory_allowed, memory: 0, tables: 0 }
    }

    /// Returns the bytes of all memories. Memories never shrink, so at the end of a call this is its peak.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for ResourceMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory.saturating_add(desired.saturating_sub(current));
        if wanted > self.memory_allowed {
            // An error rather than `false`: most languages turn a failed growth into a trap that gives no reason.
            return Err(LimitExceeded::bytes("memory limit", self.memory_allowed, wanted).into());
        }
        // A growth beyond the memory's own declared maximum fails in wasmtime and must not be counted.
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
            return Err(LimitExceeded(text).into());
        }
        let grows = maximum.is_none_or(|maximum| desired <= maximum);
        if grows {
            self.tables = wanted;
        }
        Ok(grows)
    }
}
