//! One plugin call: instantiates the plugin, calls one function, and drops the instance.

use std::time::Instant;

use wasmtime::Store;

use crate::domain::event::Event;
use crate::domain::plugin::{Failure, Message, Outcome, PluginCall};

use super::bindings::v0_1;
use super::call_state::CallState;
use super::epoch::EpochTicker;
use super::failure::{TEXT_BYTES, describe};
use super::limits::{HANDLES, LimitExceeded, Limits};
use super::plugin::Plugin;
use super::text::printable;

/// Runs calls under the limits. Shared by all threads.
pub(super) struct CallRunner {
    pub(super) limits: Limits,
    pub(super) ticker: EpochTicker,
}

impl CallRunner {
    /// Calls `check-config` with `config`, JSON text.
    pub(super) fn check_config(&self, plugin: &Plugin, config: &str) -> PluginCall<()> {
        let config = plugin.config(config);
        self.call(plugin, |store, instance| v0_1::check_config(store, instance, &config))
    }

    /// Transforms `event` under `config`, JSON text.
    pub(super) fn transform(&self, plugin: &Plugin, event: &Event, config: &str) -> PluginCall<Outcome> {
        let config = plugin.config(config);
        self.call(plugin, |store, instance| match v0_1::transform(store, instance, event, &config)? {
            Ok(outcome) => Ok(Ok(self.limited(outcome)?)),
            Err(refusal) => Ok(Err(refusal)),
        })
    }

    /// Creates and drops the store in one function, also after a trap: wasmtime guarantees nothing about a store that trapped.
    fn call<T>(
        &self,
        plugin: &Plugin,
        function: impl FnOnce(&mut Store<CallState>, &v0_1::Transform) -> wasmtime::Result<Result<T, String>>,
    ) -> PluginCall<T> {
        let started = Instant::now();
        let running = self.ticker.enter();
        let mut store = Store::new(plugin.pre.engine(), CallState::new(&self.limits));
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(self.limits.lift_bytes());
        store.set_max_component_handles(HANDLES);
        // Before instantiation: a start function can loop too.
        store.set_epoch_deadline(self.ticker.deadline_ticks());
        let answer = plugin.pre.instantiate(&mut store).and_then(|instance| function(&mut store, &instance));
        let CallState { meter, logs } = store.into_data();
        drop(running);
        let result = match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(refusal)) => Err(Failure::Refused(printable(&refusal, TEXT_BYTES))),
            Err(error) => Err(plugin.broke(&describe(&error, &self.limits))),
        };
        let memory_bytes = u64::try_from(meter.memory()).unwrap_or(u64::MAX);
        let call = PluginCall { result, logs, duration: started.elapsed(), memory_bytes };
        tracing::debug!(
            failed = call.result.is_err(),
            duration_us = call.duration_us(),
            memory_bytes,
            "plugin call ended"
        );
        call
    }

    /// Applies the output limits. A body over its limit is an error; a reason is informative only, so it is cut.
    fn limited(&self, outcome: Outcome) -> Result<Outcome, LimitExceeded> {
        match outcome {
            Outcome::Replace(Message { body, .. }) if body.len() > self.limits.output_bytes => {
                Err(LimitExceeded::bytes("output limit", self.limits.output_bytes, body.len()))
            }
            Outcome::Drop(reason) => Ok(Outcome::Drop(printable(&reason, TEXT_BYTES))),
            fine => Ok(fine),
        }
    }
}
