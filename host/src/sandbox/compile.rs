//! Compiles plugins in a child process with bounded memory and time, isolated from the service.
//!
//! wasmtime does not promise that hostile bytes compile quickly, in little memory, or without a fault. So an upload is read,
//! checked and compiled in a process of its own ([`child`]), which is killed at a limit and affects nothing else. The compiled
//! code is kept on disk ([`Cache`](super::Cache)): each upload is compiled once.

pub(super) mod child;
mod compile_scheduler;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod confine;
mod refused_uploads;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tracing::Instrument;

use crate::domain::company_limit::CompanyLimit;
use crate::domain::plugin::Digest;
use crate::shares::Share;

use super::cache::Cache;
use super::compiled_code::CompiledCode;
use super::engine::Purpose;
use super::refusal::UploadRefusal;
use super::text::{printable, size};
use super::{Plugin, Sandbox};
use compile_scheduler::CompileScheduler;
use refused_uploads::RefusedUploads;

/// Wall-clock limit of one child. It runs at low priority, so on a busy machine it may wait long for its CPU time.
const WALL_LIMIT: Duration = Duration::from_secs(600);

/// Bytes of compiled code that are read from a child. Python's 18 MB component compiles to 33 MB.
const CODE_BYTES: u64 = 512 << 20;

/// Bytes of a child's error output that are read.
const ERROR_BYTES: u64 = 4 << 10;

/// An upload to compile.
#[derive(Clone)]
pub struct Source {
    /// Its name in error texts, for example `version 1a2b3c4d`.
    pub label: String,
    /// The company that it belongs to: one compilation runs for each company at a time.
    pub tenant: String,
    /// The sha-256 of the bytes.
    pub digest: Digest,
    /// A component, or a core module that wit-bindgen made.
    pub bytes: Bytes,
}

/// Why an upload could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The upload is at fault.
    #[error(transparent)]
    Refused(#[from] UploadRefusal),
    /// The company has its share of the queue.
    #[error(transparent)]
    CompanyLimit(#[from] CompanyLimit),
    /// The host is at fault, for example because no process could be started.
    #[error("{0}")]
    Host(String),
}

/// Compiles in child processes and caches the code on disk. Cheap to clone.
#[derive(Clone)]
pub struct Compiler {
    program: Arc<PathBuf>,
    wall_limit: Duration,
    cache: Option<Arc<Cache>>,
    scheduler: Arc<CompileScheduler>,
    refused: Arc<RefusedUploads>,
}

impl Compiler {
    /// Returns a compiler whose child is `program compile-plugin`. `program` must be a posthaste of the same version. Without a
    /// cache, no code is kept. Each upload takes a part of `share`.
    pub fn new(program: PathBuf, cache: Option<Cache>, share: Arc<Share>) -> Self {
        let (scheduler, refused) = (Arc::new(CompileScheduler::new(share)), Arc::default());
        Self { program: program.into(), wall_limit: WALL_LIMIT, cache: cache.map(Arc::new), scheduler, refused }
    }

    /// Returns the path of this process's own program. By way of `/proc`, which still leads to it after an upgrade has replaced
    /// the file.
    pub fn own_program() -> PathBuf {
        let own = PathBuf::from("/proc/self/exe");
        if own.exists() { own } else { std::env::current_exe().unwrap_or(own) }
    }

    /// Loads the plugin of this digest from the cache on disk, ready for calls in `sandbox`. `None` if it has to be compiled.
    pub async fn kept(&self, sandbox: &Sandbox, label: &str, digest: &Digest) -> Option<Plugin> {
        let compiled = self.read(Purpose::Calls, digest).await?;
        load(sandbox.clone(), label.to_owned(), compiled).await.ok()
    }

    /// Returns whether the cache has code of this digest, without reading it.
    pub fn keeps(&self, digest: &Digest) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.has(Purpose::Calls, digest))
    }

    /// Returns the digests of all code in the cache.
    pub async fn all_kept(&self) -> Vec<Digest> {
        let Some(cache) = self.cache.clone() else { return Vec::new() };
        let listed = tokio::task::spawn_blocking(move || cache.digests()).await;
        listed.unwrap_or_default()
    }

    /// Removes the code of these digests from the cache.
    pub async fn forget(&self, digests: Vec<Digest>) {
        let Some(cache) = self.cache.clone().filter(|_| !digests.is_empty()) else { return };
        let removing = tokio::task::spawn_blocking(move || cache.remove(&digests)).await;
        if let Ok(Err(error)) = removing {
            tracing::warn!(%error, "the compiled code of a removed plugin stays on disk until the next start");
        }
    }

    /// Returns the plugin, ready for calls in `sandbox`: from the cache, or compiled when the scheduler permits. With `patient` it
    /// waits however long the queue is.
    ///
    /// # Errors
    /// See [`CompileError`]; [`CompileError::CompanyLimit`] only without `patient`.
    pub async fn plugin(&self, sandbox: &Sandbox, source: Source, patient: bool) -> Result<Plugin, CompileError> {
        if let Some(plugin) = self.kept(sandbox, &source.label, &source.digest).await {
            return Ok(plugin);
        }
        let compiled = self.compile(Purpose::Calls, &source, patient).await?;
        load(sandbox.clone(), source.label, compiled).await
    }

    /// Returns the code of `source` that counts fuel, from the cache or compiled.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub async fn metered(&self, source: &Source) -> Result<CompiledCode, CompileError> {
        match self.read(Purpose::Fuel, &source.digest).await {
            Some(compiled) => Ok(compiled),
            None => self.compile(Purpose::Fuel, source, false).await,
        }
    }

    async fn read(&self, purpose: Purpose, digest: &Digest) -> Option<CompiledCode> {
        let (cache, digest) = (self.cache.clone()?, digest.clone());
        tokio::task::spawn_blocking(move || cache.read(purpose, &digest)).await.ok()?
    }

    async fn compile(&self, purpose: Purpose, source: &Source, patient: bool) -> Result<CompiledCode, CompileError> {
        if let Some(refusal) = self.refused.refusal_of(purpose, &source.digest) {
            return Err(refusal.into());
        }
        let _permit = self.scheduler.acquire(&source.tenant, source.bytes.len(), patient).await?;
        // The previous holder of the company's permit may have compiled the same upload.
        if let Some(compiled) = self.read(purpose, &source.digest).await {
            return Ok(compiled);
        }
        let span = tracing::debug_span!(
            "plugin_compile",
            plugin = &*source.label,
            company = &*source.tenant,
            digest = %source.digest,
            purpose = purpose.name()
        );
        let compiled = match self.in_child(purpose, &source.bytes).instrument(span).await? {
            Ok(compiled) => compiled,
            Err(refusal) => {
                self.refused.add(purpose, source.digest.clone(), refusal.clone());
                return Err(refusal.into());
            }
        };
        let Some(cache) = self.cache.clone() else { return Ok(compiled) };
        let digest = source.digest.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let written = cache.write(purpose, &digest, &compiled);
            (written, compiled)
        });
        let (written, compiled) = writing.await.map_err(|error| CompileError::Host(error.to_string()))?;
        if let Err(error) = written {
            // The code in memory is usable all the same; the next start compiles it again.
            tracing::warn!(%error, "compiled code could not be kept on disk");
        }
        Ok(compiled)
    }

    /// Returns the child's answer, which depends on nothing but the bytes; or why there is none.
    async fn in_child(&self, purpose: Purpose, bytes: &[u8]) -> Result<CompileResult, CompileError> {
        let mut command = Command::new(&*self.program);
        command.arg0("posthaste").args(["compile-plugin", purpose.name()]).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let unstarted = |error| CompileError::Host(format!("the compiling process does not start: {error}"));
        let mut child = command.spawn().map_err(unstarted)?;
        let output = tokio::time::timeout(self.wall_limit, exchange(&mut child, bytes)).await;
        tracing::debug!(in_time = output.is_ok(), "plugin compilation ended");
        match output {
            Ok(Ok(output)) => answer_of(output),
            Ok(Err(error)) => Err(CompileError::Host(format!("the compiling process: {error}"))),
            Err(_) => Err(refused(format!("compiles too slowly: {:?} allowed", self.wall_limit))),
        }
    }
}

/// Makes code ready for calls. Off the async threads, because it copies and links megabytes.
async fn load(sandbox: Sandbox, label: String, compiled: CompiledCode) -> Result<Plugin, CompileError> {
    let loading = tokio::task::spawn_blocking(move || sandbox.load(&label, compiled));
    Ok(loading.await.map_err(|error| CompileError::Host(error.to_string()))??)
}

/// The compiled code, or why the upload is no plugin.
type CompileResult = Result<CompiledCode, UploadRefusal>;

/// The exit status and the output of a child.
struct ChildOutput {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Writes the bytes to the child and reads its output until it exits.
async fn exchange(child: &mut Child, bytes: &[u8]) -> std::io::Result<ChildOutput> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A child that does not read the rest has exited, and its exit status says why.
            let _ = stdin.write_all(bytes).await;
        }
    };
    let ((), stdout, stderr) = tokio::join!(write, read_pipe(stdout, CODE_BYTES), read_pipe(stderr, ERROR_BYTES));
    Ok(ChildOutput { status: child.wait().await?, stdout: stdout?, stderr: stderr? })
}

async fn read_pipe(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(most).read_to_end(&mut content).await?;
    }
    Ok(content)
}

fn answer_of(output: ChildOutput) -> Result<CompileResult, CompileError> {
    if output.status.success() {
        if !output.stderr.is_empty() {
            let said = printable(String::from_utf8_lossy(&output.stderr).trim(), ERROR_BYTES as usize);
            tracing::debug!(said, "a remark of the compiling process");
        }
        let broken = || CompileError::Host("the compiling process gave no valid answer".into());
        return child::read_answer(output.stdout).ok_or_else(broken);
    }
    Err(child_failure(output.status, &String::from_utf8_lossy(&output.stderr)))
}

/// Maps the exit of a child that gave no answer to the limit that it reached.
fn child_failure(status: ExitStatus, error: &str) -> CompileError {
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
            // A panic is caused by these bytes; no upload can cause any other exit.
            if status.code() == Some(PANIC) { refused(text) } else { CompileError::Host(text) }
        }
    }
}

fn refused(text: String) -> CompileError {
    CompileError::Refused(UploadRefusal::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use crate::shares::Resource;

    fn compiler(program: PathBuf) -> Compiler {
        Compiler::new(program, None, Arc::new(Share::unregistered(Resource::Compilations, 8)))
    }

    /// Writes a shell script into the folder.
    fn script(folder: &Path, text: &str) -> PathBuf {
        let program = folder.join("child");
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        program
    }

    /// The result of an upload of these bytes.
    async fn result_of(compiler: &Compiler, bytes: &'static [u8]) -> String {
        let bytes = Bytes::from_static(bytes);
        let source = Source { label: "x".into(), tenant: "t".into(), digest: Digest::of(&bytes), bytes };
        match compiler.metered(&source).await {
            Ok(_) => "compiled".into(),
            Err(CompileError::Refused(refusal)) => format!("refused: {refusal}"),
            Err(error) => format!("host: {error}"),
        }
    }

    /// The result of an upload whose child is this shell script.
    async fn compiled_by(text: &str, wall_limit: Duration) -> String {
        let folder = tempfile::tempdir().unwrap();
        let compiler = Compiler { wall_limit, ..compiler(script(folder.path(), text)) };
        result_of(&compiler, b"\0asm").await
    }

    #[tokio::test]
    async fn the_reason_names_the_limit_that_the_child_reached() {
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
            ("echo nonsense", patient, "host: the compiling process gave no valid answer"),
            ("echo '{\"Refused\":\"not a plugin\"}'", patient, "refused: not a plugin"),
        ] {
            let result = compiled_by(script, wall).await;
            assert!(result.starts_with(text), "{script}: {result}");
        }
        assert!(result_of(&compiler("/nowhere".into()), b"").await.starts_with("host: "));
    }

    #[tokio::test]
    async fn only_a_refusal_that_depends_on_the_bytes_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        for (end, remembered) in [
            ("echo '{\"Refused\":\"not a plugin\"}'", true),
            ("kill -XCPU $$", false),
            ("kill -KILL $$", false),
            ("echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$", false),
            ("exit 1", false),
        ] {
            fs::write(&runs, "").unwrap();
            let compiler = compiler(script(folder.path(), &format!("echo run >> {}; {end}", runs.display())));
            let first = result_of(&compiler, b"a").await;
            assert_eq!(result_of(&compiler, b"a").await, first, "{end}");
            result_of(&compiler, b"b").await;
            let runs = fs::read_to_string(&runs).unwrap().lines().count();
            assert_eq!(runs, if remembered { 2 } else { 3 }, "{end}: {first}");
        }
    }
}
