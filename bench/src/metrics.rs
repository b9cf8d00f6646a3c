//! Measures the cost of all metrics that one delivered event changes.

use std::time::{Duration, Instant};

use posthaste::domain::delivery::Status;
use posthaste::metrics::{AttemptResult, Metrics};

/// Events that each thread counts.
const EVENTS: u32 = 1_000_000;

pub(crate) fn measure() {
    let metrics = Metrics::new(0, ["std-mask"]);
    for threads in [1, 2, 4] {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..EVENTS).for_each(|_| count(&metrics)));
            }
        });
        let each = begun.elapsed().as_secs_f64() * 1e9 / f64::from(EVENTS * threads);
        println!("counting one event, {threads} threads at once {each:>8.1} ns");
    }
    let begun = Instant::now();
    let text = metrics.text();
    println!("writing {} bytes of text {:>15.1} µs", text.len(), begun.elapsed().as_secs_f64() * 1e6);
}

fn count(metrics: &Metrics) {
    let took = Duration::from_micros(700);
    metrics.event_accepted();
    let _in_flight = metrics.attempt_began();
    metrics.transform_ended("std-mask", took, false);
    metrics.attempt_ended(AttemptResult::Success, took);
    metrics.event_delivered(took);
    metrics.deliveries_ended(Status::Delivered, 1);
}
