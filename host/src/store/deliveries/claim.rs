//! Claiming: a node takes deliveries that are due, or the backlog of a webhook, into memory under its lease.

use sqlx::AssertSqlSafe;

use super::events_of::{DELIVERY_COLUMNS, with_events};
use crate::domain::webhook::SINGLE_OWNER_BELOW;
use crate::store::db::{self, DatabaseConnection, DatabaseKind};
use crate::store::delivery_rows::{ClaimedDelivery, ID_END, Lease};
use crate::store::delivery_writes::{LeaseHorizon, release_leases};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Most bytes of event data that one statement claims; it claims at least one delivery.
const MAX_BYTES: i64 = 1 << 20;

/// The part of a webhook's backlog to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BacklogSelection {
    /// The oldest deliveries.
    Oldest,
    /// The oldest deliveries, but none that is younger than one that waits for its retry.
    Ordered {
        /// Excludes the delivery of this id and any younger one as well.
        before: Option<String>,
    },
    /// The deliveries of replays.
    Replayed,
}

/// The value of the column `parked` for the backlog.
const BACKLOG: i64 = 1;
/// The value of the column `parked` for deliveries of replays.
const REPLAYED: i64 = 2;

/// The rows of webhooks that no other node owns. `{node}` is the parameter for the node's name, `{needs_single_owner}` the
/// condition that the webhook `w` has an owner.
///
/// The owner comes from a scalar subquery: PostgreSQL does not turn that into a join with all webhooks.
const SERVED: &str = "COALESCE((SELECT o.node FROM lane_owners o JOIN webhooks w ON w.id = o.webhook_id \
    WHERE o.webhook_id = event_deliveries.webhook_id AND {needs_single_owner}), {node}) = {node}";

/// The rows that wait for a retry.
const SCHEDULED: &str = "lease IS NULL";

/// The rows whose lease a node may take over: its own, and those of nodes that no longer exist.
const LEASE_ENDS: &str = "lease IS NOT NULL AND (lease = {node} OR lease NOT IN (SELECT id FROM nodes))";

/// Returns the condition of `Webhook::needs_single_owner` for the webhook `w`.
pub(super) fn has_owner_sql() -> String {
    format!("(w.ordered = 1 OR w.rate_limit IS NOT NULL OR w.max_in_flight < {SINGLE_OWNER_BELOW})")
}

/// Those of `rows`, [`SCHEDULED`] or [`LEASE_ENDS`], that the node in parameter `node` may claim when they are due.
fn claimable_sql(rows: &str, node: &str) -> String {
    format!("{rows} AND {SERVED}").replace("{node}", node).replace("{needs_single_owner}", &has_owner_sql())
}

/// Binds: the node.
pub(super) fn next_due_sql() -> String {
    let first = |order: &str, condition: &str| {
        format!(
            "SELECT due FROM (SELECT due FROM event_deliveries WHERE due IS NOT NULL AND {condition} ORDER BY {order} LIMIT 1) AS first"
        )
    };
    format!(
        "SELECT MIN(due) FROM ({} UNION ALL {}) AS firsts",
        first("due, id", &claimable_sql(SCHEDULED, "$1")),
        first("due, company, id", &claimable_sql(LEASE_ENDS, "$1"))
    )
}

/// Binds: the number of rows, the bytes, the end of the lease, the node, now.
pub(super) fn claim_due_sql(kind: DatabaseKind) -> String {
    claim_sql("due, id", &format!("due <= $5 AND {}", claimable_sql(SCHEDULED, "$4")), kind)
}

/// Binds as [`claim_due_sql`].
pub(super) fn claim_lapsed_sql(kind: DatabaseKind) -> String {
    claim_sql("due, company, id", &format!("due <= $5 AND {}", claimable_sql(LEASE_ENDS, "$4")), kind)
}

/// Binds: the number of rows, the bytes, the end of the lease, the node, the webhook, the value of `parked`, the id before
/// which to stop.
pub(super) fn claim_backlog_sql(kind: DatabaseKind) -> String {
    let backlog = "webhook_id = $5 AND status = 'pending' AND lease IS NULL AND parked = $6 AND id < $7";
    claim_sql("id", backlog, kind)
}

/// Claims the first rows that meet `condition`, up to a number of rows and of bytes of their events' data; at least one.
fn claim_sql(order: &str, condition: &str, kind: DatabaseKind) -> String {
    let lock = kind.row_lock();
    // PostgreSQL locks no rows in a query with a window function: the rows are locked in a query inside of it.
    format!(
        "WITH taken AS MATERIALIZED (SELECT company, id FROM (SELECT company, id, \
         SUM(length) OVER (ORDER BY {order}) - length AS before FROM (SELECT company, id, due, parked, \
         COALESCE((SELECT LENGTH(e.data) FROM events e WHERE e.company = event_deliveries.company \
         AND e.id = event_deliveries.event_id), 0) AS length \
         FROM event_deliveries WHERE {condition} ORDER BY {order} LIMIT $1 {lock}) AS first) AS waiting WHERE before < $2) \
         UPDATE event_deliveries SET due = $3, lease = $4, parked = 0 \
         WHERE (company, id) IN (SELECT company, id FROM taken) RETURNING {DELIVERY_COLUMNS}"
    )
}

/// Selects, as `taken`, the first rows that meet `condition`, for a statement that changes them. Binds: the number of rows.
pub(super) fn taken_sql(order: &str, condition: &str, kind: DatabaseKind) -> String {
    let lock = kind.row_lock();
    format!(
        "WITH taken AS MATERIALIZED (SELECT company, id FROM event_deliveries WHERE {condition} ORDER BY {order} \
         LIMIT $1 {lock})"
    )
}

/// Finds the oldest delivery of a webhook that waits for a retry. Binds: the webhook.
pub(super) const FIRST_SCHEDULED: &str = "SELECT MIN(id) FROM event_deliveries WHERE webhook_id = $1 \
    AND status = 'pending' AND lease IS NULL AND parked = 0";

/// The rows to claim.
enum ClaimSelection {
    /// The scheduled ones that are due at this instant, in milliseconds since 1970.
    Due { now_ms: i64 },
    /// Those whose lease has ended at this instant, in milliseconds since 1970.
    Lapsed { now_ms: i64 },
    /// Those of a webhook's backlog with this value of the column `parked`, before the id `end`.
    Backlog { webhook: String, parked: i64, end: String },
}

/// A claim on at most `limit` rows.
struct ClaimRequest {
    selection: ClaimSelection,
    lease: Lease,
    limit: u32,
}

impl Store {
    /// Claims the deliveries that are due at `now`, in milliseconds since 1970, oldest first, under `lease`: `limit` at most,
    /// and no more than a MiB of event data.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_due(&self, now: i64, lease: Lease, limit: u32) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                // First, because they are few: scheduled rows can fill every claim for long.
                let lapsed = ClaimSelection::Lapsed { now_ms: now };
                let request = ClaimRequest { selection: lapsed, lease: lease.clone(), limit };
                let mut claimed = claim(&mut *connection, request).await?;
                let limit = limit.saturating_sub(u32::try_from(claimed.len()).unwrap_or(u32::MAX));
                if limit > 0 {
                    let request = ClaimRequest { selection: ClaimSelection::Due { now_ms: now }, lease, limit };
                    claimed.extend(claim(connection, request).await?);
                    claimed.sort_by(|a, b| a.id.cmp(&b.id));
                }
                Ok(claimed)
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Claims a part of a webhook's backlog, oldest first; limits as for [`Store::claim_due`]. For [`BacklogSelection::Ordered`] it
    /// also returns the id of the first delivery that waits for its retry.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_backlog(
        &self,
        webhook: &str,
        selection: BacklogSelection,
        lease: Lease,
        limit: u32,
    ) -> Result<(Vec<ClaimedDelivery>, Option<String>), StoreError> {
        let webhook = webhook.to_owned();
        let work = transaction(move |connection| {
            Box::pin(async move {
                let value = if selection == BacklogSelection::Replayed { REPLAYED } else { BACKLOG };
                let (barrier, before): (Option<String>, _) = match selection {
                    BacklogSelection::Oldest | BacklogSelection::Replayed => (None, None),
                    BacklogSelection::Ordered { before } => {
                        let query = db::query(FIRST_SCHEDULED).bind(webhook.as_str());
                        (query.value(&mut *connection).await?, before)
                    }
                };
                let end = barrier.iter().chain(&before).min().cloned().unwrap_or_else(|| ID_END.into());
                let selection = ClaimSelection::Backlog { webhook, parked: value, end };
                Ok((claim(connection, ClaimRequest { selection, lease, limit }).await?, barrier))
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Makes the deliveries due at `now` whose leases belong to nodes that no longer exist. `horizon` is the last instant at
    /// which such a lease can end. Both in milliseconds since 1970. Returns how many there were.
    ///
    /// # Errors
    /// The database's.
    pub async fn release_leases(&self, horizon: LeaseHorizon) -> Result<u64, StoreError> {
        let work =
            transaction(move |connection| Box::pin(async move { Ok(release_leases(connection, horizon).await?) }));
        self.writer.run(work, |_| ()).await
    }

    /// Returns when the next delivery is due that this node may claim, in milliseconds since 1970. The end of a lease counts.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_due(&self, node: &str) -> Result<Option<i64>, StoreError> {
        Ok(db::query(AssertSqlSafe(next_due_sql())).bind(node).value(&self.readers.background).await?)
    }
}

async fn claim(connection: &mut DatabaseConnection, request: ClaimRequest) -> Result<Vec<ClaimedDelivery>, StoreError> {
    let ClaimRequest { selection, lease, limit } = request;
    let sql = match &selection {
        ClaimSelection::Due { .. } => claim_due_sql(connection.kind()),
        ClaimSelection::Lapsed { .. } => claim_lapsed_sql(connection.kind()),
        ClaimSelection::Backlog { .. } => claim_backlog_sql(connection.kind()),
    };
    let query = db::query(AssertSqlSafe(sql)).bind(i64::from(limit)).bind(MAX_BYTES);
    let query = query.bind(lease.until_ms).bind(&*lease.node);
    let query = match selection {
        ClaimSelection::Due { now_ms } | ClaimSelection::Lapsed { now_ms } => query.bind(now_ms),
        ClaimSelection::Backlog { webhook, parked, end } => query.bind(webhook).bind(parked).bind(end),
    };
    let rows = query.fetch_all(&mut *connection).await?;
    let mut claimed = with_events(connection, &rows).await?;
    claimed.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(claimed)
}
