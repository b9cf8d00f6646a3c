//! Runs plugins: WebAssembly components that may be hostile, each call in a fresh instance with bounded time and memory.
//!
//! The only room that knows wasmtime. [`inspect()`] validates an upload before any of it is compiled; [`Compiler`] compiles it
//! in a child process; [`Sandbox`] runs it. The result of every call is a [`Call`]: whatever a plugin does, the host gets a
//! value that describes it and no other kind of error.

mod bindings;
mod cache;
mod call;
mod call_scheduler;
mod call_state;
mod compile;
mod compiled_code;
mod componentize;
mod declared_limits;
mod engine;
mod epoch;
mod failure;
mod fuel;
mod inspect;
mod limits;
mod plugin;
mod refusal;
#[cfg(test)]
mod tests;
mod text;
mod thread_pool;

use std::sync::Arc;
use std::time::Duration;

use tracing::{Span, debug_span};
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::domain::event::Event;
use crate::domain::plugin::{Failure, Logs, Outcome, PluginCall};

use bindings::v0_1;
use call::CallRunner;
use call_state::CallState;
use epoch::EpochTicker;
use thread_pool::ThreadPool;

pub use cache::Cache;
pub use compile::child::compile as compile_in_child;
pub use compile::{CompileError, Compiler, Source};
pub use compiled_code::CompiledCode;
pub use componentize::componentize;
pub use engine::Purpose;
pub use inspect::{Inspection, Track, inspect};
pub use limits::Limits;
pub use plugin::Plugin;
pub use refusal::UploadRefusal;
pub use text::printable;

/// The scheduler's account for config checks, in place of a company. They run before deliveries that wait in a backlog, and
/// share their threads fairly by plugin. No company has this name.
const CONFIG_CHECKS: &str = "";

/// The sandbox cannot start on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox cannot start: {0}")]
pub struct SandboxError(String);

/// Loads plugins and calls them. Cheap to clone; its threads end after the last clone is dropped and the running calls end.
#[derive(Clone)]
pub struct Sandbox(Arc<SandboxInner>);

struct SandboxInner {
    call_runtime: PluginRuntime,
    fuel_runtime: PluginRuntime,
    pool: ThreadPool,
    /// Running calls share it: the epoch must advance until the last of them has ended.
    runner: Arc<CallRunner>,
}

/// An engine, and the imports that it offers to plugins.
struct PluginRuntime {
    engine: Engine,
    linker: Linker<CallState>,
}

impl PluginRuntime {
    fn new(engine: wasmtime::Result<Engine>) -> wasmtime::Result<Self> {
        let engine = engine?;
        let mut linker = Linker::new(&engine);
        v0_1::add_to_linker(&mut linker)?;
        Ok(Self { engine, linker })
    }

    fn load(&self, label: &str, compiled: CompiledCode) -> Result<Plugin, UploadRefusal> {
        Plugin::load(label, &self.engine, &self.linker, compiled)
    }
}

impl Sandbox {
    /// Builds the engines and starts the threads.
    ///
    /// # Errors
    /// If the machine lacks the address space for `limits`, or the OS refuses a thread.
    pub fn new(limits: Limits) -> Result<Self, SandboxError> {
        let engine_error = |error: wasmtime::Error| SandboxError(format!("{error:#}"));
        let thread_error = |error: std::io::Error| SandboxError(format!("no thread for it: {error}"));
        let call_runtime = PluginRuntime::new(engine::for_calls(&limits)).map_err(engine_error)?;
        let fuel_runtime = PluginRuntime::new(engine::on_demand(Purpose::Fuel)).map_err(engine_error)?;
        let engine = call_runtime.engine.clone();
        let ticker = EpochTicker::start(move || engine.increment_epoch(), limits.deadline).map_err(thread_error)?;
        let pool = ThreadPool::start(limits.threads, limits.deadline / 2).map_err(thread_error)?;
        let runner = Arc::new(CallRunner { limits, ticker });
        Ok(Self(Arc::new(SandboxInner { call_runtime, fuel_runtime, pool, runner })))
    }

    /// Makes compiled code ready for calls. `label` names the plugin in error texts and spans, for example `mask@1a2b3c4d`.
    ///
    /// # Errors
    /// If it was compiled for other settings, or its imports have other types than the contract's.
    pub fn load(&self, label: &str, compiled: CompiledCode) -> Result<Plugin, UploadRefusal> {
        self.0.call_runtime.load(label, compiled)
    }

    /// Inspects and compiles a component, or a core module that wit-bindgen made, **in this process**: for tests and
    /// benchmarks, whose bytes are trusted. Untrusted bytes are compiled by the [`Compiler`].
    ///
    /// `label` is that of [`Sandbox::load`].
    ///
    /// # Errors
    /// If it is not a plugin that this sandbox can run; the text says why.
    pub fn compile(&self, label: &str, bytes: &[u8]) -> Result<Plugin, UploadRefusal> {
        self.load(label, compile::child::produce(&self.0.call_runtime.engine, bytes)?)
    }

    /// Runs the last check of an upload: one `check-config("null")`. A plugin that traps is refused; one that answers with an
    /// error is accepted, because it may require a config.
    ///
    /// # Errors
    /// If the plugin traps or exceeds a limit; the text says how.
    pub async fn verify(&self, plugin: &Arc<Plugin>) -> Result<(), UploadRefusal> {
        match self.check_config(plugin, "null".into()).await.result {
            Ok(()) | Err(Failure::Refused(_)) => Ok(()),
            Err(Failure::Broke(why)) => Err(UploadRefusal::new(format!("check-config(\"null\") broke: {why}"))),
        }
    }

    /// Calls the plugin's `check-config` with `config`, JSON text. [`Failure::Refused`] carries the plugin's own error text.
    pub async fn check_config(&self, plugin: &Arc<Plugin>, config: Arc<str>) -> PluginCall<()> {
        let span = debug_span!("plugin_call", function = "check-config", plugin = plugin.label());
        self.run(span, CONFIG_CHECKS, plugin, move |runner, plugin| runner.check_config(plugin, &config)).await
    }

    /// Transforms `event` under `config`, JSON text.
    pub async fn transform(&self, plugin: &Arc<Plugin>, event: Arc<Event>, config: Arc<str>) -> PluginCall<Outcome> {
        let span = transform_span("transform", plugin, &event);
        let company = event.company.clone();
        self.run(span, &company, plugin, move |runner, plugin| runner.transform(plugin, &event, &config)).await
    }

    /// Returns the time for one call.
    pub fn deadline(&self) -> Duration {
        self.0.runner.limits.deadline
    }

    /// Lets `work` make calls on one of the threads, one after the other: the plugins, of which `first` is the first, are called on
    /// account of the company. `None` if the sandbox failed, which is a fault of the host.
    pub async fn visit<T: Send + 'static>(
        &self,
        company: &str,
        first: &Plugin,
        work: impl FnOnce(SandboxThread<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (runner, span) = (Arc::clone(&self.0.runner), Span::current());
        self.0.pool.run(company, first.id, move || span.in_scope(|| work(SandboxThread(&runner)))).await
    }

    /// Measures the fuel that transforming `event` takes: an amount of work that is the same on every machine. `None` if it is
    /// more than a call can burn within its deadline.
    ///
    /// # Errors
    /// If `compiled` is not for [`Purpose::Fuel`].
    pub async fn fuel(
        &self,
        compiled: CompiledCode,
        event: Arc<Event>,
        config: Arc<str>,
    ) -> Result<Option<u64>, UploadRefusal> {
        let plugin = self.0.fuel_runtime.load("metered", compiled)?;
        let span = transform_span("fuel", &plugin, &event);
        let (engine, limits) = (self.0.fuel_runtime.engine.clone(), self.0.runner.limits.clone());
        let (company, plugin_id) = (event.company.clone(), plugin.id);
        let measure = move || span.in_scope(|| fuel::of_transform(&engine, &limits, &plugin, &event, &config));
        Ok(self.0.pool.run(&company, plugin_id, measure).await.flatten())
    }

    async fn run<T: Send + 'static>(
        &self,
        span: Span,
        company: &str,
        plugin: &Arc<Plugin>,
        work: impl FnOnce(&CallRunner, &Plugin) -> PluginCall<T> + Send + 'static,
    ) -> PluginCall<T> {
        let (runner, running) = (Arc::clone(&self.0.runner), Arc::clone(plugin));
        let answer = self.0.pool.run(company, plugin.id, move || span.in_scope(|| work(&runner, &running))).await;
        answer.unwrap_or_else(|| PluginCall {
            result: Err(plugin.broke("the sandbox failed while it ran; this is a fault of the host")),
            logs: Logs::default(),
            duration: Duration::ZERO,
            memory_bytes: 0,
        })
    }
}

/// A thread of the sandbox on which calls are made one after the other, each in an instance of its own: see [`Sandbox::visit`].
pub struct SandboxThread<'s>(&'s CallRunner);

impl SandboxThread<'_> {
    /// Transforms `event` under `config`, JSON text.
    pub fn transform(&self, plugin: &Plugin, event: &Event, config: &str) -> PluginCall<Outcome> {
        transform_span("transform", plugin, event).in_scope(|| self.0.transform(plugin, event, config))
    }
}

/// The span of a call that transforms `event`. At level debug: if that is disabled, no field is evaluated.
fn transform_span(function: &'static str, plugin: &Plugin, event: &Event) -> Span {
    debug_span!("plugin_call", function, plugin = plugin.label(), company = &*event.company, event_id = &*event.id)
}
