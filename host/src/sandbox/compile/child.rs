//! The child process: limits its own resources, then compiles one upload from stdin to stdout.

use std::io::{Read, Write};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use crate::sandbox::compiled_code::{CompiledCode, ComponentFacts};
use crate::sandbox::componentize;
use crate::sandbox::engine::{self, Purpose};
use crate::sandbox::inspect::{Inspection, inspect};
use crate::sandbox::refusal::UploadRefusal;

/// Limit of address space, in bytes. Python's 18 MB component needs a third of it.
pub(in crate::sandbox) const MEMORY: u64 = 1 << 30;

/// Limit of CPU time, in seconds. SpiderMonkey's 12 MB component needs a third of it.
pub(in crate::sandbox) const CPU_SECONDS: u64 = 60;

/// The child's priority, below deliveries (nice(2)); not the lowest, so that it makes progress beside other background work.
const NICE: i32 = 10;

/// The first line of the output, JSON. The code follows it.
#[derive(Serialize, Deserialize)]
enum ChildAnswer {
    Compiled(ComponentFacts),
    Refused(String),
}

/// Compiles stdin to stdout, under limits that the process cannot raise again.
///
/// # Errors
/// If the limits cannot be set, or the pipes break.
pub fn compile(purpose: Purpose) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    limit_resources()?;
    let engine = engine::on_demand(purpose).map_err(|error| format!("{error:#}"))?;
    // The engine is built before: it asks the system about the processor.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    if let Err(error) = super::confine::confine() {
        eprintln!("not confined by seccomp: {error}");
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let mut output = std::io::stdout().lock();
    match produce(&engine, &bytes) {
        Ok(CompiledCode { facts, code }) => {
            serde_json::to_writer(&mut output, &ChildAnswer::Compiled(facts))?;
            output.write_all(b"\n")?;
            output.write_all(&code)?;
        }
        Err(refusal) => {
            serde_json::to_writer(&mut output, &ChildAnswer::Refused(refusal.to_string()))?;
            output.write_all(b"\n")?;
        }
    }
    Ok(output.flush()?)
}

fn limit_resources() -> rustix::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    nice(NICE)?;
    let limits = [
        (Resource::As, MEMORY),
        (Resource::Cpu, CPU_SECONDS),
        (Resource::Core, 0),
        // No file can be written; pipes are not affected.
        (Resource::Fsize, 0),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

/// Inspects `bytes` and compiles them for engines of the same settings as `engine`.
///
/// # Errors
/// If the upload is not a plugin; the text says why.
pub(in crate::sandbox) fn produce(engine: &Engine, bytes: &[u8]) -> Result<CompiledCode, UploadRefusal> {
    let begun = Instant::now();
    let component = componentize(bytes)?;
    let inspection = Inspection { size: bytes.len(), ..inspect(&component)? };
    let code = engine.precompile_component(&component).map_err(|error| UploadRefusal::new(format!("{error:#}")))?;
    let compile_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(CompiledCode { facts: ComponentFacts { inspection, compile_ms }, code })
}

/// Parses the output of a child. `None` if no child of this version wrote it.
pub(super) fn read_answer(mut output: Vec<u8>) -> Option<Result<CompiledCode, UploadRefusal>> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let code = output.split_off(end + 1);
    match serde_json::from_slice(&output).ok()? {
        ChildAnswer::Compiled(facts) => Some(Ok(CompiledCode { facts, code })),
        ChildAnswer::Refused(text) => Some(Err(UploadRefusal::new(text))),
    }
}
