//! Moving the place of a consumer, forward or back.

use super::STEP;
use crate::domain::delivery::Status;
use crate::store::db::{self, DatabaseConnection};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

/// Steps of one move; only two consumers that move the place against each other need more.
const MOST_STEPS: u32 = 100_000;

/// The result of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullAck {
    /// The place is where it was to be.
    Moved,
    /// There is no such webhook, or it has no consumer.
    NoConsumer,
    /// The position is behind the newest entry.
    Beyond,
    /// Another consumer of the webhook moves the place at the same time.
    Disputed,
}

/// The last of the entries of a step forward. Binds: the webhook, the position before them, the last one, the number of others.
pub(super) const LAST_DELIVERED: &str = "SELECT position FROM pull_entries WHERE webhook_id = $1 AND position > $2 \
    AND position <= $3 ORDER BY position LIMIT 1 OFFSET $4";

/// The entry before those of a step back. Binds as [`LAST_DELIVERED`].
pub(super) const BEFORE_TAKEN_BACK: &str = "SELECT position FROM pull_entries WHERE webhook_id = $1 AND position > $2 \
    AND position <= $3 ORDER BY position DESC LIMIT 1 OFFSET $4";

/// Binds: the webhook, the position before the entries, the last one, the present.
pub(super) const DELIVER: &str = "UPDATE event_deliveries SET status = 'delivered', parked = 0, finished_at = $4 \
    WHERE (company, id) IN (SELECT company, delivery_id FROM pull_entries WHERE webhook_id = $1 AND position > $2 \
    AND position <= $3) AND status = 'pending' AND lease IS NULL AND parked = 3";

/// Binds: the webhook, the position before the entries, the last one.
pub(super) const TAKE_BACK: &str = "UPDATE event_deliveries SET status = 'pending', parked = 3, finished_at = NULL \
    WHERE (company, id) IN (SELECT company, delivery_id FROM pull_entries WHERE webhook_id = $1 AND position > $2 \
    AND position <= $3) AND status = 'delivered' AND lease IS NULL AND erased_at IS NULL";

enum Step {
    Ended(PullAck),
    More,
}

impl Store {
    /// Moves the place of a webhook's consumer to this position, a few entries in one transaction: entries up to it are delivered
    /// at `now`, milliseconds since 1970; those behind it that were delivered wait again.
    ///
    /// # Errors
    /// The database's; the place may have been moved a part of the way.
    pub async fn move_pull_place(
        &self,
        company: &str,
        webhook: &str,
        position: i64,
        now: i64,
    ) -> Result<PullAck, StoreError> {
        for _ in 0..MOST_STEPS {
            let (own, id) = (company.to_owned(), webhook.to_owned());
            let work = transaction(move |connection| {
                Box::pin(async move {
                    let place = ConsumerPlace { company: &own, webhook: &id };
                    Ok(place.step(connection, position, now).await?)
                })
            });
            let metrics = self.metrics.clone();
            let counted = move |(_, ended): &(Step, u64)| metrics.deliveries_ended(Status::Delivered, *ended);
            if let (Step::Ended(ack), _) = self.writer.run_for(company, work, counted).await? {
                return Ok(ack);
            }
        }
        Ok(PullAck::Disputed)
    }
}

struct ConsumerPlace<'p> {
    company: &'p str,
    webhook: &'p str,
}

impl ConsumerPlace<'_> {
    /// Makes one step. Returns how many deliveries were delivered.
    async fn step(
        &self,
        connection: &mut DatabaseConnection,
        target: i64,
        now: i64,
    ) -> Result<(Step, u64), sqlx::Error> {
        // Locks the row until the step is committed.
        let sql = "UPDATE webhooks SET pull_place = pull_place WHERE company = $1 AND id = $2 AND delivery = 'pull' \
                   RETURNING pull_place, pull_head";
        let query = db::query(sql).bind(self.company).bind(self.webhook);
        let Some(row) = query.fetch_optional(&mut *connection).await? else {
            return Ok((Step::Ended(PullAck::NoConsumer), 0));
        };
        let (place, head): (i64, i64) = (row.try_get("pull_place")?, row.try_get("pull_head")?);
        if target > head {
            return Ok((Step::Ended(PullAck::Beyond), 0));
        }
        let (reached, ended) = match target >= place {
            true => self.deliver(connection, (place, target), now).await?,
            false => (self.take_back(connection, (target, place)).await?, 0),
        };
        let query = db::query("UPDATE webhooks SET pull_place = $2 WHERE id = $1").bind(self.webhook).bind(reached);
        query.execute(connection).await?;
        Ok((if reached == target { Step::Ended(PullAck::Moved) } else { Step::More }, ended))
    }

    /// Delivers the first entries after a position up to another. Returns the position up to which it did, and how many there were.
    async fn deliver(
        &self,
        connection: &mut DatabaseConnection,
        (after, target): (i64, i64),
        now: i64,
    ) -> Result<(i64, u64), sqlx::Error> {
        let query = db::query(LAST_DELIVERED).bind(self.webhook).bind(after).bind(target).bind(STEP - 1);
        let reached = query.value_if_any::<i64>(&mut *connection).await?.unwrap_or(target);
        let query = db::query(DELIVER).bind(self.webhook).bind(after).bind(reached).bind(now);
        Ok((reached, query.execute(connection).await?))
    }

    /// Lets the last entries between a position and another wait again. Returns the position after which they do.
    async fn take_back(
        &self,
        connection: &mut DatabaseConnection,
        (target, place): (i64, i64),
    ) -> Result<i64, sqlx::Error> {
        let query = db::query(BEFORE_TAKEN_BACK).bind(self.webhook).bind(target).bind(place).bind(STEP);
        let reached = query.value_if_any::<i64>(&mut *connection).await?.unwrap_or(target);
        let query = db::query(TAKE_BACK).bind(self.webhook).bind(reached).bind(place);
        query.execute(connection).await?;
        Ok(reached)
    }
}
