//! One attempt at a delivery: transform, then sign and send. It decides nothing: the recorder does.

mod report;
mod response_text;
mod send;
mod transform;

use std::sync::Arc;

use tokio::time::Instant;

use super::delivery_clock::DeliveryClock;
use super::queue::QueuedDelivery;
use crate::domain::webhook::Webhook;
use crate::metrics::Metrics;
pub(super) use report::{AttemptOutcome, AttemptReport, Rejection, whole_ms};
pub(super) use send::Sender;
pub use transform::Transformer;
pub(super) use transform::{Outgoing, Prepared};

/// The error of an attempt that was ended because this node lost the database.
const LOST: &str = "the service could not reach its database, so it ended this attempt before another of its nodes could \
                    make the next one; the receiver may have got the event";

/// Makes attempts.
pub(super) struct AttemptRunner {
    transformer: Arc<Transformer>,
    sender: Sender,
    clock: Arc<DeliveryClock>,
    metrics: Arc<Metrics>,
}

impl AttemptRunner {
    pub(super) fn new(
        transformer: Arc<Transformer>,
        sender: Sender,
        clock: Arc<DeliveryClock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { transformer, sender, clock, metrics }
    }

    /// Makes one attempt, from the transform to the end of the receiver's answer, unless `lost` ends first: from then on
    /// another node may make the next attempt.
    pub(super) async fn run(
        &self,
        delivery: &QueuedDelivery,
        webhook: &Webhook,
        lost: impl Future<Output = ()>,
    ) -> AttemptReport {
        let (begun, started_at) = (Instant::now(), self.clock.wall_ms());
        let _in_flight = self.metrics.attempt_began();
        let report = tokio::select! {
            // An answer that has arrived counts.
            biased;
            report = self.make(delivery, webhook, started_at) => report,
            () = lost => AttemptReport::host_error(LOST.into()),
        };
        AttemptReport { started_at, took: begun.elapsed(), ..report }
    }

    async fn make(&self, delivery: &QueuedDelivery, webhook: &Webhook, started_at: i64) -> AttemptReport {
        let (prepared, plugin) = self.transformer.prepare(&delivery.event, webhook).await;
        let report = match prepared {
            Prepared::Filtered => AttemptReport::new(AttemptOutcome::Filtered),
            Prepared::PluginFailed(error) => AttemptReport { plugin_failed: true, ..AttemptReport::rejected(error) },
            Prepared::HostFailed(error) => AttemptReport { plugin_failed: true, ..AttemptReport::host_error(error) },
            Prepared::Send(outgoing) => self.sender.send(&delivery.event, webhook, outgoing, started_at).await,
        };
        AttemptReport { plugin, ..report }
    }
}
