//! Builds every component from its parts. A component's literal here shows all that it can touch.

mod company_remover;
mod puller;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::EngineParts;
use crate::delivery::attempt::{AttemptRunner, Sender, Transformer};
use crate::delivery::background_steps::BackgroundSteps;
use crate::delivery::backlog_gauge::BacklogGauge;
use crate::delivery::canceller::Canceller;
use crate::delivery::cluster::{Heartbeat, Invalidation, LastRun, Membership};
use crate::delivery::comparer::Comparer;
use crate::delivery::compiled_plugins::CompiledPlugins;
use crate::delivery::delivery_clock::DeliveryClock;
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::earlier_log_mover::EarlierLogMover;
use crate::delivery::effect_runner::EffectRunner;
use crate::delivery::eraser::Eraser;
use crate::delivery::fetch_signal::FetchSignal;
use crate::delivery::fetcher::{Fetcher, IntakeLock};
use crate::delivery::host_event::HostEvents;
use crate::delivery::lease::LeaseHolder;
use crate::delivery::manual_retry::ManualRetry;
use crate::delivery::operational_events::{ExhaustedLimit, OperationalEvents, PluginStreaks};
use crate::delivery::orphan_sweeper::OrphanSweeper;
use crate::delivery::pinger::Pinger;
use crate::delivery::precompiler::Precompiler;
use crate::delivery::previewer::Previewer;
use crate::delivery::publisher::Publisher;
use crate::delivery::queue::WebhookQueues;
use crate::delivery::quota_keeper::QuotaKeeper;
use crate::delivery::recorder::{AutoDisable, Recorder, Rng};
use crate::delivery::replayer::Replayer;
use crate::delivery::retention::Retention;
use crate::delivery::transient_eraser::TransientEraser;
use crate::delivery::waiting_consumers::WaitingConsumers;
use crate::delivery::webhook_lifecycle::WebhookLifecycle;
use crate::domain::clock_doubt::ClockDoubt;
use crate::domain::id::Ids;
use crate::domain::retry::Schedule;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::shares::{Resource, Shares};
use crate::store::Store;
use crate::telemetry::ThrottledLog;

/// The parts that several components share, and the settings that single ones take.
pub(super) struct Wiring {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) leases: Arc<LeaseHolder>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) ids: Arc<Ids>,
    pub(super) plugins: Arc<CompiledPlugins>,
    pub(super) transformer: Arc<Transformer>,
    pub(super) fetch: Arc<FetchSignal>,
    pub(super) stop: CancellationToken,
    pub(super) cut: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) leave: CancellationToken,
    pub(super) heartbeat_task: TaskTracker,
    attempts: Arc<AttemptRunner>,
    host_events: Arc<HostEvents>,
    pub(super) operational_events: Arc<OperationalEvents>,
    effects: Arc<EffectRunner>,
    intake: IntakeLock,
    outbound: Arc<Outbound>,
    precompile: Arc<Notify>,
    sweep: Arc<Notify>,
    consumers: Arc<WaitingConsumers>,
    metrics: Arc<Metrics>,
    shares: Arc<Shares>,
    schedule: Schedule,
    rng: Rng,
    retention: Duration,
    node_timeout: Duration,
    attempt_timeout: Duration,
    data_dir: PathBuf,
}

/// What earlier processes tell about time.
pub(super) struct Past {
    /// When the newest stored delivery was accepted, milliseconds since 1970.
    pub(super) newest: i64,
    pub(super) clock_doubt: Option<ClockDoubt>,
}

impl Wiring {
    pub(super) fn new(store: Arc<Store>, parts: EngineParts, Past { newest, clock_doubt }: Past) -> Self {
        let ids = Arc::new(Ids::default());
        // Rows of this process have to sort after all that exist, also if the clock was set back meanwhile.
        ids.next("dlv", newest.saturating_add(1));
        let run = ids.next("run", parts.clock.now_ms());
        let clock = Arc::new(DeliveryClock::new(parts.clock, newest).doubted(clock_doubt));
        let queues = Arc::new(WebhookQueues::new(parts.max_attempts, parts.shares.of(Resource::QueueBytes).clone()));
        let fetch = Arc::new(FetchSignal::new(Instant::now()));
        let tasks = TaskTracker::new();
        let plugins = Arc::new(CompiledPlugins::new(parts.sandbox.clone(), parts.compiler, store.clone()));
        let (metrics, header) = (parts.metrics, parts.challenge_header);
        let transform_memory = parts.shares.of(Resource::TransformBytes).clone();
        let transformer =
            Transformer::new(plugins.clone(), parts.sandbox, metrics.clone(), header.clone(), transform_memory.clone());
        let transformer = Arc::new(transformer);
        let sender = Sender::new(parts.outbound.clone(), clock.clone(), header);
        let host_events = Arc::new(HostEvents { ids: ids.clone() });
        let effects = Arc::new(EffectRunner::new(queues.clone(), store.clone(), fetch.clone(), tasks.clone()));
        let operational_events = Arc::new(OperationalEvents {
            store: store.clone(),
            queues: queues.clone(),
            clock: clock.clone(),
            effects: effects.clone(),
            host_events: host_events.clone(),
            tasks: tasks.clone(),
            log: Arc::default(),
            exhausted: ExhaustedLimit::default(),
            plugins: PluginStreaks::default(),
        });
        Self {
            leases: Arc::new(LeaseHolder::new(run.into(), clock.clone())),
            attempts: Arc::new(AttemptRunner::new(
                transformer.clone(),
                sender,
                clock.clone(),
                metrics.clone(),
                transform_memory,
            )),
            host_events,
            operational_events,
            effects,
            store,
            queues,
            clock,
            ids,
            plugins,
            transformer,
            fetch,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks,
            leave: CancellationToken::new(),
            heartbeat_task: TaskTracker::new(),
            intake: IntakeLock::default(),
            outbound: parts.outbound,
            precompile: Arc::default(),
            sweep: Arc::default(),
            consumers: Arc::default(),
            metrics,
            shares: parts.shares,
            schedule: parts.schedule,
            rng: parts.rng,
            retention: parts.retention,
            node_timeout: parts.node_timeout,
            attempt_timeout: parts.attempt_timeout,
            data_dir: parts.data_dir,
        }
    }

    /// Runs a task of the engine until it ends, or is cut off.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.cut.clone().run_until_cancelled_owned(task));
    }

    pub(super) fn lifecycle(&self) -> Arc<WebhookLifecycle> {
        Arc::new(WebhookLifecycle {
            store: self.store.clone(),
            queues: self.queues.clone(),
            clock: self.clock.clone(),
            effects: self.effects.clone(),
            fetch: self.fetch.clone(),
            intake: self.intake.clone(),
            outbound: self.outbound.clone(),
            operational_events: self.operational_events.clone(),
            tasks: self.tasks.clone(),
            sweep: self.sweep.clone(),
            log: Arc::default(),
        })
    }

    /// The dispatcher, in which workers start from now on.
    pub(super) fn dispatcher(&self, lifecycle: &Arc<WebhookLifecycle>) -> Arc<Dispatcher> {
        let dispatcher = Arc::new(Dispatcher {
            queues: self.queues.clone(),
            store: self.store.clone(),
            leases: self.leases.clone(),
            clock: self.clock.clone(),
            attempts: self.attempts.clone(),
            recorder: self.recorder(lifecycle),
            effects: self.effects.clone(),
            consumers: self.consumers.clone(),
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
            cut: self.cut.clone(),
            log: ThrottledLog::default(),
        });
        let workers: Weak<Dispatcher> = Arc::downgrade(&dispatcher);
        self.effects.connect(workers);
        dispatcher
    }

    fn recorder(&self, lifecycle: &Arc<WebhookLifecycle>) -> Recorder {
        Recorder {
            store: self.store.clone(),
            queues: self.queues.clone(),
            clock: self.clock.clone(),
            schedule: self.schedule.clone(),
            rng: self.rng.clone(),
            auto_disable: AutoDisable {
                store: self.store.clone(),
                lifecycle: lifecycle.clone(),
                operational_events: self.operational_events.clone(),
                clock: self.clock.clone(),
                log: ThrottledLog::default(),
            },
            operational_events: self.operational_events.clone(),
            effects: self.effects.clone(),
            fetch: self.fetch.clone(),
            metrics: self.metrics.clone(),
            log: ThrottledLog::default(),
        }
    }

    pub(super) fn publisher(&self) -> Publisher {
        Publisher {
            store: self.store.clone(),
            queues: self.queues.clone(),
            leases: self.leases.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            effects: self.effects.clone(),
            consumers: self.consumers.clone(),
            metrics: self.metrics.clone(),
        }
    }

    pub(super) fn fetcher(&self) -> Fetcher {
        Fetcher {
            store: self.store.clone(),
            queues: self.queues.clone(),
            leases: self.leases.clone(),
            clock: self.clock.clone(),
            effects: self.effects.clone(),
            signal: self.fetch.clone(),
            intake: self.intake.clone(),
            stop: self.stop.clone(),
            log: ThrottledLog::default(),
        }
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            store: self.store.clone(),
            queues: self.queues.clone(),
            leases: self.leases.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            effects: self.effects.clone(),
            fetch: self.fetch.clone(),
            membership: Membership::new(self.node_timeout),
            last_run: LastRun::of(&self.data_dir),
            attempt_timeout: self.attempt_timeout,
            stop: self.leave.clone(),
            log: ThrottledLog::default(),
        }
    }

    pub(super) fn invalidation(&self, lifecycle: &Arc<WebhookLifecycle>, canceller: &Arc<Canceller>) -> Invalidation {
        Invalidation {
            canceller: canceller.clone(),
            store: self.store.clone(),
            queues: self.queues.clone(),
            lifecycle: lifecycle.clone(),
            plugins: self.plugins.clone(),
            effects: self.effects.clone(),
            fetch: self.fetch.clone(),
            precompile: self.precompile.clone(),
            stop: self.stop.clone(),
            log: ThrottledLog::default(),
        }
    }

    pub(super) fn canceller(&self) -> Arc<Canceller> {
        Arc::new(Canceller {
            store: self.store.clone(),
            queues: self.queues.clone(),
            clock: self.clock.clone(),
            effects: self.effects.clone(),
            intake: self.intake.clone(),
            steps: BackgroundSteps::new(self.stop.clone()),
        })
    }

    pub(super) fn eraser(&self, canceller: &Arc<Canceller>) -> Arc<Eraser> {
        Arc::new(Eraser {
            store: self.store.clone(),
            canceller: canceller.clone(),
            clock: self.clock.clone(),
            steps: BackgroundSteps::new(self.stop.clone()),
        })
    }

    pub(super) fn replayer(&self) -> Arc<Replayer> {
        Arc::new(Replayer {
            store: self.store.clone(),
            queues: self.queues.clone(),
            effects: self.effects.clone(),
            fetch: self.fetch.clone(),
            operational_events: self.operational_events.clone(),
            steps: BackgroundSteps::new(self.stop.clone()),
        })
    }

    pub(super) fn manual_retry(&self) -> ManualRetry {
        ManualRetry {
            store: self.store.clone(),
            queues: self.queues.clone(),
            leases: self.leases.clone(),
            clock: self.clock.clone(),
            effects: self.effects.clone(),
            fetch: self.fetch.clone(),
        }
    }

    pub(super) fn retention(&self) -> Retention {
        Retention {
            store: self.store.clone(),
            clock: self.clock.clone(),
            keep: self.retention,
            clock_doubt: None,
            stop: self.stop.clone(),
            log: ThrottledLog::default(),
        }
    }

    pub(super) fn earlier_log_mover(&self) -> EarlierLogMover {
        EarlierLogMover {
            store: self.store.clone(),
            fetch: self.fetch.clone(),
            stop: self.stop.clone(),
            log: ThrottledLog::default(),
        }
    }

    pub(super) fn orphan_sweeper(&self) -> OrphanSweeper {
        OrphanSweeper {
            store: self.store.clone(),
            queues: self.queues.clone(),
            effects: self.effects.clone(),
            clock: self.clock.clone(),
            wake: self.sweep.clone(),
            stop: self.stop.clone(),
            log: ThrottledLog::default(),
        }
    }

    pub(super) fn transient_eraser(&self) -> TransientEraser {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        TransientEraser { store, clock, stop: self.stop.clone(), log: ThrottledLog::default() }
    }

    pub(super) fn quota_keeper(&self) -> QuotaKeeper {
        QuotaKeeper { store: self.store.clone(), stop: self.stop.clone(), log: ThrottledLog::default() }
    }

    pub(super) fn precompiler(&self) -> Precompiler {
        Precompiler {
            store: self.store.clone(),
            plugins: self.plugins.clone(),
            wake: self.precompile.clone(),
            stop: self.stop.clone(),
            log: ThrottledLog::default(),
        }
    }

    pub(super) fn backlog_gauge(&self) -> BacklogGauge {
        BacklogGauge {
            store: self.store.clone(),
            queues: self.queues.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
            log: ThrottledLog::default(),
        }
    }

    pub(super) fn comparer(&self) -> Comparer {
        Comparer { store: self.store.clone(), transformer: self.transformer.clone(), stop: self.stop.clone() }
    }

    pub(super) fn previewer(&self) -> Previewer {
        let (plugins, transformer) = (self.plugins.clone(), self.transformer.clone());
        Previewer { store: self.store.clone(), plugins, transformer }
    }

    pub(super) fn pinger(&self) -> Pinger {
        let (attempts, host_events) = (self.attempts.clone(), self.host_events.clone());
        let share = self.shares.of(Resource::Pings).clone();
        Pinger::new(self.store.clone(), attempts, host_events, self.clock.clone(), share)
    }
}
