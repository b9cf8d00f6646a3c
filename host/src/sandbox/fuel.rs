//! How much work a transform is: a figure that is the same on every machine.
//!
//! Fuel counts instructions of WebAssembly, one unit for most (wasmtime, `Config::consume_fuel`). Counting costs time and takes
//! code of its own, so a delivery is not counted; who asks is answered by a second call.

use wasmtime::{Engine, Store};

use crate::domain::event::Event;

use super::bindings::v0_1;
use super::limits::Limits;
use super::plugin::Plugin;
use super::state::State;

/// Fuel for each nanosecond of the deadline: several times of what any machine burns, because the deadline is kept by the
/// call before. It ends calls that should not have been counted.
const PER_NANOSECOND: u64 = 20;

/// The fuel of one transform, instantiation included. `None` when it burns more than a call inside its deadline can.
pub(super) fn of(engine: &Engine, limits: &Limits, plugin: &Plugin, event: &Event, config: &str) -> Option<u64> {
    let most = u64::try_from(limits.deadline.as_nanos()).unwrap_or(u64::MAX).saturating_mul(PER_NANOSECOND);
    let mut store = Store::new(engine, State::new(limits));
    store.limiter(|state| &mut state.meter);
    store.set_hostcall_fuel(limits.lift_bytes());
    store.set_fuel(most).ok()?;
    // A trap, too, comes after the same amount of work everywhere.
    let _ =
        plugin.pre.instantiate(&mut store).and_then(|instance| v0_1::transform(&mut store, &instance, event, config));
    let left = store.get_fuel().ok()?;
    (left > 0).then(|| most - left)
}
