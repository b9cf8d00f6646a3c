//! The one writer: everything that changes the database passes here and is committed in groups.
//!
//! A group is all that is waiting when the writer is free. One transaction, one fsync, then everybody is answered.
//! Completions of attempts hurry nobody: they wait up to [`LINGER`] for company. A crash before their commit costs a
//! second POST, never a loss.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::StoreError;
use super::deliveries::{self, Completion, NewDelivery, Published};
use crate::metrics::Metrics;

/// How long a completion may wait for others to share its commit.
const LINGER: Duration = Duration::from_millis(20);
/// Most operations in one transaction.
const GROUP: usize = 512;
/// Operations that may wait for the writer; who comes later waits to be let in.
const WAITING: usize = 4096;
/// How long the writer rests after a failed commit before it tries the completions again.
const REST: Duration = Duration::from_millis(200);

type Done = Box<dyn FnOnce() + Send>;
type Work = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<Done, Done>> + Send>;

/// An event to be stored, and what to do once it is.
pub struct Publish {
    /// The row.
    pub row: NewDelivery,
    /// Called by the writer right after the commit, or with the reason why there was none. It runs on the writer's
    /// task, so it must be quick.
    pub done: Box<dyn FnOnce(Result<Published, StoreError>) + Send>,
}

enum Op {
    Publish(Publish),
    Finish(Box<Completion>),
    Work(Work),
}

/// The way in.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Op>);

impl Writer {
    /// Starts the writer on its own connection. It ends when the last way in is dropped and all is written.
    pub(super) fn start(connection: SqliteConnection, metrics: Arc<Metrics>) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), tokio::spawn(run(connection, receiver, metrics)))
    }

    /// How many operations wait.
    pub(super) fn queue(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }

    pub(super) async fn publish(&self, publish: Publish) {
        if let Err(mpsc::error::SendError(Op::Publish(publish))) = self.0.send(Op::Publish(publish)).await {
            (publish.done)(Err(StoreError::Closed));
        }
    }

    pub(super) async fn finish(&self, completion: Completion) {
        // The writer outlives all who finish; were it gone, the delivery would simply be due again.
        let _ = self.0.send(Op::Finish(Box::new(completion))).await;
    }

    /// Runs `work` inside the next group, in a savepoint of its own. Once it is committed `then` is called on the
    /// writer's task, whether or not the caller still waits; then the caller is answered.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let op: Work = Box::new(move |connection| {
            Box::pin(async move {
                match savepoint(connection, work).await {
                    Ok(value) => Ok(Box::new(move || {
                        then(&value);
                        let _ = sender.send(Ok(value));
                    }) as Done),
                    Err(error) => Err(Box::new(move || drop(sender.send(Err(error)))) as Done),
                }
            })
        });
        self.0.send(Op::Work(op)).await.map_err(|_| StoreError::Closed)?;
        receiver.await.unwrap_or(Err(StoreError::NotCommitted))
    }
}

/// Gives a closure the type that [`Writer::run`] takes; inference alone does not find its lifetimes.
pub(super) fn work<T, F>(work: F) -> F
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
{
    work
}

async fn savepoint<T>(
    connection: &mut SqliteConnection,
    work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let mut inner = connection.begin().await?;
    let value = work(&mut inner).await?;
    inner.commit().await?;
    Ok(value)
}

#[derive(Default)]
struct Group {
    publishes: Vec<Publish>,
    finishes: Vec<Completion>,
    works: Vec<Work>,
}

impl Group {
    fn push(&mut self, op: Op) {
        match op {
            Op::Publish(publish) => self.publishes.push(publish),
            Op::Finish(completion) => self.finishes.push(*completion),
            Op::Work(work) => self.works.push(work),
        }
    }

    fn len(&self) -> usize {
        self.publishes.len() + self.finishes.len() + self.works.len()
    }

    fn somebody_waits(&self) -> bool {
        !self.publishes.is_empty() || !self.works.is_empty()
    }
}

async fn run(mut connection: SqliteConnection, mut receiver: mpsc::Receiver<Op>, metrics: Arc<Metrics>) {
    let mut kept: Vec<Completion> = Vec::new();
    loop {
        let mut group = Group { finishes: std::mem::take(&mut kept), ..Group::default() };
        let open = gather(&mut group, &mut receiver).await;
        if let Err((error, finishes)) = commit(&mut connection, group, &metrics).await {
            tracing::error!(%error, "the database did not take a group of writes; trying again");
            kept = finishes;
            sleep(REST).await;
        } else if !open {
            return;
        }
    }
}

/// Fills the group with what waits. False when nothing more will come.
async fn gather(group: &mut Group, receiver: &mut mpsc::Receiver<Op>) -> bool {
    if group.len() == 0 {
        match receiver.recv().await {
            Some(op) => group.push(op),
            None => return false,
        }
    }
    let until = Instant::now() + LINGER;
    while group.len() < GROUP {
        match receiver.try_recv() {
            Ok(op) => group.push(op),
            Err(mpsc::error::TryRecvError::Disconnected) => return false,
            Err(mpsc::error::TryRecvError::Empty) if group.somebody_waits() => break,
            Err(mpsc::error::TryRecvError::Empty) => match timeout_at(until, receiver.recv()).await {
                Ok(Some(op)) => group.push(op),
                Ok(None) => return false,
                Err(_) => break,
            },
        }
    }
    true
}

/// Writes the group in one transaction and answers everybody. On failure those who wait are told, and the
/// completions, which nobody else remembers, come back.
async fn commit(
    connection: &mut SqliteConnection,
    group: Group,
    metrics: &Metrics,
) -> Result<(), (StoreError, Vec<Completion>)> {
    if group.len() == 0 {
        return Ok(());
    }
    let (begun, operations) = (Instant::now(), group.len());
    let Group { publishes, finishes, works } = group;
    let (rows, dones): (Vec<_>, Vec<_>) = publishes.into_iter().map(|publish| (publish.row, publish.done)).unzip();
    let mut answers = Vec::with_capacity(works.len());
    match write(connection, &rows, &finishes, works, &mut answers).await {
        Ok(published) => {
            metrics.committed(operations, begun.elapsed());
            for finished in &finishes {
                metrics.deliveries_ended(finished.status, 1);
            }
            for (done, answer) in dones.into_iter().zip(published) {
                done(Ok(answer));
            }
            for answer in answers {
                answer();
            }
            Ok(())
        }
        Err(error) => {
            for done in dones {
                done(Err(StoreError::NotCommitted));
            }
            Err((error, finishes))
        }
    }
}

async fn write(
    connection: &mut SqliteConnection,
    rows: &[NewDelivery],
    finishes: &[Completion],
    works: Vec<Work>,
    answers: &mut Vec<Done>,
) -> Result<Vec<Published>, StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let published = deliveries::insert(&mut transaction, rows).await?;
    deliveries::finish(&mut transaction, finishes).await?;
    for work in works {
        answers.push(match work(&mut transaction).await {
            Ok(done) | Err(done) => done,
        });
    }
    transaction.commit().await?;
    Ok(published)
}
