//! Counts waiting deliveries for the metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::delivery_clock::DeliveryClock;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::telemetry::ThrottledLog;

/// Shortest pause between two counts.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The pause is also at least this many times the duration of the count: a million waiting deliveries take a good part of a
/// second to count, and counting must stay a hundredth of one reader's time.
const PAUSE_PER_COUNT: u32 = 100;

/// Counts waiting deliveries.
pub(super) struct BacklogGauge {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl BacklogGauge {
    /// Runs until the engine stops.
    pub(super) async fn run(self) {
        while !self.stop.is_cancelled() {
            let (begun, now) = (Instant::now(), self.clock.due_ms());
            tokio::select! {
                () = self.stop.cancelled() => return,
                counted = self.store.waiting(now) => match counted {
                    Ok(waiting) => self.metrics.waiting(&waiting, now),
                    Err(error) => self.log.warn("counting waiting deliveries failed; their metrics are out of date", &error),
                },
            }
            let _ = timeout(pause_after(begun.elapsed()), self.stop.cancelled()).await;
        }
    }
}

fn pause_after(count: Duration) -> Duration {
    count.saturating_mul(PAUSE_PER_COUNT).max(SHORTEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_counts_are_rare() {
        assert_eq!(pause_after(Duration::from_millis(1)), Duration::from_secs(1));
        assert_eq!(pause_after(Duration::from_millis(300)), Duration::from_secs(30));
    }
}
