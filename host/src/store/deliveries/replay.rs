//! Replays: sending the deliveries of a range of time again, step by step.

use sqlx::AssertSqlSafe;

use super::cancel;
use super::log_walk::{LogIndex, LogRange, LogSelection};
use super::missing::{self, MarkedDeliveries};
use super::newest_first::NewestFirst;
use super::present_webhook::PRESENT_WEBHOOK;
use super::retry::MAX_REQUESTED;
use super::selection_sql::{SelectionSql, step_index};
use crate::domain::company_limit::CompanyLimit;
use crate::domain::delivery_selection::DeliverySelection;
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
    /// The conditions that the deliveries meet.
    pub selection: DeliverySelection,
    /// The id of their event; `None`: any.
    pub event: Option<String>,
    /// Instead of sending deliveries again, makes those that the webhook of the selection does not have, of the events that it
    /// matches now.
    pub missing: bool,
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
    /// As [`Replay::selection`].
    pub selection: DeliverySelection,
    /// As [`Replay::missing`].
    pub missing: bool,
    /// As [`Replay::since`].
    pub since: Option<i64>,
    /// As [`Replay::until`].
    pub until: Option<i64>,
    /// Whether all its deliveries are marked: they wait to be sent.
    pub marked: bool,
    /// When it was requested: milliseconds since 1970.
    pub created_at: i64,
}

const REPLAY_COLUMNS: &str = "id, selection, missing, start_id, next_id, end_id, created_at";

fn selection_from_row(row: &DatabaseRow) -> Result<DeliverySelection, sqlx::Error> {
    let text: String = row.try_get("selection")?;
    serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn record_from_row(row: &DatabaseRow) -> Result<ReplayRecord, sqlx::Error> {
    let (start, next): (String, String) = (row.try_get("start_id")?, row.try_get("next_id")?);
    let end: String = row.try_get("end_id")?;
    Ok(ReplayRecord {
        id: row.try_get("id")?,
        selection: selection_from_row(row)?,
        missing: row.try_get::<i64>("missing")? == 1,
        since: id::made_at(&start),
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

/// Returns the condition of the deliveries that a replay selects within its range. Those in memory or in the backlog will be sent
/// anyway.
fn replayable_sql(selection: &str) -> String {
    format!(
        "{selection} AND erased_at IS NULL AND (status <> 'pending' OR (lease IS NULL AND parked = 0)) AND {} IS NOT NULL",
        *PRESENT_WEBHOOK
    )
}

/// Returns the statement that counts the deliveries of a replay in a range. Binds as [`LogIndex::rows_sql`], then the parameters
/// of the selection.
pub(super) fn count_sql(index: &LogIndex, selection: &str, kind: DatabaseKind) -> String {
    format!("SELECT COUNT(*) FROM ({}) AS selected", index.rows_sql(kind, "id", &replayable_sql(selection)))
}

/// Returns the statement that finds the replays of which nothing is left to send. Live deliveries in memory from the same time, and
/// those of other replays, may keep a replay for as long as they are there.
pub(super) fn sent_sql(kind: DatabaseKind) -> String {
    format!(
        "SELECT id FROM event_replays AS r WHERE next_id >= end_id AND NOT EXISTS (SELECT 1 FROM webhooks w \
         JOIN event_deliveries d ON d.webhook_id = w.id AND d.status = 'pending' AND d.lease IS NULL AND d.parked = 2 \
         AND d.id >= r.start_id AND d.id < r.end_id WHERE w.company = r.company) \
         AND NOT EXISTS (SELECT 1 FROM event_deliveries AS d {}WHERE d.lease IS NOT NULL AND d.company = r.company \
         AND d.id >= r.start_id AND d.id < r.end_id)",
        kind.index_hint("event_deliveries_leased")
    )
}

/// Returns the statement that marks the deliveries of a step, except those that were requested too often. Binds: the company, the
/// first and the last id, the key of the index, the parameters of the selection.
pub(super) fn mark_sql(index: &LogIndex, selection: &str, kind: DatabaseKind) -> String {
    format!(
        "UPDATE event_deliveries {}SET status = 'pending', due = NULL, lease = NULL, parked = 2, finished_at = NULL, \
         attempt_base = attempt_count, requested_count = requested_count + 1, webhook_id = {} \
         WHERE company = $1 AND id >= $2 AND id <= $3 AND {} AND {} \
         AND requested_count < {MAX_REQUESTED} RETURNING webhook_id",
        index.hint(kind),
        *PRESENT_WEBHOOK,
        index.condition("$4"),
        replayable_sql(selection)
    )
}

impl Store {
    /// Stores a replay, which [`Store::replay_step`] carries out. Returns how many deliveries it has; if there are none,
    /// nothing is stored.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: the company has too many replays in progress. The database's.
    pub async fn start_replay(&self, replay: Replay) -> Result<u64, StoreError> {
        let Some(range) = self.replay_range(&replay).await? else { return Ok(0) };
        // Counted beside the writer, because the log may be long.
        let count = self.count_in(&replay, range.clone()).await?;
        if count == 0 {
            return Ok(0);
        }
        let company = replay.company.clone();
        let (first, end) = (range.least, range.before);
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                check_count(connection, &replay.company).await?;
                let selection =
                    serde_json::to_string(&replay.selection).map_err(|error| sqlx::Error::Encode(error.into()))?;
                db::query(
                    "INSERT INTO event_replays (id, company, selection, missing, start_id, next_id, end_id, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $5, $6, $7)",
                )
                .bind(replay.id)
                .bind(replay.company)
                .bind(selection)
                .bind(i64::from(replay.missing))
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

    /// Returns how many deliveries a replay would send, or make.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn count_replayable(&self, replay: &Replay) -> Result<u64, StoreError> {
        match self.replay_range(replay).await? {
            Some(range) => self.count_in(replay, range).await,
            None => Ok(0),
        }
    }

    /// Returns the part of the log that a replay covers. `None`: there is no such event.
    async fn replay_range<'r>(&self, replay: &'r Replay) -> Result<Option<LogRange<'r>>, StoreError> {
        let (before, least) = (first_id(replay.until), first_id(replay.since));
        let range = LogRange { company: &replay.company, before, least };
        let Some(event) = &replay.event else { return Ok(Some(range)) };
        Ok(self.place_of_event(&replay.company, event).await?.map(|place| range.of_event(place)))
    }

    async fn count_in(&self, replay: &Replay, range: LogRange<'_>) -> Result<u64, StoreError> {
        if replay.missing {
            return self.count_missing(&replay.selection, range).await;
        }
        let index = step_index(&replay.selection);
        let SelectionSql { sql, parameters } = SelectionSql::new(&replay.selection, 6);
        let sql = count_sql(&index, &sql, self.readers.kind());
        self.count(LogSelection { sql, index, range, parameters }).await
    }

    /// Returns the ids of the replays whose deliveries are being marked, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn replays_in_progress(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT id FROM event_replays WHERE next_id < end_id ORDER BY id LIMIT 100";
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
        let records = NewestFirst { table: "event_replays", columns: REPLAY_COLUMNS, from_row: record_from_row };
        records.page(self, company, limit, after).await
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
                let sql =
                    format!("DELETE FROM event_replays WHERE id = $1 AND company = $2 RETURNING {REPLAY_COLUMNS}");
                let query = db::query(AssertSqlSafe(sql)).bind(key.id).bind(key.company.as_str());
                let Some(row) = query.fetch_optional(&mut *connection).await? else {
                    return Ok(None);
                };
                let replay = record_from_row(&row)?;
                let selection = CancelSelection {
                    company: key.company,
                    // What is marked has another status by now.
                    filter: DeliverySelection { statuses: Vec::new(), error: None, ..replay.selection.clone() },
                    state: CancelState::Replayed,
                    first: row.try_get("start_id")?,
                    end: row.try_get("end_id")?,
                };
                cancel::insert(connection, cancellation, &selection, now).await?;
                notify(connection, &Change::Cancelled(selection.clone())).await?;
                Ok(Some((replay, selection)))
            })
        });
        self.writer.run_for(&company, work, |_| ()).await
    }

    /// Removes the replays of whose deliveries none waits or is in memory. Returns those that this node has removed, with
    /// their companies.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_sent_replays(&self) -> Result<Vec<(String, ReplayRecord)>, StoreError> {
        let ids =
            db::query(AssertSqlSafe(sent_sql(self.readers.kind()))).values::<String>(&self.readers.background).await?;
        let mut forgotten = Vec::with_capacity(ids.len());
        for id in ids {
            let work = transaction(|connection| {
                Box::pin(async move {
                    let sql = format!("DELETE FROM event_replays WHERE id = $1 RETURNING company, {REPLAY_COLUMNS}");
                    let Some(row) = db::query(AssertSqlSafe(sql)).bind(id).fetch_optional(connection).await? else {
                        return Ok(None);
                    };
                    Ok(Some((row.try_get::<String>("company")?, record_from_row(&row)?)))
                })
            });
            forgotten.extend(self.writer.run(work, |_| ()).await?);
        }
        Ok(forgotten)
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
    let query = db::query("SELECT COUNT(*) FROM event_replays WHERE company = $1 AND next_id < end_id").bind(company);
    let in_progress: i64 = query.value(&mut *connection).await?;
    if in_progress >= MAX_PER_COMPANY {
        return Err(CompanyLimit::under_way("replays", MAX_PER_COMPANY).into());
    }
    let query = db::query("SELECT COUNT(*) FROM event_replays WHERE company = $1").bind(company);
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
    let sql = format!("SELECT company, selection, missing, next_id, end_id FROM event_replays WHERE id = $1 {lock}");
    let query = db::query(AssertSqlSafe(sql)).bind(id.as_str());
    let Some(replay) = query.fetch_optional(&mut *connection).await? else {
        return Ok(ReplayStep::default());
    };
    let text = |column| replay.try_get::<String>(column);
    let (company, from, end) = (text("company")?, text("next_id")?, text("end_id")?);
    let selection = selection_from_row(&replay)?;
    let range = LogRange { company: &company, before: end, least: from };
    let marked = match replay.try_get::<i64>("missing")? {
        1 => missing::step(connection, &selection, range).await?,
        _ => mark(connection, &selection, range).await?,
    };
    let (webhooks, next) = match marked {
        Some(MarkedDeliveries { webhooks, next }) => (webhooks, Some(next)),
        None => (Vec::new(), None),
    };
    let query = db::query("UPDATE event_replays SET next_id = COALESCE($1, end_id) WHERE id = $2");
    query.bind(next).bind(id).execute(connection).await?;
    Ok(ReplayStep { company, webhooks })
}

/// Marks the next deliveries of a range. `None`: there are no more.
async fn mark(
    connection: &mut DatabaseConnection,
    selection: &DeliverySelection,
    range: LogRange<'_>,
) -> Result<Option<MarkedDeliveries>, sqlx::Error> {
    let (index, kind) = (step_index(selection), connection.kind());
    let query = db::query(AssertSqlSafe(index.step_end_sql(kind))).bind(range.company).bind(range.least.as_str());
    let query = query.bind(range.before.as_str()).bind(STEP).bind(index.key());
    let Some(last): Option<String> = query.value(&mut *connection).await? else {
        return Ok(None);
    };
    let SelectionSql { sql, parameters } = SelectionSql::new(selection, 5);
    let query = db::query(AssertSqlSafe(mark_sql(&index, &sql, kind))).bind(range.company).bind(range.least.as_str());
    let query = query.bind(last.as_str()).bind(index.key());
    let query = parameters.into_iter().fold(query, |query, text| query.bind(text));
    let mut webhooks: Vec<String> = query.values(connection).await?;
    webhooks.sort();
    webhooks.dedup();
    // No id sorts between an id and that id followed by a zero.
    Ok(Some(MarkedDeliveries { webhooks, next: last + "0" }))
}
