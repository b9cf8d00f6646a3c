//! Posthaste, a webhook dispatcher that runs an optional, sandboxed WebAssembly transform before each POST.
//!
//! Dependencies: `main → cli → lib → api, delivery → store, sandbox, oauth, outbound → domain`. [`Service`] is the only place
//! that wires the rooms together.

mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod domain;
pub mod metrics;
mod oauth;
mod open_files;
pub mod outbound;
pub mod sandbox;
mod secret_key;
mod server;
pub mod shares;
pub mod standard_transforms;
pub mod store;
pub mod telemetry;
mod version;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use clock::{Clock, SystemClock};
use config::{Config, PluginLimits, ShareTotal};
use delivery::{Engine, EngineParts};
use metrics::Metrics;
use oauth::Tokens;
use open_files::OpenFiles;
use outbound::{Guard, Outbound, OutboundOptions, Trust};
use sandbox::{Cache, Compiler, Limits, Sandbox};
use server::{Server, ServerOptions};
use shares::{Resource, ShareTotals, Shares};
use store::{Sealer, Store, StoreError, WriterEnd, database_kind};

/// How long requests and attempts in flight may take once the service stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long stopping may take in all, whatever clients, receivers and the database do.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// The reason why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The limit on open files.
    #[error("{0}")]
    OpenFiles(String),
    /// The text or the file of the secret key.
    #[error("{0}")]
    SecretKey(String),
    /// A flag `--share`.
    #[error("{0}")]
    Share(String),
    /// The flags `--oauth-…`, or the file that one of them names.
    #[error("{0}")]
    OAuth(String),
    /// The folder for compiled plugins.
    #[error("{}: {error}", folder.display())]
    Cache {
        /// Its path.
        folder: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The sandbox.
    #[error("the plugin sandbox cannot start: {0}")]
    Sandbox(#[from] sandbox::SandboxError),
    /// The HTTP client.
    #[error("the HTTP client cannot start: {0}")]
    Outbound(String),
    /// The listener.
    #[error("listening: {0}")]
    Listen(#[from] std::io::Error),
}

/// The limits of the sandbox by the flags.
fn limits(settings: &PluginLimits) -> Limits {
    Limits { deadline: settings.plugin_deadline, memory_bytes: settings.plugin_memory, ..Limits::default() }
}

/// The totals of what companies share, by the open files that there may be.
fn share_totals(files: &OpenFiles) -> ShareTotals {
    let OpenFiles { idle, lookups, pings, callers, .. } = *files;
    ShareTotals { client_connections: callers, idle_connections: idle, dns_lookups: lookups, pings }
}

/// Returns the totals with those that the operator chose.
///
/// # Errors
/// A total is larger than what there is.
fn chosen_totals(totals: ShareTotals, chosen: &[ShareTotal]) -> Result<impl Fn(Resource) -> u64, String> {
    for ShareTotal { resource, total } in chosen {
        let most = totals.of(*resource);
        if resource.is_given() && *total > most {
            let name = resource.info().name;
            return Err(format!(
                "--share {name}={total}: the service can have at most {most}, by the limit on open files and its \
                 connections to the database"
            ));
        }
    }
    Ok(move |resource| {
        let last = chosen.iter().rfind(|chosen| chosen.resource == resource);
        last.map_or_else(|| totals.of(resource), |chosen| chosen.total)
    })
}

/// The parts of the machine that a test may replace.
pub struct Environment {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers in `[0, 1)`, for jitter.
    pub rng: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// The program that compiles plugins: a posthaste of this version.
    pub program: PathBuf,
}

impl Default for Environment {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), rng: Arc::new(rand::random::<f64>), program: Compiler::own_program() }
    }
}

/// A running Posthaste.
pub struct Service {
    address: SocketAddr,
    server: Server,
    engine: Arc<Engine>,
    store: Arc<Store>,
    writer: WriterEnd,
}

impl Service {
    /// Starts serving on `listener`.
    ///
    /// # Errors
    /// The part that cannot start, in words for the operator.
    pub async fn start(config: Config, listener: TcpListener) -> Result<Self, StartError> {
        Self::start_in(Environment::default(), config, listener).await
    }

    /// As [`Service::start`], in an environment of the caller's.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn start_in(environment: Environment, config: Config, listener: TcpListener) -> Result<Self, StartError> {
        let files = OpenFiles::of_this_process().map_err(StartError::OpenFiles)?;
        let database = &config.database.database;
        let key = secret_key::load(&config.secret_key, &config.data_dir, database).await;
        let key = key.map_err(StartError::SecretKey)?;
        let tokens = Tokens::start(config.oauth, environment.clock.clone()).await.map_err(StartError::OAuth)?;
        let standard = standard_transforms::PLUGINS.iter().map(|(name, _)| *name);
        let mut metrics = Metrics::new(environment.clock.now_ms(), standard);
        metrics.describe_build(version::COMMIT, database_kind(database)?);
        let metrics = Arc::new(metrics);
        let totals = chosen_totals(share_totals(&files), &config.share).map_err(StartError::Share)?;
        let shares = Arc::new(Shares::with(totals, &metrics));
        let opened = Store::open(&config.database.database, Sealer::new(&key)?, metrics.clone(), &shares).await;
        let (store, writer) = opened?;
        let store = Arc::new(store.with_quotas(config.quotas.into()));
        standard_transforms::install_when_there_is_room(&store, &environment.clock).await?;
        let delivering = config.delivering;
        let node_timeout = delivering.node_timeout();
        let guard = Guard::new(delivering.allow_target, delivering.allow_http);
        let trust = Trust::load(delivering.tls_ca, environment.clock.clone()).map_err(StartError::Outbound)?;
        let options = OutboundOptions {
            guard,
            trust,
            attempt_timeout: delivering.attempt_timeout,
            connection_max_age: delivering.connection_max_age,
            second_sockets: files.second_sockets as usize,
        };
        let outbound = Outbound::new(options, &shares);
        let outbound = Arc::new(outbound.map_err(StartError::Outbound)?);
        let sandbox = Sandbox::new(limits(&config.plugins))?;
        let folder = config.data_dir.join("compiled");
        let cache = Cache::open(&folder, &key).map_err(|error| StartError::Cache { folder, error })?;
        let parts = EngineParts {
            clock: environment.clock.clone(),
            rng: environment.rng,
            outbound: outbound.clone(),
            sandbox: sandbox.clone(),
            compiler: Compiler::new(environment.program, Some(cache), shares.of(Resource::Compilations).clone()),
            schedule: delivering.retry_schedule,
            challenge_header: delivering.challenge_header.clone(),
            node_timeout,
            attempt_timeout: delivering.attempt_timeout,
            data_dir: config.data_dir,
            retention: config.retention,
            max_attempts: files.attempts as usize,
            metrics: metrics.clone(),
            shares: shares.clone(),
        };
        let engine = Arc::new(Engine::start(store.clone(), parts).await?);
        let router = api::router(Arc::new(api::ApiState {
            store: store.clone(),
            engine: engine.clone(),
            sandbox,
            outbound,
            clock: environment.clock,
            tokens,
            shares: shares.clone(),
            auth_failures: api::AuthFailureLimiter::default(),
            metrics: metrics.clone(),
            challenge_header: delivering.challenge_header,
            max_event_bytes: config.max_event_bytes,
            plugin_deadline: config.plugins.plugin_deadline,
            max_plugin_bytes: config.plugins.max_plugin_bytes,
        }));
        let address = listener.local_addr()?;
        let options = ServerOptions {
            connections: shares.of(Resource::ClientConnections).clone(),
            max_per_address: config.max_connections_per_address,
            drain_timeout: DRAIN_TIMEOUT,
            metrics,
        };
        let server = Server::start(listener, router, options);
        Ok(Self { address, server, engine, store, writer })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting requests, lets requests and attempts in flight end, and stores their results: within
    /// [`STOP_TIMEOUT`]. What was not stored by then is attempted again.
    pub async fn stop(mut self) {
        let storing = async {
            tokio::join!(self.server.stop(), self.engine.drain(DRAIN_TIMEOUT));
            self.engine.leave().await;
            drop((self.engine, self.store));
            (&mut self.writer).await.is_ok()
        };
        if !timeout(STOP_TIMEOUT, storing).await.unwrap_or(false) {
            self.writer.abort();
            tracing::error!(
                "the writer ended early; deliveries whose results it had not stored will be attempted again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::company_limit::LimitUnit;
    use shares::ResourceInfo;

    #[test]
    fn operator_chooses_totals_within_what_there_is() {
        let files = OpenFiles::divide(Some(4096)).unwrap();
        let chosen = |resource, total| ShareTotal { resource, total };
        let one = [chosen(Resource::HeavyCalls, 2), chosen(Resource::Pings, 1), chosen(Resource::HeavyCalls, 3)];
        let totals = chosen_totals(share_totals(&files), &one).unwrap();
        assert_eq!([Resource::HeavyCalls, Resource::Pings, Resource::BatchReads].map(totals), [3, 1, 4]);
        let much = [chosen(Resource::IdleConnections, 100_000)];
        let error = chosen_totals(share_totals(&files), &much).err().unwrap();
        assert!(error.starts_with("--share idle-connections=100000: the service can have at most 496,"), "{error}");
    }

    /// Returns the rows of the table in docs/operations.md.
    fn documented() -> String {
        use std::fmt::Write as _;
        // With an ample limit on open files.
        let files = OpenFiles::divide(None).unwrap();
        let totals = share_totals(&files);
        let mut rows = String::new();
        for resource in Resource::ALL {
            let ResourceInfo { name, what, unit, beyond } = resource.info();
            let total = match unit {
                LimitUnit::Bytes => format!("{} MiB", totals.of(resource) / (1 << 20)),
                LimitUnit::Count => totals.of(resource).to_string(),
            };
            let _ = writeln!(rows, "| `{name}` | {what} | {total} | {beyond} |");
        }
        rows
    }

    #[test]
    fn operators_read_the_same_table() {
        let page = include_str!("../../docs/operations.md");
        let rows = documented();
        assert!(page.contains(&rows), "docs/operations.md lacks these rows of \"What a company may take\":\n{rows}");
    }
}
