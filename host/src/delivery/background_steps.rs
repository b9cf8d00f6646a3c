//! Work that goes on in the background step by step, each a few rows, so that other operations of the writer come between.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::store::StoreError;
use crate::telemetry::ThrottledLog;

/// How often to look for work that another node ordered, or that an earlier process began.
const POLL: Duration = Duration::from_secs(15);

/// Makes the steps of one kind of work.
pub(super) struct BackgroundSteps {
    wake: Notify,
    stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl BackgroundSteps {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { wake: Notify::new(), stop, log: ThrottledLog::default() }
    }

    /// Has a step be made at once.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Makes steps until the engine stops, with `pause` between two. If a step finds nothing more to do, or fails, which is logged
    /// as `failure`, the next one comes later.
    pub(super) async fn run<F>(&self, pause: Duration, failure: &'static str, step: impl Fn() -> F)
    where
        F: Future<Output = Result<bool, StoreError>>,
    {
        while !self.stop.is_cancelled() {
            let rest = match step().await {
                Ok(true) => pause,
                Ok(false) => POLL,
                Err(error) => {
                    self.log.warn(failure, &error);
                    POLL
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = timeout(rest, self.wake.notified()) => (),
            }
        }
    }
}
