//! Measures waiting deliveries, and the database, for the metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::delivery_clock::DeliveryClock;
use super::queue::WebhookQueues;
use crate::domain::waiting::Waiting;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, WaitingLimits, WaitingPage};
use crate::telemetry::ThrottledLog;

/// Shortest pause between two measurements.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The pause is also at least this many times the duration of the measurement, which the limits below keep to a few hundredths
/// of a second: only a database that is slow is measured less often.
const PAUSE_PER_MEASUREMENT: u32 = 20;
/// Webhooks of one measurement. If more have waiting deliveries, the next measurements go on with them, and the metrics change
/// once all have been counted.
const WEBHOOKS: i64 = 1_000;
/// Deliveries that are counted in each state, of all webhooks together. A webhook's share is never below [`SMALLEST_SHARE`].
const DELIVERIES: usize = 100_000;
const SMALLEST_SHARE: usize = 100;
/// How often the size of the database is measured.
const SIZE_INTERVAL: Duration = Duration::from_secs(15);

/// Measures what waits.
pub(super) struct BacklogGauge {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl BacklogGauge {
    /// Runs until the engine stops.
    pub(super) async fn run(self) {
        let (mut pass, mut sized): (Pass, Option<Instant>) = (Pass::default(), None);
        while !self.stop.is_cancelled() {
            let begun = Instant::now();
            let with_size = sized.is_none_or(|sized| begun.duration_since(sized) >= SIZE_INTERVAL);
            tokio::select! {
                () = self.stop.cancelled() => return,
                measured = self.measure(&mut pass, with_size) => match measured {
                    Ok(()) if with_size => sized = Some(begun),
                    Ok(()) => (),
                    Err(error) => self.log.warn("measuring waiting deliveries failed; their metrics are out of date", &error),
                },
            }
            let _ = timeout(pause_after(begun.elapsed()), self.stop.cancelled()).await;
        }
    }

    async fn measure(&self, pass: &mut Pass, with_size: bool) -> Result<(), StoreError> {
        self.metrics.waiting_in_memory(self.queues.held(), self.clock.wall_ms());
        let now = self.clock.due_ms();
        self.metrics.oldest_due(self.store.oldest_due(now).await?, now);
        let page = self.store.waiting_page(&pass.after, pass.limits()).await?;
        if let Some(waiting) = pass.add(page) {
            self.metrics.waiting(&waiting, self.clock.wall_ms());
        }
        if with_size {
            self.metrics.database_size(self.store.size_bytes().await?);
        }
        Ok(())
    }
}

/// A count of all webhooks' deliveries, page by page.
#[derive(Default)]
struct Pass {
    /// The last webhook of the pages so far.
    after: String,
    /// The sum of the pages so far.
    waiting: Waiting,
    /// The webhooks of the pages so far, and of the whole pass before.
    webhooks: usize,
    webhooks_before: usize,
}

impl Pass {
    fn limits(&self) -> WaitingLimits {
        let share = (DELIVERIES / self.webhooks_before.max(1)).max(SMALLEST_SHARE);
        WaitingLimits { webhooks: WEBHOOKS, deliveries: i64::try_from(share).unwrap_or(i64::MAX) }
    }

    /// Adds a page. After the last one, returns the sum and begins again.
    fn add(&mut self, page: WaitingPage) -> Option<Waiting> {
        self.waiting.add(page.waiting);
        self.webhooks += page.webhooks;
        match page.next {
            Some(next) => {
                self.after = next;
                None
            }
            None => {
                let Self { waiting, webhooks, .. } = std::mem::take(self);
                self.webhooks_before = webhooks;
                Some(waiting)
            }
        }
    }
}

fn pause_after(measurement: Duration) -> Duration {
    measurement.saturating_mul(PAUSE_PER_MEASUREMENT).max(SHORTEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::waiting::WaitingCount;

    #[test]
    fn slow_measurements_are_rare() {
        assert_eq!(pause_after(Duration::from_millis(50)), Duration::from_secs(1));
        assert_eq!(pause_after(Duration::from_millis(300)), Duration::from_secs(6));
    }

    #[test]
    fn a_pass_ends_with_its_last_page_and_shares_the_limit_between_its_webhooks() {
        let page = |count, webhooks, next: Option<&str>| {
            let backlog = WaitingCount { count, oldest: Some(count) };
            let waiting = Waiting { backlog, ..Waiting::default() };
            WaitingPage { waiting, webhooks, next: next.map(Into::into) }
        };
        let mut pass = Pass::default();
        assert_eq!(pass.limits().deliveries, 100_000);
        assert_eq!(pass.add(page(5, 1_000, Some("wh_5"))), None);
        assert_eq!((&*pass.after, pass.limits().deliveries), ("wh_5", 100_000));
        let whole = pass.add(page(3, 250, None)).unwrap();
        assert_eq!(whole.backlog, WaitingCount { count: 8, oldest: Some(3) });
        assert_eq!((&*pass.after, pass.limits().deliveries), ("", 100));
        assert_eq!(pass.add(page(1, 4, None)).unwrap().backlog.count, 1);
        assert_eq!(pass.limits().deliveries, 25_000);
    }
}
