//! Configures wasmtime: the accepted Wasm proposals, the compiler's settings, and the pool that instances are allocated from.

use wasmparser::WasmFeatures;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::limits::{CORE_INSTANCES, Limits, MEMORIES, TABLE_ELEMENTS};

/// The Wasm proposals that plugins may use. Every other proposal either has no use in a pure transform (threads, async) or is
/// engine code that no guest language needs yet (guest GC, exceptions, memory64, multi-memory).
pub(super) const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Stack size of the threads that run plugins, in bytes.
pub(super) const THREAD_STACK: usize = 4 << 20;

/// Bytes of a thread's stack that a plugin may use: JavaScript walks data 1,000 levels deep in less than that. The rest is for the host's
/// frames below and above it.
const GUEST_STACK: usize = 2 << 20;

/// Bytes that stay mapped in a memory slot between calls: zeroing them is faster than page faults.
const KEEP_RESIDENT: usize = 1 << 20;

/// Bytes of the engine's own metadata of one instance: mostly 32 for each function, of which Python has 13,483.
const INSTANCE_SIZE: usize = 4 << 20;

/// The purpose that code is compiled for. Each needs its own code, because counting fuel takes extra instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Purpose {
    /// Calls that are interrupted at their deadline.
    Calls,
    /// Calls whose work is counted in fuel.
    Fuel,
}

impl Purpose {
    /// Returns `calls` or `fuel`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Fuel => "fuel",
        }
    }
}

/// The proposals that wasmtime itself needs in addition. For a component with inner components that call each other (QuickJS
/// with stubbed WASI), wasmtime generates modules that copy between their memories, and it panics if the proposal is disabled.
/// Uploads may not use it: `inspect` validates with [`FEATURES`].
const ADAPTERS: WasmFeatures = WasmFeatures::MULTI_MEMORY;

/// Builds the engine for calls under `limits`, with a pooling allocator.
///
/// # Errors
/// If this machine lacks a resource that the settings need, for example address space.
pub(super) fn for_calls(limits: &Limits) -> wasmtime::Result<Engine> {
    let mut config = settings(Purpose::Calls);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(instance_pool(limits)));
    Engine::new(&config)
}

/// Builds an engine that allocates memory on demand: for compiling, and for counting fuel. Code that it compiles also runs in
/// an engine of the same purpose from [`for_calls`].
///
/// # Errors
/// If this machine cannot run compiled code.
pub(super) fn on_demand(purpose: Purpose) -> wasmtime::Result<Engine> {
    Engine::new(&settings(purpose))
}

fn settings(purpose: Purpose) -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES | ADAPTERS, true)
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        // These two make the same event give the same bytes on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .epoch_interruption(purpose == Purpose::Calls)
        .consume_fuel(purpose == Purpose::Fuel)
        .max_wasm_stack(GUEST_STACK)
        // A trap is described in one line; collecting the frames of a deep recursion takes longer than the call.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .memory_init_cow(true);
    config
}

/// Sizes the instance pool for one call per thread: an instance never outlives its call.
fn instance_pool(limits: &Limits) -> PoolingAllocationConfig {
    let calls = u32::try_from(limits.threads.max(1)).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .max_component_instance_size(INSTANCE_SIZE)
        .max_core_instance_size(INSTANCE_SIZE)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .total_memories(calls.saturating_mul(MEMORIES))
        .max_memories_per_component(MEMORIES)
        .max_memory_size(limits.memory_bytes)
        .total_tables(calls.saturating_mul(MEMORIES))
        .max_tables_per_component(MEMORIES)
        .max_tables_per_module(MEMORIES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}

#[cfg(test)]
mod tests {
    use wasmparser::Validator;
    use wasmtime::component::Component;

    use super::*;

    /// A component with two inner components, of which the second passes a string to the first, from memory to memory.
    const CALLS_ACROSS: &str = r#"(component
      (component $To
        (core module $M
          (memory (export "memory") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
          (func (export "take") (param i32 i32)))
        (core instance $m (instantiate $M))
        (func (export "take") (param "text" string)
          (canon lift (core func $m "take") (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))
      (component $From
        (import "take" (func $take (param "text" string)))
        (core module $Memory (memory (export "memory") 1))
        (core instance $memory (instantiate $Memory))
        (core func $lowered (canon lower (func $take) (memory (core memory $memory "memory"))))
        (core module $M
          (import "to" "take" (func $take (param i32 i32)))
          (func (export "run") (call $take (i32.const 0) (i32.const 0))))
        (core instance $m (instantiate $M (with "to" (instance (export "take" (func $lowered))))))
        (func (export "run") (canon lift (core func $m "run"))))
      (instance $to (instantiate $To))
      (instance $from (instantiate $From (with "take" (func $to "take"))))
      (export "run" (func $from "run")))"#;

    #[test]
    fn inner_components_may_call_each_other() {
        let engine = for_calls(&Limits::default()).unwrap();
        let component = wat::parse_str(CALLS_ACROSS).unwrap();
        Validator::new_with_features(FEATURES).validate_all(&component).unwrap();
        Component::from_binary(&engine, &component).unwrap();
    }

    #[test]
    fn a_module_with_several_memories_is_invalid_in_an_upload() {
        let component = wat::parse_str("(component (core module (memory 1) (memory 1)))").unwrap();
        let refusal = Validator::new_with_features(FEATURES).validate_all(&component).err().unwrap();
        assert!(refusal.to_string().contains("multiple memories"), "{refusal}");
    }
}
