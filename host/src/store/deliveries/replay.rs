//! Replays: sending the deliveries of a range of time again, step by step.

use sqlx::AssertSqlSafe;

use super::log_walk::{LogIndex, LogRange};
use crate::domain::delivery::{Status, StatusFilter};
use crate::store::db::{self, DatabaseConnection, DatabaseKind};
use crate::store::delivery_rows::first_id;
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Most replays that one company may have in progress.
const MAX_PER_COMPANY: i64 = 10;
/// Deliveries that one statement examines to count those of a replay.
const COUNT_STEP: i64 = 10_000;
/// Deliveries that one step of a replay examines and marks.
const STEP: i64 = 500;

/// A request to send deliveries again: those of a company and a range of time that have a webhook now.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The replay's id.
    pub id: String,
    /// The company.
    pub company: String,
    /// The event type; `None`: any.
    pub event_type: Option<String>,
    /// The status; `None`: any.
    pub status: Option<Status>,
    /// Selects deliveries created at this instant or later: milliseconds since 1970.
    pub since: i64,
    /// Selects deliveries created before this instant: milliseconds since 1970.
    pub until: i64,
    /// When the replay is requested: milliseconds since 1970.
    pub now: i64,
}

/// The deliveries that one step of a replay has marked.
#[derive(Debug, Clone, Default)]
pub struct ReplayStep {
    /// The company.
    pub company: String,
    /// The event types of the deliveries, each once.
    pub event_types: Vec<String>,
}

/// Returns the condition of the deliveries that a replay selects within its range, given the parameters for its type and its
/// status. Those in memory or in the backlog will be sent anyway.
fn replayable_sql(event_type: &str, status: &str) -> String {
    format!(
        "(CAST({event_type} AS TEXT) IS NULL OR event_type = {event_type}) \
         AND (CAST({status} AS TEXT) IS NULL OR status = {status}) AND webhook_id IS NOT NULL \
         AND (status <> 'pending' OR (lease IS NULL AND parked = 0)) AND EXISTS (SELECT 1 FROM webhooks w \
         WHERE w.company = deliveries.company AND w.event_type = deliveries.event_type)"
    )
}

/// Returns the statement that counts the deliveries of a replay in a range. Binds as [`LogIndex::rows_sql`], then the type and
/// the status.
pub(super) fn count_sql(index: &LogIndex, kind: DatabaseKind) -> String {
    format!("SELECT COUNT(*) FROM ({}) AS selected", index.rows_sql(kind, "id", &replayable_sql("$6", "$7")))
}

/// Returns the statement that finds the last row that a step examines, whether or not it marks it. Binds: the company, the id
/// at which the step begins, the id at which the replay ends, the most rows, the key of the index.
pub(super) fn step_end_sql(index: &LogIndex, kind: DatabaseKind) -> String {
    format!(
        "SELECT MAX(id) FROM (SELECT id FROM deliveries {}WHERE company = $1 AND id >= $2 AND id < $3 AND {} \
         ORDER BY id LIMIT $4) AS looked_at",
        index.hint(kind),
        index.condition("$5")
    )
}

/// Returns the statement that marks the deliveries of a step. Binds: the company, the first and the last id, the key of the
/// index, the type, the status.
pub(super) fn mark_sql(index: &LogIndex, kind: DatabaseKind) -> String {
    format!(
        "UPDATE deliveries {}SET status = 'pending', due = NULL, lease = NULL, parked = 2, finished_at = NULL, \
         attempt_base = attempt_count, webhook_id = (SELECT w.id FROM webhooks w WHERE w.company = deliveries.company \
         AND w.event_type = deliveries.event_type) WHERE company = $1 AND id >= $2 AND id <= $3 AND {} AND {} \
         RETURNING event_type",
        index.hint(kind),
        index.condition("$4"),
        replayable_sql("$5", "$6")
    )
}

impl Store {
    /// Stores a replay, which [`Store::replay_step`] carries out. Returns how many deliveries it has; if there are none,
    /// nothing is stored.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: the company has too many replays in progress. The database's.
    pub async fn start_replay(&self, replay: Replay) -> Result<u64, StoreError> {
        let (first, end) = (first_id(replay.since), first_id(replay.until));
        // Counted beside the writer, because the log may be long.
        let count = self.count_replayable(&replay).await?;
        if count == 0 {
            return Ok(0);
        }
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                check_count(connection, &replay.company).await?;
                db::query(
                    "INSERT INTO replays (id, company, event_type, status, next_id, end_id, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(replay.id)
                .bind(replay.company)
                .bind(replay.event_type)
                .bind(replay.status.map(Status::name))
                .bind(first)
                .bind(end)
                .bind(replay.now)
                .execute(connection)
                .await?;
                Ok(())
            })
        });
        self.writer.run(work, |()| ()).await?;
        Ok(count)
    }

    async fn count_replayable(&self, replay: &Replay) -> Result<u64, StoreError> {
        let index = LogIndex::of(replay.status.map(StatusFilter::Is), replay.event_type.as_deref());
        let (before, least) = (first_id(replay.until), first_id(replay.since));
        let mut range = LogRange { company: &replay.company, before, least };
        let (mut count, mut last) = (0, false);
        while !last {
            let _turn = self.log_turns.turn(&replay.company).await?;
            let step;
            (step, last) = range.split(&index, COUNT_STEP, &self.readers).await?;
            let query = step.bind(count_sql(&index, self.readers.kind()), COUNT_STEP, &index);
            let query = query.bind(replay.event_type.as_deref()).bind(replay.status.map(Status::name));
            count += query.value::<i64>(&self.readers).await?;
        }
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Returns the ids of the replays in progress, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn replays_in_progress(&self) -> Result<Vec<String>, StoreError> {
        Ok(db::query("SELECT id FROM replays ORDER BY id LIMIT 100").values(&self.readers).await?)
    }

    /// Marks the next few deliveries of a replay: they wait behind all others of their webhook, and their retry schedule
    /// starts over. The last step removes the replay and returns no event types.
    ///
    /// # Errors
    /// The database's.
    pub async fn replay_step(&self, id: String) -> Result<ReplayStep, StoreError> {
        let work = transaction(move |connection| Box::pin(step(connection, id)));
        self.writer.run(work, |_| ()).await
    }
}

async fn check_count(connection: &mut DatabaseConnection, company: &str) -> Result<(), StoreError> {
    let query = db::query("SELECT COUNT(*) FROM replays WHERE company = $1").bind(company);
    let in_progress: i64 = query.value(connection).await?;
    if in_progress >= MAX_PER_COMPANY {
        return Err(StoreError::Limit(format!(
            "this company has {MAX_PER_COMPANY} replays under way, which is the limit; wait until one has finished"
        )));
    }
    Ok(())
}

async fn step(connection: &mut DatabaseConnection, id: String) -> Result<ReplayStep, StoreError> {
    // With several nodes, one runs the step; the others see no row.
    let lock = connection.kind().row_lock();
    let sql = format!("SELECT company, event_type, status, next_id, end_id FROM replays WHERE id = $1 {lock}");
    let query = db::query(AssertSqlSafe(sql)).bind(id.as_str());
    let Some(replay) = query.fetch_optional(&mut *connection).await? else {
        return Ok(ReplayStep::default());
    };
    let text = |column| replay.try_get::<String>(column);
    let filter = |column| replay.try_get::<Option<String>>(column);
    let (company, from, end) = (text("company")?, text("next_id")?, text("end_id")?);
    let (event_type, status) = (filter("event_type")?, filter("status")?);
    let named = status.as_deref().and_then(Status::named).map(StatusFilter::Is);
    let index = LogIndex::of(named, event_type.as_deref());
    let query =
        db::query(AssertSqlSafe(step_end_sql(&index, connection.kind()))).bind(company.as_str()).bind(from.as_str());
    let query = query.bind(end.as_str()).bind(STEP).bind(index.key());
    let Some(last): Option<String> = query.value(&mut *connection).await? else {
        db::query("DELETE FROM replays WHERE id = $1").bind(id).execute(connection).await?;
        return Ok(ReplayStep::default());
    };
    let query = db::query(AssertSqlSafe(mark_sql(&index, connection.kind())))
        .bind(company.as_str())
        .bind(from)
        .bind(last.as_str());
    let query = query.bind(index.key()).bind(event_type).bind(status);
    let mut event_types: Vec<String> = query.values(&mut *connection).await?;
    event_types.sort();
    event_types.dedup();
    // No id sorts between an id and that id followed by a zero.
    let query = db::query("UPDATE replays SET next_id = $1 WHERE id = $2").bind(last + "0").bind(id);
    query.execute(connection).await?;
    Ok(ReplayStep { company, event_types })
}
