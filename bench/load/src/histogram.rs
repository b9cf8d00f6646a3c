//! A log-linear histogram of nanosecond values.
//!
//! 64 slots per power of two, so a reported percentile is at most 1.6 % above the true one.

use serde_json::{Value, json};

const STEP_BITS: u32 = 6;
const STEPS: usize = 1 << STEP_BITS;
const SLOTS: usize = (64 - STEP_BITS as usize + 1) * STEPS;

/// A histogram of durations in nanoseconds.
pub struct Histogram {
    slots: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { slots: vec![0; SLOTS], count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Adds one value.
    pub fn record(&mut self, nanoseconds: u64) {
        if let Some(slot) = self.slots.get_mut(slot_of(nanoseconds)) {
            *slot += 1;
        }
        self.count += 1;
        self.sum += u128::from(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        for (ours, theirs) in self.slots.iter_mut().zip(&other.slots) {
            *ours += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Returns the upper edge of the slot that holds the `q`-th value (0 to 1), at most the maximum; 0 if empty.
    pub fn quantile(&self, q: f64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let rank = ((self.count as f64 * q).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        let slot = self.slots.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        slot.map_or(self.max, |slot| upper_edge(slot).min(self.max))
    }

    /// Returns count, mean, percentiles and maximum as JSON, in milliseconds.
    pub fn summary_ms(&self) -> Value {
        let ms = |nanoseconds: u64| (nanoseconds as f64 / 1e3).round() / 1e3;
        let mean = self.sum.checked_div(u128::from(self.count)).unwrap_or(0) as u64;
        json!({
            "n": self.count,
            "mean": ms(mean),
            "p50": ms(self.quantile(0.50)),
            "p90": ms(self.quantile(0.90)),
            "p99": ms(self.quantile(0.99)),
            "p999": ms(self.quantile(0.999)),
            "max": ms(self.max),
        })
    }
}

fn slot_of(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - STEP_BITS;
    let within = (value >> shift) as usize - STEPS;
    (shift as usize + 1) * STEPS + within
}

fn upper_edge(slot: usize) -> u64 {
    if slot < STEPS {
        return slot as u64;
    }
    let shift = (slot / STEPS - 1) as u32;
    let base = ((slot % STEPS) + STEPS) as u128;
    (((base + 1) << shift) - 1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_between_the_edges_of_its_slot() {
        for value in [0, 1, 63, 64, 65, 127, 128, 1000, 123_456_789, u64::MAX / 3, u64::MAX] {
            let slot = slot_of(value);
            assert!(upper_edge(slot) >= value, "{value}");
            assert!(slot == 0 || upper_edge(slot - 1) < value, "{value}");
        }
    }

    #[test]
    fn quantiles_are_within_two_percent() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000u64 {
            histogram.record(value * 1000);
        }
        for (q, expected) in [(0.5, 50_000_000.0), (0.99, 99_000_000.0)] {
            let found = histogram.quantile(q) as f64;
            assert!((found / expected - 1.0).abs() < 0.02, "{q}: {found}");
        }
    }
}
