//! One call: a fresh instance, the plugin's function, and the instance's end.

use std::time::Instant;

use wasmtime::Store;

use crate::domain::event::Event;
use crate::domain::plugin::{Call, Failure, Message, Outcome};

use super::bindings::v0_1;
use super::epoch::Ticker;
use super::failure::{TEXT_BYTES, describe};
use super::limits::{HANDLES, Limits, OverLimit};
use super::plugin::Plugin;
use super::state::State;
use super::text::printable;

/// What every call needs.
pub(super) struct Caller {
    pub(super) limits: Limits,
    pub(super) ticker: Ticker,
}

impl Caller {
    /// Asks the plugin whether it accepts `config`.
    pub(super) fn check_config(&self, plugin: &Plugin, config: &str) -> Call<()> {
        self.call(plugin, |store, instance| v0_1::check_config(store, instance, config))
    }

    /// Transforms `event`.
    pub(super) fn transform(&self, plugin: &Plugin, event: &Event, config: &str) -> Call<Outcome> {
        self.call(plugin, |store, instance| match v0_1::transform(store, instance, event, config)? {
            Ok(outcome) => Ok(Ok(self.limited(outcome)?)),
            Err(refusal) => Ok(Err(refusal)),
        })
    }

    /// The store lives and dies in here, also after a trap: wasmtime promises nothing about one that trapped.
    fn call<T>(
        &self,
        plugin: &Plugin,
        function: impl FnOnce(&mut Store<State>, &v0_1::Transform) -> wasmtime::Result<Result<T, String>>,
    ) -> Call<T> {
        let started = Instant::now();
        let running = self.ticker.enter();
        let mut store = Store::new(plugin.pre.engine(), State::new(&self.limits));
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(self.limits.lift_bytes());
        store.set_max_component_handles(HANDLES);
        // Before instantiating: a start function can loop too.
        store.set_epoch_deadline(self.ticker.deadline_ticks());
        let answer = plugin.pre.instantiate(&mut store).and_then(|instance| function(&mut store, &instance));
        let State { meter, logs } = store.into_data();
        drop(running);
        let result = match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(refusal)) => Err(Failure::Refused(printable(&refusal, TEXT_BYTES))),
            Err(error) => Err(plugin.broke(&describe(&error, &self.limits))),
        };
        let memory_bytes = u64::try_from(meter.memory()).unwrap_or(u64::MAX);
        Call { result, logs, duration: started.elapsed(), memory_bytes }
    }

    /// The outcome within its limits. The body's is hard; a reason only informs, so it is cut.
    fn limited(&self, outcome: Outcome) -> Result<Outcome, OverLimit> {
        match outcome {
            Outcome::Replace(Message { body, .. }) if body.len() > self.limits.output_bytes => {
                Err(OverLimit::bytes("output limit", self.limits.output_bytes, body.len()))
            }
            Outcome::Drop(reason) => Ok(Outcome::Drop(printable(&reason, TEXT_BYTES))),
            fine => Ok(fine),
        }
    }
}
