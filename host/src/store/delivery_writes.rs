//! The statements with which the writer stores deliveries, completes them, and releases the leases of nodes that ended.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use sqlx::AssertSqlSafe;

use super::db::{self, DatabaseConnection};
use super::delivery_rows::{DeliveryUpdate, NewDelivery, NewDeliveryWaits, NewEventRow, Published};
use super::multi_row::MultiRowStatement;
use super::pull::{self, NewPullEntry};
use crate::domain::delivery::{Attempt, Status};
use crate::domain::event::{Event, same_json};
use crate::domain::id::deliveries_end;

/// Inserts events, except those whose id is taken. Binds for each: the columns in this order.
pub(super) static INSERT_EVENTS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "INSERT INTO events (company, id, place, event_type, occurred_at, created_at, delivery_count, matched, headers, \
         data) VALUES",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
        "ON CONFLICT (company, id) DO NOTHING",
    )
});

static INSERT_DELIVERIES: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "INSERT INTO event_deliveries (company, id, event_id, event_type, webhook_id, label, status, attempt_count, \
         attempt_base, due, lease, parked, created_at, transient) VALUES",
        "?, ?, ?, ?, ?, ?, 'pending', 0, 0, ?, ?, ?, ?, ?",
        "",
    )
});

// PostgreSQL needs the casts to know the types of bare parameters in VALUES; SQLite accepts them.
static COMPLETE: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "UPDATE event_deliveries SET status = v.column3, attempt_count = v.column4, due = v.column5, \
         parked = v.column6, finished_at = v.column7, attempt_base = v.column9, lease = NULL FROM (VALUES",
        "CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), \
         CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS BIGINT)",
        ") AS v WHERE event_deliveries.company = v.column1 AND event_deliveries.id = v.column2 AND event_deliveries.status = 'pending' \
         AND event_deliveries.lease IS NOT DISTINCT FROM v.column8",
    )
});

static INSERT_ATTEMPTS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, status_code, error, response_body, \
         request_headers, plugin, url, response_headers) VALUES",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
        "ON CONFLICT (delivery_id, number) DO NOTHING",
    )
});

/// Stores the events with their deliveries. Returns one [`Published`] for each, in order.
pub(super) async fn insert(
    connection: &mut DatabaseConnection,
    rows: &[NewEventRow],
) -> Result<Vec<Published>, sqlx::Error> {
    let mut stored = 0;
    let rows: Vec<_> = rows.iter().map(RowToInsert::new).collect();
    let rows = &rows[..];
    for (sql, rows) in INSERT_EVENTS.split(connection.kind(), rows) {
        let mut query = db::query(sql);
        for RowToInsert { row: NewEventRow { event, deliveries, created_at, .. }, company, id, place, event_type } in
            rows
        {
            query = query
                .bind(company.clone())
                .bind(id.clone())
                .bind(place.clone())
                .bind(event_type.clone())
                .bind(event.occurred_at)
                .bind(*created_at)
                .bind(i64::try_from(deliveries.len()).unwrap_or(i64::MAX))
                .bind(i64::from(!deliveries.is_empty()))
                .bind(headers_json(&event.headers))
                .bind(event.data.to_vec());
        }
        stored += query.execute(&mut *connection).await?;
    }
    if stored == rows.len() as u64 {
        insert_deliveries(connection, rows.iter()).await?;
        return Ok(vec![Published::Stored; rows.len()]);
    }
    let mut found = Vec::with_capacity(rows.len());
    for RowToInsert { row, .. } in rows {
        found.push(stored_before(connection, row).await?);
    }
    let new = rows.iter().zip(&found).filter(|(_, found)| matches!(found, StoredBefore::No));
    insert_deliveries(connection, new.map(|(row, _)| row)).await?;
    let mut published = Vec::with_capacity(rows.len());
    for (row, found) in rows.iter().zip(found) {
        published.push(match found {
            StoredBefore::No => Published::Stored,
            StoredBefore::Another => Published::IdTaken,
            StoredBefore::Erased => Published::IdErased,
            StoredBefore::Same { place, deliveries } => {
                Published::Duplicate(first_deliveries(connection, &row.company, &place, deliveries).await?)
            }
        });
    }
    Ok(published)
}

/// A row to store, and the texts that are bound for the event and for each of its deliveries.
struct RowToInsert<'r> {
    row: &'r NewEventRow,
    company: Arc<str>,
    id: Arc<str>,
    place: Arc<str>,
    event_type: Arc<str>,
}

impl<'r> RowToInsert<'r> {
    fn new(row: &'r NewEventRow) -> Self {
        let Event { company, id, event_type, .. } = &*row.event;
        let [company, id, place, event_type] = [company, id, &row.place, event_type].map(|text| text.as_str().into());
        Self { row, company, id, place, event_type }
    }
}

/// A delivery to store, with its event.
struct DeliveryOf<'r> {
    delivery: &'r NewDelivery,
    row: &'r RowToInsert<'r>,
}

async fn insert_deliveries<'r>(
    connection: &mut DatabaseConnection,
    rows: impl Iterator<Item = &'r RowToInsert<'r>>,
) -> Result<(), sqlx::Error> {
    let with_event =
        |row: &'r RowToInsert<'r>| row.row.deliveries.iter().map(move |delivery| DeliveryOf { delivery, row });
    let deliveries: Vec<_> = rows.flat_map(with_event).collect();
    for (sql, deliveries) in INSERT_DELIVERIES.split(connection.kind(), &deliveries) {
        let mut query = db::query(sql);
        for DeliveryOf { delivery, row } in deliveries {
            // The first one has the place of its event for an id.
            let id = if delivery.id == *row.place { row.place.clone() } else { delivery.id.as_str().into() };
            query = query
                .bind(row.company.clone())
                .bind(id)
                .bind(row.id.clone())
                .bind(row.event_type.clone())
                .bind(delivery.webhook.as_str())
                .bind(delivery.label.as_deref())
                .bind(delivery.waits.lease().map(|lease| lease.until_ms))
                .bind(delivery.waits.lease().map(|lease| lease.node.clone()))
                .bind(parked(&delivery.waits))
                .bind(row.row.created_at)
                .bind(i64::from(delivery.transient));
        }
        query.execute(&mut *connection).await?;
    }
    let pulled = deliveries.iter().filter(|one| one.delivery.waits == NewDeliveryWaits::ForConsumer);
    let pulled = pulled.map(|DeliveryOf { delivery, row }| NewPullEntry {
        webhook: &delivery.webhook,
        company: &row.company,
        delivery: &delivery.id,
    });
    pull::enter(connection, pulled.collect()).await
}

/// Returns the value of the column `parked` of a new delivery.
fn parked(waits: &NewDeliveryWaits) -> i64 {
    match waits {
        NewDeliveryWaits::InMemory(_) => 0,
        NewDeliveryWaits::InBacklog => 1,
        NewDeliveryWaits::ForConsumer => pull::PULLED,
    }
}

/// Whether an event was stored earlier under its id.
enum StoredBefore {
    /// It was stored just now.
    No,
    /// The same event was, with this many deliveries.
    Same { place: String, deliveries: i64 },
    /// An event of another type or with other data was.
    Another,
    /// An event whose data was erased since was.
    Erased,
}

async fn stored_before(connection: &mut DatabaseConnection, row: &NewEventRow) -> Result<StoredBefore, sqlx::Error> {
    let sql = "SELECT place, event_type, delivery_count, data, erased_at FROM events WHERE company = $1 AND id = $2";
    let query = db::query(sql).bind(row.event.company.as_str()).bind(row.event.id.as_str());
    let found = query.fetch_one(&mut *connection).await?;
    let place: String = found.try_get("place")?;
    if place == row.place {
        return Ok(StoredBefore::No);
    }
    let same = StoredBefore::Same { place: place.clone(), deliveries: found.try_get("delivery_count")? };
    let event_type: String = found.try_get("event_type")?;
    if event_type != row.event.event_type {
        return Ok(StoredBefore::Another);
    }
    if found.try_get::<Option<i64>>("erased_at")?.is_some() {
        // A producer that got no answer publishes again, perhaps after the delivery.
        let is_transient = is_transient(connection, &row.event.company, &place).await?;
        return Ok(if is_transient { same } else { StoredBefore::Erased });
    }
    let data: Vec<u8> = found.try_get("data")?;
    Ok(if same_json(&data, &row.event.data) { same } else { StoredBefore::Another })
}

/// Returns whether an event that was erased had transient deliveries only: then it was erased because it was delivered.
async fn is_transient(connection: &mut DatabaseConnection, company: &str, place: &str) -> Result<bool, sqlx::Error> {
    let sql = "SELECT MIN(transient) FROM event_deliveries WHERE company = $1 AND id >= $2 AND id < $3";
    let query = db::query(sql).bind(company).bind(place).bind(deliveries_end(place));
    Ok(query.value::<Option<i64>>(connection).await? == Some(1))
}

/// Returns the ids of the first deliveries of an event, `count` at most.
async fn first_deliveries(
    connection: &mut DatabaseConnection,
    company: &str,
    place: &str,
    count: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = "SELECT id FROM event_deliveries WHERE company = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT $4";
    let query = db::query(sql).bind(company).bind(place).bind(deliveries_end(place)).bind(count);
    query.values(connection).await
}

/// Writes the results of deliveries and their attempts. A delivery that another node has claimed meanwhile stays unchanged.
pub(super) async fn complete(connection: &mut DatabaseConnection, rows: &[DeliveryUpdate]) -> Result<(), sqlx::Error> {
    let mut attempts = Vec::with_capacity(rows.len());
    let rows: Vec<(Arc<str>, &DeliveryUpdate)> = rows.iter().map(|row| (row.id.as_str().into(), row)).collect();
    for (sql, rows) in COMPLETE.split(connection.kind(), &rows) {
        let mut query = db::query(sql);
        for (id, row) in rows {
            let parked = row.status == Status::Pending && row.due.is_none();
            query = query
                .bind(row.company.as_str())
                .bind(id.clone())
                .bind(row.status.name())
                .bind(i64::from(row.attempt_count))
                .bind(row.due)
                .bind(i64::from(parked))
                .bind(row.finished_at)
                .bind(row.lease.clone())
                .bind(i64::from(row.attempt_base));
        }
        let all = query.execute(&mut *connection).await? == rows.len() as u64;
        for (id, row) in rows {
            let Some(attempt) = &row.attempt else { continue };
            let delivery = id.clone();
            if all || is_completed(connection, row).await? {
                attempts.push(DeliveryAttempt { delivery, attempt: Cow::Borrowed(attempt) });
            } else if complete_erased(connection, row).await? {
                attempts.push(DeliveryAttempt { delivery, attempt: Cow::Owned(attempt.erased()) });
            }
        }
    }
    insert_attempts(connection, &attempts).await
}

struct DeliveryAttempt<'c> {
    delivery: Arc<str>,
    attempt: Cow<'c, Attempt>,
}

async fn insert_attempts(
    connection: &mut DatabaseConnection,
    attempts: &[DeliveryAttempt<'_>],
) -> Result<(), sqlx::Error> {
    for (sql, rows) in INSERT_ATTEMPTS.split(connection.kind(), attempts) {
        let mut query = db::query(sql);
        for DeliveryAttempt { delivery, attempt } in rows {
            query = query
                .bind(delivery.clone())
                .bind(i64::from(attempt.number))
                .bind(attempt.started_at)
                .bind(attempt.duration_ms)
                .bind(attempt.status_code.map(i64::from))
                .bind(attempt.error.as_deref())
                .bind(attempt.response_body.as_deref())
                .bind(attempt.request_headers.as_ref().map(|raw| raw.get()))
                .bind(attempt.plugin.as_ref().map(|raw| raw.get()))
                .bind(attempt.url.as_deref())
                .bind(attempt.response_headers.as_ref().map(|raw| raw.get()));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Returns whether the row is in the state of this completion. Another node may have brought it there: then the attempt of
/// this number is that node's, and stays.
async fn is_completed(connection: &mut DatabaseConnection, row: &DeliveryUpdate) -> Result<bool, sqlx::Error> {
    let sql = "SELECT 1 FROM event_deliveries WHERE company = $1 AND id = $2 AND status = $3 AND attempt_count = $4 \
               AND lease IS NULL";
    let query = db::query(sql).bind(row.company.as_str()).bind(row.id.as_str()).bind(row.status.name());
    Ok(query.bind(i64::from(row.attempt_count)).fetch_optional(connection).await?.is_some())
}

/// Writes the result of an attempt during which the event was erased: its outcome, unless that is another attempt. Returns whether
/// it was; the attempt is to be stored without what may quote the data.
async fn complete_erased(connection: &mut DatabaseConnection, row: &DeliveryUpdate) -> Result<bool, sqlx::Error> {
    let ended = (row.status != Status::Pending).then(|| row.status.name());
    let sql = "UPDATE event_deliveries SET status = COALESCE($1, status), finished_at = COALESCE($2, finished_at), \
               attempt_count = $3 WHERE company = $4 AND id = $5 AND erased_at IS NOT NULL AND status = 'cancelled' \
               AND attempt_count = $3 - 1";
    let query = db::query(sql).bind(ended).bind(row.finished_at).bind(i64::from(row.attempt_count));
    Ok(query.bind(row.company.as_str()).bind(row.id.as_str()).execute(connection).await? == 1)
}

fn headers_json(headers: &[(String, String)]) -> Arc<str> {
    static NONE: LazyLock<Arc<str>> = LazyLock::new(|| "[]".into());
    if headers.is_empty() {
        return NONE.clone();
    }
    serde_json::to_string(headers).map_or_else(|_| NONE.clone(), Arc::from)
}

/// The instants of a release of leases, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct LeaseHorizon {
    /// When the released deliveries are due.
    pub now_ms: i64,
    /// The last instant at which a lease of the nodes that ended can end.
    pub latest_end_ms: i64,
}

/// Makes the deliveries due whose leases belong to nodes that no longer exist. Returns how many there were.
pub(super) async fn release_leases(
    connection: &mut DatabaseConnection,
    horizon: LeaseHorizon,
) -> Result<u64, sqlx::Error> {
    let released = |condition: &str| {
        format!(
            "(company, id) IN (SELECT company, id FROM event_deliveries WHERE due <= $1 AND lease IS NOT NULL \
             AND lease NOT IN (SELECT id FROM nodes) {condition} {})",
            connection.kind().row_lock()
        )
    };
    // A delivery of an ordered webhook must not overtake an earlier one that waits for its retry.
    let ordered = released("AND webhook_id IN (SELECT id FROM webhooks WHERE ordered = 1)");
    let ordered = format!("UPDATE event_deliveries SET due = NULL, lease = NULL, parked = 1 WHERE {ordered}");
    let others = format!("UPDATE event_deliveries SET due = $2, lease = NULL WHERE {}", released(""));
    let query = db::query(AssertSqlSafe(ordered)).bind(horizon.latest_end_ms);
    let spilled = query.execute(&mut *connection).await?;
    let query = db::query(AssertSqlSafe(others)).bind(horizon.latest_end_ms).bind(horizon.now_ms);
    Ok(spilled + query.execute(connection).await?)
}
