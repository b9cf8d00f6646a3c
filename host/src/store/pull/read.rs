//! Reading the entries of a webhook for its consumer.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use crate::domain::event::Event;
use crate::store::db;
use crate::store::delivery_rows::{EVENT_COLUMNS, event_from_row};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::webhooks::WebhookKey;

/// Entries that one page examines: cancelled, filtered and erased ones are left out.
const EXAMINED: i64 = 500;

/// Which entries to read.
#[derive(Debug, Clone, Copy)]
pub struct PullRequest {
    /// The position after which they begin; `None`: the one that the consumer has acknowledged.
    pub after: Option<i64>,
    /// The most entries.
    pub limit: usize,
    /// The most bytes of the data of their events; the first entry is read in any case.
    pub bytes: usize,
}

/// A delivery that waits for its consumer, or was acknowledged.
#[derive(Debug, Clone)]
pub struct PullEntry {
    /// Its position.
    pub position: i64,
    /// Its id.
    pub delivery: String,
    /// Its event.
    pub event: Arc<Event>,
}

/// The entries after a position.
#[derive(Debug, Clone)]
pub struct PullPage {
    /// In their order.
    pub entries: Vec<PullEntry>,
    /// The position after which the next page begins; if there is no entry, the one after which this one began.
    pub next: i64,
    /// Whether any entry was examined; those that are over are left out.
    pub examined: bool,
}

/// Binds: the webhook, the position, the number of entries to examine.
pub(super) const ENTRIES: &str = "SELECT e.position, e.delivery_id, v.id AS event_id, CAST(LENGTH(v.data) AS BIGINT) AS bytes \
    FROM (SELECT position, company, delivery_id FROM pull_entries WHERE webhook_id = $1 AND position > $2 \
    ORDER BY position LIMIT $3) AS e LEFT JOIN event_deliveries d ON d.company = e.company AND d.id = e.delivery_id \
    AND d.erased_at IS NULL AND (d.status = 'delivered' OR (d.status = 'pending' AND d.parked = 3)) \
    LEFT JOIN events v ON v.company = d.company AND v.id = d.event_id ORDER BY e.position";

/// The result of reading entries.
#[derive(Debug, Clone)]
pub enum PullRead {
    /// They are these.
    Page(PullPage),
    /// There is no such webhook, or it has no consumer.
    NoConsumer,
    /// The position is behind the newest entry.
    Beyond,
}

/// An entry without its event.
struct ListedEntry {
    position: i64,
    delivery: String,
    event_id: String,
}

impl Store {
    /// Returns the acknowledged position of a webhook and the position of its newest entry; `None`: there is no such webhook, or it
    /// has no consumer.
    ///
    /// # Errors
    /// The database's.
    async fn pull_positions(&self, key: WebhookKey<'_>) -> Result<Option<(i64, i64)>, StoreError> {
        let sql = "SELECT pull_place, pull_head FROM webhooks WHERE company = $1 AND id = $2 AND delivery = 'pull'";
        let query = db::query(sql).bind(key.company).bind(key.id);
        let Some(row) = query.fetch_optional(&self.readers.look_ups).await? else { return Ok(None) };
        Ok(Some((row.try_get("pull_place")?, row.try_get("pull_head")?)))
    }

    /// Returns entries of a webhook in their order.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn pull_page(&self, key: WebhookKey<'_>, request: PullRequest) -> Result<PullRead, StoreError> {
        let Some((place, head)) = self.pull_positions(key).await? else { return Ok(PullRead::NoConsumer) };
        let after = request.after.unwrap_or(place);
        let mut page = PullPage { entries: Vec::new(), next: after, examined: false };
        if after >= head {
            return Ok(if after > head { PullRead::Beyond } else { PullRead::Page(page) });
        }
        let log = self.log_reader(key.company).await?;
        let rows = db::query(ENTRIES).bind(key.id).bind(after).bind(EXAMINED).fetch_all(&log).await?;
        let (mut listed, mut bytes) = (Vec::new(), 0);
        for row in &rows {
            let position: i64 = row.try_get("position")?;
            if let Some(event_id) = row.try_get::<Option<String>>("event_id")? {
                bytes += usize::try_from(row.try_get::<i64>("bytes")?).unwrap_or(usize::MAX);
                if listed.len() >= request.limit || (bytes > request.bytes && !listed.is_empty()) {
                    break;
                }
                listed.push(ListedEntry { position, delivery: row.try_get("delivery_id")?, event_id });
            }
            (page.next, page.examined) = (position, true);
        }
        for ListedEntry { position, delivery, event_id } in listed {
            let sql =
                format!("SELECT {EVENT_COLUMNS} FROM events WHERE company = $1 AND id = $2 AND erased_at IS NULL");
            let query = db::query(AssertSqlSafe(sql)).bind(key.company).bind(event_id);
            if let Some(row) = query.fetch_optional(&log).await? {
                page.entries.push(PullEntry { position, delivery, event: Arc::new(event_from_row(&row)?) });
            }
        }
        Ok(PullRead::Page(page))
    }
}
