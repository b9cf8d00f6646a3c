//! Builds the components of the delivery engine, starts and stops them, and reports their health.

mod wiring;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::Transformer;
use super::canceller::Canceller;
use super::company_remover::CompanyRemover;
use super::comparer::Comparer;
use super::compiled_plugins::CompiledPlugins;
use super::delivery_clock::DeliveryClock;
use super::dispatcher::Dispatcher;
use super::eraser::Eraser;
use super::fetch_signal::FetchSignal;
use super::lease::LeaseHolder;
use super::manual_retry::ManualRetry;
use super::operational_events::OperationalEvents;
use super::pinger::Pinger;
use super::previewer::Previewer;
use super::publisher::Publisher;
use super::puller::Puller;
use super::queue::WebhookQueues;
use super::recorder::Rng;
use super::replayer::Replayer;
use super::webhook_lifecycle::WebhookLifecycle;
use crate::clock::Clock;
use crate::domain::id::Ids;
use crate::domain::retry::Schedule;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::sandbox::{Compiler, Sandbox};
use crate::shares::Shares;
use crate::store::{Store, StoreError};
use wiring::{Past, Wiring};

/// A delivery that waits for longer, although nothing holds it back, is a fault of the engine.
const OVERDUE: Duration = Duration::from_secs(60);

/// The settings of the engine, and the components that it takes from outside.
pub struct EngineParts {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers in `[0, 1)`, for jitter.
    pub rng: Rng,
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
    /// Counts and times.
    pub metrics: Arc<Metrics>,
    /// What companies share.
    pub shares: Arc<Shares>,
    /// How long a node's heartbeat stands still before the node is dead, if several nodes serve one database.
    pub node_timeout: Duration,
    /// The time limit of an attempt whose webhook sets none.
    pub attempt_timeout: Duration,
    /// Where a node stores its name.
    pub data_dir: PathBuf,
}

/// The running delivery engine.
pub struct Engine {
    /// Accepts events.
    pub publisher: Publisher,
    /// Retries one delivery by hand.
    pub manual_retry: ManualRetry,
    /// Sends a range of deliveries again.
    pub replayer: Arc<Replayer>,
    /// Cancels deliveries.
    pub canceller: Arc<Canceller>,
    /// Erases the data of events.
    pub eraser: Arc<Eraser>,
    /// Removes companies.
    pub company_remover: Arc<CompanyRemover>,
    /// Compares plugin versions on past events.
    pub comparer: Comparer,
    /// Tests webhooks.
    pub pinger: Pinger,
    /// Reads the events of webhooks for their consumers.
    pub puller: Puller,
    /// Recomputes the bytes that deliveries sent.
    pub previewer: Previewer,
    /// Tells companies what happens to what they own.
    pub operational_events: Arc<OperationalEvents>,
    /// Follows changes of webhooks.
    pub webhooks: Arc<WebhookLifecycle>,
    /// Calls plugins as for a delivery.
    pub transformer: Arc<Transformer>,
    /// The compiled plugin versions.
    pub plugins: Arc<CompiledPlugins>,
    /// Makes identifiers that ascend within this process.
    pub ids: Arc<Ids>,
    /// The effect runner holds it weakly.
    _dispatcher: Arc<Dispatcher>,
    store: Arc<Store>,
    queues: Arc<WebhookQueues>,
    clock: Arc<DeliveryClock>,
    leases: Arc<LeaseHolder>,
    fetch: Arc<FetchSignal>,
    stop: CancellationToken,
    /// Ends the attempts in flight.
    cut: CancellationToken,
    tasks: TaskTracker,
    /// Ends the heartbeat, which goes on until the attempts in flight have ended.
    leave: CancellationToken,
    heartbeat_task: TaskTracker,
}

impl Engine {
    /// Builds the engine, continues the deliveries of an earlier process and starts delivering.
    ///
    /// # Errors
    /// The store's.
    pub async fn start(store: Arc<Store>, parts: EngineParts) -> Result<Self, StoreError> {
        let newest = store.newest_delivery().await?.unwrap_or(0);
        let past = Past { newest, clock_doubt: store.clock_doubt().await? };
        let wiring = Wiring::new(store, parts, past);
        let webhooks = wiring.lifecycle();
        let dispatcher = wiring.dispatcher(&webhooks);
        let (replayer, canceller) = (wiring.replayer(), wiring.canceller());
        let eraser = wiring.eraser(&canceller);
        let company_remover = wiring.company_remover(&canceller);
        if wiring.store.is_shared() {
            let mut heartbeat = wiring.heartbeat();
            heartbeat.join().await?;
            wiring.heartbeat_task.spawn(heartbeat.run());
        } else {
            release_leases(&wiring.store, &wiring.leases).await?;
        }
        let mover = wiring.earlier_log_mover();
        let moved = mover.move_waiting().await?;
        if moved > 0 {
            tracing::info!(deliveries = moved, "moved the waiting deliveries of the version before");
        }
        if let Some(notifications) = wiring.store.changes() {
            wiring.spawn(wiring.invalidation(&webhooks, &canceller).run(notifications));
        }
        wiring.spawn(wiring.fetcher().run());
        wiring.spawn(dispatcher.clone().open_queues());
        wiring.spawn(replayer.clone().run());
        wiring.spawn(canceller.clone().run());
        wiring.spawn(eraser.clone().run());
        wiring.spawn(company_remover.clone().run());
        wiring.spawn(mover.run());
        wiring.spawn(wiring.orphan_sweeper().run());
        wiring.spawn(wiring.transient_eraser().run());
        wiring.spawn(wiring.quota_keeper().run());
        wiring.spawn(wiring.retention().run());
        wiring.spawn(wiring.precompiler().run());
        wiring.spawn(wiring.backlog_gauge().run());
        Ok(Self {
            publisher: wiring.publisher(),
            manual_retry: wiring.manual_retry(),
            replayer,
            canceller,
            eraser,
            company_remover,
            comparer: wiring.comparer(),
            pinger: wiring.pinger(),
            puller: wiring.puller(),
            previewer: wiring.previewer(),
            operational_events: wiring.operational_events,
            webhooks,
            transformer: wiring.transformer,
            plugins: wiring.plugins,
            ids: wiring.ids,
            _dispatcher: dispatcher,
            store: wiring.store,
            queues: wiring.queues,
            clock: wiring.clock,
            leases: wiring.leases,
            fetch: wiring.fetch,
            stop: wiring.stop,
            cut: wiring.cut,
            tasks: wiring.tasks,
            leave: wiring.leave,
            heartbeat_task: wiring.heartbeat_task,
        })
    }

    /// Stops taking deliveries and waits for the attempts in flight, at most `drain_timeout`. Those that are left are cut off, and
    /// attempted again by whoever delivers next. Queued deliveries stay in the database.
    pub async fn drain(&self, drain_timeout: Duration) {
        self.queues.close();
        self.stop.cancel();
        self.tasks.close();
        if timeout(drain_timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!("some attempts were still in flight when the service stopped; they will be made again");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }

    /// Ends the heartbeat and hands the deliveries of this node over to the others. Nothing may be published or attempted any
    /// more.
    pub async fn leave(&self) {
        self.leave.cancel();
        self.heartbeat_task.close();
        self.heartbeat_task.wait().await;
        if self.store.is_shared()
            && let Err(error) = self.store.leave(self.leases.name(), self.leases.release_horizon()).await
        {
            tracing::warn!(%error, "leaving the other nodes failed; they will declare this one dead");
        }
    }

    /// The reason why this process does not deliver everything that it could; `None`: all is well.
    ///
    /// # Errors
    /// The store's.
    pub async fn trouble(&self) -> Result<Option<String>, StoreError> {
        let observed = Observed {
            since_last_pass: self.fetch.since_last_pass(Instant::now()),
            is_fenced: self.queues.is_fenced(),
            longest_wait: self.queues.longest_wait(),
        };
        if let Some(trouble) = observed.trouble() {
            return Ok(Some(trouble));
        }
        let next_due = self.store.next_due(&self.leases.name()).await?;
        Ok(overdue(next_due, self.clock.due_ms()))
    }

    /// The due time of a retry, as the log stores it, as a wall-clock time: the two differ after the clock was set back.
    pub fn to_wall_ms(&self, due: i64) -> i64 {
        self.clock.to_wall_ms(due)
    }
}

/// Releases the leases of an earlier process. Called once, before anything is claimed.
async fn release_leases(store: &Store, leases: &LeaseHolder) -> Result<(), StoreError> {
    let released = store.release_leases(leases.release_horizon()).await?;
    if released > 0 {
        tracing::info!(deliveries = released, "continuing the deliveries of an earlier process");
    }
    Ok(())
}

/// The health of the engine as memory shows it.
struct Observed {
    since_last_pass: Duration,
    is_fenced: bool,
    longest_wait: Option<Duration>,
}

impl Observed {
    fn trouble(&self) -> Option<String> {
        if self.since_last_pass > OVERDUE {
            let seconds = self.since_last_pass.as_secs();
            return Some(format!("the fetcher last looked for due deliveries {seconds} s ago"));
        }
        if self.is_fenced {
            return Some(
                "this node's heartbeat does not reach the database; until it does, the node begins no attempts".into(),
            );
        }
        let wait = self.longest_wait.filter(|wait| *wait > OVERDUE)?;
        Some(format!("a delivery has waited for {} s although its webhook has a free slot", wait.as_secs()))
    }
}

/// The trouble of a delivery that has been due for long; instants in milliseconds since 1970.
fn overdue(next_due: Option<i64>, now: i64) -> Option<String> {
    let late = Duration::from_millis(u64::try_from(now.saturating_sub(next_due?)).unwrap_or(0));
    (late > OVERDUE).then(|| format!("a delivery has been due for {} s and was not claimed", late.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(pass_s: u64, is_fenced: bool, wait_s: Option<u64>) -> Option<String> {
        let longest_wait = wait_s.map(Duration::from_secs);
        Observed { since_last_pass: Duration::from_secs(pass_s), is_fenced, longest_wait }.trouble()
    }

    #[test]
    fn health_names_the_first_trouble() {
        assert_eq!(observed(60, false, None), None);
        assert_eq!(observed(1, false, Some(60)), None);
        assert!(observed(61, true, Some(61)).unwrap().contains("fetcher last looked for due deliveries 61 s ago"));
        assert!(observed(0, true, Some(61)).unwrap().contains("heartbeat"));
        assert!(observed(0, false, Some(61)).unwrap().contains("waited for 61 s"));
    }

    #[test]
    fn delivery_that_is_due_for_over_a_minute_is_trouble() {
        assert_eq!(overdue(None, 1_000_000), None);
        assert_eq!(overdue(Some(2_000_000), 1_000_000), None);
        assert_eq!(overdue(Some(940_000), 1_000_000), None);
        assert!(overdue(Some(939_000), 1_000_000).unwrap().contains("due for 61 s"));
    }
}
