//! Deliveries that are sent again because somebody asks for it.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::super::db;
use super::super::writer::work;
use super::{COLUMNS, Claimed, claimed, first_id};
use crate::domain::delivery::Status;
use crate::store::{Store, StoreError};

/// Replays that one company may have under way.
const PER_COMPANY: i64 = 10;
/// Deliveries that one step of a replay looks at and marks.
const STEP: i64 = 500;

/// What became of a delivery that somebody asked for.
#[derive(Debug, Clone)]
pub enum Urged {
    /// It was taken for an attempt.
    Taken(Box<Claimed>),
    /// It waits for its webhook to be enabled.
    Parked,
    /// It is in memory: on its way, or about to be.
    OnItsWay,
    /// There is none of that id.
    Missing,
}

/// Deliveries to be sent again: those of a company that have a webhook now.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Its identifier.
    pub id: String,
    /// The company.
    pub company: String,
    /// Of this type; `None`: of any.
    pub event_type: Option<String>,
    /// Of this status; `None`: of any.
    pub status: Option<Status>,
    /// Created then or later, milliseconds since 1970.
    pub since: i64,
    /// Created before.
    pub until: i64,
    /// Milliseconds since 1970.
    pub now: i64,
}

/// What one step of a replay has marked.
#[derive(Debug, Clone, Default)]
pub struct ReplayStep {
    /// The company.
    pub company: String,
    /// The types of the events, each once.
    pub event_types: Vec<String>,
}

/// Which deliveries a replay takes, besides their range. What is in memory or parked is on its way already. Binds: the
/// company, the type, the status.
const WANTED: &str = "company = $1 AND (CAST($2 AS TEXT) IS NULL OR event_type = $2) \
    AND (CAST($3 AS TEXT) IS NULL OR status = $3) AND webhook_id IS NOT NULL \
    AND (status <> 'pending' OR (lease IS NULL AND parked = 0)) \
    AND EXISTS (SELECT 1 FROM webhooks w WHERE w.company = deliveries.company AND w.event_type = deliveries.event_type)";

impl Store {
    /// Takes one delivery for an attempt now, whatever its status, for `webhook`; without a lease it is parked.
    ///
    /// # Errors
    /// The database's.
    pub async fn urge(
        &self,
        (company, id): (String, String),
        webhook: String,
        lease: Option<(i64, Arc<str>)>,
    ) -> Result<Urged, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                let sql = format!(
                    "UPDATE deliveries SET status = 'pending', webhook_id = $3, due = $4, lease = $5, parked = $6, \
                     finished_at = NULL WHERE company = $1 AND id = $2 AND webhook_id IS NOT NULL AND lease IS NULL \
                     RETURNING {COLUMNS}"
                );
                let query = db::query(AssertSqlSafe(sql)).bind(company.as_str()).bind(id.as_str()).bind(webhook);
                let query = query.bind(lease.as_ref().map(|(until, _)| *until));
                let query = query.bind(lease.as_ref().map(|(_, process)| process.to_string()));
                let row = query.bind(i64::from(lease.is_none())).fetch_optional(&mut *connection).await?;
                if let Some(row) = row {
                    let taken = claimed(&row)?;
                    return Ok(if lease.is_some() { Urged::Taken(Box::new(taken)) } else { Urged::Parked });
                }
                let sql = "SELECT 1 FROM deliveries WHERE company = $1 AND id = $2 AND webhook_id IS NOT NULL";
                let there = db::query(sql).bind(company).bind(id).fetch_optional(connection).await?;
                Ok(if there.is_some() { Urged::OnItsWay } else { Urged::Missing })
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Writes down a replay, to be carried out by [`Store::replay_step`]; answers how many deliveries it has.
    ///
    /// # Errors
    /// [`StoreError::Limit`] when the company has too many under way.
    pub async fn start_replay(&self, replay: Replay) -> Result<u64, StoreError> {
        let (first, end) = (first_id(replay.since), first_id(replay.until));
        // Counted beside the writer: the log may be long.
        let sql = format!("SELECT COUNT(*) FROM deliveries WHERE {WANTED} AND id >= $4 AND id < $5");
        let query = db::query(AssertSqlSafe(sql)).bind(replay.company.as_str());
        let query = query.bind(replay.event_type.as_deref()).bind(replay.status.map(Status::name));
        let count: i64 = query.bind(first.as_str()).bind(end.as_str()).value(&self.readers).await?;
        if count == 0 {
            return Ok(0);
        }
        let work = work(move |connection| {
            Box::pin(async move {
                connection.alone().await?;
                let sql = "SELECT COUNT(*) FROM replays WHERE company = $1";
                let query = db::query(sql).bind(replay.company.as_str());
                let under_way: i64 = query.value(&mut *connection).await?;
                if under_way >= PER_COMPANY {
                    return Err(StoreError::Limit(format!(
                        "this company has {PER_COMPANY} replays under way, which is the most; wait until one is done"
                    )));
                }
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

    /// The replays that are not done yet, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn replays_under_way(&self) -> Result<Vec<String>, StoreError> {
        Ok(db::query("SELECT id FROM replays ORDER BY id LIMIT 100").values(&self.readers).await?)
    }

    /// Marks the next few deliveries of a replay: they wait behind everything else of their webhook, and their schedule
    /// begins anew. The last step removes the replay.
    ///
    /// # Errors
    /// The database's.
    pub async fn replay_step(&self, id: String) -> Result<ReplayStep, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                let sql = "SELECT company, event_type, status, next_id, end_id FROM replays WHERE id = $1";
                let Some(replay) = db::query(sql).bind(id.as_str()).fetch_optional(&mut *connection).await? else {
                    return Ok(ReplayStep::default());
                };
                let text = |column| replay.try_get::<String>(column);
                let given = |column| replay.try_get::<Option<String>>(column);
                let (company, from, end) = (text("company")?, text("next_id")?, text("end_id")?);
                // As far as this step looks, whether or not it finds anything there.
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
                     WHERE {WANTED} AND id >= $4 AND id <= $5 RETURNING event_type"
                );
                let query = db::query(AssertSqlSafe(sql)).bind(company.as_str());
                let query = query.bind(given("event_type")?).bind(given("status")?).bind(from).bind(last.as_str());
                let mut event_types: Vec<String> = query.values(&mut *connection).await?;
                event_types.sort();
                event_types.dedup();
                // Nothing comes between an id and the same with a zero behind it.
                let query = db::query("UPDATE replays SET next_id = $1 WHERE id = $2").bind(last + "0").bind(id);
                query.execute(connection).await?;
                Ok(ReplayStep { company, event_types })
            })
        });
        self.writer.run(work, |_| ()).await
    }
}
