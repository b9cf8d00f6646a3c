//! The delivery engine: publish, store, queue, transform, send, record.
//!
//! The database is the log, memory is the fast path: a crash at any point loses no event that was answered 202, and costs at
//! most a second POST of the attempts in flight.
//!
//! | component | task |
//! | --- | --- |
//! | `publisher` | accepts events: stored, answered, handed to their queue |
//! | `queue` | one queue per webhook, fair between companies |
//! | `dispatcher` | the workers: from a queue to the record |
//! | `attempt` | transform, sign, send |
//! | `recorder` | the consequences of an attempt for its delivery and its webhook |
//! | `fetcher` | due retries and backlogs from the database into the queues |
//! | `effect_runner` | starts workers, wakes the fetcher, spills, as the queues ask |
//! | `webhook_lifecycle` | stored, disabled and removed webhooks |
//! | `puller` | what consumers fetch instead of getting POSTs |
//! | `manual_retry`, `replayer`, `pinger`, `previewer`, `comparer` | calls of the API about deliveries |
//! | `earlier_log_mover`, `orphan_sweeper`, `quota_keeper`, `retention`, `precompiler`, `backlog_gauge` | background tasks |
//! | `operational_events` | what the service tells a company on its own webhooks |
//! | `cluster` | several nodes on one database |
//! | `engine` | builds, starts and stops all of them, and reports their health |

mod attempt;
mod background_steps;
mod backlog_gauge;
mod canceller;
mod cluster;
mod company_remover;
mod comparer;
mod compiled_plugins;
mod delivery_clock;
mod dispatcher;
mod earlier_log_mover;
mod effect_runner;
mod engine;
mod eraser;
mod fetch_signal;
mod fetcher;
mod host_event;
mod lease;
mod manual_retry;
mod operational_events;
mod orphan_sweeper;
mod pinger;
mod precompiler;
mod previewer;
mod publisher;
mod puller;
mod queue;
mod quota_keeper;
mod recorder;
mod replayer;
mod retention;
mod transient_eraser;
mod unattempted;
mod waiting_consumers;
mod webhook_lifecycle;

pub use attempt::{ChainCall, ChainRun, ChainStep, Transformer};
pub use comparer::{Comparer, Comparison, ComparisonRequest, Difference};
pub use compiled_plugins::CompiledPlugins;
pub use engine::{Engine, EngineParts};
pub use manual_retry::ManualRetry;
pub use operational_events::OperationalEvents;
pub use pinger::{Pinger, SampleEvent};
pub use previewer::{Preview, Previewer};
pub use publisher::{AcceptedEvent, NewEvent, Publisher, SubmittedEvent};
pub use puller::{PullQuery, PullResult, PulledMessage, Puller};
pub use recorder::Rng;
pub use replayer::Replayer;
pub use webhook_lifecycle::WebhookLifecycle;
