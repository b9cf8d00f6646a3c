//! Deliveries that a webhook does not have, because it did not exist, or was for other types, when their events were accepted.

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::log_walk::{LogRange, OldestEvents, oldest_events_sql};
use crate::domain::delivery_selection::DeliverySelection;
use crate::domain::id;
use crate::domain::payload_retention::PayloadRetention;
use crate::domain::subscription::{EventTypePattern, is_pattern};
use crate::store::db::{self, DatabaseConnection, DatabaseKind, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::multi_row::MultiRowStatement;
use crate::store::subscription_key::subscription_of;

/// Events that one step examines.
const STEP: i64 = 500;
/// Events that one statement examines to count those of a webhook.
const COUNT_STEP: i64 = 2_000;
/// The highest number of a delivery of one event.
const MAX_NUMBER: usize = 0xfff;

static INSERT: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "INSERT INTO event_deliveries (company, id, event_id, event_type, webhook_id, label, status, attempt_count, \
         attempt_base, parked, created_at, requested_count, transient) VALUES",
        "?, ?, ?, ?, ?, ?, 'pending', 0, 0, 2, ?, 1, ?",
        "",
    )
});

/// Returns the statement that examines some events in the order of the log. Binds as [`oldest_events_sql`], then the webhook.
pub(super) fn candidates_sql(event_type: Option<&str>, kind: DatabaseKind) -> String {
    let of_event = "o.company = $1 AND o.id >= c.place AND o.id < c.place || '~'";
    format!(
        "SELECT c.*, (SELECT MAX(o.id) FROM event_deliveries o WHERE {of_event}) AS last, \
         CAST(CASE WHEN EXISTS (SELECT 1 FROM event_deliveries o WHERE {of_event} AND o.webhook_id = $6) THEN 1 ELSE 0 END \
         AS BIGINT) AS present FROM ({}) AS c ORDER BY c.place",
        oldest_events_sql(event_type, OldestEvents::NotErased, kind)
    )
}

/// The webhook whose deliveries are missing.
struct Recipient {
    id: String,
    event_type: String,
    label: Option<String>,
    /// As of its deliveries.
    transient: bool,
}

impl Recipient {
    fn from_row(row: &DatabaseRow) -> Result<Self, sqlx::Error> {
        let key: String = row.try_get("event_type")?;
        let subscription = subscription_of(&key);
        let (event_type, label) = (subscription.event_type.to_owned(), subscription.label.map(str::to_owned));
        let keep_payload: Option<String> = row.try_get("keep_payload")?;
        let transient = keep_payload.as_deref() == Some(PayloadRetention::UntilDelivered.name());
        Ok(Self { id: row.try_get("id")?, event_type, label, transient })
    }

    /// Returns the only type of its events that a selection has, if there is one.
    fn only_type<'s>(&'s self, selection: &'s DeliverySelection) -> Option<&'s str> {
        selection.only_type().or_else(|| (!is_pattern(&self.event_type)).then_some(self.event_type.as_str()))
    }

    /// Returns whether it should have had an event of this type that a selection has.
    fn lacks(&self, event_type: &str, selection: &DeliverySelection) -> bool {
        EventTypePattern::stored(&self.event_type).matches(event_type)
            && selection.concerns(event_type, &self.id, self.label.as_deref())
    }
}

/// Binds: the company, the webhook.
const RECIPIENT: &str = "SELECT id, event_type, keep_payload FROM webhooks WHERE company = $1 AND id = $2";

/// An event that was examined.
struct Candidate {
    place: String,
    event_id: String,
    event_type: String,
    created_at: i64,
    /// The last of its deliveries.
    last: Option<String>,
    /// Whether the webhook has one of them.
    present: bool,
}

impl Candidate {
    fn from_row(row: &DatabaseRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            place: row.try_get("place")?,
            event_id: row.try_get("event_id")?,
            event_type: row.try_get("event_type")?,
            created_at: row.try_get("created_at")?,
            last: row.try_get("last")?,
            present: row.try_get::<i64>("present")? == 1,
        })
    }

    /// Returns the id of its next delivery; `None` if it has too many.
    fn next_id(&self) -> Option<String> {
        let number = match self.last.as_deref().map(|last| last.strip_prefix(&*self.place).unwrap_or_default()) {
            None => 0,
            Some("") => 1,
            Some(number) => usize::from_str_radix(number.trim_start_matches('_'), 16).ok()? + 1,
        };
        (number <= MAX_NUMBER).then(|| id::delivery_id(&self.place, number))
    }
}

/// Returns the query for the next events.
fn candidates<'q>(
    recipient: &Recipient,
    selection: &DeliverySelection,
    range: &LogRange<'q>,
    (kind, step): (DatabaseKind, i64),
) -> db::DatabaseQuery<'q> {
    let only_type = recipient.only_type(selection);
    db::query(AssertSqlSafe(candidates_sql(only_type, kind)))
        .bind(range.company)
        .bind(range.least.clone())
        .bind(range.before.clone())
        .bind(step)
        .bind(only_type.map(str::to_owned))
        .bind(recipient.id.clone())
}

/// What a step of a replay has done.
pub(super) struct MarkedDeliveries {
    /// The webhooks of the deliveries, each once.
    pub(super) webhooks: Vec<String>,
    /// The id at which the next step begins.
    pub(super) next: String,
}

/// Makes the deliveries of the next events of a range that the webhook of the selection lacks. `None`: there are no more, or the
/// webhook is gone.
pub(super) async fn step(
    connection: &mut DatabaseConnection,
    selection: &DeliverySelection,
    range: LogRange<'_>,
) -> Result<Option<MarkedDeliveries>, sqlx::Error> {
    // The next number of an event's deliveries is read and then used.
    connection.lock_exclusively().await?;
    let query = db::query(RECIPIENT).bind(range.company).bind(selection.webhook.as_deref());
    let Some(recipient) = query.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let recipient = Recipient::from_row(&recipient)?;
    let kind = connection.kind();
    let rows = candidates(&recipient, selection, &range, (kind, STEP)).fetch_all(&mut *connection).await?;
    let Some(last) = rows.last() else { return Ok(None) };
    let next = last.try_get::<String>("place")? + "0";
    let mut lacking = Vec::new();
    for row in &rows {
        let candidate = Candidate::from_row(row)?;
        if !candidate.present
            && recipient.lacks(&candidate.event_type, selection)
            && let Some(id) = candidate.next_id()
        {
            lacking.push((id, candidate));
        }
    }
    insert(connection, range.company, &recipient, &lacking).await?;
    let webhooks = if lacking.is_empty() { Vec::new() } else { vec![recipient.id] };
    Ok(Some(MarkedDeliveries { webhooks, next }))
}

async fn insert(
    connection: &mut DatabaseConnection,
    company: &str,
    recipient: &Recipient,
    lacking: &[(String, Candidate)],
) -> Result<(), sqlx::Error> {
    for (sql, lacking) in INSERT.split(connection.kind(), lacking) {
        let query = lacking.iter().fold(db::query(sql), |query, (id, candidate)| {
            query
                .bind(company)
                .bind(id.as_str())
                .bind(candidate.event_id.as_str())
                .bind(candidate.event_type.as_str())
                .bind(recipient.id.as_str())
                .bind(recipient.label.as_deref())
                .bind(candidate.created_at)
                .bind(i64::from(recipient.transient))
        });
        query.execute(&mut *connection).await?;
    }
    for (_, candidate) in lacking.iter().filter(|(_, candidate)| candidate.last.is_none()) {
        let query = db::query("UPDATE events SET matched = 1 WHERE company = $1 AND id = $2");
        query.bind(company).bind(candidate.event_id.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}

impl Store {
    /// Counts the deliveries that the webhook of a selection lacks, in steps between which others have their turns at the log.
    pub(super) async fn count_missing(
        &self,
        selection: &DeliverySelection,
        mut range: LogRange<'_>,
    ) -> Result<u64, StoreError> {
        let query = db::query(RECIPIENT).bind(range.company).bind(selection.webhook.as_deref());
        let Some(recipient) = query.fetch_optional(&self.readers.look_ups).await? else { return Ok(0) };
        let recipient = Recipient::from_row(&recipient)?;
        let mut count = 0;
        loop {
            let log = self.log_reader(range.company).await?;
            let rows = candidates(&recipient, selection, &range, (log.kind(), COUNT_STEP)).fetch_all(&log).await?;
            let Some(last) = rows.last() else { return Ok(count) };
            range.least = last.try_get::<String>("place")? + "0";
            for row in &rows {
                let candidate = Candidate::from_row(row)?;
                count += u64::from(!candidate.present && recipient.lacks(&candidate.event_type, selection));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_delivery_of_an_event_has_the_next_number() {
        let place = id::Ids::default().next("dlv", 1_700_000_000_000);
        let next = |last: Option<String>| {
            let (event_id, event_type) = (String::new(), String::new());
            Candidate { place: place.clone(), event_id, event_type, created_at: 0, last, present: false }.next_id()
        };
        assert_eq!(next(None), Some(place.clone()));
        assert_eq!(next(Some(place.clone())), Some(format!("{place}_001")));
        assert_eq!(next(Some(format!("{place}_00f"))), Some(format!("{place}_010")));
        assert_eq!(next(Some(format!("{place}_fff"))), None);
    }
}
