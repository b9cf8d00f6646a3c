//! Replays: sending the deliveries of a range of time again, step by step.

use sqlx::AssertSqlSafe;

use super::cancel;
use super::log_walk::{LogIndex, LogRange, LogSelection};
use super::retry::MAX_REQUESTED;
use crate::domain::company_limit::CompanyLimit;
use crate::domain::delivery::{Status, StatusFilter};
use crate::domain::id;
use crate::store::cancel_selection::{CancelSelection, CancelState};
use crate::store::changes::{Change, notify};
use crate::store::db::{self, DatabaseConnection, DatabaseKind, DatabaseRow};
use crate::store::delivery_rows::first_id;
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Most replays of one company whose deliveries are being marked.
const MAX_PER_COMPANY: i64 = 10;
/// Most replays of one company, with those whose deliveries wait to be sent.
const MAX_KEPT: i64 = 100;
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

/// Names a replay.
#[derive(Debug, Clone)]
pub struct ReplayKey {
    /// Its company.
    pub company: String,
    /// Its id.
    pub id: String,
}

/// A replay as the API shows it.
#[derive(Debug, Clone)]
pub struct ReplayRecord {
    /// Its id.
    pub id: String,
    /// The event type; `None`: any.
    pub event_type: Option<String>,
    /// The status; `None`: any.
    pub status: Option<Status>,
    /// As [`Replay::since`]; `None`: an earlier version stored the replay.
    pub since: Option<i64>,
    /// As [`Replay::until`].
    pub until: Option<i64>,
    /// Whether all its deliveries are marked: they wait to be sent.
    pub marked: bool,
    /// When it was requested: milliseconds since 1970.
    pub created_at: i64,
}

const REPLAY_COLUMNS: &str = "id, event_type, status, start_id, next_id, end_id, created_at";

fn record_from_row(row: &DatabaseRow) -> Result<ReplayRecord, sqlx::Error> {
    let status: Option<String> = row.try_get("status")?;
    let (start, next): (Option<String>, String) = (row.try_get("start_id")?, row.try_get("next_id")?);
    let end: String = row.try_get("end_id")?;
    Ok(ReplayRecord {
        id: row.try_get("id")?,
        event_type: row.try_get("event_type")?,
        status: status.as_deref().and_then(Status::named),
        since: start.as_deref().and_then(id::made_at),
        until: id::made_at(&end),
        marked: next >= end,
        created_at: row.try_get("created_at")?,
    })
}

/// The deliveries that one step of a replay has marked.
#[derive(Debug, Clone, Default)]
pub struct ReplayStep {
    /// The company.
    pub company: String,
    /// The webhooks of the deliveries, each once.
    pub webhooks: Vec<String>,
}

/// Returns the condition of the deliveries that a replay selects within its range, given the parameters for its type and its
/// status. Those in memory or in the backlog will be sent anyway.
fn replayable_sql(event_type: &str, status: &str) -> String {
    format!(
        "(CAST({event_type} AS TEXT) IS NULL OR event_type = {event_type}) \
         AND (CAST({status} AS TEXT) IS NULL OR status = {status}) \
         AND (status <> 'pending' OR (lease IS NULL AND parked = 0)) AND {PRESENT_WEBHOOK} IS NOT NULL"
    )
}

/// The id of the webhook to which a delivery of the table goes now: its own, or one that has subscribed since in its place; NULL if
/// there is none.
const PRESENT_WEBHOOK: &str = "COALESCE((SELECT w.id FROM webhooks w WHERE w.id = event_deliveries.webhook_id), \
    (SELECT w.id FROM webhooks w WHERE w.company = event_deliveries.company \
    AND w.event_type = event_deliveries.event_type || COALESCE(' ' || event_deliveries.label, '')))";

/// Returns the statement that counts the deliveries of a replay in a range. Binds as [`LogIndex::rows_sql`], then the type and
/// the status.
pub(super) fn count_sql(index: &LogIndex, kind: DatabaseKind) -> String {
    format!("SELECT COUNT(*) FROM ({}) AS selected", index.rows_sql(kind, "id", &replayable_sql("$6", "$7")))
}

/// Returns the statement that finds the replays of which nothing is left to send. Live deliveries in memory from the same time
/// may keep a replay for as long as they are there.
pub(super) fn sent_sql(kind: DatabaseKind) -> String {
    format!(
        "SELECT id FROM replays WHERE next_id >= end_id AND NOT EXISTS (SELECT 1 FROM webhooks w \
         JOIN event_deliveries d ON d.webhook_id = w.id AND d.status = 'pending' AND d.lease IS NULL AND d.parked = 2 \
         AND d.id >= COALESCE(replays.start_id, '') AND d.id < replays.end_id \
         AND (replays.event_type IS NULL OR d.event_type = replays.event_type) WHERE w.company = replays.company) \
         AND NOT EXISTS (SELECT 1 FROM event_deliveries AS d {}WHERE d.lease IS NOT NULL AND d.company = replays.company \
         AND d.id >= COALESCE(replays.start_id, '') AND d.id < replays.end_id)",
        kind.index_hint("event_deliveries_leased")
    )
}

/// Returns the statement that marks the deliveries of a step, except those that were requested too often. Binds: the company, the first and the last id, the key of the
/// index, the type, the status.
pub(super) fn mark_sql(index: &LogIndex, kind: DatabaseKind) -> String {
    format!(
        "UPDATE event_deliveries {}SET status = 'pending', due = NULL, lease = NULL, parked = 2, finished_at = NULL, \
         attempt_base = attempt_count, requested_count = requested_count + 1, webhook_id = {PRESENT_WEBHOOK} \
         WHERE company = $1 AND id >= $2 AND id <= $3 AND {} AND {} \
         AND requested_count < {MAX_REQUESTED} RETURNING webhook_id",
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
        let company = replay.company.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                check_count(connection, &replay.company).await?;
                db::query(
                    "INSERT INTO replays (id, company, event_type, status, start_id, next_id, end_id, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $5, $6, $7)",
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
        self.writer.run_for(&company, work, |()| ()).await?;
        Ok(count)
    }

    async fn count_replayable(&self, replay: &Replay) -> Result<u64, StoreError> {
        let index = LogIndex::of(replay.status.map(StatusFilter::Is), replay.event_type.as_deref());
        let (before, least) = (first_id(replay.until), first_id(replay.since));
        let selection = LogSelection {
            sql: count_sql(&index, self.readers.kind()),
            index,
            range: LogRange { company: &replay.company, before, least },
            parameters: vec![replay.event_type.clone(), replay.status.map(|status| status.name().to_owned())],
        };
        self.count(selection).await
    }

    /// Returns the ids of the replays whose deliveries are being marked, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn replays_in_progress(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT id FROM replays WHERE next_id < end_id ORDER BY id LIMIT 100";
        Ok(db::query(sql).values(&self.readers.background).await?)
    }

    /// Returns a page of a company's replays, newest first, and whether there are more.
    ///
    /// # Errors
    /// The database's.
    pub async fn replays(
        &self,
        company: &str,
        limit: u32,
        after: Option<&str>,
    ) -> Result<(Vec<ReplayRecord>, bool), StoreError> {
        let sql = format!(
            "SELECT {REPLAY_COLUMNS} FROM replays WHERE company = $1 AND (CAST($2 AS TEXT) IS NULL OR id < $2) \
             ORDER BY id DESC LIMIT $3"
        );
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(after).bind(i64::from(limit) + 1);
        let rows = query.fetch_all(&self.log_reader(company).await?).await?;
        let mut found = rows.iter().map(record_from_row).collect::<Result<Vec<_>, _>>()?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        Ok((found, more))
    }

    /// Stops a replay, and stores a cancellation with the id `cancellation` of the deliveries that it has marked, at `now`,
    /// milliseconds since 1970. `None`: the company has no such replay.
    ///
    /// # Errors
    /// The database's.
    pub async fn stop_replay(
        &self,
        key: ReplayKey,
        cancellation: String,
        now: i64,
    ) -> Result<Option<(ReplayRecord, CancelSelection)>, StoreError> {
        let company = key.company.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                let sql = format!("DELETE FROM replays WHERE id = $1 AND company = $2 RETURNING {REPLAY_COLUMNS}");
                let query = db::query(AssertSqlSafe(sql)).bind(key.id).bind(key.company.as_str());
                let Some(row) = query.fetch_optional(&mut *connection).await? else {
                    return Ok(None);
                };
                let replay = record_from_row(&row)?;
                let selection = CancelSelection {
                    company: key.company,
                    event_type: replay.event_type.clone(),
                    state: CancelState::Replayed,
                    first: row.try_get::<Option<String>>("start_id")?.unwrap_or_else(|| first_id(0)),
                    end: row.try_get("end_id")?,
                };
                cancel::insert(connection, cancellation, &selection, now).await?;
                notify(connection, &Change::Cancelled(selection.clone())).await?;
                Ok(Some((replay, selection)))
            })
        });
        self.writer.run_for(&company, work, |_| ()).await
    }

    /// Removes the replays of whose deliveries none waits or is in memory.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_sent_replays(&self) -> Result<(), StoreError> {
        let ids =
            db::query(AssertSqlSafe(sent_sql(self.readers.kind()))).values::<String>(&self.readers.background).await?;
        for id in ids {
            let work = transaction(|connection| {
                Box::pin(async move {
                    db::query("DELETE FROM replays WHERE id = $1").bind(id).execute(connection).await?;
                    Ok(())
                })
            });
            self.writer.run(work, |()| ()).await?;
        }
        Ok(())
    }

    /// Marks the next few deliveries of a replay: they wait behind all others of their webhook, and their retry schedule
    /// starts over. The last step returns no webhooks; [`Store::forget_sent_replays`] removes the replay.
    ///
    /// # Errors
    /// The database's.
    pub async fn replay_step(&self, id: String) -> Result<ReplayStep, StoreError> {
        let work = transaction(move |connection| Box::pin(step(connection, id)));
        self.writer.run(work, |_| ()).await
    }
}

async fn check_count(connection: &mut DatabaseConnection, company: &str) -> Result<(), StoreError> {
    let query = db::query("SELECT COUNT(*) FROM replays WHERE company = $1 AND next_id < end_id").bind(company);
    let in_progress: i64 = query.value(&mut *connection).await?;
    if in_progress >= MAX_PER_COMPANY {
        let detail = format!(
            "this company has {MAX_PER_COMPANY} replays under way, which is the limit; wait until one has finished"
        );
        return Err(CompanyLimit::in_progress("replays", detail).into());
    }
    let query = db::query("SELECT COUNT(*) FROM replays WHERE company = $1").bind(company);
    if query.value::<i64>(connection).await? >= MAX_KEPT {
        let detail = format!(
            "the deliveries of {MAX_KEPT} replays of this company wait to be sent, which is the limit; stop some with \
             DELETE /deliveries/replays/{{id}}"
        );
        return Err(CompanyLimit::in_progress("replays", detail).into());
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
        db::query(AssertSqlSafe(index.step_end_sql(connection.kind()))).bind(company.as_str()).bind(from.as_str());
    let query = query.bind(end.as_str()).bind(STEP).bind(index.key());
    let Some(last): Option<String> = query.value(&mut *connection).await? else {
        db::query("UPDATE replays SET next_id = end_id WHERE id = $1").bind(id).execute(connection).await?;
        return Ok(ReplayStep::default());
    };
    let query = db::query(AssertSqlSafe(mark_sql(&index, connection.kind())))
        .bind(company.as_str())
        .bind(from)
        .bind(last.as_str());
    let query = query.bind(index.key()).bind(event_type).bind(status);
    let mut webhooks: Vec<String> = query.values(&mut *connection).await?;
    webhooks.sort();
    webhooks.dedup();
    // No id sorts between an id and that id followed by a zero.
    let query = db::query("UPDATE replays SET next_id = $1 WHERE id = $2").bind(last + "0").bind(id);
    query.execute(connection).await?;
    Ok(ReplayStep { company, webhooks })
}
