//! Replays: sending the deliveries of a range of time again, step by step.

use sqlx::AssertSqlSafe;

use crate::domain::delivery::Status;
use crate::store::db::{self, DatabaseConnection};
use crate::store::delivery_rows::first_id;
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Most replays that one company may have in progress.
const MAX_PER_COMPANY: i64 = 10;
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

/// The deliveries that a replay selects within its range. Those in memory or in the backlog will be sent anyway. Binds: the
/// company, the type, the status.
const REPLAYABLE: &str = "company = $1 AND (CAST($2 AS TEXT) IS NULL OR event_type = $2) \
    AND (CAST($3 AS TEXT) IS NULL OR status = $3) AND webhook_id IS NOT NULL \
    AND (status <> 'pending' OR (lease IS NULL AND parked = 0)) \
    AND EXISTS (SELECT 1 FROM webhooks w WHERE w.company = deliveries.company AND w.event_type = deliveries.event_type)";

impl Store {
    /// Stores a replay, which [`Store::replay_step`] carries out. Returns how many deliveries it has; if there are none,
    /// nothing is stored.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: the company has too many replays in progress. The database's.
    pub async fn start_replay(&self, replay: Replay) -> Result<u64, StoreError> {
        let (first, end) = (first_id(replay.since), first_id(replay.until));
        // Counted beside the writer, because the log may be long.
        let sql = format!("SELECT COUNT(*) FROM deliveries WHERE {REPLAYABLE} AND id >= $4 AND id < $5");
        let query = db::query(AssertSqlSafe(sql)).bind(replay.company.as_str());
        let query = query.bind(replay.event_type.as_deref()).bind(replay.status.map(Status::name));
        let count: i64 = query.bind(first.as_str()).bind(end.as_str()).value(&self.readers).await?;
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
    // The last id that this step examines, whether or not it marks anything.
    let sql = "SELECT MAX(id) FROM (SELECT id FROM deliveries WHERE company = $1 AND id >= $2 AND id < $3 \
               ORDER BY id LIMIT $4) AS looked_at";
    let query = db::query(sql).bind(company.as_str()).bind(from.as_str()).bind(end.as_str());
    let Some(last): Option<String> = query.bind(STEP).value(&mut *connection).await? else {
        db::query("DELETE FROM replays WHERE id = $1").bind(id).execute(connection).await?;
        return Ok(ReplayStep::default());
    };
    let sql = format!(
        "UPDATE deliveries SET status = 'pending', due = NULL, lease = NULL, parked = 2, \
         finished_at = NULL, attempt_base = attempt_count, webhook_id = (SELECT w.id FROM webhooks w \
         WHERE w.company = deliveries.company AND w.event_type = deliveries.event_type) \
         WHERE {REPLAYABLE} AND id >= $4 AND id <= $5 RETURNING event_type"
    );
    let query = db::query(AssertSqlSafe(sql)).bind(company.as_str());
    let query = query.bind(filter("event_type")?).bind(filter("status")?).bind(from).bind(last.as_str());
    let mut event_types: Vec<String> = query.values(&mut *connection).await?;
    event_types.sort();
    event_types.dedup();
    // No id sorts between an id and that id followed by a zero.
    let query = db::query("UPDATE replays SET next_id = $1 WHERE id = $2").bind(last + "0").bind(id);
    query.execute(connection).await?;
    Ok(ReplayStep { company, event_types })
}
