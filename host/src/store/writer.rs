//! The one writer: everything that changes the database passes here and is committed in groups.
//!
//! A group is all that is waiting when the writer is free. One transaction, one fsync, then everybody is answered.
//! Completions of attempts hurry nobody: they wait up to [`LINGER`] for company. A crash before their commit costs a
//! second POST, never a loss.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::backend::{Backend, Options, is_full};
use super::db::{self, Connection, Kind};
use super::deliveries::{self, Completion, NewDelivery, Published};
use super::reserve::Reserve;
use super::{Store, StoreError};
use crate::metrics::Metrics;
use crate::telemetry::Seldom;

/// How long a completion may wait for others to share its commit.
const LINGER: Duration = Duration::from_millis(20);
/// Most operations in one transaction.
const GROUP: usize = 512;
/// Completions that may wait to be written, and as many other operations; who comes later waits to be let in.
const WAITING: usize = 4096;
/// How long the writer may take for nothing at all before it counts as stuck.
const STUCK: Duration = Duration::from_secs(5);
/// How long a transaction may take on a database that is elsewhere, before its connection counts as dead.
const TOO_LONG: Duration = Duration::from_secs(10);
/// How long the writer rests after a failed commit before it tries the completions again.
const REST: Duration = Duration::from_millis(200);
/// How long it goes on trying once the service is to stop: what is not written then is attempted again.
const LAST_TRIES: Duration = Duration::from_secs(10);

type Done = Box<dyn FnOnce() + Send>;
type Work = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<Done, Done>> + Send>;

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
    Finish(Box<Completion>, OwnedSemaphorePermit),
    Work(Work),
}

/// The way in.
#[derive(Clone)]
pub(super) struct Writer {
    ops: mpsc::Sender<Op>,
    /// One for each completion that is not written yet, so that those of a database that takes no writes fill neither
    /// the memory nor the way in: whoever waits for an answer is still told that there is none.
    places: Arc<Semaphore>,
}

impl Writer {
    /// Starts the writer on its own connection. It ends when the last way in is dropped and all is written.
    pub(super) async fn start(
        backend: &Backend,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, tokio::task::JoinHandle<()>), StoreError> {
        let (ops, receiver) = mpsc::channel(2 * WAITING);
        let writing = Writing {
            connection: backend.connect().await?,
            options: backend.options.clone(),
            reserve: backend.beside("reserve").map(|path| Reserve::make(path, Instant::now())),
            said: Seldom::default(),
            metrics,
            kept: Kept::default(),
        };
        Ok((Self { ops, places: Arc::new(Semaphore::new(WAITING)) }, tokio::spawn(writing.run(receiver))))
    }

    /// How many operations wait.
    pub(super) fn queue(&self) -> usize {
        self.ops.max_capacity() - self.ops.capacity()
    }

    pub(super) async fn publish(&self, publish: Publish) {
        if let Err(mpsc::error::SendError(Op::Publish(publish))) = self.ops.send(Op::Publish(publish)).await {
            (publish.done)(Err(StoreError::Closed));
        }
    }

    pub(super) async fn finish(&self, completion: Completion) {
        // The semaphore is never closed.
        let Ok(place) = self.places.clone().acquire_owned().await else {
            return;
        };
        // The writer outlives all who finish; were it gone, the delivery would simply be due again.
        let _ = self.ops.send(Op::Finish(Box::new(completion), place)).await;
    }

    /// Runs `work` inside the next group, in a savepoint of its own. Once it is committed `then` is called on the
    /// writer's task, whether or not the caller still waits; then the caller is answered.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
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
        self.ops.send(Op::Work(op)).await.map_err(|_| StoreError::Closed)?;
        receiver.await.unwrap_or(Err(StoreError::NotCommitted))
    }
}

impl Store {
    /// Whether the database answers, and takes writes.
    ///
    /// # Errors
    /// What it said instead, or that it said nothing.
    pub async fn ping(&self) -> Result<(), StoreError> {
        db::query("SELECT 1 FROM meta LIMIT 1").fetch_optional(&self.readers).await?;
        timeout(STUCK, self.written()).await.unwrap_or(Err(StoreError::NotCommitted))
    }

    /// Waits until everything that was handed in before is written.
    ///
    /// # Errors
    /// The database's.
    pub async fn written(&self) -> Result<(), StoreError> {
        let nothing = work(|_| Box::pin(async { Ok(()) }));
        self.writer.run(nothing, |()| ()).await
    }
}

/// Gives a closure the type that [`Writer::run`] takes; inference alone does not find its lifetimes.
pub(super) fn work<T, F>(work: F) -> F
where
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
{
    work
}

async fn savepoint<T>(
    connection: &mut Connection,
    work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    db::query("SAVEPOINT work").execute(&mut *connection).await?;
    let result = work(connection).await;
    if result.is_err() {
        db::query("ROLLBACK TO SAVEPOINT work").execute(&mut *connection).await?;
    }
    db::query("RELEASE SAVEPOINT work").execute(connection).await?;
    result.map_err(|error| match error {
        StoreError::Database(error) if is_full(&error) => StoreError::Full,
        other => other,
    })
}

/// Completions that are not written yet, with their places.
#[derive(Default)]
struct Kept {
    completions: Vec<Completion>,
    places: Option<OwnedSemaphorePermit>,
}

impl Kept {
    fn push(&mut self, completion: Completion, place: OwnedSemaphorePermit) {
        self.completions.push(completion);
        match &mut self.places {
            Some(places) => places.merge(place),
            None => self.places = Some(place),
        }
    }

    /// The oldest, as many as go into one group.
    fn some(&mut self) -> Self {
        let count = self.completions.len().min(GROUP);
        let places = self.places.as_mut().and_then(|places| places.split(count));
        Self { completions: self.completions.drain(..count).collect(), places }
    }

    /// Takes back what [`Kept::some`] gave.
    fn take_back(&mut self, some: Self) {
        let later = std::mem::replace(self, some);
        self.completions.extend(later.completions);
        match (&mut self.places, later.places) {
            (Some(places), Some(more)) => places.merge(more),
            (places, more) => *places = places.take().or(more),
        }
    }
}

#[derive(Default)]
struct Group {
    publishes: Vec<Publish>,
    finishes: Kept,
    works: Vec<Work>,
}

impl Group {
    fn push(&mut self, op: Op) {
        match op {
            Op::Publish(publish) => self.publishes.push(publish),
            Op::Finish(completion, place) => self.finishes.push(*completion, place),
            Op::Work(work) => self.works.push(work),
        }
    }

    fn len(&self) -> usize {
        self.publishes.len() + self.finishes.completions.len() + self.works.len()
    }

    fn somebody_waits(&self) -> bool {
        !self.publishes.is_empty() || !self.works.is_empty()
    }

    fn refuse_publishes(&mut self, why: &dyn Fn() -> StoreError) {
        for publish in self.publishes.drain(..) {
            (publish.done)(Err(why()));
        }
    }
}

/// The writer's own.
struct Writing {
    connection: Connection,
    options: Options,
    /// For a database in a file.
    reserve: Option<Reserve>,
    said: Seldom,
    metrics: Arc<Metrics>,
    /// Completions that did not commit: nobody else remembers them.
    kept: Kept,
}

impl Writing {
    async fn run(mut self, mut receiver: mpsc::Receiver<Op>) {
        let mut closed: Option<Instant> = None;
        loop {
            let mut group = Group { finishes: self.kept.some(), ..Group::default() };
            if !gather(&mut group, &mut receiver).await {
                closed.get_or_insert_with(Instant::now);
            }
            if self.reserve.as_mut().is_some_and(|reserve| reserve.is_missing(Instant::now())) {
                group.refuse_publishes(&|| StoreError::Full);
            }
            if let Err((error, finishes)) = commit(&mut self.connection, group, &self.metrics).await {
                self.kept.take_back(finishes);
                self.failed(error, &mut receiver).await;
            }
            let unwritten = self.kept.completions.len();
            match closed.map(|at| at.elapsed()) {
                Some(_) if unwritten == 0 => return,
                Some(tried) if tried > LAST_TRIES => {
                    return tracing::warn!(unwritten, "stopping without having written down the end of some attempts");
                }
                _ => (),
            }
        }
    }

    /// Tells those who wait, so that nobody waits for one failure after the other, and rests.
    async fn failed(&mut self, error: sqlx::Error, receiver: &mut mpsc::Receiver<Op>) {
        let full = is_full(&error);
        self.said.warn("the database did not take a group of writes; trying again", &error);
        if let (true, Some(reserve)) = (full, &mut self.reserve) {
            reserve.give_up(Instant::now());
        }
        // The connection may be gone, or in the middle of the transaction, or SQLite has ended that by itself.
        match self.options.connect().await {
            Ok(connection) => self.connection = connection,
            Err(error) => self.said.warn("connecting to the database anew failed; trying again", &error),
        }
        let mut waiting = Group::default();
        while let Ok(op) = receiver.try_recv() {
            match op {
                Op::Finish(completion, place) => self.kept.push(*completion, place),
                other => waiting.push(other),
            }
        }
        waiting.refuse_publishes(&|| if full { StoreError::Full } else { StoreError::NotCommitted });
        // Their callers see that the answer never comes.
        drop(waiting.works);
        sleep(REST).await;
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
async fn commit(connection: &mut Connection, group: Group, metrics: &Metrics) -> Result<(), (sqlx::Error, Kept)> {
    if group.len() == 0 {
        return Ok(());
    }
    let (kind, begun, operations) = (connection.kind(), Instant::now(), group.len());
    let Group { publishes, finishes, works } = group;
    let mut publishes: Vec<_> = publishes.into_iter().enumerate().collect();
    if kind == Kind::Postgres {
        // In one order on every node, or two that store the same events would wait for each other.
        publishes.sort_by(|(_, Publish { row: a, .. }), (_, Publish { row: b, .. })| {
            (&a.event.company, &a.event.id).cmp(&(&b.event.company, &b.event.id))
        });
    }
    let split = publishes.into_iter().map(|(place, publish)| (publish.row, (place, publish.done)));
    let (rows, dones): (Vec<_>, Vec<_>) = split.unzip();
    let mut answers = Vec::with_capacity(works.len());
    let writing = write(connection, &rows, &finishes.completions, works, &mut answers);
    let written = match kind {
        Kind::Sqlite => writing.await,
        Kind::Postgres => timeout(TOO_LONG, writing).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)),
    };
    match written {
        Ok(published) => {
            metrics.committed(operations, begun.elapsed());
            for finished in &finishes.completions {
                metrics.deliveries_ended(finished.status, 1);
            }
            // In the order in which they were handed in: that is the order in which they go into their lanes.
            let mut answered: Vec<_> = dones.into_iter().zip(published).collect();
            answered.sort_by_key(|((place, _), _)| *place);
            for ((_, done), answer) in answered {
                done(Ok(answer));
            }
            for answer in answers {
                answer();
            }
            Ok(())
        }
        Err(error) => {
            for (_, done) in dones {
                done(Err(if is_full(&error) {
                    StoreError::Full
                } else if kind == Kind::Postgres && error.as_database_error().is_none() {
                    StoreError::Unanswered
                } else {
                    StoreError::NotCommitted
                }));
            }
            Err((error, finishes))
        }
    }
}

async fn write(
    connection: &mut Connection,
    rows: &[NewDelivery],
    finishes: &[Completion],
    works: Vec<Work>,
    answers: &mut Vec<Done>,
) -> Result<Vec<Published>, sqlx::Error> {
    let begin = match connection.kind() {
        // At once as a writer: one that begins as a reader cannot become one where another has written since.
        Kind::Sqlite => "BEGIN IMMEDIATE",
        Kind::Postgres => "BEGIN",
    };
    db::query(begin).execute(&mut *connection).await?;
    let published = deliveries::insert(connection, rows).await?;
    deliveries::finish(connection, finishes).await?;
    for work in works {
        answers.push(match work(connection).await {
            Ok(done) | Err(done) => done,
        });
    }
    db::query("COMMIT").execute(connection).await?;
    Ok(published)
}
