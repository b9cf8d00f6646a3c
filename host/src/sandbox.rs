//! Runs plugins: WebAssembly components that may be hostile, each call in a fresh instance, bounded in time and space.
//!
//! The only place that knows wasmtime. [`inspect()`] says what an upload is before anything of it is compiled,
//! [`Sandbox`] compiles and calls. Whatever a plugin does comes back as a [`Call`]: a plugin cannot make a call fail
//! in another way.

mod bindings;
mod call;
mod componentize;
mod engine;
mod epoch;
mod failure;
mod inspect;
mod limits;
mod plugin;
mod pool;
mod state;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::domain::event::Event;
use crate::domain::plugin::{Call, Failure, Logs, Outcome};

use bindings::v0_1;
use call::Caller;
use epoch::Ticker;
use pool::Pool;
use state::State;

pub use componentize::componentize;
pub use inspect::{Inspection, Refusal, Track, inspect};
pub use limits::Limits;
pub use plugin::Plugin;

/// The sandbox cannot start on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox cannot start: {0}")]
pub struct Error(String);

/// Compiles plugins and calls them. Cheap to clone; its threads end after the last clone and the calls that run.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<State>,
    pool: Pool,
    /// Calls under way hold it too: the epoch must move until the last of them has ended.
    caller: Arc<Caller>,
}

impl Sandbox {
    /// Builds the engine and starts the threads.
    ///
    /// # Errors
    /// When the machine lacks the address space for `limits`, or gives no thread.
    pub fn new(limits: Limits) -> Result<Self, Error> {
        let unsettable = |error: wasmtime::Error| Error(format!("{error:#}"));
        let threadless = |error: std::io::Error| Error(format!("no thread for it: {error}"));
        let engine = engine::build(&limits).map_err(unsettable)?;
        let mut linker = Linker::new(&engine);
        v0_1::add_to_linker(&mut linker).map_err(unsettable)?;
        let ticker = Ticker::start(engine.clone(), limits.deadline).map_err(threadless)?;
        let pool = Pool::start(limits.threads).map_err(threadless)?;
        let caller = Arc::new(Caller { limits, ticker });
        Ok(Self(Arc::new(Inner { engine, linker, pool, caller })))
    }

    /// Inspects and compiles an upload: a component, or a core module that wit-bindgen made. Runs nothing of it.
    /// Blocks for as long as compiling takes: 0.3 s for a small Rust plugin, 17 s for Python.
    ///
    /// `label` names the plugin in error texts, for example `mask@1a2b3c4d`.
    ///
    /// # Errors
    /// When the upload is not a plugin that this sandbox can run; the text says why.
    pub fn compile(&self, label: &str, bytes: &[u8]) -> Result<Plugin, Refusal> {
        let refused = |error: wasmtime::Error| Refusal::new(format!("{error:#}"));
        let component = componentize(bytes)?;
        let inspection = Inspection { size: bytes.len(), ..inspect(&component)? };
        let component = Component::from_binary(&self.0.engine, &component).map_err(refused)?;
        let pre = self.0.linker.instantiate_pre(&component).map_err(refused)?;
        let pre = v0_1::TransformPre::new(pre).map_err(refused)?;
        Ok(Plugin::new(label, pre, inspection))
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
        self.run(plugin, move |caller, plugin| caller.check_config(plugin, &config)).await
    }

    /// Transforms `event` under `config`, JSON text.
    pub async fn transform(&self, plugin: &Arc<Plugin>, event: Arc<Event>, config: Arc<str>) -> Call<Outcome> {
        self.run(plugin, move |caller, plugin| caller.transform(plugin, &event, &config)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        plugin: &Arc<Plugin>,
        work: impl FnOnce(&Caller, &Plugin) -> Call<T> + Send + 'static,
    ) -> Call<T> {
        let (caller, running) = (Arc::clone(&self.0.caller), Arc::clone(plugin));
        let answer = self.0.pool.run(plugin.id, move || work(&caller, &running)).await;
        answer.unwrap_or_else(|| Call {
            result: Err(plugin.broke("the sandbox failed while it ran; this is a fault of the host")),
            logs: Logs::default(),
            duration: Duration::ZERO,
            memory_bytes: 0,
        })
    }
}
