//! The events of deliveries that were claimed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::domain::event::Event;
use crate::store::db::{self, DatabaseConnection, DatabaseRow};
use crate::store::delivery_rows::{ClaimedDelivery, event_from_row};
use crate::store::multi_row::MultiRowStatement;

/// The columns of a [`ClaimedDelivery`] in the table `event_deliveries`, besides those of its event.
pub(super) const DELIVERY_COLUMNS: &str = "company, id, event_id, webhook_id, lease, attempt_count, attempt_base";

static EVENTS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "SELECT e.company, e.id AS event_id, e.event_type, e.occurred_at, e.headers, e.data FROM (VALUES",
        "CAST(? AS TEXT), CAST(? AS TEXT)",
        ") AS v JOIN events e ON e.company = v.column1 AND e.id = v.column2 AND e.erased_at IS NULL",
    )
});

/// The company and the id of an event.
type EventKey = (String, String);

fn key(row: &DatabaseRow) -> Result<EventKey, sqlx::Error> {
    Ok((row.try_get("company")?, row.try_get("event_id")?))
}

/// Reads the events of rows of [`DELIVERY_COLUMNS`]; each is in memory once, however many deliveries it has.
pub(super) async fn with_events(
    connection: &mut DatabaseConnection,
    rows: &[DatabaseRow],
) -> Result<Vec<ClaimedDelivery>, sqlx::Error> {
    let mut keys = rows.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    keys.sort_unstable();
    keys.dedup();
    let mut events: HashMap<EventKey, Arc<Event>> = HashMap::with_capacity(keys.len());
    for (sql, keys) in EVENTS.split(connection.kind(), &keys) {
        let query =
            keys.iter().fold(db::query(sql), |query, (company, id)| query.bind(company.as_str()).bind(id.as_str()));
        for row in query.fetch_all(&mut *connection).await? {
            events.insert(key(&row)?, Arc::new(event_from_row(&row)?));
        }
    }
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows {
        // Its event is removed with its last delivery; one that was erased has no delivery that waits.
        if let Some(event) = events.get(&key(row)?) {
            claimed.push(claimed_delivery(row, event.clone())?);
        }
    }
    Ok(claimed)
}

/// Reads a row of [`DELIVERY_COLUMNS`].
pub(super) fn claimed_delivery(row: &DatabaseRow, event: Arc<Event>) -> Result<ClaimedDelivery, sqlx::Error> {
    let number = |column| -> Result<u32, sqlx::Error> {
        let number: i64 = row.try_get(column)?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    };
    Ok(ClaimedDelivery {
        id: row.try_get("id")?,
        webhook: row.try_get("webhook_id")?,
        lease: row.try_get::<Option<String>>("lease")?.map(Into::into),
        attempt_count: number("attempt_count")?,
        attempt_base: number("attempt_base")?,
        event,
    })
}
