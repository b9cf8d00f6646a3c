//! The writer's task: it commits one group after the other, and recovers after a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::commit::{FailedCommit, commit};
use super::group::{COMPLETION_LINGER, WriteGroup};
use super::line::WaitingLine;
use super::operation::{CompanyOperation, CompanyWork, WriteOperation};
use crate::metrics::Metrics;
use crate::store::backend::{Backend, DatabaseOptions, is_disk_full};
use crate::store::damage::Damage;
use crate::store::db::{self, DatabaseConnection, DatabaseKind};
use crate::store::disk_reserve::DiskReserve;
use crate::store::earlier_log::EarlierEvents;
use crate::store::error::StoreError;
use crate::store::event_usage::EventUsage;
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
    /// `None`: the last one was lost; the next group opens another.
    connection: Option<DatabaseConnection>,
    damage: Damage,
    options: DatabaseOptions,
    /// `None` unless the database is a file.
    reserve: Option<DiskReserve>,
    throttled_log: ThrottledLog,
    metrics: Arc<Metrics>,
    /// It has the completions that did not commit as well: nothing else remembers them.
    line: WaitingLine,
    /// The length of the line, for the metric.
    waiting: Arc<AtomicUsize>,
    usage: Arc<EventUsage>,
    earlier: EarlierEvents,
}

impl WriterTask {
    /// Connects to the database and reserves disk space.
    pub(super) async fn new(
        backend: &Backend,
        metrics: Arc<Metrics>,
        usage: Arc<EventUsage>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Some(backend.connect().await?),
            damage: backend.readers.damage().clone(),
            options: backend.options.clone(),
            reserve: backend.options.file().map(|file| DiskReserve::create(file.beside(".reserve"), Instant::now())),
            throttled_log: ThrottledLog::default(),
            metrics,
            line: WaitingLine::default(),
            waiting: Arc::default(),
            usage,
            earlier: EarlierEvents::default(),
        })
    }

    /// Returns where to read how many operations wait, apart from those in the channel.
    pub(super) fn waiting(&self) -> Arc<AtomicUsize> {
        self.waiting.clone()
    }

    /// Runs until all senders are dropped and everything is written, or [`SHUTDOWN_GRACE`] is over.
    pub(super) async fn run(mut self, mut receiver: mpsc::Receiver<WriteOperation>) {
        let mut closed_at: Option<Instant> = None;
        loop {
            if !self.line.gather(&mut receiver, COMPLETION_LINGER).await {
                closed_at.get_or_insert_with(Instant::now);
            }
            let mut group = self.line.next_group();
            self.waiting.store(self.line.len(), Ordering::Relaxed);
            if self.reserve.as_mut().is_some_and(|reserve| reserve.is_missing(Instant::now())) {
                group.refuse_publishes(&|| StoreError::Full);
            }
            if let Err(FailedCommit { error, completions }) = self.commit(group).await {
                self.line.completions.put_back(completions);
                if self.damage.check().is_err() {
                    self.line.refuse_callers(&|| StoreError::Malformed);
                    // Its connection may be in the middle of a transaction.
                    drop(self);
                    return refuse_all(receiver).await;
                }
                self.recover(error, &mut receiver).await;
            }
            let unwritten = self.line.len();
            match closed_at.map(|at| at.elapsed()) {
                Some(_) if unwritten == 0 => return self.empty_log().await,
                Some(elapsed) if elapsed > SHUTDOWN_GRACE => {
                    return tracing::warn!(unwritten, "stopping before the results of some attempts were written");
                }
                _ => (),
            }
        }
    }

    /// Commits the group, over another connection if the last one was lost.
    async fn commit(&mut self, mut group: WriteGroup) -> Result<(), FailedCommit> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => match self.options.connect(&self.damage).await {
                Ok(connection) => self.connection.insert(connection),
                Err(error) => {
                    group.refuse_publishes(&|| StoreError::NotCommitted);
                    // The transactions are dropped: that closes the channels on which their callers wait.
                    return Err(FailedCommit { error, completions: group.completions });
                }
            },
        };
        commit(connection, group, &self.metrics, &self.usage, &mut self.earlier).await
    }

    /// Empties SQLite's write-ahead log, by which the next start tells a crash from a stop. If it fails, that start only takes
    /// longer.
    async fn empty_log(mut self) {
        let Some(connection) = self.connection.as_mut().filter(|_| self.options.kind() == DatabaseKind::Sqlite) else {
            return;
        };
        // It is busy while the last checkpoint or a reader beside it ends.
        for _ in 0..LOG_ATTEMPTS {
            let busy = db::query("PRAGMA wal_checkpoint(TRUNCATE)").value::<i64>(&mut *connection).await;
            match busy {
                Ok(0) => return,
                Ok(_) => sleep(RETRY_PAUSE).await,
                Err(error) => return tracing::debug!(%error, "the write-ahead log was not emptied"),
            }
        }
    }

    /// Ends the transaction; refuses the waiting operations, so that no caller waits for one failure after the other; pauses.
    async fn recover(&mut self, error: sqlx::Error, receiver: &mut mpsc::Receiver<WriteOperation>) {
        let full = is_disk_full(&error);
        self.throttled_log.warn("the database did not take a group of writes; trying again", &error);
        if let (true, Some(reserve)) = (full, &mut self.reserve) {
            reserve.release(Instant::now());
        }
        self.connection = match self.connection.take() {
            Some(connection) => roll_back(connection).await,
            None => None,
        };
        while let Ok(operation) = receiver.try_recv() {
            self.line.push(operation);
        }
        self.line.refuse_callers(&|| if full { StoreError::Full } else { StoreError::NotCommitted });
        sleep(RETRY_PAUSE).await;
    }
}

/// Returns the connection if it can take the next group. Only SQLite's can: it stays open, because a process without a free
/// file descriptor could not open the file again. One of a remote database may be lost, and there a `BEGIN` in the middle of a
/// transaction is no error: its commit would store what callers were told is not stored.
async fn roll_back(mut connection: DatabaseConnection) -> Option<DatabaseConnection> {
    // It fails if SQLite has rolled back itself, as it does after an error of the file.
    let can_roll_back = connection.kind() == DatabaseKind::Sqlite;
    (can_roll_back && db::query("ROLLBACK").execute(&mut connection).await.is_ok()).then_some(connection)
}

/// Refuses every operation, without a write, until all senders are dropped: the database is malformed. Deliveries whose
/// completions are dropped are attempted again once a mended database is served.
async fn refuse_all(mut receiver: mpsc::Receiver<WriteOperation>) {
    while let Some(operation) = receiver.recv().await {
        // Other callers notice that their channel is closed.
        if let WriteOperation::Company(CompanyOperation { work: CompanyWork::Publish(publish), .. }) = operation {
            (publish.done)(Err(StoreError::Malformed));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;
    use crate::domain::event::Event;
    use crate::store::delivery_rows::{NewDelivery, NewDeliveryWaits, NewEventRow, Published};
    use crate::store::writer::operation::Publish;

    type Answer = oneshot::Receiver<Result<Published, StoreError>>;

    fn publish(delivery_id: &str, event_id: &str) -> (Publish, Answer) {
        let event = Event {
            id: event_id.into(),
            event_type: "t".into(),
            company: "acme".into(),
            occurred_at: 0,
            headers: Vec::new(),
            data: Bytes::from_static(b"{}"),
        };
        let delivery = NewDelivery {
            id: delivery_id.into(),
            webhook: "wh_1".into(),
            label: None,
            waits: NewDeliveryWaits::InBacklog,
            transient: false,
        };
        let row = NewEventRow {
            place: delivery_id.into(),
            event: Arc::new(event),
            deliveries: vec![delivery],
            created_at: 0,
        };
        let (sender, answer) = oneshot::channel();
        (Publish { row, done: Box::new(|published| drop(sender.send(published))) }, answer)
    }

    /// Hands in the events as one group and waits for the answer to the last.
    async fn commit_group(task: &mut WriterTask, events: &[(&str, &str)]) -> Result<Published, StoreError> {
        let (publishes, answers): (_, Vec<_>) = events.iter().map(|(id, event_id)| publish(id, event_id)).unzip();
        let group = WriteGroup { publishes, ..WriteGroup::default() };
        if let Err(FailedCommit { error, .. }) = task.commit(group).await {
            let (_, mut receiver) = mpsc::channel(1);
            task.recover(error, &mut receiver).await;
        }
        answers.into_iter().next_back().unwrap().await.unwrap()
    }

    #[tokio::test]
    async fn writer_that_cannot_open_the_file_again_begins_outside_of_the_failed_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::open(&format!("sqlite://{}/x.db", folder.path().display())).await.unwrap();
        let mut task = WriterTask::new(&backend, Arc::new(Metrics::new(0, [])), Arc::default()).await.unwrap();
        // As in a process without a free file descriptor.
        task.options = DatabaseOptions::parse(&format!("sqlite://{}/missing/x.db", folder.path().display())).unwrap();
        assert!(matches!(commit_group(&mut task, &[("1", "a")]).await, Ok(Published::Stored)));
        // The first row is written when the second fails, because its id is taken.
        let failed = commit_group(&mut task, &[("2", "b"), ("1", "c")]).await;
        assert!(matches!(failed, Err(StoreError::NotCommitted)), "{failed:?}");
        let next = commit_group(&mut task, &[("3", "d")]).await;
        assert!(matches!(next, Ok(Published::Stored)), "{next:?}");
        let stored =
            db::query("SELECT place FROM events ORDER BY place").values::<String>(&backend.readers.background).await;
        assert_eq!(stored.unwrap(), ["1", "3"]);
    }

    #[tokio::test]
    async fn writer_whose_connection_is_lost_opens_another_for_the_next_group() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::open(&format!("sqlite://{}/x.db", folder.path().display())).await.unwrap();
        let mut task = WriterTask::new(&backend, Arc::new(Metrics::new(0, [])), Arc::default()).await.unwrap();
        task.connection = None;
        let right = std::mem::replace(
            &mut task.options,
            DatabaseOptions::parse(&format!("sqlite://{}/missing/x.db", folder.path().display())).unwrap(),
        );
        let refused = commit_group(&mut task, &[("1", "a")]).await;
        assert!(matches!(refused, Err(StoreError::NotCommitted)), "{refused:?}");
        task.options = right;
        assert!(matches!(commit_group(&mut task, &[("2", "b")]).await, Ok(Published::Stored)));
    }
}
