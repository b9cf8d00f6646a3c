//! Fuel depends on the plugin, the event and the config only.

use std::time::Duration;

use super::guest::{Guest, LOOP, PASS, TRAP, sandbox};
use super::{Sandbox, event};
use crate::sandbox::Limits;
use crate::sandbox::compile::child::produce;
use crate::sandbox::engine::{Purpose, for_calls, on_demand};

async fn fuel(sandbox: &Sandbox, transform: &'static str) -> Option<u64> {
    let engine = on_demand(Purpose::Fuel).unwrap();
    let compiled = produce(&engine, &Guest::transforming(transform).bytes()).unwrap();
    sandbox.fuel(compiled, event(), "null".into()).await.unwrap()
}

#[tokio::test]
async fn fuel_counts_instructions_and_is_reproducible() {
    let sandbox = sandbox();
    let pass = fuel(&sandbox, PASS).await.unwrap();
    assert!(pass > 0);
    assert_eq!(fuel(&sandbox, PASS).await, Some(pass));
    let counting = "(local.set 14 (i32.const 1000))
        (loop (local.set 14 (i32.sub (local.get 14) (i32.const 1))) (br_if 0 (local.get 14))) (i32.const 0)";
    let counted = fuel(&sandbox, counting).await.unwrap();
    assert!((5_000..8_000).contains(&(counted - pass)), "{counted} - {pass}");
    assert!(fuel(&sandbox, TRAP).await.is_some());
}

#[tokio::test]
async fn an_endless_loop_has_no_fuel_figure() {
    let limits = Limits { threads: 1, deadline: Duration::from_millis(1), ..Limits::default() };
    assert_eq!(fuel(&Sandbox::new(limits).unwrap(), LOOP).await, None);
}

#[tokio::test]
async fn code_of_another_engine_runs_if_it_has_the_same_purpose() {
    let sandbox = sandbox();
    let bytes = Guest::default().bytes();
    let compiled = |purpose| produce(&on_demand(purpose).unwrap(), &bytes).unwrap();
    assert!(sandbox.load("x", compiled(Purpose::Calls)).is_ok());
    assert!(sandbox.load("x", compiled(Purpose::Fuel)).is_err());
    assert!(sandbox.fuel(compiled(Purpose::Calls), event(), "null".into()).await.is_err());
    let here = produce(&for_calls(&Limits::default()).unwrap(), &bytes).unwrap();
    assert!(sandbox.load("x", here).is_ok());
}
