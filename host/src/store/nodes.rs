//! The nodes that serve one database: heartbeats, and the ownership of webhooks.
//!
//! Not used on SQLite, which one process serves. In the schema, the table `lane_owners` holds the owners of webhooks.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::changes::{Change, notify};
use super::db::{self, DatabaseConnection, DatabaseRow};
use super::delivery_writes::{LeaseHorizon, release_leases};
use super::error::StoreError;
use super::handle::Store;
use super::writer::transaction;

/// A node, with the counter of its heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node's name, which is also the lease of its deliveries.
    pub id: String,
    /// Increases with each heartbeat.
    pub beat: i64,
}

/// A webhook that a node wants to own.
#[derive(Debug, Clone)]
pub struct OwnershipRequest {
    /// The webhook's id.
    pub webhook: String,
    /// Its company.
    pub company: String,
    /// Its event type.
    pub event_type: String,
}

/// Returns whether a node of version 0.1, which sets no `finds_by_id`, serves the database.
pub(super) async fn has_earlier_node(connection: &mut DatabaseConnection) -> Result<bool, sqlx::Error> {
    let query = db::query("SELECT id FROM nodes WHERE finds_by_id IS NULL LIMIT 1");
    Ok(query.fetch_optional(connection).await?.is_some())
}

impl Store {
    /// Adds this process as a node, at `now`, in milliseconds since 1970.
    ///
    /// # Errors
    /// The database's.
    pub async fn join(&self, node: Arc<str>, now: i64) -> Result<(), StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                let sql = "INSERT INTO nodes (id, beat, started_at, finds_by_id) VALUES ($1, 0, $2, 1) \
                           ON CONFLICT (id) DO NOTHING";
                db::query(sql).bind(&*node).bind(now).execute(connection).await?;
                Ok(())
            })
        });
        self.writer.run(work, |()| ()).await
    }

    /// Counts one heartbeat. Returns all nodes, including this one; `None` if this process is no longer a node because
    /// another node declared it dead.
    ///
    /// # Errors
    /// The database's.
    pub async fn beat(&self, node: Arc<str>) -> Result<Option<Vec<Node>>, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                let query = db::query("UPDATE nodes SET beat = beat + 1 WHERE id = $1").bind(&*node);
                if query.execute(&mut *connection).await? == 0 {
                    return Ok(None);
                }
                let rows = db::query("SELECT id, beat FROM nodes ORDER BY id").fetch_all(connection).await?;
                let node = |row: &DatabaseRow| Ok(Node { id: row.try_get("id")?, beat: row.try_get("beat")? });
                Ok(Some(rows.iter().map(node).collect::<Result<_, sqlx::Error>>()?))
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Removes a dead node with its ownerships, and makes its leased deliveries due at `now`; `horizon` as for
    /// [`Store::release_leases`]. Returns how many deliveries those were; `None` if the node has sent a heartbeat since, or
    /// another node has removed it.
    ///
    /// # Errors
    /// The database's.
    pub async fn remove_dead_node(&self, node: Node, horizon: LeaseHorizon) -> Result<Option<u64>, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                // A node that hangs in the middle of its heartbeat keeps its row locked; this transaction skips the row
                // instead of waiting.
                let sql = format!(
                    "DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE id = $1 AND beat = $2 {})",
                    connection.kind().row_lock()
                );
                let query = db::query(AssertSqlSafe(sql)).bind(node.id).bind(node.beat);
                if query.execute(&mut *connection).await? == 0 {
                    return Ok(None);
                }
                Ok(Some(release_leases(connection, horizon).await?))
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Removes this process as a node: its leased deliveries are due at `now`, and its ownerships end. `horizon` as for
    /// [`Store::release_leases`]. Returns how many deliveries those were.
    ///
    /// # Errors
    /// The database's.
    pub async fn leave(&self, node: Arc<str>, horizon: LeaseHorizon) -> Result<u64, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                db::query("DELETE FROM nodes WHERE id = $1").bind(&*node).execute(&mut *connection).await?;
                Ok(release_leases(connection, horizon).await?)
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Makes this node the owner of a webhook, until it leaves or dies, unless another node owns it. Returns whether this
    /// node is the owner; if not, the owner is notified that the webhook has a backlog.
    ///
    /// # Errors
    /// The database's.
    pub async fn take_ownership(&self, request: OwnershipRequest, node: Arc<str>) -> Result<bool, StoreError> {
        let OwnershipRequest { webhook, company, event_type } = request;
        let backlog = Change::Backlog { company, event_type, id: Some(webhook.clone()) };
        let work = transaction(move |connection| {
            Box::pin(async move {
                let sql = "INSERT INTO lane_owners (webhook_id, node) SELECT CAST($1 AS TEXT), id FROM nodes \
                           WHERE id = $2 ON CONFLICT (webhook_id) DO NOTHING";
                db::query(sql).bind(webhook.as_str()).bind(&*node).execute(&mut *connection).await?;
                let query = db::query("SELECT node FROM lane_owners WHERE webhook_id = $1").bind(webhook.as_str());
                let owner: Option<String> = query.value_if_any(&mut *connection).await?;
                let ours = owner.is_some_and(|owner| *owner == *node);
                if !ours {
                    notify(connection, &backlog).await?;
                }
                Ok(ours)
            })
        });
        self.writer.run(work, |_| ()).await
    }
}
