//! One call of `mask` on a real event, natively and in the sandbox, in turns: medians in microseconds.
//! With the arguments `FILE EVENT.json CONFIG.json`, any other plugin; with `metrics`, what measuring costs; with `guest NAME`,
//! writes a guest of `tests/guests` to standard output.

mod metrics;
mod plugin;

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use posthaste::domain::event::Event;
use posthaste::sandbox::{Limits, Sandbox};
use posthaste_plugin_mask::{Config, transform};

const EVENT: &str = include_str!("../../host/assets/events/employees_employee_update.json");
const MASK: &[u8] = include_bytes!("../../plugins/dist/mask.wasm");
const CONFIG: &str = r#"{"fields": ["/bank_number", "/social_security_number", "/salary_amount"]}"#;
/// Calls before anything is measured, and calls measured.
const WARM: usize = 500;
const CALLS: usize = 5_000;

#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn median(&mut self) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [file, event, config] = arguments.as_slice() {
        return plugin::measure(file, event, config).await;
    }
    if let [command, name] = arguments.as_slice()
        && command == "guest"
    {
        return Ok(std::io::stdout().write_all(&posthaste_tests::guest(name))?);
    }
    if arguments == ["metrics"] {
        metrics::measure();
        return Ok(());
    }
    let sandbox = Sandbox::new(Limits::default())?;
    let plugin = Arc::new(sandbox.compile("mask", MASK)?);
    let event: serde_json::Value = serde_json::from_str(EVENT)?;
    let data = event.get("data").map(ToString::to_string).unwrap_or_default();
    let hosts = Arc::new(Event {
        id: "evt_bench".into(),
        event_type: "employees/employee/update".into(),
        company: "acme".into(),
        occurred_at: 1_795_000_000_000,
        headers: Vec::new(),
        data: data.clone().into(),
    });
    let [mut native, mut inside, mut whole] = [const { Times(Vec::new()) }; 3];
    for call in 0..WARM + CALLS {
        let own = posthaste_plugin::testing::event("employees/employee/update", &data);
        let begun = Instant::now();
        // As the plugin does: the config is read anew for every call.
        let config: Config = serde_json::from_str(CONFIG)?;
        let _ = black_box(transform(black_box(own), config));
        let natively = begun.elapsed();
        let begun = Instant::now();
        let run = sandbox.transform(&plugin, hosts.clone(), CONFIG.into()).await;
        let with_hop = begun.elapsed();
        run.result.map_err(|failure| failure.to_string())?;
        if call >= WARM {
            native.0.push(natively.as_secs_f64() * 1e6);
            inside.0.push(run.duration.as_secs_f64() * 1e6);
            whole.0.push(with_hop.as_secs_f64() * 1e6);
        }
    }
    println!("mask on employees_employee_update ({} bytes), median of {CALLS} calls, in µs", data.len());
    println!("natively                        {:>8.1}", native.median());
    println!("in the sandbox                  {:>8.1}", inside.median());
    println!("in the sandbox, with its thread {:>8.1}", whole.median());
    Ok(())
}
