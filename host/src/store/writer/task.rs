//! The writer's task: it commits one group after the other, and recovers after a failure.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::commit::{FailedCommit, commit};
use super::group::{COMPLETION_LINGER, PendingCompletions, WriteGroup};
use super::operation::WriteOperation;
use crate::metrics::Metrics;
use crate::store::backend::{Backend, DatabaseOptions, is_disk_full};
use crate::store::db::{self, DatabaseConnection, DatabaseKind};
use crate::store::disk_reserve::DiskReserve;
use crate::store::error::StoreError;
use crate::telemetry::ThrottledLog;

/// Pause after a failed commit before the completions are tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Bounds how long completions are retried once the service is stopping: deliveries whose completion is not written by then
/// are attempted again.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Attempts to empty the write-ahead log at the end.
const LOG_ATTEMPTS: usize = 10;

/// The state of the writer's task.
pub(super) struct WriterTask {
    connection: DatabaseConnection,
    options: DatabaseOptions,
    /// `None` unless the database is a file.
    reserve: Option<DiskReserve>,
    throttled_log: ThrottledLog,
    metrics: Arc<Metrics>,
    /// Completions that did not commit: nothing else remembers them.
    uncommitted: PendingCompletions,
}

impl WriterTask {
    /// Connects to the database and reserves disk space.
    pub(super) async fn new(backend: &Backend, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        Ok(Self {
            connection: backend.connect().await?,
            options: backend.options.clone(),
            reserve: backend.options.file().map(|file| DiskReserve::create(file.beside(".reserve"), Instant::now())),
            throttled_log: ThrottledLog::default(),
            metrics,
            uncommitted: PendingCompletions::default(),
        })
    }

    /// Runs until all senders are dropped and everything is written, or [`SHUTDOWN_GRACE`] is over.
    pub(super) async fn run(mut self, mut receiver: mpsc::Receiver<WriteOperation>) {
        let mut closed_at: Option<Instant> = None;
        loop {
            let mut group = WriteGroup::of_completions(self.uncommitted.take_oldest());
            if !group.gather(&mut receiver, COMPLETION_LINGER).await {
                closed_at.get_or_insert_with(Instant::now);
            }
            if self.reserve.as_mut().is_some_and(|reserve| reserve.is_missing(Instant::now())) {
                group.refuse_publishes(&|| StoreError::Full);
            }
            if let Err(FailedCommit { error, completions }) = commit(&mut self.connection, group, &self.metrics).await {
                self.uncommitted.put_back(completions);
                if self.connection.damage.check().is_err() {
                    // Its connection may be in the middle of a transaction.
                    drop(self);
                    return refuse_all(receiver).await;
                }
                self.recover(error, &mut receiver).await;
            }
            let unwritten = self.uncommitted.completions.len();
            match closed_at.map(|at| at.elapsed()) {
                Some(_) if unwritten == 0 => return self.empty_log().await,
                Some(elapsed) if elapsed > SHUTDOWN_GRACE => {
                    return tracing::warn!(unwritten, "stopping before the results of some attempts were written");
                }
                _ => (),
            }
        }
    }

    /// Empties SQLite's write-ahead log, by which the next start tells a crash from a stop. If it fails, that start only takes
    /// longer.
    async fn empty_log(mut self) {
        if self.connection.kind() != DatabaseKind::Sqlite {
            return;
        }
        // It is busy while the last checkpoint or a reader beside it ends.
        for _ in 0..LOG_ATTEMPTS {
            let busy = db::query("PRAGMA wal_checkpoint(TRUNCATE)").value::<i64>(&mut self.connection).await;
            match busy {
                Ok(0) => return,
                Ok(_) => sleep(RETRY_PAUSE).await,
                Err(error) => return tracing::debug!(%error, "the write-ahead log was not emptied"),
            }
        }
    }

    /// Refuses the waiting operations, so that no caller waits for one failure after the other; connects again; pauses.
    async fn recover(&mut self, error: sqlx::Error, receiver: &mut mpsc::Receiver<WriteOperation>) {
        let full = is_disk_full(&error);
        self.throttled_log.warn("the database did not take a group of writes; trying again", &error);
        if let (true, Some(reserve)) = (full, &mut self.reserve) {
            reserve.release(Instant::now());
        }
        // The connection may be lost, or in the middle of the transaction, or SQLite has rolled that back itself.
        match self.options.connect(&self.connection.damage).await {
            Ok(connection) => self.connection = connection,
            Err(error) => self.throttled_log.warn("reconnecting to the database failed; trying again", &error),
        }
        let mut refused = WriteGroup::default();
        while let Ok(operation) = receiver.try_recv() {
            match operation {
                WriteOperation::Complete(completion, permit) => self.uncommitted.push(*completion, permit),
                other => refused.push(other),
            }
        }
        refused.refuse_publishes(&|| if full { StoreError::Full } else { StoreError::NotCommitted });
        // Dropping them closes the channels on which their callers wait.
        drop(refused.transactions);
        sleep(RETRY_PAUSE).await;
    }
}

/// Refuses every operation, without a write, until all senders are dropped: the database is malformed. Deliveries whose
/// completions are dropped are attempted again once a mended database is served.
async fn refuse_all(mut receiver: mpsc::Receiver<WriteOperation>) {
    while let Some(operation) = receiver.recv().await {
        match operation {
            WriteOperation::Publish(publish) => (publish.done)(Err(StoreError::Malformed)),
            // The caller notices that its channel is closed.
            WriteOperation::Transaction(_) | WriteOperation::Complete(..) => (),
        }
    }
}
