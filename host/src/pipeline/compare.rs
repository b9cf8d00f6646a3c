//! A candidate beside the active version, over past events. Nothing is sent or stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Pipeline;
use crate::domain::comparison::{Kind, Pair, Patch, Subject};
use crate::sandbox::Plugin;
use crate::store::{Claimed, Recorded, StoreError};

/// Time for one comparison; it answers what it has by then.
const BUDGET: Duration = Duration::from_secs(60);
/// Differences that are told; the others are only counted.
const TOLD: usize = 100;

/// What to compare, and on what.
pub struct Question {
    /// What runs.
    pub active: Arc<Plugin>,
    /// What might run.
    pub candidate: Arc<Plugin>,
    /// The events.
    pub events: Recorded,
    /// How many of them at most.
    pub last: usize,
}

/// What came of it.
#[derive(Default)]
pub struct Comparison {
    /// How the candidate differs, once for each event that was compared; `None`: it is the same.
    pub kinds: Vec<Option<Kind>>,
    /// The differences on the newest events.
    pub differences: Vec<Difference>,
    /// False: time ran out before the events did, or the service stops.
    pub complete: bool,
}

/// One event on which the two differ.
pub struct Difference {
    /// The event's id.
    pub event_id: String,
    /// The event's type.
    pub event_type: String,
    /// The webhook that it went to.
    pub webhook: String,
    /// How they differ.
    pub kind: Kind,
    /// What the paths of the patch lead into.
    pub subject: Subject,
    /// From the active version's output to the candidate's.
    pub patch: Patch,
}

impl Pipeline {
    /// Runs both versions on past events, each under the config that its webhook has now. One call at a time, so that
    /// deliveries do not wait for it.
    ///
    /// # Errors
    /// The store's.
    pub async fn compare(&self, mut question: Question) -> Result<Comparison, StoreError> {
        let until = Instant::now() + BUDGET;
        let over = || Instant::now() >= until || self.0.stop.is_cancelled();
        let mut comparison = Comparison::default();
        while let Some(page) = self.0.store.next_recorded(&mut question.events).await? {
            for recorded in page {
                if comparison.kinds.len() == question.last {
                    return Ok(Comparison { complete: true, ..comparison });
                }
                if over() {
                    return Ok(comparison);
                }
                self.compare_on(recorded, &question, &mut comparison).await?;
            }
            if over() {
                return Ok(comparison);
            }
        }
        Ok(Comparison { complete: true, ..comparison })
    }

    async fn compare_on(
        &self,
        recorded: Claimed,
        question: &Question,
        comparison: &mut Comparison,
    ) -> Result<(), StoreError> {
        let event = recorded.event;
        let found = self.0.store.webhook_for(&event.company, &event.event_type).await?;
        let Some(webhook) = found.filter(|webhook| webhook.id == recorded.webhook) else {
            return Ok(());
        };
        let active = self.call(&question.active, event.clone(), webhook.config.clone()).await.result;
        let candidate = self.call(&question.candidate, event.clone(), webhook.config.clone()).await.result;
        let wanted = comparison.differences.len() < TOLD;
        let (event_id, event_type) = (event.id.clone(), event.event_type.clone());
        let judged = tokio::task::spawn_blocking(move || {
            let headers = &webhook.headers;
            let pair = Pair { event: &event, webhook_headers: headers, active: &active, candidate: &candidate };
            let kind = pair.kind();
            (kind, kind.filter(|_| wanted).map(|kind| (kind, pair.diff())))
        });
        let Ok((kind, told)) = judged.await else {
            return Ok(());
        };
        comparison.kinds.push(kind);
        comparison.differences.extend(told.map(|(kind, (subject, patch))| Difference {
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
