//! The result of one run: one JSON object, and one line for the terminal.

use serde_json::{Map, Value, json};

use crate::measurement::Used;
use crate::{Args, RunOutcome};

/// Returns the result as JSON; README.md says what the fields mean.
pub(crate) fn to_json(args: &Args, outcome: &RunOutcome, used: &Used) -> Value {
    let RunOutcome { run, start_ns, tally, expected, receiver } = outcome;
    let delivered = receiver["unique"].as_u64().unwrap_or(0);
    let last_ns = receiver["last_ns"].as_u64().unwrap_or(0);
    let delivery_s = last_ns.saturating_sub(*start_ns) as f64 / 1e9;
    let thousands = if args.no_receiver { tally.accepted } else { delivered } as f64 / 1000.0;
    let ours: f64 = used.groups.iter().map(|group| group.cpu_s).sum();
    let servers = used.groups.iter().filter(|group| group.peak_pss_kb.is_some());
    let server: f64 = servers.map(|group| group.cpu_s).sum();
    let other = used.machine_busy_s - ours;
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    json!({
        "label": args.label,
        "run": run,
        "subs": args.subs,
        "events": args.events,
        "concurrency": args.concurrency,
        "rate": args.rate,
        "body_bytes": args.body_bytes,
        "accepted": tally.accepted,
        "refused": tally.refused,
        "publish_s": rounded(tally.seconds),
        "accepted_per_s": rounded(tally.accepted as f64 / tally.seconds),
        "ack_ms": tally.ack.summary_ms(),
        "expected": expected,
        "delivered": delivered,
        "duplicates": receiver["duplicates"],
        "unmarked": receiver["unmarked"],
        "receiver_refused": receiver["refused"],
        "delivery_s": rounded(delivery_s),
        "delivered_per_s": rounded(delivered as f64 / delivery_s.max(1e-9)),
        "latency_ms": receiver["latency_ms"],
        "generator_connections": tally.opened,
        "receiver_connections": receiver["connections"],
        "generator_late_max_ms": rounded(tally.late_max_ns as f64 / 1e6),
        "window_s": rounded(used.window_s),
        "server_cpu_s_per_1000": rounded(server / thousands),
        "cpu": cpu(used, thousands),
        "other_cpu_s": rounded(other),
        "other_cpu_share": rounded(other / (cores * used.window_s)),
        "stolen_cpu_s": rounded(used.machine_stolen_s),
    })
}

fn cpu(used: &Used, thousands: f64) -> Map<String, Value> {
    let mut groups = Map::new();
    for group in &used.groups {
        let mut entry = json!({
            "cpu_s": rounded(group.cpu_s),
            "sys_s": rounded(group.sys_s),
            "cpu_s_per_1000": rounded(group.cpu_s / thousands),
        });
        if let Some(peak) = group.peak_pss_kb {
            entry["peak_pss_mb"] = json!(rounded(peak as f64 / 1024.0));
        }
        groups.insert(group.name.clone(), entry);
    }
    groups
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Returns the figures to look at first, on one line.
pub(crate) fn summary(result: &Value) -> String {
    format!(
        "drive: {} accepted {}/s (ack p50 {} p99 {} ms); delivered {}/{} {}/s (p50 {} p99 {} ms); server CPU {} s/1000; \
         others used {} CPU s, {} of the machine",
        result["label"].as_str().unwrap_or_default(),
        result["accepted_per_s"],
        result["ack_ms"]["p50"],
        result["ack_ms"]["p99"],
        result["delivered"],
        result["expected"],
        result["delivered_per_s"],
        result["latency_ms"]["p50"],
        result["latency_ms"]["p99"],
        result["server_cpu_s_per_1000"],
        result["other_cpu_s"],
        result["other_cpu_share"],
    )
}
