//! The events that an erasure selects: examining them a few at a time, and counting them.

use sqlx::AssertSqlSafe;

use super::log_walk::{OldestEvents, oldest_events_sql};
use crate::domain::json_condition::JsonCondition;
use crate::store::db;
use crate::store::error::StoreError;
use crate::store::handle::Store;

/// Events that one step examines, and at most erases.
const STEP: i64 = 50;
/// Most events that one request counts.
const MAX_COUNTED: u64 = 2_000;

/// The events to erase.
#[derive(Debug, Clone)]
pub struct ErasureSelection {
    /// The company.
    pub company: String,
    /// Their type; `None`: any.
    pub event_type: Option<String>,
    /// What their data has.
    pub condition: Option<JsonCondition>,
    /// The first place in the log.
    pub first: String,
    /// The place after the last.
    pub end: String,
}

/// The events of a selection that a request has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedEvents {
    /// Those that an erasure would erase.
    pub count: u64,
    /// All that were looked at.
    pub examined: u64,
    /// The place from which to go on; `None`: these are all.
    pub next: Option<String>,
}

/// Some events of a selection.
pub(super) struct ExaminedEvents {
    /// The ids of those to erase.
    pub(super) matching: Vec<String>,
    pub(super) examined: u64,
    pub(super) next: Option<String>,
}

impl Store {
    /// Counts the events that a selection would erase, as far as one request may look.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn count_erasable(&self, mut selection: ErasureSelection) -> Result<CountedEvents, StoreError> {
        let (mut count, mut examined) = (0, 0);
        loop {
            // Each step waits for its turn.
            let turn = self.log_reader(&selection.company).await?;
            let some = self.examine(&selection).await?;
            drop(turn);
            count += some.matching.len() as u64;
            examined += some.examined;
            match some.next {
                Some(next) if examined < MAX_COUNTED => selection.first = next,
                next => return Ok(CountedEvents { count, examined, next }),
            }
        }
    }

    /// Examines the first few events of a selection; of their data, one is in memory at a time.
    pub(super) async fn examine(&self, selection: &ErasureSelection) -> Result<ExaminedEvents, StoreError> {
        let of_type = selection.event_type.as_deref();
        let log = &self.readers.background;
        let query = db::query(AssertSqlSafe(oldest_events_sql(of_type, OldestEvents::All, self.readers.kind())))
            .bind(selection.company.as_str())
            .bind(selection.first.as_str())
            .bind(selection.end.as_str())
            .bind(STEP)
            .bind(of_type);
        let rows = query.fetch_all(log).await?;
        let (mut matching, examined) = (Vec::new(), rows.len() as u64);
        for row in &rows {
            if row.try_get::<Option<i64>>("erased_at")?.is_some() {
                continue;
            }
            let event: String = row.try_get("event_id")?;
            if self.meets(selection, &event).await? {
                matching.push(event);
            }
        }
        let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < STEP);
        // No id sorts between an id and that id followed by a zero.
        let next = match rows.last() {
            Some(last) if !is_last => Some(last.try_get::<String>("place")? + "0"),
            _ => None,
        };
        Ok(ExaminedEvents { matching, examined, next })
    }

    async fn meets(&self, selection: &ErasureSelection, event: &str) -> Result<bool, StoreError> {
        let Some(condition) = &selection.condition else { return Ok(true) };
        let sql = "SELECT data FROM events WHERE company = $1 AND id = $2 AND erased_at IS NULL";
        let query = db::query(sql).bind(selection.company.as_str()).bind(event);
        let data: Option<Vec<u8>> = query.value_if_any(&self.readers.background).await?;
        // One long text after the other would keep this thread from others.
        tokio::task::yield_now().await;
        Ok(data.is_some_and(|data| std::str::from_utf8(&data).is_ok_and(|text| condition.holds_in(text))))
    }
}
