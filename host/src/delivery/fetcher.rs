//! Brings deliveries from the database into their queues: retries that are due, backlogs of queues that have room, and whatever
//! an earlier process left. Woken by the components that know of something, and by a poll behind it, so that nothing waits
//! for ever because a signal was lost.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::fetch_signal::FetchSignal;
use super::lease::LeaseHolder;
use super::queue::{BacklogFetch, FetchResult, Origin, QueuedDelivery, WebhookQueues};
use super::unattempted::cancelled;
use crate::store::{ClaimedDelivery, OwnershipRequest, Store, StoreError};
use crate::telemetry::ThrottledLog;

/// Deliveries claimed in one statement.
const BATCH: u32 = 256;
/// Backlogs that are claimed at once: each is in memory until its deliveries are in their queues.
const FETCHES_AT_ONCE: usize = 16;
/// How often the database is asked which webhooks have a backlog, whatever memory believes.
const RECONCILE_EVERY: Duration = Duration::from_secs(15);
/// Pause after the database failed.
const FAILURE_PAUSE: Duration = Duration::from_millis(500);

/// Held while deliveries are on their way from the database into their queues: a removal waits for it.
pub(super) type IntakeLock = Arc<tokio::sync::Mutex<()>>;

/// Fetches deliveries.
pub(super) struct Fetcher {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) leases: Arc<LeaseHolder>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) signal: Arc<FetchSignal>,
    pub(super) intake: IntakeLock,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl Fetcher {
    /// Runs until the engine stops.
    pub(super) async fn run(self) {
        let mut reconciled: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            let requested = self.signal.take_reconcile_request();
            if requested || reconciled.is_none_or(|at| at.elapsed() >= RECONCILE_EVERY) {
                match self.reconcile().await {
                    Ok(()) => reconciled = Some(Instant::now()),
                    Err(error) => self.log.warn("looking for backlogs failed", &error),
                }
            }
            let rest = match self.pass().await {
                Ok(rest) => {
                    self.signal.pass_completed(Instant::now());
                    rest
                }
                Err(error) => {
                    self.log.warn("looking for due deliveries failed", &error);
                    FAILURE_PAUSE
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = timeout(rest, self.signal.woken()) => (),
            }
        }
    }

    /// Asks the database which webhooks have a backlog.
    async fn reconcile(&self) -> Result<(), StoreError> {
        self.effects.apply(self.queues.prune()).await;
        for waiting in self.store.backlogged_webhooks(&self.leases.name()).await? {
            if let Some(webhook) = self.store.webhook_of(&waiting.company, &waiting.id).await? {
                if waiting.has_backlog {
                    self.effects.apply(self.queues.spilled(&webhook)).await;
                }
                if waiting.has_replay {
                    self.effects.apply(self.queues.replay_requested(&webhook)).await;
                }
            }
        }
        Ok(())
    }

    /// Fetches backlogs, then the deliveries that are due. Returns how long to rest.
    async fn pass(&self) -> Result<Duration, StoreError> {
        let intake = self.intake.lock().await;
        let fetches = self.queues.backlogs_to_fetch();
        let mut ended = Vec::with_capacity(fetches.len());
        // Several at once, so that they share commits.
        for some in fetches.chunks(FETCHES_AT_ONCE) {
            ended.extend(join_all(some.iter().map(|fetch| self.fetch_backlog(fetch))).await);
        }
        ended.into_iter().collect::<Result<Vec<_>, _>>()?;
        let now = self.clock.due_ms();
        let due = self.store.claim_due(now, self.leases.lease(), BATCH).await?;
        let found = !due.is_empty() || !fetches.is_empty();
        self.enqueue(due, Origin::Live).await?;
        drop(intake);
        if found {
            return Ok(Duration::ZERO);
        }
        Ok(plan::rest(self.store.next_due(&self.leases.name()).await?, now))
    }

    async fn fetch_backlog(&self, fetch: &BacklogFetch) -> Result<(), StoreError> {
        let claimed = match self.take_ownership(fetch).await {
            Ok(true) => self.claim_backlog(fetch).await,
            Ok(false) => {
                self.effects.apply(self.queues.ownership_refused(fetch)).await;
                return Ok(());
            }
            Err(error) => Err(error),
        };
        let (result, failed) = match claimed {
            Ok(result) => (result, None),
            Err(error) => (FetchResult { more: true, ..FetchResult::default() }, Some(error)),
        };
        self.effects.apply(self.queues.fetched(fetch, result)).await;
        failed.map_or(Ok(()), Err)
    }

    /// Whether this node may serve the webhook. If it needs to own it, it tries to become the owner.
    async fn take_ownership(&self, fetch: &BacklogFetch) -> Result<bool, StoreError> {
        if !fetch.needs_ownership {
            return Ok(true);
        }
        let request = OwnershipRequest {
            webhook: fetch.webhook_id.to_string(),
            company: fetch.company.to_string(),
            event_type: fetch.event_type.clone(),
        };
        let granted = self.store.take_ownership(request, self.leases.name()).await?;
        if granted {
            self.queues.ownership_granted(fetch);
        }
        Ok(granted)
    }

    async fn claim_backlog(&self, fetch: &BacklogFetch) -> Result<FetchResult, StoreError> {
        let webhook = self.store.webhook_of(&fetch.company, &fetch.webhook_id).await?;
        if webhook.is_some_and(|webhook| !webhook.enabled) {
            return Ok(FetchResult::default());
        }
        let limit = BATCH.min(u32::try_from(fetch.room).unwrap_or(BATCH));
        let selection = plan::selection(fetch);
        let claimed = self.store.claim_backlog(&fetch.webhook_id, selection, self.leases.lease(), limit).await?;
        let (claimed, first_scheduled) = claimed;
        let result = plan::fetch_result(fetch, claimed.is_empty(), first_scheduled);
        self.enqueue(claimed, plan::origin(fetch.kind)).await?;
        Ok(result)
    }

    /// Puts claimed deliveries into their queues, spills those that find no room and cancels those without a webhook.
    async fn enqueue(&self, claimed: Vec<ClaimedDelivery>, origin: Origin) -> Result<(), StoreError> {
        let mut by_webhook: HashMap<(String, String), Vec<QueuedDelivery>> = HashMap::new();
        for one in claimed {
            let key = (one.event.company.clone(), one.webhook.clone());
            by_webhook.entry(key).or_default().push(one.into());
        }
        for ((company, id), deliveries) in by_webhook {
            match self.store.webhook_of(&company, &id).await? {
                Some(webhook) => self.effects.apply(self.queues.offer(&webhook, deliveries, origin)).await,
                None => {
                    for orphan in &deliveries {
                        self.store.finish(cancelled(orphan, self.clock.wall_ms())).await;
                    }
                }
            }
        }
        Ok(())
    }
}
