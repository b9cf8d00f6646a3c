//! Compiling, kept apart from everything else: in a child process that may take so much memory and time and no more.
//!
//! wasmtime does not promise that hostile bytes compile quickly, or in little memory, or without a fault. So what a
//! stranger uploaded is read, checked and compiled in a process of its own ([`child`]), which is killed at a limit and
//! takes nobody with it. What comes back is kept on disk ([`Cache`](super::Cache)): compiling is paid once per upload.

pub(super) mod child;
mod turns;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::domain::plugin::Digest;

use super::cache::Cache;
use super::engine::Purpose;
use super::inspect::{Inspection, Refusal};
use super::text::{printable, size};
use super::{Plugin, Sandbox};
use turns::Turns;

/// Wall-clock time of one child. It runs at low priority, so that on a busy machine it may wait long for its CPU time.
const WALL: Duration = Duration::from_secs(600);

/// Bytes of compiled code that are taken from a child. Python's 18 MB component makes 33 MB.
const CODE_BYTES: u64 = 512 << 20;

/// Bytes of a child's error output that are looked at.
const ERROR_BYTES: u64 = 4 << 10;

/// Code that an engine can load, and what the component said about itself.
pub struct Compiled {
    pub(super) facts: Facts,
    /// wasmtime's own format: native code, to be loaded only where it is known to come from [`child`].
    pub(super) code: Vec<u8>,
}

/// What is known of a component beside its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) inspection: Inspection,
    /// How long compiling took, when it was compiled.
    pub(super) compile_ms: u64,
}

/// Bytes to be compiled, and for whom.
#[derive(Clone)]
pub struct Source {
    /// What error texts call it, for example `version 1a2b3c4d`.
    pub label: String,
    /// Whose turn it takes: one compilation runs for each tenant at a time.
    pub tenant: String,
    /// The sha-256 of the bytes.
    pub digest: Digest,
    /// A component, or a core module that wit-bindgen made.
    pub bytes: Bytes,
}

/// Why there is no compiled plugin.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is the upload's fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many are waiting; later there may be room.
    #[error("{0}")]
    Busy(String),
    /// It is the host's fault, for example that no process could be started.
    #[error("{0}")]
    Host(String),
}

/// Compiles in child processes and keeps what they made. Cheap to clone.
#[derive(Clone)]
pub struct Compiler {
    program: Arc<PathBuf>,
    wall: Duration,
    cache: Option<Arc<Cache>>,
    turns: Arc<Turns>,
}

impl Compiler {
    /// A compiler whose child is `program compile-plugin`, `program` being a posthaste of this very version; without a
    /// cache nothing is kept.
    pub fn new(program: PathBuf, cache: Option<Cache>) -> Self {
        Self { program: program.into(), wall: WALL, cache: cache.map(Arc::new), turns: Arc::default() }
    }

    /// This process's own program. By way of `/proc`, which still leads to it after an upgrade has put another file in
    /// its place.
    pub fn own_program() -> PathBuf {
        let own = PathBuf::from("/proc/self/exe");
        if own.exists() { own } else { std::env::current_exe().unwrap_or(own) }
    }

    /// The plugin of this digest from what is kept on disk, ready for calls in `sandbox`. `None` where it has to be
    /// compiled.
    pub async fn kept(&self, sandbox: &Sandbox, label: &str, digest: &Digest) -> Option<Plugin> {
        let compiled = self.read(Purpose::Calls, digest).await?;
        load(sandbox.clone(), label.to_owned(), compiled).await.ok()
    }

    /// Whether [`Compiler::kept`] could find it, without reading the code.
    pub fn keeps(&self, digest: &Digest) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.has(Purpose::Calls, digest))
    }

    /// The plugin, ready for calls in `sandbox`: from disk, or compiled in its turn. With `patient` it waits as long as
    /// that takes.
    ///
    /// # Errors
    /// As [`CompileError`] says; [`CompileError::Busy`] only without `patient`.
    pub async fn plugin(&self, sandbox: &Sandbox, source: Source, patient: bool) -> Result<Plugin, CompileError> {
        if let Some(plugin) = self.kept(sandbox, &source.label, &source.digest).await {
            return Ok(plugin);
        }
        let compiled = self.compile(Purpose::Calls, &source, patient).await?;
        load(sandbox.clone(), source.label, compiled).await
    }

    /// The code of `source` that counts its work.
    ///
    /// # Errors
    /// As [`CompileError`] says.
    pub async fn metered(&self, source: &Source) -> Result<Compiled, CompileError> {
        match self.read(Purpose::Fuel, &source.digest).await {
            Some(compiled) => Ok(compiled),
            None => self.compile(Purpose::Fuel, source, false).await,
        }
    }

    async fn read(&self, purpose: Purpose, digest: &Digest) -> Option<Compiled> {
        let (cache, digest) = (self.cache.clone()?, digest.clone());
        tokio::task::spawn_blocking(move || cache.read(purpose, &digest)).await.ok()?
    }

    async fn compile(&self, purpose: Purpose, source: &Source, patient: bool) -> Result<Compiled, CompileError> {
        let _turn = self.turns.wait(&source.tenant, patient).await.map_err(CompileError::Busy)?;
        // Whoever had the turn before may have compiled the same.
        if let Some(compiled) = self.read(purpose, &source.digest).await {
            return Ok(compiled);
        }
        let compiled = self.in_child(purpose, &source.bytes).await?;
        let Some(cache) = self.cache.clone() else { return Ok(compiled) };
        let digest = source.digest.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let written = cache.write(purpose, &digest, &compiled);
            (written, compiled)
        });
        let (written, compiled) = kept.await.map_err(|error| CompileError::Host(error.to_string()))?;
        if let Err(error) = written {
            // It can be used all the same; the next start compiles it again.
            tracing::warn!(%error, "compiled code could not be kept on disk");
        }
        Ok(compiled)
    }

    async fn in_child(&self, purpose: Purpose, bytes: &[u8]) -> Result<Compiled, CompileError> {
        let mut command = Command::new(&*self.program);
        command.arg0("posthaste").args(["compile-plugin", purpose.name()]).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let unstarted = |error| CompileError::Host(format!("the compiling process does not start: {error}"));
        let mut child = command.spawn().map_err(unstarted)?;
        match tokio::time::timeout(self.wall, converse(&mut child, bytes)).await {
            Ok(Ok((status, said, error))) => outcome(status, said, &error),
            Ok(Err(error)) => Err(CompileError::Host(format!("the compiling process: {error}"))),
            Err(_) => Err(refused(format!("compiles too slowly: {:?} allowed", self.wall))),
        }
    }
}

/// Makes code ready for calls. Off the async threads: it copies and links megabytes.
async fn load(sandbox: Sandbox, label: String, compiled: Compiled) -> Result<Plugin, CompileError> {
    let loading = tokio::task::spawn_blocking(move || sandbox.load(&label, compiled));
    Ok(loading.await.map_err(|error| CompileError::Host(error.to_string()))??)
}

/// Hands over the bytes and listens until the child ends.
async fn converse(child: &mut Child, bytes: &[u8]) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (input, output, error) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let give = async {
        if let Some(mut input) = input {
            // A child that does not want the rest has ended, and says why by how it ended.
            let _ = input.write_all(bytes).await;
        }
    };
    let ((), said, error) = tokio::join!(give, listen(output, CODE_BYTES), listen(error, ERROR_BYTES));
    Ok((child.wait().await?, said?, error?))
}

async fn listen(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(most).read_to_end(&mut said).await?;
    }
    Ok(said)
}

fn outcome(status: ExitStatus, said: Vec<u8>, error: &[u8]) -> Result<Compiled, CompileError> {
    if status.success() {
        let broken = || CompileError::Host("the compiling process answered what is no answer".into());
        return Ok(child::read_answer(said).ok_or_else(broken)??);
    }
    Err(death(status, &String::from_utf8_lossy(error)))
}

/// What a child that ended otherwise than by answering ran into.
fn death(status: ExitStatus, error: &str) -> CompileError {
    const ABORT: i32 = 6;
    const KILL: i32 = 9;
    const SEGMENT: i32 = 11;
    const CPU: i32 = 24;
    const PANIC: i32 = 101;
    let memory = || format!("takes too much memory to compile: {} allowed", size(child::MEMORY as usize));
    match status.signal() {
        Some(CPU) => refused(format!("compiles too slowly: {} s of CPU time allowed", child::CPU_SECONDS)),
        Some(ABORT) if error.contains("memory allocation") => refused(memory()),
        Some(KILL) => refused(format!("{} (or the machine has none left)", memory())),
        Some(SEGMENT | ABORT) => refused("is nested too deeply for the compiler".into()),
        _ => {
            let text = format!("the compiler broke: {}", printable(error.trim(), ERROR_BYTES as usize));
            // It panicked over these bytes; any other end is none that an upload could bring about.
            if status.code() == Some(PANIC) { refused(text) } else { CompileError::Host(text) }
        }
    }
}

fn refused(text: String) -> CompileError {
    CompileError::Refused(Refusal::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    /// What becomes of an upload whose child behaves as this shell script.
    async fn child_that(script: &str, wall: Duration) -> String {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("child");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        let compiler = Compiler { wall, ..Compiler::new(program, None) };
        let bytes = Bytes::from_static(b"\0asm");
        let source = Source { label: "x".into(), tenant: "t".into(), digest: Digest::of(&bytes), bytes };
        match compiler.metered(&source).await {
            Ok(_) => "compiled".into(),
            Err(CompileError::Refused(refusal)) => format!("refused: {refusal}"),
            Err(error) => format!("host: {error}"),
        }
    }

    #[tokio::test]
    async fn however_a_child_ends_the_reason_names_the_limit() {
        let soon = Duration::from_millis(50);
        let patient = Duration::from_secs(60);
        let out_of_memory = "echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$";
        for (script, wall, text) in [
            ("kill -XCPU $$", patient, "refused: compiles too slowly: 60 s of CPU time allowed"),
            (out_of_memory, patient, "refused: takes too much memory to compile: 1024 MiB allowed"),
            ("kill -KILL $$", patient, "refused: takes too much memory to compile"),
            ("kill -SEGV $$", patient, "refused: is nested too deeply"),
            ("echo 'thread panicked' >&2; exit 101", patient, "refused: the compiler broke: thread panicked"),
            ("echo 'no limits' >&2; exit 1", patient, "host: the compiler broke: no limits"),
            ("exec sleep 1000", soon, "refused: compiles too slowly: 50ms allowed"),
            ("echo nonsense", patient, "host: the compiling process answered what is no answer"),
            ("echo '{\"Refused\":\"not a plugin\"}'", patient, "refused: not a plugin"),
        ] {
            let said = child_that(script, wall).await;
            assert!(said.starts_with(text), "{script}: {said}");
        }
        let nowhere = Compiler::new("/nowhere".into(), None);
        let bytes = Bytes::new();
        let source = Source { label: "x".into(), tenant: "t".into(), digest: Digest::of(&bytes), bytes };
        assert!(matches!(nowhere.metered(&source).await, Err(CompileError::Host(_))));
    }
}
