-- What the delivery engine keeps besides: a secret that is on its way out, since when a webhook only fails, replays.

ALTER TABLE webhooks ADD COLUMN previous_secret BYTEA;          -- encrypted; signs as well until previous_until
ALTER TABLE webhooks ADD COLUMN previous_until BIGINT;
ALTER TABLE webhooks ADD COLUMN failing_since BIGINT;           -- the first failure since the last success

-- The table is built anew so that what lists and filters read stands before the data: SQLite reads through up to 256 KiB
-- of it to what stands behind.
--
-- A pending row is in one of four states:
--   scheduled  due set:                 waits for that instant (a retry)
--   leased     due and lease set:       a process has it in memory; if it lets go, the row is due again at `due`
--   parked     due NULL, parked 1:      waits in its webhook's lane until there is room (or the webhook is enabled)
--   replayed   due NULL, parked 2:      waits in its webhook's lane until nothing else does
CREATE TABLE deliveries_new (
    company TEXT NOT NULL,
    id TEXT NOT NULL,               -- ascends with creation
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    webhook_id TEXT,                -- NULL: nobody subscribed
    status TEXT NOT NULL,
    attempt_count BIGINT NOT NULL,
    attempt_base BIGINT NOT NULL,   -- attempts made before the schedule began anew
    due BIGINT,
    lease TEXT,
    parked BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    occurred_at BIGINT NOT NULL,
    headers TEXT NOT NULL,          -- JSON array of [name, value]
    data BYTEA NOT NULL,            -- JSON text, byte for byte as published
    PRIMARY KEY (company, id),
    UNIQUE (company, event_id)
);
INSERT INTO deliveries_new (company, id, event_id, event_type, webhook_id, status, attempt_count, attempt_base, due,
        lease, parked, created_at, finished_at, occurred_at, headers, data)
    SELECT company, id, event_id, event_type, webhook_id, status, attempt_count, 0, due, lease, parked, created_at,
        finished_at, occurred_at, headers, data FROM deliveries;
DROP TABLE deliveries;
ALTER TABLE deliveries_new RENAME TO deliveries;

-- As before: only what waits stands in these two.
CREATE INDEX deliveries_due ON deliveries (due, id) WHERE due IS NOT NULL;
CREATE INDEX deliveries_waiting ON deliveries (webhook_id, parked, id) WHERE status = 'pending' AND lease IS NULL;
-- What people look for in a long log.
CREATE INDEX deliveries_failed ON deliveries (company, id) WHERE status = 'failed';

-- Replays under way: their deliveries are marked in small steps, newest last.
CREATE TABLE replays (
    id TEXT PRIMARY KEY,
    company TEXT NOT NULL,
    event_type TEXT,                -- NULL: of every type
    status TEXT,                    -- NULL: of every status
    next_id TEXT NOT NULL,          -- the delivery's id from which to go on
    end_id TEXT NOT NULL,           -- the first that is not replayed
    created_at BIGINT NOT NULL
);
