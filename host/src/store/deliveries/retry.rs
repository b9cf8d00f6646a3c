//! Retrying one delivery on request.

use sqlx::AssertSqlSafe;

use super::events_of::{DELIVERY_COLUMNS, with_events};
use crate::domain::company_limit::CompanyLimit;
use crate::store::db;
use crate::store::delivery_rows::{ClaimedDelivery, Lease};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// How often a delivery may be sent again on request, by retries and replays together.
pub(super) const MAX_REQUESTED: i64 = 100;

/// How a delivery that was requested is to be sent.
#[derive(Debug, Clone)]
pub enum RetryMode {
    /// By this process, which claims it under this lease.
    Claim(Lease),
    /// By the owner of its webhook: it is due at this instant, in milliseconds since 1970.
    Due(i64),
    /// Once its webhook is enabled: it goes into the backlog.
    Spill,
}

/// The result of the request.
#[derive(Debug, Clone)]
pub enum RetryRequest {
    /// The delivery was claimed for an attempt.
    Claimed(Box<ClaimedDelivery>),
    /// The delivery waits in the database.
    Waiting,
    /// The delivery is in memory: it is being attempted, or about to be.
    InMemory,
    /// The company has no delivery of this id.
    Missing,
}

/// Names a delivery.
#[derive(Debug, Clone)]
pub struct DeliveryKey {
    /// Its company.
    pub company: String,
    /// Its id.
    pub id: String,
}

impl Store {
    /// Prepares one delivery to be attempted now, whatever its status, for the webhook of this id.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: the delivery was sent again on request too often. [`StoreError::InUse`]: the data of its event was
    /// erased. The database's.
    pub async fn request_retry(
        &self,
        delivery: DeliveryKey,
        webhook: String,
        mode: RetryMode,
    ) -> Result<RetryRequest, StoreError> {
        let (due, lease) = match &mode {
            RetryMode::Claim(lease) => (Some(lease.until_ms), Some(lease.node.to_string())),
            RetryMode::Due(now) => (Some(*now), None),
            RetryMode::Spill => (None, None),
        };
        let DeliveryKey { company, id } = delivery;
        let holder = company.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                let sql = format!(
                    "UPDATE event_deliveries SET status = 'pending', webhook_id = $3, due = $4, lease = $5, parked = $6, \
                     finished_at = NULL, requested_count = requested_count + 1 WHERE company = $1 AND id = $2 \
                     AND lease IS NULL AND erased_at IS NULL AND requested_count < $7 RETURNING {DELIVERY_COLUMNS}"
                );
                let query = db::query(AssertSqlSafe(sql)).bind(company.as_str()).bind(id.as_str()).bind(webhook);
                let query = query.bind(due).bind(lease.as_deref()).bind(i64::from(due.is_none())).bind(MAX_REQUESTED);
                if let Some(row) = query.fetch_optional(&mut *connection).await? {
                    let claimed = match lease {
                        Some(_) => with_events(connection, &[row]).await?.pop(),
                        None => None,
                    };
                    return Ok(claimed.map_or(RetryRequest::Waiting, |one| RetryRequest::Claimed(Box::new(one))));
                }
                let sql = "SELECT lease, erased_at FROM event_deliveries WHERE company = $1 AND id = $2";
                let Some(row) = db::query(sql).bind(company).bind(id).fetch_optional(connection).await? else {
                    return Ok(RetryRequest::Missing);
                };
                if row.try_get::<Option<i64>>("erased_at")?.is_some() {
                    return Err(StoreError::InUse(ERASED.into()));
                }
                match row.try_get::<Option<String>>("lease")? {
                    Some(_) => Ok(RetryRequest::InMemory),
                    None => Err(requested_too_often().into()),
                }
            })
        });
        self.writer.run_for(&holder, work, |_| ()).await
    }
}

const ERASED: &str = "the data of this delivery's event was erased: there is nothing left to send";

fn requested_too_often() -> CompanyLimit {
    let detail = format!(
        "this delivery was sent again on request {MAX_REQUESTED} times, which is the limit; publish the event again, with \
         another id"
    );
    CompanyLimit::stored("manual-retries", detail)
}
