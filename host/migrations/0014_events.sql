-- An event and its deliveries are rows of their own: an event may have several deliveries, its data is stored once, and a delivery
-- that changes is written without them.
--
-- The table `deliveries` stays for the nodes of the version before, which run beside those of this one while a cluster is upgraded.
-- What it holds is moved into these tables in small steps (host/src/store/earlier_log.rs).

CREATE TABLE events (
    company TEXT NOT NULL,
    id TEXT NOT NULL,
    place TEXT NOT NULL,            -- in the log: the id of its first delivery, whether or not it has one; the ids of all begin with it
    event_type TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    delivery_count BIGINT NOT NULL, -- deliveries that its producer was told of
    matched BIGINT NOT NULL,        -- 0: it has no delivery
    headers TEXT NOT NULL,          -- JSON array of [name, value]
    data BYTEA NOT NULL,            -- JSON text, byte for byte as published
    PRIMARY KEY (company, id)
);

-- An event that has a delivery is in no index but its key: it is found by its deliveries.
CREATE INDEX events_unmatched ON events (company, place) WHERE matched = 0;
CREATE INDEX events_unmatched_type ON events (company, event_type, place) WHERE matched = 0;

-- A pending row is in one of four states:
--   scheduled  due set:                 waits for that instant (a retry)
--   leased     due and lease set:       a process has it in memory; if it lets go, the row is due again at `due`
--   backlog    due NULL, parked 1:      waits until its webhook's queue has room (or the webhook is enabled)
--   replayed   due NULL, parked 2:      waits until its webhook's queue has nothing else
CREATE TABLE event_deliveries (
    company TEXT NOT NULL,
    id TEXT NOT NULL,               -- ascends with the creation of the event: its place, and for each further delivery a number
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    label TEXT,                     -- of the webhook
    status TEXT NOT NULL,
    attempt_count BIGINT NOT NULL,
    attempt_base BIGINT NOT NULL,   -- attempts made before the schedule began anew
    due BIGINT,
    lease TEXT,
    parked BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    requested_count BIGINT NOT NULL DEFAULT 0, -- as before
    PRIMARY KEY (company, id)
);

-- As those of `deliveries`.
CREATE INDEX event_deliveries_type ON event_deliveries (company, event_type, id);
CREATE INDEX event_deliveries_waiting ON event_deliveries (webhook_id, parked, id) WHERE status = 'pending' AND lease IS NULL;
CREATE INDEX event_deliveries_ended ON event_deliveries (company, status, id)
    WHERE status IN ('failed', 'filtered', 'cancelled');
CREATE INDEX event_deliveries_pending ON event_deliveries (company, id) WHERE status = 'pending' AND lease IS NULL;
CREATE INDEX event_deliveries_retrying ON event_deliveries (company, id)
    WHERE status = 'pending' AND lease IS NULL AND attempt_count > attempt_base;
CREATE INDEX event_deliveries_scheduled ON event_deliveries (due, id) WHERE due IS NOT NULL AND lease IS NULL;
CREATE INDEX event_deliveries_leased ON event_deliveries (due, company, id) WHERE lease IS NOT NULL;
