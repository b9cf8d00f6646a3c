//! The nodes that serve one database, and which of them answers for a webhook.
//!
//! Nothing of this is used where the database is a file: one process serves that.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::changes::{Change, tell};
use super::db::{self, Kind, Row};
use super::deliveries::release;
use super::writer::work;
use super::{Store, StoreError};

/// A node as its heartbeat shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name: the lease of what it has in memory.
    pub id: String,
    /// Counts on while it lives.
    pub beat: i64,
}

impl Store {
    /// Whether several nodes may serve this database.
    pub fn is_shared(&self) -> bool {
        self.readers.kind() == Kind::Postgres
    }

    /// Makes this process a node, at `now`, milliseconds since 1970.
    ///
    /// # Errors
    /// The database's.
    pub async fn join(&self, node: Arc<str>, now: i64) -> Result<(), StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                let sql = "INSERT INTO nodes (id, beat, started_at) VALUES ($1, 0, $2) ON CONFLICT (id) DO NOTHING";
                db::query(sql).bind(&*node).bind(now).execute(connection).await?;
                Ok(())
            })
        });
        self.writer.run(work, |()| ()).await
    }

    /// One heartbeat; answers all nodes, this one among them. `None`: it is none any more, since others took it for dead.
    ///
    /// # Errors
    /// The database's.
    pub async fn beat(&self, node: Arc<str>) -> Result<Option<Vec<Node>>, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                let query = db::query("UPDATE nodes SET beat = beat + 1 WHERE id = $1").bind(&*node);
                if query.execute(&mut *connection).await? == 0 {
                    return Ok(None);
                }
                let rows = db::query("SELECT id, beat FROM nodes ORDER BY id").fetch_all(connection).await?;
                let node = |row: &Row| Ok(Node { id: row.try_get("id")?, beat: row.try_get("beat")? });
                Ok(Some(rows.iter().map(node).collect::<Result<_, sqlx::Error>>()?))
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Removes a node that is dead, with its seats, and makes due at `now` what it had in memory; `horizon` as for
    /// [`Store::release_leases`]. Answers how many deliveries that were; `None`: it lives, or another node was quicker.
    ///
    /// # Errors
    /// The database's.
    pub async fn bury(&self, node: Node, (now, horizon): (i64, i64)) -> Result<Option<u64>, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                // One that stands still in the middle of its heartbeat keeps its row locked: it is waited for elsewhere.
                let sql = format!(
                    "DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE id = $1 AND beat = $2 {})",
                    connection.kind().lock()
                );
                let query = db::query(AssertSqlSafe(sql)).bind(node.id).bind(node.beat);
                if query.execute(&mut *connection).await? == 0 {
                    return Ok(None);
                }
                Ok(Some(release(connection, now, horizon).await?))
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// This process is a node no longer: what it still has in memory, and its seats, are others' from `now` on; `horizon`
    /// as for [`Store::release_leases`].
    ///
    /// # Errors
    /// The database's.
    pub async fn leave(&self, node: Arc<str>, (now, horizon): (i64, i64)) -> Result<u64, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                db::query("DELETE FROM nodes WHERE id = $1").bind(&*node).execute(&mut *connection).await?;
                Ok(release(connection, now, horizon).await?)
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Asks for the seat of a webhook, which is this node's then until it leaves or dies. False: another node has it, and
    /// is told that something waits in the database for this webhook.
    ///
    /// # Errors
    /// The database's.
    pub async fn take_seat(
        &self,
        webhook: &str,
        (company, event_type): (&str, &str),
        node: Arc<str>,
    ) -> Result<bool, StoreError> {
        let webhook = webhook.to_owned();
        let parked = Change::Parked { company: company.to_owned(), event_type: event_type.to_owned() };
        let work = work(move |connection| {
            Box::pin(async move {
                let sql = "INSERT INTO lane_owners (webhook_id, node) SELECT CAST($1 AS TEXT), id FROM nodes \
                           WHERE id = $2 ON CONFLICT (webhook_id) DO NOTHING";
                db::query(sql).bind(webhook.as_str()).bind(&*node).execute(&mut *connection).await?;
                let query = db::query("SELECT node FROM lane_owners WHERE webhook_id = $1").bind(webhook.as_str());
                let owner: Option<String> = query.value_if_any(&mut *connection).await?;
                let ours = owner.is_some_and(|owner| *owner == *node);
                if !ours {
                    tell(connection, &parked).await?;
                }
                Ok(ours)
            })
        });
        self.writer.run(work, |_| ()).await
    }
}
