//! Runs a candidate version beside the active one on past events. Nothing is sent or stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{ChainStep, Transformer};
use crate::domain::comparison::{DifferenceKind, Pair, Patch, Subject};
use crate::domain::transform::OnError;
use crate::sandbox::Plugin;
use crate::store::{ClaimedDelivery, PastEvents, Store, StoreError};

/// Time for one comparison. It returns its results so far when the time is up.
const BUDGET: Duration = Duration::from_secs(60);
/// Differences that are reported; the others are only counted.
const MAX_DIFFERENCES: usize = 100;

/// Two versions, and the events to run them on.
pub struct ComparisonRequest {
    /// The name of the plugin.
    pub plugin: String,
    /// The active version.
    pub active: Arc<Plugin>,
    /// The version that may replace it.
    pub candidate: Arc<Plugin>,
    /// The events.
    pub events: PastEvents,
    /// How many of them at most.
    pub last: usize,
}

impl ComparisonRequest {
    /// Returns the steps with this version of the plugin, whose failures count whatever the webhook says about them.
    fn steps(&self, steps: &[ChainStep], version: &Arc<Plugin>) -> Vec<ChainStep> {
        let step = |step: &ChainStep| match step.name == self.plugin {
            true => ChainStep { plugin: version.clone(), on_error: OnError::Retry, ..step.clone() },
            false => step.clone(),
        };
        steps.iter().map(step).collect()
    }
}

/// The result of a comparison.
#[derive(Default)]
pub struct Comparison {
    /// How the candidate differs, once for each event that was compared; `None`: the output is the same.
    pub kinds: Vec<Option<DifferenceKind>>,
    /// The differences on the newest events.
    pub differences: Vec<Difference>,
    /// False: time ran out before the events did, or the service is stopping.
    pub complete: bool,
}

/// One event on which the two differ.
pub struct Difference {
    /// The event's id.
    pub event_id: String,
    /// The event's type.
    pub event_type: String,
    /// The webhook that it was sent to.
    pub webhook: String,
    /// How they differ.
    pub kind: DifferenceKind,
    /// What the paths of the patch lead into.
    pub subject: Subject,
    /// From the active version's output to the candidate's.
    pub patch: Patch,
}

/// Compares plugin versions.
pub struct Comparer {
    pub(super) store: Arc<Store>,
    pub(super) transformer: Arc<Transformer>,
    pub(super) stop: CancellationToken,
}

impl Comparer {
    /// Runs both versions on past events, each among the transforms that its webhook has now. One call at a time, so that
    /// deliveries are not delayed.
    ///
    /// # Errors
    /// The store's.
    pub async fn compare(&self, mut request: ComparisonRequest) -> Result<Comparison, StoreError> {
        let until = Instant::now() + BUDGET;
        let over = || Instant::now() >= until || self.stop.is_cancelled();
        let mut comparison = Comparison::default();
        while let Some(page) = self.store.next_past_events(&mut request.events).await? {
            for recorded in page {
                if comparison.kinds.len() == request.last {
                    return Ok(Comparison { complete: true, ..comparison });
                }
                if over() {
                    return Ok(comparison);
                }
                self.compare_on(recorded, &request, &mut comparison).await?;
            }
            if over() {
                return Ok(comparison);
            }
        }
        Ok(Comparison { complete: true, ..comparison })
    }

    async fn compare_on(
        &self,
        recorded: ClaimedDelivery,
        request: &ComparisonRequest,
        comparison: &mut Comparison,
    ) -> Result<(), StoreError> {
        let event = recorded.event;
        let found = self.store.webhook_of(&event.company, &recorded.webhook).await?;
        // A test is in the log as a `ping`, which is no event of its webhook.
        let Some(webhook) = found.filter(|webhook| webhook.matches(&event.event_type)) else {
            return Ok(());
        };
        let transforms: Vec<_> = webhook.transforms().collect();
        // What cannot be called now compares nothing.
        let Ok((steps, memory)) = self.transformer.steps(&event.company, &transforms).await else {
            return Ok(());
        };
        let active = request.steps(&steps, &request.active);
        let active = self.transformer.chain(event.clone(), active).await.outcome();
        let candidate = request.steps(&steps, &request.candidate);
        let candidate = self.transformer.chain(event.clone(), candidate).await.outcome();
        drop(memory);
        let wanted = comparison.differences.len() < MAX_DIFFERENCES;
        let (event_id, event_type) = (event.id.clone(), event.event_type.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let headers = &webhook.headers;
            let pair = Pair { event: &event, webhook_headers: headers, active: &active, candidate: &candidate };
            let kind = pair.kind();
            (kind, kind.filter(|_| wanted).map(|kind| (kind, pair.diff())))
        });
        let Ok((kind, difference)) = compared.await else {
            return Ok(());
        };
        comparison.kinds.push(kind);
        comparison.differences.extend(difference.map(|(kind, (subject, patch))| Difference {
            event_id,
            event_type,
            webhook: recorded.webhook,
            kind,
            subject,
            patch,
        }));
        Ok(())
    }
}
