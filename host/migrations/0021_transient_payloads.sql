-- Webhooks whose events are not kept once they have been delivered.

-- 'until_delivered': the deliveries that are made for it from then on are transient. NULL: payloads are kept until retention ends.
ALTER TABLE webhooks ADD COLUMN keep_payload TEXT;
-- 1: what it holds of its event's data is erased once it has ended, unless it failed. The event's data is erased with the last of
-- its deliveries.
ALTER TABLE event_deliveries ADD COLUMN transient BIGINT NOT NULL DEFAULT 0;
-- Those that are to be erased.
CREATE INDEX event_deliveries_transient ON event_deliveries (company, id)
    WHERE transient = 1 AND erased_at IS NULL AND status IN ('delivered', 'filtered', 'cancelled');
