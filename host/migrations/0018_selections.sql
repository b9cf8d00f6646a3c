-- Replays and cancellations of any selection of deliveries. The tables of the version before stay for its nodes, which would carry
-- out nothing but the selection by type and status.

CREATE TABLE event_replays (
    id TEXT PRIMARY KEY,
    company TEXT NOT NULL,
    selection TEXT NOT NULL,        -- JSON object (host/src/domain/delivery_selection.rs)
    missing BIGINT NOT NULL,        -- 1: instead of sending deliveries again, makes those that the webhook does not have
    start_id TEXT NOT NULL,         -- the delivery's id from which it began
    next_id TEXT NOT NULL,          -- from which to go on
    end_id TEXT NOT NULL,           -- the first that is not replayed
    created_at BIGINT NOT NULL
);
INSERT INTO event_replays (id, company, selection, missing, start_id, next_id, end_id, created_at)
    SELECT id, company, '{"types":[' || COALESCE('"' || REPLACE(REPLACE(event_type, '\', '\\'), '"', '\"') || '"', '')
        || '],"statuses":[' || COALESCE('"' || status || '"', '') || ']}', 0, COALESCE(start_id, next_id), next_id, end_id, created_at
    FROM replays;
DELETE FROM replays;

CREATE TABLE event_cancellations (
    id TEXT PRIMARY KEY,
    company TEXT NOT NULL,
    selection TEXT NOT NULL,        -- JSON object, as above
    state TEXT NOT NULL,            -- 'pending'; 'retrying': those that have failed; 'replayed': those that a replay has marked
    next_id TEXT NOT NULL,          -- the delivery's id from which to go on
    end_id TEXT NOT NULL,           -- the first that is not cancelled
    created_at BIGINT NOT NULL
);
INSERT INTO event_cancellations (id, company, selection, state, next_id, end_id, created_at)
    SELECT id, company, '{"types":[' || COALESCE('"' || REPLACE(REPLACE(event_type, '\', '\\'), '"', '\"') || '"', '')
        || ']}', selection, next_id, end_id, created_at
    FROM cancellations;
DELETE FROM cancellations;
