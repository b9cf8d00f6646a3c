//! One event's way through: publish, lanes, transform, send, record; and the sweep that brings back what waits.
//!
//! The database is the log, memory is the fast path: a crash at any point loses nothing that was answered, and costs at
//! most a second POST of what was in flight.

mod compare;
mod lanes;
mod observe;
mod plugins;
mod publish;
mod record;
mod send;
mod sweep;
mod transform;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::id::Ids;
use crate::domain::retry::Schedule;
use crate::domain::webhook::Webhook;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::sandbox::{Compiler, Sandbox};
use crate::store::{Store, StoreError};
use lanes::Lanes;
use plugins::Plugins;
use send::Targets;

pub use compare::{Comparison, Difference, Question};
pub use publish::{Accepted, NewEvent};

/// How long a process may keep a delivery in memory before the sweep looks whether it is still held.
const LEASE_MS: i64 = 60_000;
/// Attempts in flight at once, over all webhooks: each holds a socket.
const MAX_WORKERS: usize = 1_024;
/// Versions that a start looks after, so that no delivery waits for one to be compiled.
const WARMED: u32 = 4_096;

/// What a pipeline is made of.
pub struct Parts {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers in `[0, 1)`, for jitter.
    pub dice: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Sends.
    pub outbound: Arc<Outbound>,
    /// Runs plugins.
    pub sandbox: Sandbox,
    /// Compiles them.
    pub compiler: Compiler,
    /// The waits between attempts.
    pub schedule: Schedule,
    /// The challenge header's name, lower-case.
    pub challenge_header: String,
    /// How long finished deliveries are kept.
    pub retention: Duration,
    /// Counts what happens.
    pub metrics: Arc<Metrics>,
}

struct Inner {
    parts: Parts,
    store: Arc<Store>,
    ids: Ids,
    plugins: Plugins,
    lanes: Arc<Lanes>,
    targets: Targets,
    /// Names this run of the process: a lease of any other name is nobody's.
    process: Arc<str>,
    wake_sweep: Notify,
    stop: CancellationToken,
    workers: TaskTracker,
}

/// The delivery engine. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline(Arc<Inner>);

impl Pipeline {
    /// Takes up what an earlier process left and starts delivering.
    ///
    /// # Errors
    /// The store's.
    pub async fn start(store: Arc<Store>, parts: Parts) -> Result<Self, StoreError> {
        let ids = Ids::default();
        let process = ids.next("run", parts.clock.now_ms()).into();
        let pipeline = Self(Arc::new(Inner {
            plugins: Plugins::new(parts.sandbox.clone(), parts.compiler.clone(), store.clone()),
            parts,
            store,
            ids,
            lanes: Arc::new(Lanes::new(MAX_WORKERS)),
            targets: Targets::default(),
            process,
            wake_sweep: Notify::new(),
            stop: CancellationToken::new(),
            workers: TaskTracker::new(),
        }));
        pipeline.release_leases().await?;
        pipeline.0.workers.spawn(pipeline.clone().sweep());
        pipeline.0.workers.spawn(pipeline.clone().expire());
        pipeline.0.workers.spawn(pipeline.clone().warm());
        pipeline.0.workers.spawn(pipeline.clone().count_waiting());
        Ok(pipeline)
    }

    /// The compiled plugins.
    pub fn plugins(&self) -> &Plugins {
        &self.0.plugins
    }

    /// Identifiers in the order of this process.
    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    /// A webhook was stored: what is parked for it may go on.
    pub fn webhook_changed(&self, webhook: &Webhook) {
        if webhook.enabled {
            self.0.lanes.parked(webhook);
            self.0.wake_sweep.notify_one();
        }
    }

    /// A webhook was removed: what waits for it, in memory and in the database, is cancelled when this returns. What is
    /// in flight ends by itself.
    ///
    /// # Errors
    /// The store's.
    pub async fn webhook_removed(&self, webhook: &Webhook) -> Result<(), StoreError> {
        for job in self.0.lanes.drain(&webhook.id) {
            self.0.store.finish(self.cancelled(&job)).await;
        }
        self.0.store.cancel_waiting(&webhook.id, self.0.parts.clock.now_ms()).await
    }

    /// Stops taking deliveries and waits for the attempts in flight. What is queued stays in the database.
    pub async fn stop(&self) {
        self.0.lanes.close();
        self.0.stop.cancel();
        self.0.workers.close();
        self.0.workers.wait().await;
    }

    /// Compiles what enabled webhooks run and is not on disk, so that no delivery waits for it: after an upgrade of
    /// wasmtime, say, or where the disk is new.
    async fn warm(self) {
        let versions = match self.0.store.versions_in_use(WARMED).await {
            Ok(versions) => versions,
            Err(error) => return tracing::warn!(%error, "looking for plugins to compile failed"),
        };
        for (company, name, digest) in versions {
            if self.0.stop.is_cancelled() {
                return;
            }
            if let Err(error) = self.0.plugins.prepare(&company, &name, &digest).await {
                tracing::warn!(company, plugin = name, %digest, error, "a stored plugin does not compile");
            }
        }
    }
}
