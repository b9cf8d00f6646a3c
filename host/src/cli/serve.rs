//! `posthaste serve`

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use super::{Failure, asked_to_stop};
use crate::config::Config;
use crate::{Service, telemetry};

/// Runs the service until it is asked to stop, then drains.
///
/// # Errors
/// A part that cannot start.
pub async fn run(config: Config) -> Result<(), Failure> {
    telemetry::start(config.log_format);
    // Every connection is a file; the soft limit, often 1,024, is meant to be raised by those who need more.
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
    let address = config.listen.clone();
    let listener = TcpListener::bind(&address).await.map_err(|error| format!("--listen {address}: {error}"))?;
    // Asked for before anything else runs, so that a signal during the start is not lost.
    let stop = tokio::spawn(asked_to_stop());
    let service = Service::start(config, listener).await?;
    tracing::info!(address = %service.address(), "serving");
    stop.await??;
    tracing::info!("stopping: finishing what is in flight");
    service.stop().await;
    Ok(())
}
