//! One group in one transaction, and the answers to its callers.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::group::{PendingCompletions, WriteGroup};
use super::operation::{CommitCallback, Publish, TransactionWork};
use crate::metrics::Metrics;
use crate::store::backend::is_disk_full;
use crate::store::db::{self, DatabaseConnection, DatabaseKind};
use crate::store::delivery_rows::{DeliveryUpdate, NewEventRow, Published};
use crate::store::delivery_writes;
use crate::store::earlier_log::EarlierEvents;
use crate::store::error::StoreError;
use crate::store::event_usage::EventUsage;

/// Bounds a transaction on a remote database; after that its connection counts as dead.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The callback of an event.
type PublishCallback = Box<dyn FnOnce(Result<Published, StoreError>) + Send>;

/// A group that did not commit.
pub(super) struct FailedCommit {
    pub(super) error: sqlx::Error,
    /// Its completions, which nothing else remembers.
    pub(super) completions: PendingCompletions,
}

/// The events of a group, in the order in which they are written.
struct OrderedPublishes {
    rows: Vec<NewEventRow>,
    callbacks: Vec<OrderedCallback>,
}

struct OrderedCallback {
    /// The place in the order in which the events were handed in.
    place: usize,
    done: PublishCallback,
}

impl OrderedPublishes {
    fn new(kind: DatabaseKind, publishes: Vec<Publish>) -> Self {
        let mut publishes: Vec<_> = publishes.into_iter().enumerate().collect();
        if kind == DatabaseKind::Postgres {
            // In the same order on every node: otherwise two nodes that store the same events could deadlock.
            publishes.sort_by(|(_, Publish { row: a, .. }), (_, Publish { row: b, .. })| {
                (&a.event.company, &a.event.id).cmp(&(&b.event.company, &b.event.id))
            });
        }
        let split = publishes.into_iter().map(|(place, Publish { row, done })| (row, OrderedCallback { place, done }));
        let (rows, callbacks) = split.unzip();
        Self { rows, callbacks }
    }
}

/// Answers the events in the order in which they were handed in: in that order they enter the queues of their webhooks.
fn answer_published(callbacks: Vec<OrderedCallback>, published: Vec<Published>) {
    let mut answered: Vec<_> = callbacks.into_iter().zip(published).collect();
    answered.sort_by_key(|(callback, _)| callback.place);
    for (callback, published) in answered {
        (callback.done)(Ok(published));
    }
}

/// Returns the error with which a caller is answered if the transaction failed with `error`.
fn commit_error(kind: DatabaseKind, error: &sqlx::Error) -> StoreError {
    if is_disk_full(error) {
        StoreError::Full
    } else if kind == DatabaseKind::Postgres && error.as_database_error().is_none() {
        StoreError::Unanswered
    } else {
        StoreError::NotCommitted
    }
}

/// Writes the group in one transaction and answers all callers.
///
/// # Errors
/// The database's; the callers have been answered with an error, except those whose transaction did not run: they see their
/// channel close.
pub(super) async fn commit(
    connection: &mut DatabaseConnection,
    group: WriteGroup,
    metrics: &Metrics,
    usage: &EventUsage,
    earlier: &mut EarlierEvents,
) -> Result<(), FailedCommit> {
    if group.len() == 0 {
        return Ok(());
    }
    let (kind, begun, operations) = (connection.kind(), Instant::now(), group.len());
    let WriteGroup { publishes, completions, transactions, parts: _parts } = group;
    let OrderedPublishes { rows, callbacks } = OrderedPublishes::new(kind, publishes);
    let mut answers = Vec::with_capacity(transactions.len());
    let rows_to_write = RowsToWrite { events: &rows, completions: &completions.completions, earlier };
    let writing = write(connection, rows_to_write, transactions, &mut answers);
    let written = match kind {
        DatabaseKind::Sqlite => writing.await,
        DatabaseKind::Postgres => timeout(TRANSACTION_TIMEOUT, writing).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)),
    };
    match written {
        Ok(published) => {
            metrics.committed(operations, begun.elapsed());
            for completion in &completions.completions {
                metrics.deliveries_ended(completion.status, 1);
            }
            usage.stored(&rows, &published);
            answer_published(callbacks, published);
            for answer in answers {
                answer(Ok(()));
            }
            Ok(())
        }
        Err(error) => {
            let damage = &connection.damage;
            let reason = || damage.check().err().unwrap_or_else(|| commit_error(kind, &error));
            for callback in callbacks {
                (callback.done)(Err(reason()));
            }
            for answer in answers {
                answer(Err(reason()));
            }
            Err(FailedCommit { error, completions })
        }
    }
}

/// The rows of a group.
struct RowsToWrite<'g> {
    events: &'g [NewEventRow],
    completions: &'g [DeliveryUpdate],
    earlier: &'g mut EarlierEvents,
}

/// Runs the transaction. Collects the callbacks of `transactions` in `answers`.
async fn write(
    connection: &mut DatabaseConnection,
    rows: RowsToWrite<'_>,
    transactions: Vec<TransactionWork>,
    answers: &mut Vec<CommitCallback>,
) -> Result<Vec<Published>, sqlx::Error> {
    let begin = match connection.kind() {
        // A writer from the start: a transaction that begins as a reader cannot become a writer if another has written
        // since.
        DatabaseKind::Sqlite => "BEGIN IMMEDIATE",
        DatabaseKind::Postgres => "BEGIN",
    };
    db::query(begin).execute(&mut *connection).await?;
    rows.earlier.move_same(connection, rows.events).await?;
    let published = delivery_writes::insert(connection, rows.events).await?;
    delivery_writes::complete(connection, rows.completions).await?;
    for work in transactions {
        answers.push(match work(connection).await {
            Ok(callback) | Err(callback) => callback,
        });
    }
    // One of the transactions, or a reader meanwhile, may have met damage.
    if let Err(malformed) = connection.damage.check() {
        return Err(sqlx::Error::Protocol(malformed.to_string()));
    }
    db::query("COMMIT").execute(connection).await?;
    Ok(published)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;

    use super::*;
    use crate::domain::event::Event;

    fn publish(company: &str, event_id: &str, answered: &Arc<Mutex<Vec<String>>>) -> Publish {
        let event = Event {
            id: event_id.into(),
            event_type: "t".into(),
            company: company.into(),
            occurred_at: 0,
            headers: Vec::new(),
            data: Bytes::from_static(b"{}"),
        };
        let (answered, name) = (answered.clone(), format!("{company}/{event_id}"));
        let row = NewEventRow { place: name.clone(), event: Arc::new(event), deliveries: Vec::new(), created_at: 0 };
        let done = Box::new(move |published: Result<Published, StoreError>| {
            answered.lock().unwrap().push(format!("{name} {:?}", published.unwrap()));
        });
        Publish { row, done }
    }

    /// Returns the order of writing and the order of the answers.
    fn orders(kind: DatabaseKind) -> (Vec<String>, Vec<String>) {
        let answered = Arc::default();
        let publishes = [("b", "2"), ("b", "1"), ("a", "3")].map(|(company, id)| publish(company, id, &answered));
        let OrderedPublishes { rows, callbacks } = OrderedPublishes::new(kind, publishes.into());
        let written: Vec<_> = rows.into_iter().map(|row| row.place).collect();
        let published = written.iter().map(|id| Published::Duplicate(vec![id.clone()])).collect();
        answer_published(callbacks, published);
        let answered = answered.lock().unwrap().clone();
        (written, answered)
    }

    #[test]
    fn events_are_written_in_one_order_on_all_nodes_and_answered_as_handed_in() {
        let answers = ["b/2", "b/1", "a/3"].map(|name| format!("{name} Duplicate([\"{name}\"])"));
        assert_eq!(
            orders(DatabaseKind::Postgres),
            (["a/3", "b/1", "b/2"].map(str::to_owned).into(), answers.clone().into())
        );
        assert_eq!(orders(DatabaseKind::Sqlite), (["b/2", "b/1", "a/3"].map(str::to_owned).into(), answers.into()));
    }

    #[test]
    fn lost_connection_of_a_remote_database_leaves_the_result_open() {
        let lost = sqlx::Error::PoolTimedOut;
        assert!(matches!(commit_error(DatabaseKind::Postgres, &lost), StoreError::Unanswered));
        assert!(matches!(commit_error(DatabaseKind::Sqlite, &lost), StoreError::NotCommitted));
    }
}
