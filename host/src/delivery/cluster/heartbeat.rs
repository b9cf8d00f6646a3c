//! The heartbeat of this node, and its consequences.
//!
//! Each node increments a counter in the database once a second. A node whose counter stands still is dead: the others release
//! its leases. No two clocks are compared, and a node whose own heartbeat had a gap declares no other dead: after an outage of
//! the database nobody is dead at once.
//!
//! A node that does not reach the database stops beginning attempts early enough for them to end before it can be declared dead
//! (it is fenced). An attempt of a webhook with a longer timeout is ended then. A node that was declared dead all the same, because its process stood still, continues under a
//! new name.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::last_run::LastRun;
use super::membership::{Beat, Membership, MembershipChange};
use crate::delivery::delivery_clock::DeliveryClock;
use crate::delivery::effect_runner::EffectRunner;
use crate::delivery::fetch_signal::FetchSignal;
use crate::delivery::lease::LeaseHolder;
use crate::delivery::queue::WebhookQueues;
use crate::domain::id::Ids;
use crate::store::{Node, Store, StoreError};
use crate::telemetry::ThrottledLog;

/// Time between two heartbeats.
const INTERVAL: Duration = Duration::from_secs(1);

/// Keeps this node alive among the others.
pub(in crate::delivery) struct Heartbeat {
    pub(in crate::delivery) store: Arc<Store>,
    pub(in crate::delivery) queues: Arc<WebhookQueues>,
    pub(in crate::delivery) leases: Arc<LeaseHolder>,
    pub(in crate::delivery) clock: Arc<DeliveryClock>,
    pub(in crate::delivery) ids: Arc<Ids>,
    pub(in crate::delivery) effects: Arc<EffectRunner>,
    pub(in crate::delivery) fetch: Arc<FetchSignal>,
    pub(in crate::delivery) membership: Membership,
    pub(in crate::delivery) last_run: LastRun,
    /// The time limit of an attempt whose webhook sets none.
    pub(in crate::delivery) attempt_timeout: Duration,
    pub(in crate::delivery) stop: CancellationToken,
    pub(in crate::delivery) log: ThrottledLog,
}

impl Heartbeat {
    /// Joins the nodes that serve the database, and releases the leases of this data directory's last run.
    pub(in crate::delivery) async fn join(&mut self) -> Result<(), StoreError> {
        self.store.join(self.leases.name(), self.clock.wall_ms()).await?;
        if let Some(last) = self.last_run.replace(&self.leases.name()) {
            let released = self.store.leave(last.into(), self.leases.release_horizon()).await?;
            if released > 0 {
                tracing::info!(deliveries = released, "continuing the deliveries of an earlier process");
            }
        }
        self.beat().await
    }

    /// Beats until the engine has stopped: its attempts in flight end before this node leaves.
    pub(in crate::delivery) async fn run(mut self) {
        while timeout(INTERVAL, self.stop.cancelled()).await.is_err() {
            if let Err(error) = self.beat().await {
                self.log.warn("the heartbeat of this node did not reach the database", &error);
            }
        }
    }

    async fn beat(&mut self) -> Result<(), StoreError> {
        let begun = Instant::now();
        let own = self.leases.name();
        let Some(nodes) = self.store.beat(own.clone()).await? else {
            self.membership.forget(&own);
            return self.continue_as_new_node().await;
        };
        let change = self.membership.observe(&nodes, Beat { begun, answered: Instant::now() });
        if let Some(fence) = self.membership.fence(begun, self.attempt_timeout) {
            self.effects.apply(self.queues.set_fence(fence)).await;
        }
        let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        self.effects.apply(self.queues.set_node_count(count)).await;
        self.log_change(&change);
        for node in change.dead {
            self.declare_dead(node).await?;
        }
        Ok(())
    }

    fn log_change(&self, change: &MembershipChange) {
        let own = self.leases.name();
        for node in change.joined.iter().filter(|node| ***node != *own) {
            tracing::info!(node, "another node serves this database");
        }
        for node in change.gone.iter().filter(|node| ***node != *own) {
            tracing::info!(node, "a node no longer serves this database");
            self.fetch.reconcile_now();
        }
    }

    async fn declare_dead(&self, node: Node) -> Result<(), StoreError> {
        let id = node.id.clone();
        if let Some(deliveries) = self.store.remove_dead_node(node, self.leases.release_horizon()).await? {
            tracing::warn!(node = id, deliveries, "a node is dead; continuing its deliveries");
            self.fetch.reconcile_now();
        }
        Ok(())
    }

    /// The other nodes declared this one dead and took over its deliveries. It continues as a new node.
    async fn continue_as_new_node(&mut self) -> Result<(), StoreError> {
        let now = self.clock.wall_ms();
        let new: Arc<str> = self.ids.next("run", now).into();
        tracing::warn!(
            node = &*self.leases.name(),
            now = &*new,
            "the other nodes declared this one dead, since it stood still for too long; it continues as a new node"
        );
        self.store.join(new.clone(), now).await?;
        self.leases.rename(new);
        self.last_run.replace(&self.leases.name());
        // A row that was stored under the old name after that name was removed belongs to no other node.
        self.effects.apply(self.queues.ownership_lost()).await;
        let written = self.store.all_written().await;
        self.fetch.reconcile_now();
        written
    }
}
