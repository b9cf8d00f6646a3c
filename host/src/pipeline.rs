//! One event's way through: publish, lanes, transform, send, record; and the sweep that brings back what waits.
//!
//! The database is the log, memory is the fast path: a crash at any point loses nothing that was answered, and costs at
//! most a second POST of what was in flight.

mod again;
mod changes;
mod compare;
mod disable;
mod lanes;
mod nodes;
mod observe;
mod ping;
mod plugins;
mod publish;
mod record;
mod send;
mod sweep;
mod time;
mod transform;
mod transformed;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
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
use crate::telemetry::Seldom;
use lanes::Lanes;
use plugins::Plugins;
use send::Targets;
use time::Time;

pub use compare::{Comparison, Difference, Question};
pub use publish::{Accepted, HandedIn, NewEvent};
pub use transformed::Transformed;

/// How long a process may keep a delivery in memory before the sweep looks whether it is still held.
const LEASE_MS: i64 = 60_000;
/// A delivery that waits for longer, though nothing stands in its way, is a fault of ours.
const OVERDUE: Duration = Duration::from_secs(60);
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
    /// Attempts in flight at once, over all webhooks: each holds a socket.
    pub max_attempts: usize,
    /// Counts what happens.
    pub metrics: Arc<Metrics>,
    /// After how long without a heartbeat a node is dead, where several serve one database.
    pub node_timeout: Duration,
    /// The longest that an attempt takes.
    pub attempt_timeout: Duration,
    /// Where a node writes its name down.
    pub data_dir: PathBuf,
}

struct Inner {
    parts: Parts,
    store: Arc<Store>,
    ids: Ids,
    time: Time,
    said: Seldom,
    plugins: Plugins,
    lanes: Arc<Lanes>,
    targets: Targets,
    /// Names this run of the process: the lease of what it has in memory. A new one where others took it for dead.
    process: RwLock<Arc<str>>,
    wake_sweep: Notify,
    wake_replays: Notify,
    wake_warm: Notify,
    pings: ping::Turns,
    /// Held while deliveries are on their way from the database into their lanes.
    taking: tokio::sync::Mutex<()>,
    /// When the sweep last got through.
    swept: Mutex<Instant>,
    /// The sweep is to ask at once which lanes have something parked.
    reconcile: AtomicBool,
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
        // What this process stores is to come after all that is there, also where the clock was set back meanwhile.
        let newest = store.newest_delivery().await?.unwrap_or(0);
        ids.next("dlv", newest.saturating_add(1));
        let process: Arc<str> = ids.next("run", parts.clock.now_ms()).into();
        let pipeline = Self(Arc::new(Inner {
            plugins: Plugins::new(parts.sandbox.clone(), parts.compiler.clone(), store.clone()),
            lanes: Arc::new(Lanes::new(parts.max_attempts)),
            time: Time::new(parts.clock.clone(), newest),
            said: Seldom::default(),
            parts,
            store,
            ids,
            targets: Targets::default(),
            process: RwLock::new(process),
            wake_sweep: Notify::new(),
            wake_replays: Notify::new(),
            wake_warm: Notify::new(),
            pings: ping::Turns::default(),
            taking: tokio::sync::Mutex::default(),
            swept: Mutex::new(Instant::now()),
            reconcile: AtomicBool::new(false),
            stop: CancellationToken::new(),
            workers: TaskTracker::new(),
        }));
        if pipeline.0.store.is_shared() {
            let heart = pipeline.join().await?;
            pipeline.0.workers.spawn(pipeline.clone().keep_beating(heart));
        } else {
            pipeline.release_leases().await?;
        }
        if let Some(heard) = pipeline.0.store.changes() {
            pipeline.0.workers.spawn(pipeline.clone().follow(heard));
        }
        pipeline.0.workers.spawn(pipeline.clone().sweep());
        pipeline.0.workers.spawn(pipeline.clone().open_lanes());
        pipeline.0.workers.spawn(pipeline.clone().replays());
        pipeline.0.workers.spawn(pipeline.clone().expire());
        pipeline.0.workers.spawn(pipeline.clone().warm());
        pipeline.0.workers.spawn(pipeline.clone().count_waiting());
        Ok(pipeline)
    }

    fn process(&self) -> Arc<str> {
        self.0.process.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The compiled plugins.
    pub fn plugins(&self) -> &Plugins {
        &self.0.plugins
    }

    /// Identifiers in the order of this process.
    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    /// A webhook was stored: from now on its lane goes by it. What waits for it goes on, or is parked where it is
    /// disabled: all of it comes back when it is enabled.
    pub fn webhook_changed(&self, webhook: &Webhook) {
        if webhook.enabled {
            if self.0.lanes.changed(webhook) {
                self.start_worker();
            }
            self.0.wake_sweep.notify_one();
            return;
        }
        let (pipeline, id, drained) = (self.clone(), webhook.id.clone(), self.0.lanes.drain(&webhook.id));
        self.0.workers.spawn(async move {
            for job in &drained {
                pipeline.0.store.finish(sweep::parked(job)).await;
            }
            if let Err(error) = pipeline.0.store.park_scheduled(&id).await {
                pipeline.0.said.warn("parking what waits for a disabled webhook failed; its retries will", &error);
            }
        });
    }

    /// What is the matter where this process does not deliver what it could: a delivery that waits though its lane has
    /// a free slot, or a sweep that does not come round. `None`: all is well.
    ///
    /// # Errors
    /// The store's.
    pub async fn trouble(&self) -> Result<Option<String>, StoreError> {
        let swept = self.0.swept.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if swept > OVERDUE {
            return Ok(Some(format!("what is due was last looked for {} s ago", swept.as_secs())));
        }
        if self.0.lanes.is_fenced() {
            return Ok(Some(
                "this node's heartbeat does not reach the database; until it does it begins no attempts".into(),
            ));
        }
        if let Some(wait) = self.0.lanes.longest_wait().filter(|wait| *wait > OVERDUE) {
            return Ok(Some(format!("a delivery waits for {} s though its webhook has a free slot", wait.as_secs())));
        }
        let due = self.0.store.next_due(&self.process()).await?.unwrap_or(i64::MAX);
        let late = self.0.time.due().saturating_sub(due);
        if late > i64::try_from(OVERDUE.as_millis()).unwrap_or(i64::MAX) {
            return Ok(Some(format!("a delivery has been due for {} s and was not taken up", late / 1000)));
        }
        Ok(None)
    }

    /// The instant of a retry, as the log has it, as the time of day: the two differ after the clock was set back.
    pub fn shown(&self, due: i64) -> i64 {
        self.0.time.shown(due)
    }

    /// A webhook was removed: what waits for it, in memory and in the database, is cancelled when this returns. What is
    /// in flight ends by itself.
    ///
    /// # Errors
    /// The store's.
    pub async fn webhook_removed(&self, webhook: &Webhook) -> Result<(), StoreError> {
        self.cancel_all(&webhook.id).await
    }

    async fn cancel_all(&self, webhook: &str) -> Result<(), StoreError> {
        self.0.lanes.removed(webhook);
        self.cancel_held(webhook).await;
        self.0.store.cancel_waiting(webhook, self.0.time.of_day()).await?;
        // What the sweep had just taken from the database has come to its lane when it lets go of this.
        drop(self.0.taking.lock().await);
        self.cancel_held(webhook).await;
        self.0.store.written().await
    }

    async fn cancel_held(&self, webhook: &str) {
        for job in self.0.lanes.drain(webhook) {
            self.0.store.finish(self.cancelled(&job)).await;
        }
    }

    /// Stops taking deliveries and waits for the attempts in flight. What is queued stays in the database.
    pub async fn stop(&self) {
        self.0.lanes.close();
        self.0.stop.cancel();
        self.0.workers.close();
        self.0.workers.wait().await;
        if self.0.store.is_shared() {
            self.leave().await;
        }
    }

    /// Compiles what enabled webhooks run and is not on disk, so that no delivery waits for it: after an upgrade of
    /// wasmtime, say, where the disk is new, or once another node has a new version. Until the pipeline is stopped.
    async fn warm(self) {
        while !self.0.stop.is_cancelled() {
            if let Err(error) = self.warm_once().await {
                self.0.said.warn("looking for plugins to compile failed", &error);
            }
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = self.0.wake_warm.notified() => (),
            }
        }
    }

    async fn warm_once(&self) -> Result<(), StoreError> {
        for (company, name, digest) in self.0.store.versions_in_use(WARMED).await? {
            if self.0.stop.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = self.0.plugins.prepare(&company, &name, &digest).await {
                tracing::warn!(company, plugin = name, %digest, error, "a stored plugin does not compile");
            }
        }
        Ok(())
    }
}
