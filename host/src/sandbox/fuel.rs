//! Measures the work of a transform as a number that is the same on every machine.
//!
//! Fuel counts WebAssembly instructions, one unit for most (wasmtime, `Config::consume_fuel`). Counting takes time and needs
//! separately compiled code, so deliveries are not counted: the number comes from a second call, made on request.

use wasmtime::{Engine, Store};

use crate::domain::event::Event;

use super::bindings::v0_1;
use super::call_state::CallState;
use super::limits::Limits;
use super::plugin::Plugin;

/// Fuel per nanosecond of the deadline: several times as much as any machine burns, because the call before this one has kept
/// the deadline. The bound ends calls that should not have been counted.
const FUEL_PER_NANOSECOND: u64 = 20;

/// Returns the fuel of one transform, instantiation included. `None` if it burns more than a call can within its deadline.
pub(super) fn of_transform(
    engine: &Engine,
    limits: &Limits,
    plugin: &Plugin,
    event: &Event,
    config: &str,
) -> Option<u64> {
    let most = u64::try_from(limits.deadline.as_nanos()).unwrap_or(u64::MAX).saturating_mul(FUEL_PER_NANOSECOND);
    let mut store = Store::new(engine, CallState::new(limits));
    store.limiter(|state| &mut state.meter);
    store.set_hostcall_fuel(limits.lift_bytes());
    store.set_fuel(most).ok()?;
    // The result does not matter: a trap, too, comes after the same amount of work on every machine.
    let _ =
        plugin.pre.instantiate(&mut store).and_then(|instance| v0_1::transform(&mut store, &instance, event, config));
    let left = store.get_fuel().ok()?;
    (left > 0).then(|| most - left)
}
