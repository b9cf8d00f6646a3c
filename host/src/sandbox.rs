//! Runs plugins: WebAssembly components that may be hostile, each call in a fresh instance, bounded in time and space.
//!
//! The only place that knows wasmtime. [`inspect()`] says what an upload is before anything of it is compiled,
//! [`Sandbox`] compiles and calls. Whatever a plugin does comes back as a [`Call`]: a plugin cannot make a call fail
//! in another way.

mod bindings;
mod cache;
mod call;
mod compile;
mod componentize;
mod engine;
mod epoch;
mod failure;
mod fuel;
mod inspect;
mod limits;
mod plugin;
mod pool;
mod shape;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::domain::event::Event;
use crate::domain::plugin::{Call, Failure, Logs, Outcome};

use bindings::v0_1;
use call::Caller;
use epoch::Ticker;
use pool::Pool;
use state::State;

pub use cache::Cache;
pub use compile::child::compile as compile_in_child;
pub use compile::{CompileError, Compiled, Compiler, Source};
pub use componentize::componentize;
pub use engine::Purpose;
pub use inspect::{Inspection, Refusal, Track, inspect};
pub use limits::Limits;
pub use plugin::Plugin;
pub use text::printable;

/// Stands for the company where a config is checked: those calls come before deliveries that wait in a backlog, and among
/// themselves they take turns by plugin. No company has this name.
const CONFIGS: &str = "";

/// The sandbox cannot start on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox cannot start: {0}")]
pub struct Error(String);

/// Compiles plugins and calls them. Cheap to clone; its threads end after the last clone and the calls that run.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    calls: Runtime,
    fuel: Runtime,
    pool: Pool,
    /// Calls under way hold it too: the epoch must move until the last of them has ended.
    caller: Arc<Caller>,
}

/// An engine and what it offers to plugins.
struct Runtime {
    engine: Engine,
    linker: Linker<State>,
}

impl Runtime {
    fn new(engine: wasmtime::Result<Engine>) -> wasmtime::Result<Self> {
        let engine = engine?;
        let mut linker = Linker::new(&engine);
        v0_1::add_to_linker(&mut linker)?;
        Ok(Self { engine, linker })
    }

    fn load(&self, label: &str, compiled: Compiled) -> Result<Plugin, Refusal> {
        Plugin::load(label, &self.engine, &self.linker, compiled)
    }
}

impl Sandbox {
    /// Builds the engine and starts the threads.
    ///
    /// # Errors
    /// When the machine lacks the address space for `limits`, or gives no thread.
    pub fn new(limits: Limits) -> Result<Self, Error> {
        let unsettable = |error: wasmtime::Error| Error(format!("{error:#}"));
        let threadless = |error: std::io::Error| Error(format!("no thread for it: {error}"));
        let calls = Runtime::new(engine::for_calls(&limits)).map_err(unsettable)?;
        let fuel = Runtime::new(engine::on_demand(Purpose::Fuel)).map_err(unsettable)?;
        let ticker = Ticker::start(calls.engine.clone(), limits.deadline).map_err(threadless)?;
        let pool = Pool::start(limits.threads, limits.deadline / 2).map_err(threadless)?;
        let caller = Arc::new(Caller { limits, ticker });
        Ok(Self(Arc::new(Inner { calls, fuel, pool, caller })))
    }

    /// Makes compiled code ready for calls.
    ///
    /// # Errors
    /// When it was compiled for other settings, or asks for other types than the contract's.
    pub fn load(&self, label: &str, compiled: Compiled) -> Result<Plugin, Refusal> {
        self.0.calls.load(label, compiled)
    }

    /// Inspects and compiles a component, or a core module that wit-bindgen made, **in this process**: for tests and
    /// benchmarks, which compile what they know. What a stranger gave is the [`Compiler`]'s.
    ///
    /// `label` names the plugin in error texts, for example `mask@1a2b3c4d`.
    ///
    /// # Errors
    /// When it is not a plugin that this sandbox can run; the text says why.
    pub fn compile(&self, label: &str, bytes: &[u8]) -> Result<Plugin, Refusal> {
        self.load(label, compile::child::produce(&self.0.calls.engine, bytes)?)
    }

    /// The last check of an upload: one `check-config("null")`. A plugin that breaks is refused; one that answers
    /// with an error is not, because it may well need a config.
    ///
    /// # Errors
    /// When the plugin traps or goes over a limit; the text says how.
    pub async fn verify(&self, plugin: &Arc<Plugin>) -> Result<(), Refusal> {
        match self.check_config(plugin, "null".into()).await.result {
            Ok(()) | Err(Failure::Refused(_)) => Ok(()),
            Err(Failure::Broke(why)) => Err(Refusal::new(format!("check-config(\"null\") broke: {why}"))),
        }
    }

    /// Asks the plugin whether it accepts `config`, JSON text. [`Failure::Refused`] carries the plugin's own words.
    pub async fn check_config(&self, plugin: &Arc<Plugin>, config: Arc<str>) -> Call<()> {
        self.run(CONFIGS, plugin, move |caller, plugin| caller.check_config(plugin, &config)).await
    }

    /// Transforms `event` under `config`, JSON text.
    pub async fn transform(&self, plugin: &Arc<Plugin>, event: Arc<Event>, config: Arc<str>) -> Call<Outcome> {
        let company = event.company.clone();
        self.run(&company, plugin, move |caller, plugin| caller.transform(plugin, &event, &config)).await
    }

    /// The fuel that transforming `event` takes: a measure of work that is the same on every machine. `None` when it is
    /// more than a call inside its deadline can burn.
    ///
    /// # Errors
    /// When `compiled` is not for [`Purpose::Fuel`].
    pub async fn fuel(&self, compiled: Compiled, event: Arc<Event>, config: Arc<str>) -> Result<Option<u64>, Refusal> {
        let plugin = self.0.fuel.load("metered", compiled)?;
        let (engine, limits) = (self.0.fuel.engine.clone(), self.0.caller.limits.clone());
        let company = event.company.clone();
        let counted =
            self.0.pool.run(&company, plugin.id, move || fuel::of(&engine, &limits, &plugin, &event, &config)).await;
        Ok(counted.flatten())
    }

    async fn run<T: Send + 'static>(
        &self,
        company: &str,
        plugin: &Arc<Plugin>,
        work: impl FnOnce(&Caller, &Plugin) -> Call<T> + Send + 'static,
    ) -> Call<T> {
        let (caller, running) = (Arc::clone(&self.0.caller), Arc::clone(plugin));
        let answer = self.0.pool.run(company, plugin.id, move || work(&caller, &running)).await;
        answer.unwrap_or_else(|| Call {
            result: Err(plugin.broke("the sandbox failed while it ran; this is a fault of the host")),
            logs: Logs::default(),
            duration: Duration::ZERO,
            memory_bytes: 0,
        })
    }
}
