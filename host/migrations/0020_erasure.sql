-- An erased event keeps its row, without its data and headers: its id stays taken.
ALTER TABLE events ADD COLUMN erased_at BIGINT;
-- That of its event, so that a statement which changes a delivery decides by that row alone.
ALTER TABLE event_deliveries ADD COLUMN erased_at BIGINT;

-- Erasures of many events, and for a while those that have ended.
CREATE TABLE event_erasures (
    id TEXT PRIMARY KEY,
    company TEXT NOT NULL,
    event_type TEXT,                -- NULL: of every type
    pointer TEXT,                   -- of a value in the data (RFC 6901); NULL: whatever the data
    equals TEXT,                    -- JSON text: that value; NULL once the erasure has ended
    start_id TEXT NOT NULL,         -- the place in the log from which it began
    next_id TEXT NOT NULL,          -- from which to go on
    end_id TEXT NOT NULL,           -- the first that is not examined
    examined BIGINT NOT NULL,
    erased BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    requested_by TEXT NOT NULL,     -- the id of the key
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX event_erasures_company ON event_erasures (company, id);
