//! Fetches from the database what has come due and what is parked. Woken by those who know of something, and by a
//! poll behind it, so that nothing that was forgotten waits for ever.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::lanes::{Class, Job, Refill, Refilled, Wanted};
use super::{LEASE_MS, Pipeline};
use crate::domain::delivery::Status;
use crate::domain::webhook::Webhook;
use crate::store::{Claimed, Completion, Parked, StoreError};

/// Deliveries taken in one statement.
const BATCH: u32 = 256;
/// Longest sleep.
const POLL: Duration = Duration::from_secs(1);
/// Shortest sleep where nothing was taken.
const BREATH: Duration = Duration::from_millis(5);
/// How often the database is asked which lanes have something parked, whatever memory believes.
const RECONCILE: Duration = Duration::from_secs(15);
/// How often retention looks for what has expired, and how long it rests between two steps of it.
const EXPIRE: Duration = Duration::from_secs(60);
const EXPIRE_REST: Duration = Duration::from_millis(50);
/// Rest after the database failed.
const REST: Duration = Duration::from_millis(500);
/// How far ahead of now a lease may end that an earlier process had: the clock may have been set back since, milliseconds.
pub(super) const LEASES_END_MS: i64 = LEASE_MS + 3_600_000;

impl Pipeline {
    /// Runs until the pipeline is stopped.
    pub(super) async fn sweep(self) {
        let mut reconciled: Option<Instant> = None;
        while !self.0.stop.is_cancelled() {
            let at_once = self.0.reconcile.swap(false, Ordering::Relaxed);
            if at_once || reconciled.is_none_or(|at| at.elapsed() >= RECONCILE) {
                match self.reconcile().await {
                    Ok(()) => reconciled = Some(Instant::now()),
                    Err(error) => self.0.said.warn("looking for parked deliveries failed", &error),
                }
            }
            let rest = match self.sweep_once().await {
                Ok(rest) => {
                    *self.0.swept.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    rest
                }
                Err(error) => {
                    self.0.said.warn("looking for due deliveries failed", &error);
                    REST
                }
            };
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                _ = timeout(rest, self.0.wake_sweep.notified()) => (),
            }
        }
    }

    /// Frees what an earlier process had in memory when it ended. Called once, before anything is taken.
    pub(super) async fn release_leases(&self) -> Result<(), StoreError> {
        let now = self.0.time.due();
        let freed = self.0.store.release_leases(now, now + LEASES_END_MS).await?;
        if freed > 0 {
            tracing::info!(deliveries = freed, "taking up what an earlier process had begun");
        }
        Ok(())
    }

    /// Removes what retention no longer keeps, until the pipeline is stopped.
    pub(super) async fn expire(self) {
        while !self.0.stop.is_cancelled() {
            if let Err(error) = self.expire_once().await {
                self.0.said.warn("removing what retention no longer keeps failed", &error);
            }
            let _ = timeout(EXPIRE, self.0.stop.cancelled()).await;
        }
    }

    async fn expire_once(&self) -> Result<(), StoreError> {
        let retention = i64::try_from(self.0.parts.retention.as_millis()).unwrap_or(i64::MAX);
        let before = self.0.time.doubtful().saturating_sub(retention);
        let mut last = String::new();
        while let Some(company) = self.0.store.company_after(&last).await? {
            while self.0.store.expire(company.clone(), before).await? {
                if timeout(EXPIRE_REST, self.0.stop.cancelled()).await.is_ok() {
                    return Ok(());
                }
            }
            last = company;
        }
        // After the attempts that may name them.
        while self.0.store.forget_versions(before).await? {
            if timeout(EXPIRE_REST, self.0.stop.cancelled()).await.is_ok() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn reconcile(&self) -> Result<(), StoreError> {
        self.0.lanes.tidy();
        for waiting in self.0.store.waiting_lanes(&self.process()).await? {
            if let Some(webhook) = self.0.store.webhook_for(&waiting.company, &waiting.event_type).await? {
                if waiting.parked {
                    self.0.lanes.parked(&webhook);
                }
                if waiting.replayed {
                    self.0.lanes.replayed(&webhook);
                }
            }
        }
        Ok(())
    }

    /// One round; answers how long to rest.
    async fn sweep_once(&self) -> Result<Duration, StoreError> {
        let taking = self.0.taking.lock().await;
        // Together, so that they share commits.
        let refills = self.0.lanes.to_refill();
        let ended = join_all(refills.iter().map(|refill| self.refill(refill))).await;
        let refilled = !refills.is_empty();
        ended.into_iter().collect::<Result<Vec<_>, _>>()?;
        let now = self.0.time.due();
        let due = self.0.store.claim_due(now, self.lease(), BATCH).await?;
        let more = !due.is_empty();
        self.accept(due, false).await?;
        drop(taking);
        if more || refilled {
            return Ok(Duration::ZERO);
        }
        let next = self.0.store.next_due(&self.process()).await?;
        let rest = next.map_or(POLL, |due| Duration::from_millis(u64::try_from(due - now).unwrap_or(0)));
        // What is due and was not taken, another node is just taking.
        Ok(rest.clamp(BREATH, POLL))
    }

    async fn refill(&self, refill: &Refill) -> Result<(), StoreError> {
        let fetched = match self.seat(refill).await {
            Ok(true) => self.fetch(refill).await,
            Ok(false) => return self.give_back(refill).await,
            Err(error) => Err(error),
        };
        let (result, failed) = match fetched {
            Ok(result) => (result, None),
            Err(error) => (Refilled { more: true, barrier: None }, Some(error)),
        };
        if self.0.lanes.refilled(refill, result) {
            self.start_worker();
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether this node answers for the webhook, or does so now.
    async fn seat(&self, refill: &Refill) -> Result<bool, StoreError> {
        if !refill.seatless {
            return Ok(true);
        }
        let events = (&*refill.company, refill.event_type.as_str());
        let ours = self.0.store.take_seat(&refill.webhook, events, self.process()).await?;
        if ours {
            self.0.lanes.seated(refill);
        }
        Ok(ours)
    }

    /// What waits in the lane is another node's to send.
    async fn give_back(&self, refill: &Refill) -> Result<(), StoreError> {
        for job in self.0.lanes.refused(refill) {
            self.0.store.finish(parked(&job)).await;
        }
        Ok(())
    }

    async fn fetch(&self, refill: &Refill) -> Result<Refilled, StoreError> {
        let webhook = self.0.store.webhook_for(&refill.company, &refill.event_type).await?;
        if webhook.is_some_and(|webhook| webhook.id == *refill.webhook && !webhook.enabled) {
            return Ok(Refilled::default());
        }
        let limit = BATCH.min(u32::try_from(refill.room).unwrap_or(BATCH));
        let parked = match refill.wanted {
            Wanted::Parked => Parked::Any,
            Wanted::Ordered => Parked::Ordered { before: refill.before.clone() },
            Wanted::Replayed => Parked::Replayed,
        };
        let (claimed, barrier) = self.0.store.claim_parked((&refill.webhook, parked), self.lease(), limit).await?;
        let none = claimed.is_empty();
        let more = !none || refill.before.is_some();
        self.accept(claimed, refill.wanted == Wanted::Replayed).await?;
        let known = refill.wanted == Wanted::Ordered && (none || refill.before.is_none());
        Ok(Refilled { more, barrier: known.then_some(barrier) })
    }

    pub(super) fn lease(&self) -> (i64, Arc<str>) {
        (self.0.time.due() + LEASE_MS, self.process())
    }

    /// Puts claimed deliveries into their lanes; parks what finds no room, cancels what has no webhook any more.
    async fn accept(&self, claimed: Vec<Claimed>, replayed: bool) -> Result<(), StoreError> {
        let mut by_type: HashMap<(String, String), Vec<Claimed>> = HashMap::new();
        for one in claimed {
            by_type.entry((one.event.company.clone(), one.event.event_type.clone())).or_default().push(one);
        }
        for ((company, event_type), claimed) in by_type {
            let webhook = self.0.store.webhook_for(&company, &event_type).await?;
            let (alive, orphans): (Vec<_>, Vec<_>) =
                claimed.into_iter().partition(|one| webhook.as_ref().is_some_and(|hook| hook.id == one.webhook));
            for orphan in orphans {
                self.0.store.finish(self.cancelled(&Job::from(orphan))).await;
            }
            let Some(webhook) = webhook.filter(|_| !alive.is_empty()) else {
                continue;
            };
            let jobs = alive.into_iter().map(Job::from).collect();
            let (start, refused) = self.0.lanes.offer(&webhook, jobs, replayed);
            if start {
                self.start_worker();
            }
            for job in &refused {
                self.park(job, &webhook).await;
            }
        }
        Ok(())
    }

    /// Back into the database. The lane is told afterwards: it may have been refilled before this was parked.
    pub(super) async fn park(&self, job: &Job, webhook: &Webhook) {
        self.0.store.finish(parked(job)).await;
        self.0.lanes.parked(webhook);
    }

    pub(super) fn cancelled(&self, job: &Job) -> Completion {
        let finished_at = Some(self.0.time.of_day());
        Completion { status: Status::Cancelled, finished_at, ..parked(job) }
    }
}

/// Back to the database, without an attempt, until its lane has room or its webhook is enabled.
pub(super) fn parked(job: &Job) -> Completion {
    Completion {
        company: job.event.company.clone(),
        id: job.delivery.clone(),
        lease: job.lease.clone(),
        status: Status::Pending,
        attempt_count: job.attempt_count,
        due: None,
        finished_at: None,
        attempt: None,
    }
}

impl From<Claimed> for Job {
    fn from(claimed: Claimed) -> Self {
        Self {
            delivery: claimed.id,
            webhook: claimed.webhook,
            lease: claimed.lease,
            attempt_count: claimed.attempt_count,
            attempt_base: claimed.attempt_base,
            event: claimed.event,
            class: Class::First,
        }
    }
}
