//! `posthaste serve`: runs the service.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use super::{Failure, stop_signal};
use crate::config::Config;
use crate::store::database_name;
use crate::version::VERSION;
use crate::{Service, telemetry};

/// Runs the service until SIGTERM or Ctrl-C, then finishes requests and attempts in flight. `warnings` go to its log.
///
/// # Errors
/// A part of the service cannot start.
pub async fn run(config: Config, warnings: &[String]) -> Result<(), Failure> {
    telemetry::start(config.log_format);
    let data_dir = std::path::absolute(&config.data_dir)?;
    let database = database_name(&config.database.database);
    tracing::info!(version = VERSION, database, data_dir = %data_dir.display(), "starting");
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Every connection needs a file descriptor; programs that need many are meant to raise the soft limit, often 1,024.
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }) {
        tracing::warn!(%error, "could not raise the limit on open files");
    }
    let address = config.listen.clone();
    let listener = TcpListener::bind(&address).await.map_err(|error| format!("--listen {address}: {error}"))?;
    // Installed before anything else runs, so that a signal during the start is not lost.
    let stop = tokio::spawn(stop_signal());
    let service = Service::start(config, listener).await?;
    tracing::info!(address = %service.address(), "serving");
    stop.await??;
    tracing::info!("stopping: finishing requests and attempts in flight");
    service.stop().await;
    Ok(())
}
