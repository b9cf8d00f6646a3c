//! One attempt at a delivery: transform, then sign and send. It decides nothing: the recorder does.

mod chain;
mod outgoing;
mod report;
mod response_text;
mod send;
mod transform;

use std::sync::Arc;

use tokio::time::Instant;

use super::delivery_clock::DeliveryClock;
use crate::domain::event::Event;
use crate::domain::webhook::Webhook;
use crate::metrics::Metrics;
use crate::shares::{Part, Share};
pub use chain::{ChainCall, ChainRun, ChainStep};
pub(super) use outgoing::{Outgoing, Prepared};
pub(super) use report::{AttemptOutcome, AttemptReport, Rejection, whole_ms};
pub(super) use send::{Sender, request_headers};
use transform::PluginReport;
pub use transform::Transformer;
pub(super) use transform::{PluginFault, PluginResult};

/// A body that a plugin made is large from this size on, in bytes. All smaller ones together are bounded by the number of
/// attempts.
const LARGE_BODY: usize = 16 * 1024;

/// The error of an attempt that was ended because this node lost the database.
const LOST: &str = "the service could not reach its database, so it ended this attempt before another of its nodes could \
                    make the next one; the receiver may have got the event";

/// Makes attempts.
pub(super) struct AttemptRunner {
    transformer: Arc<Transformer>,
    sender: Sender,
    clock: Arc<DeliveryClock>,
    metrics: Arc<Metrics>,
    /// Memory of large bodies that plugins made.
    bodies: Arc<Share>,
}

impl AttemptRunner {
    pub(super) fn new(
        transformer: Arc<Transformer>,
        sender: Sender,
        clock: Arc<DeliveryClock>,
        metrics: Arc<Metrics>,
        bodies: Arc<Share>,
    ) -> Self {
        Self { transformer, sender, clock, metrics, bodies }
    }

    /// Makes one attempt, from the transform to the end of the receiver's answer, unless `lost` ends first: from then on
    /// another node may make the next attempt.
    pub(super) async fn run(
        &self,
        event: &Arc<Event>,
        webhook: &Webhook,
        lost: impl Future<Output = ()>,
    ) -> AttemptReport {
        let (begun, started_at) = (Instant::now(), self.clock.wall_ms());
        let _in_flight = self.metrics.attempt_began();
        let report = tokio::select! {
            // An answer that has arrived counts.
            biased;
            report = self.make(event, webhook, started_at) => report,
            () = lost => AttemptReport::host_error(LOST.into()),
        };
        AttemptReport { started_at, took: begun.elapsed(), ..report }
    }

    async fn make(&self, event: &Arc<Event>, webhook: &Webhook, started_at: i64) -> AttemptReport {
        let (prepared, plugin, _memory) = self.prepare(event, webhook).await;
        let report = match prepared {
            Prepared::Filtered => AttemptReport::new(AttemptOutcome::Filtered),
            Prepared::PluginFailed(error) => AttemptReport { plugin_failed: true, ..AttemptReport::rejected(error) },
            Prepared::HostFailed(error) => AttemptReport { plugin_failed: true, ..AttemptReport::host_error(error) },
            Prepared::Send(outgoing) => self.sender.send(event, webhook, outgoing, started_at).await,
        };
        AttemptReport { plugin: plugin.shown, plugin_result: plugin.result, ..report }
    }

    /// Runs the transform. What it made is in memory until the answer has come, so a large body takes a part of the memory for
    /// these. If there is no room, it is dropped and made again later: the transform is pure.
    async fn prepare(&self, event: &Arc<Event>, webhook: &Webhook) -> (Prepared, PluginReport, Option<Part>) {
        let mut memory = None;
        loop {
            let (prepared, plugin) = self.transformer.prepare(event, webhook).await;
            let bytes = match &prepared {
                Prepared::Send(outgoing) if plugin.shown.is_some() => outgoing.body.len(),
                _ => 0,
            };
            if bytes < LARGE_BODY || memory.is_some() {
                return (prepared, plugin, memory);
            }
            let bytes = self.bodies.obtainable(bytes as u64);
            match self.bodies.try_take(&webhook.company, bytes) {
                Ok(part) => return (prepared, plugin, Some(part)),
                Err(_) => drop(prepared),
            }
            memory = self.bodies.take_patiently(&webhook.company, bytes).await.ok();
        }
    }
}
