//! Erasures of many events, which go on in the background: examining the events of a range, and erasing those that meet the
//! conditions, step by step.

use sqlx::AssertSqlSafe;

use super::erasable::{ErasureSelection, ExaminedEvents};
use super::erase::erase;
use super::newest_first::NewestFirst;
use crate::domain::company_limit::CompanyLimit;
use crate::domain::delivery::Status;
use crate::domain::id;
use crate::domain::json_condition::JsonCondition;
use crate::store::cancel_selection::CancelSelection;
use crate::store::db::{self, DatabaseConnection, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Most erasures that one company may have in progress.
const MAX_PER_COMPANY: i64 = 10;
/// Erasures of one company that are kept to be looked at, with those in progress.
const MAX_KEPT: i64 = 100;

/// A request to erase events, in the background.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// Its own id.
    pub id: String,
    /// The events.
    pub selection: ErasureSelection,
    /// Who requests it, as a record names them.
    pub by: String,
    /// When it is requested: milliseconds since 1970.
    pub now: i64,
}

/// An erasure as the API shows it: without the value by which it selects, which may be what is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRecord {
    /// Its id.
    pub id: String,
    /// As [`ErasureSelection::event_type`].
    pub event_type: Option<String>,
    /// The pointer of the condition.
    pub pointer: Option<String>,
    /// The first instant: milliseconds since 1970.
    pub since: Option<i64>,
    /// The instant after the last: milliseconds since 1970.
    pub until: Option<i64>,
    /// Events examined so far.
    pub examined: u64,
    /// Events erased so far.
    pub erased: u64,
    /// When it was requested: milliseconds since 1970.
    pub created_at: i64,
    /// When it ended: milliseconds since 1970.
    pub finished_at: Option<i64>,
}

/// What a step has done.
#[derive(Debug, Clone, Default)]
pub struct ErasureStep {
    /// The deliveries that it has cancelled, which nodes may have in memory.
    pub cancelled: Vec<CancelSelection>,
    /// The erasure as a whole, if it has ended.
    pub finished: Option<FinishedErasure>,
}

/// An erasure that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedErasure {
    /// The company.
    pub company: String,
    /// Who requested it.
    pub by: String,
    /// Events that it has erased.
    pub events: u64,
    /// The bytes of their data.
    pub bytes: i64,
    /// Deliveries that it has cancelled.
    pub cancelled: u64,
}

const RECORD_COLUMNS: &str =
    "id, event_type, pointer, start_id, next_id, end_id, examined, erased, created_at, finished_at";

fn count_from_row(row: &DatabaseRow, column: &'static str) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.try_get::<i64>(column)?).unwrap_or_default())
}

fn record_from_row(row: &DatabaseRow) -> Result<ErasureRecord, sqlx::Error> {
    let (start, end): (String, String) = (row.try_get("start_id")?, row.try_get("end_id")?);
    Ok(ErasureRecord {
        id: row.try_get("id")?,
        event_type: row.try_get("event_type")?,
        pointer: row.try_get("pointer")?,
        since: id::made_at(&start),
        until: id::made_at(&end),
        examined: count_from_row(row, "examined")?,
        erased: count_from_row(row, "erased")?,
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

/// Returns what is left to examine of an erasure.
fn rest_from_row(row: &DatabaseRow) -> Result<ErasureSelection, sqlx::Error> {
    let (pointer, equals): (Option<String>, Option<String>) = (row.try_get("pointer")?, row.try_get("equals")?);
    // Checked when it was stored. Without its condition it would erase what is not meant.
    let broken = |rule: crate::domain::Invalid| sqlx::Error::Decode(rule.detail.into());
    let condition = match (pointer, equals) {
        (None, _) => None,
        (Some(pointer), equals) => {
            Some(JsonCondition::new(&pointer, equals.as_deref().unwrap_or_default()).map_err(broken)?)
        }
    };
    Ok(ErasureSelection {
        company: row.try_get("company")?,
        event_type: row.try_get("event_type")?,
        condition,
        first: row.try_get("next_id")?,
        end: row.try_get("end_id")?,
    })
}

impl Store {
    /// Stores an erasure, which [`Store::erasure_step`] carries out.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: the company has too many erasures in progress. The database's.
    pub async fn start_erasure(&self, erasure: Erasure) -> Result<(), StoreError> {
        let company = erasure.selection.company.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                check_count(connection, &erasure.selection.company).await?;
                Ok(insert(connection, erasure).await?)
            })
        });
        self.writer.run_for(&company, work, |()| ()).await
    }

    /// Returns the ids of the erasures in progress, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn erasures_in_progress(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT id FROM event_erasures WHERE finished_at IS NULL ORDER BY id LIMIT 100";
        Ok(db::query(sql).values(&self.readers.background).await?)
    }

    /// Returns a page of a company's erasures, newest first, and whether there are more.
    ///
    /// # Errors
    /// The database's.
    pub async fn erasures(
        &self,
        company: &str,
        limit: u32,
        after: Option<&str>,
    ) -> Result<(Vec<ErasureRecord>, bool), StoreError> {
        let records = NewestFirst { table: "event_erasures", columns: RECORD_COLUMNS, from_row: record_from_row };
        records.page(self, company, limit, after).await
    }

    /// Examines the next few events of an erasure, and erases those that meet its conditions, at `now`, milliseconds since 1970.
    /// `None`: it has ended, or another node has made this step.
    ///
    /// # Errors
    /// The database's.
    pub async fn erasure_step(&self, id: String, now: i64) -> Result<Option<ErasureStep>, StoreError> {
        let sql = "SELECT company, event_type, pointer, equals, next_id, end_id FROM event_erasures WHERE id = $1 \
                   AND finished_at IS NULL";
        let query = db::query(sql).bind(id.as_str());
        let Some(row) = query.fetch_optional(&self.readers.background).await? else { return Ok(None) };
        let rest = rest_from_row(&row)?;
        // Beside the writer, because the data may be long.
        let examined = self.examine(&rest).await?;
        let (company, usage, metrics) = (rest.company.clone(), self.event_usage.clone(), self.metrics.clone());
        let work = transaction(move |connection| {
            Box::pin(async move { Ok(step(connection, id, rest, examined, now).await?) })
        });
        let count = move |done: &Option<(ErasureStep, Amounts)>| {
            if let Some((_, amounts)) = done {
                usage.removed(&company, amounts.bytes);
                metrics.deliveries_ended(Status::Cancelled, u64::try_from(amounts.cancelled).unwrap_or_default());
            }
        };
        Ok(self.writer.run(work, count).await?.map(|(step, _)| step))
    }
}

async fn check_count(connection: &mut DatabaseConnection, company: &str) -> Result<(), StoreError> {
    let sql = "SELECT COUNT(*) FROM event_erasures WHERE company = $1 AND finished_at IS NULL";
    if db::query(sql).bind(company).value::<i64>(&mut *connection).await? >= MAX_PER_COMPANY {
        return Err(CompanyLimit::under_way("erasures", MAX_PER_COMPANY).into());
    }
    let sql = "DELETE FROM event_erasures WHERE company = $1 AND finished_at IS NOT NULL AND id NOT IN \
               (SELECT id FROM event_erasures WHERE company = $1 ORDER BY id DESC LIMIT $2)";
    db::query(sql).bind(company).bind(MAX_KEPT - 1).execute(connection).await?;
    Ok(())
}

async fn insert(connection: &mut DatabaseConnection, erasure: Erasure) -> Result<(), sqlx::Error> {
    let Erasure { id, selection, by, now } = erasure;
    db::query(
        "INSERT INTO event_erasures (id, company, event_type, pointer, equals, start_id, next_id, end_id, examined, erased, \
         bytes, cancelled, requested_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $7, 0, 0, 0, 0, $8, $9)",
    )
    .bind(id)
    .bind(selection.company)
    .bind(selection.event_type)
    .bind(selection.condition.as_ref().map(JsonCondition::pointer))
    .bind(selection.condition.as_ref().map(JsonCondition::equals))
    .bind(selection.first)
    .bind(selection.end)
    .bind(by)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// What one step has removed.
struct Amounts {
    events: i64,
    bytes: i64,
    cancelled: i64,
}

/// Erases the events that a step has found, unless another node has made the step meanwhile.
async fn step(
    connection: &mut DatabaseConnection,
    id: String,
    rest: ErasureSelection,
    examined: ExaminedEvents,
    now: i64,
) -> Result<Option<(ErasureStep, Amounts)>, sqlx::Error> {
    let sql = format!(
        "SELECT id FROM event_erasures WHERE id = $1 AND next_id = $2 AND finished_at IS NULL {}",
        connection.kind().row_lock()
    );
    let query = db::query(AssertSqlSafe(sql)).bind(id.as_str()).bind(rest.first.as_str());
    if query.fetch_optional(&mut *connection).await?.is_none() {
        return Ok(None);
    }
    let (mut done, mut amounts) = (ErasureStep::default(), Amounts { events: 0, bytes: 0, cancelled: 0 });
    for event in &examined.matching {
        let Some((_, Some(erased))) = erase(connection, &rest.company, event, now).await? else { continue };
        amounts.events += 1;
        amounts.bytes += erased.amount.bytes;
        amounts.cancelled += i64::try_from(erased.amount.cancelled).unwrap_or_default();
        if erased.amount.cancelled > 0 {
            done.cancelled.push(erased.deliveries);
        }
    }
    let finished_at = examined.next.is_none().then_some(now);
    // Once it has ended, the value by which it selected is not needed, and may be what was to be erased.
    let sql = "UPDATE event_erasures SET next_id = $1, examined = examined + $2, erased = erased + $3, bytes = bytes + $4, \
               cancelled = cancelled + $5, finished_at = $6, equals = CASE WHEN CAST($6 AS BIGINT) IS NULL THEN equals END \
               WHERE id = $7 RETURNING company, requested_by, erased, bytes, cancelled";
    let query = db::query(sql).bind(examined.next.unwrap_or(rest.end));
    let query = query.bind(i64::try_from(examined.examined).unwrap_or(i64::MAX)).bind(amounts.events);
    let query = query.bind(amounts.bytes).bind(amounts.cancelled).bind(finished_at).bind(id);
    let row = query.fetch_one(connection).await?;
    if finished_at.is_some() {
        done.finished = Some(FinishedErasure {
            company: row.try_get("company")?,
            by: row.try_get("requested_by")?,
            events: count_from_row(&row, "erased")?,
            bytes: row.try_get("bytes")?,
            cancelled: count_from_row(&row, "cancelled")?,
        });
    }
    Ok(Some((done, amounts)))
}
