//! Cancelling deliveries that wait in the database, step by step.

use sqlx::AssertSqlSafe;

use super::log_walk::{LogIndex, LogRange, LogSelection};
use super::selection_sql::SelectionSql;
use crate::domain::company_limit::CompanyLimit;
use crate::domain::delivery::Status;
use crate::store::cancel_selection::{CancelSelection, CancelState};
use crate::store::changes::{Change, notify};
use crate::store::db::{self, DatabaseConnection, DatabaseKind};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Most cancellations that one company may have in progress.
const MAX_PER_COMPANY: i64 = 10;
/// Deliveries that one step examines and ends.
const STEP: i64 = 500;

impl CancelState {
    fn index(self) -> LogIndex {
        match self {
            Self::Pending | Self::Replayed => LogIndex::Pending,
            Self::Retrying => LogIndex::Retrying,
        }
    }

    fn condition(self) -> &'static str {
        match self {
            Self::Pending | Self::Retrying => "status = 'pending'",
            Self::Replayed => "parked = 2",
        }
    }
}

/// A request to cancel deliveries, in the background.
#[derive(Debug, Clone)]
pub struct Cancellation {
    /// Its own id.
    pub id: String,
    /// The deliveries.
    pub selection: CancelSelection,
    /// When it is requested: milliseconds since 1970.
    pub now: i64,
}

/// Returns the statement that ends the deliveries of a step, those that meet `filter`. Binds: now, the company, the first id, the
/// end, NULL, the parameters of the filter.
pub(super) fn end_sql(state: CancelState, filter: &str, kind: DatabaseKind) -> String {
    let index = state.index();
    format!(
        "UPDATE event_deliveries {}SET status = 'cancelled', due = NULL, parked = 0, finished_at = $1 WHERE company = $2 \
         AND id >= $3 AND id < $4 AND {} AND {} AND {filter}",
        index.hint(kind),
        index.condition("$5"),
        state.condition()
    )
}

async fn end(connection: &mut DatabaseConnection, selection: &CancelSelection, now: i64) -> Result<u64, sqlx::Error> {
    let filter = SelectionSql::new(&selection.filter, 6);
    let sql = end_sql(selection.state, &filter.sql, connection.kind());
    let query = db::query(AssertSqlSafe(sql)).bind(now).bind(selection.company.as_str());
    let query = query.bind(selection.first.as_str()).bind(selection.end.as_str()).bind(None::<&str>);
    filter.parameters.into_iter().fold(query, |query, text| query.bind(text)).execute(connection).await
}

impl Store {
    /// Cancels at once, at `now`, milliseconds since 1970, what a small selection has in the database, and has other nodes cancel
    /// what they have in memory. Returns how many there were.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancel_now(&self, selection: CancelSelection, now: i64) -> Result<u64, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                let ended = end(connection, &selection, now).await?;
                notify(connection, &Change::Cancelled(selection)).await?;
                Ok(ended)
            })
        });
        let metrics = self.metrics.clone();
        self.writer.run(work, move |count| metrics.deliveries_ended(Status::Cancelled, *count)).await
    }

    /// Stores a cancellation, which [`Store::cancel_step`] carries out. Returns how many deliveries it selects at present; if
    /// there are none, nothing is stored.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: the company has too many cancellations in progress. The database's.
    pub async fn start_cancellation(&self, cancellation: Cancellation) -> Result<u64, StoreError> {
        let Cancellation { id, selection, now } = cancellation;
        let count = self.count_cancellable(&selection).await?;
        if count == 0 {
            return Ok(0);
        }
        let company = selection.company.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                check_count(connection, &selection.company).await?;
                insert(connection, id, &selection, now).await?;
                // Other nodes cancel at once what they have in memory.
                Ok(notify(connection, &Change::Cancelled(selection)).await?)
            })
        });
        self.writer.run_for(&company, work, |()| ()).await?;
        Ok(count)
    }

    /// Returns how many deliveries a cancellation would select at present.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn count_cancellable(&self, selection: &CancelSelection) -> Result<u64, StoreError> {
        let index = selection.state.index();
        let filter = SelectionSql::new(&selection.filter, 6);
        let rows =
            index.rows_sql(self.readers.kind(), "id", &format!("{} AND {}", selection.state.condition(), filter.sql));
        let (before, least) = (selection.end.clone(), selection.first.clone());
        let selection = LogSelection {
            index,
            range: LogRange { company: &selection.company, before, least },
            sql: format!("SELECT COUNT(*) FROM ({rows}) AS selected"),
            parameters: filter.parameters,
        };
        self.count(selection).await
    }

    /// Returns the ids of the cancellations in progress, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancellations_in_progress(&self) -> Result<Vec<String>, StoreError> {
        Ok(db::query("SELECT id FROM event_cancellations ORDER BY id LIMIT 100")
            .values(&self.readers.background)
            .await?)
    }

    /// Ends the next few deliveries of a cancellation at `now`, milliseconds since 1970. Returns the part of the selection that
    /// the step covers; those in memory are left to each node. `None`: it has ended, or another node carries it out.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancel_step(&self, id: String, now: i64) -> Result<Option<CancelSelection>, StoreError> {
        let work = transaction(move |connection| Box::pin(step(connection, id, now)));
        let metrics = self.metrics.clone();
        let counted = move |done: &Option<(CancelSelection, u64)>| {
            metrics.deliveries_ended(Status::Cancelled, done.as_ref().map_or(0, |(_, count)| *count));
        };
        Ok(self.writer.run(work, counted).await?.map(|(step, _)| step))
    }
}

async fn check_count(connection: &mut DatabaseConnection, company: &str) -> Result<(), StoreError> {
    let query = db::query("SELECT COUNT(*) FROM event_cancellations WHERE company = $1").bind(company);
    if query.value::<i64>(connection).await? >= MAX_PER_COMPANY {
        return Err(CompanyLimit::under_way("cancellations", MAX_PER_COMPANY).into());
    }
    Ok(())
}

/// Stores a cancellation.
pub(super) async fn insert(
    connection: &mut DatabaseConnection,
    id: String,
    selection: &CancelSelection,
    now: i64,
) -> Result<(), sqlx::Error> {
    db::query(
        "INSERT INTO event_cancellations (id, company, selection, state, next_id, end_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(selection.company.as_str())
    .bind(serde_json::to_string(&selection.filter).map_err(|error| sqlx::Error::Encode(error.into()))?)
    .bind(selection.state.name())
    .bind(selection.first.as_str())
    .bind(selection.end.as_str())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

async fn step(
    connection: &mut DatabaseConnection,
    id: String,
    now: i64,
) -> Result<Option<(CancelSelection, u64)>, StoreError> {
    let lock = connection.kind().row_lock();
    let sql =
        format!("SELECT company, selection, state, next_id, end_id FROM event_cancellations WHERE id = $1 {lock}");
    let Some(row) = db::query(AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(&mut *connection).await? else {
        return Ok(None);
    };
    let (state, filter): (String, String) = (row.try_get("state")?, row.try_get("selection")?);
    let Some(state) = CancelState::ALL.into_iter().find(|known| known.name() == state) else {
        return Ok(None); // A later version's.
    };
    let mut selection = CancelSelection {
        company: row.try_get("company")?,
        filter: serde_json::from_str(&filter).map_err(|error| sqlx::Error::Decode(error.into()))?,
        state,
        first: row.try_get("next_id")?,
        end: row.try_get("end_id")?,
    };
    let sql = state.index().step_end_sql(connection.kind());
    let query = db::query(AssertSqlSafe(sql)).bind(selection.company.as_str()).bind(selection.first.as_str());
    let query = query.bind(selection.end.as_str()).bind(STEP).bind(None::<&str>);
    let Some(last): Option<String> = query.value(&mut *connection).await? else {
        db::query("DELETE FROM event_cancellations WHERE id = $1").bind(id).execute(connection).await?;
        return Ok(None);
    };
    selection.end = last + "0";
    let ended = end(connection, &selection, now).await?;
    let query =
        db::query("UPDATE event_cancellations SET next_id = $1 WHERE id = $2").bind(selection.end.as_str()).bind(id);
    query.execute(&mut *connection).await?;
    notify(connection, &Change::Cancelled(selection.clone())).await?;
    Ok(Some((selection, ended)))
}
