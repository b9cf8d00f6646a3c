-- Webhooks whose events wait until their consumer fetches and acknowledges them.

-- 'pull': the events wait for their consumer, and `target_url` is empty. NULL: they are POSTed.
ALTER TABLE webhooks ADD COLUMN delivery TEXT;
-- The position of the newest entry. It is counted in the transaction that stores the entry, so that positions follow the order of
-- commits: no entry appears behind a position that was read already.
ALTER TABLE webhooks ADD COLUMN pull_head BIGINT NOT NULL DEFAULT 0;
-- The position up to which the consumer has acknowledged.
ALTER TABLE webhooks ADD COLUMN pull_place BIGINT NOT NULL DEFAULT 0;

-- A delivery that waits for its consumer is pending, without `due` and `lease`, with `parked` 3.
CREATE TABLE pull_entries (
    webhook_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    company TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    PRIMARY KEY (webhook_id, position)
);
-- A delivery that is sent again moves to the end. Retention removes an entry with its delivery.
CREATE UNIQUE INDEX pull_entries_delivery ON pull_entries (company, delivery_id);
