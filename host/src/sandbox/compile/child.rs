//! What runs in the child process: the limits that it sets itself, and one compilation from stdin to stdout.

use std::io::{Read, Write};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use crate::sandbox::componentize;
use crate::sandbox::engine::{self, Purpose};
use crate::sandbox::inspect::{Inspection, Refusal, inspect};

use super::{Compiled, Facts};

/// Bytes of address space. Python's 18 MB component needs a third of it.
pub(in crate::sandbox) const MEMORY: u64 = 1 << 30;

/// Seconds of CPU time. SpiderMonkey's 12 MB component needs a third of it.
pub(in crate::sandbox) const CPU_SECONDS: u64 = 60;

/// How far the child stands back behind deliveries (nice(2)); behind other idle-priority work it still gets on.
const NICE: i32 = 10;

/// What stands before the code in the answer: one line of JSON.
#[derive(Serialize, Deserialize)]
enum Answer {
    Compiled(Facts),
    Refused(String),
}

/// Compiles stdin to stdout, under limits that cannot be raised again.
///
/// # Errors
/// When the limits cannot be set, or the pipes break.
pub fn compile(purpose: Purpose) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    confine()?;
    let engine = engine::on_demand(purpose).map_err(|error| format!("{error:#}"))?;
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let mut output = std::io::stdout().lock();
    match produce(&engine, &bytes) {
        Ok(Compiled { facts, code }) => {
            serde_json::to_writer(&mut output, &Answer::Compiled(facts))?;
            output.write_all(b"\n")?;
            output.write_all(&code)?;
        }
        Err(refusal) => {
            serde_json::to_writer(&mut output, &Answer::Refused(refusal.to_string()))?;
            output.write_all(b"\n")?;
        }
    }
    Ok(output.flush()?)
}

fn confine() -> rustix::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    nice(NICE)?;
    let limits = [
        (Resource::As, MEMORY),
        (Resource::Cpu, CPU_SECONDS),
        (Resource::Core, 0),
        // No file can be written: pipes are none.
        (Resource::Fsize, 0),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

/// Reads, checks and compiles `bytes` for engines of the same settings as `engine`.
///
/// # Errors
/// When the upload is not a plugin; the text says why.
pub(in crate::sandbox) fn produce(engine: &Engine, bytes: &[u8]) -> Result<Compiled, Refusal> {
    let begun = Instant::now();
    let component = componentize(bytes)?;
    let inspection = Inspection { size: bytes.len(), ..inspect(&component)? };
    let code = engine.precompile_component(&component).map_err(|error| Refusal::new(format!("{error:#}")))?;
    let compile_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Compiled { facts: Facts { inspection, compile_ms }, code })
}

/// Reads what a child has written; `None` when no child of this version wrote it.
pub(super) fn read_answer(mut said: Vec<u8>) -> Option<Result<Compiled, Refusal>> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    let code = said.split_off(end + 1);
    match serde_json::from_slice(&said).ok()? {
        Answer::Compiled(facts) => Some(Ok(Compiled { facts, code })),
        Answer::Refused(text) => Some(Err(Refusal::new(text))),
    }
}
