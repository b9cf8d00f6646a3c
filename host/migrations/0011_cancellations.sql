-- Cancellations under way: their deliveries are ended in small steps.
CREATE TABLE cancellations (
    id TEXT PRIMARY KEY,
    company TEXT NOT NULL,
    event_type TEXT,                -- NULL: of every type
    selection TEXT NOT NULL,        -- 'pending'; 'retrying': those that have failed; 'replayed': those that a replay has marked
    next_id TEXT NOT NULL,          -- the delivery's id from which to go on
    end_id TEXT NOT NULL,           -- the first that is not cancelled
    created_at BIGINT NOT NULL
);

-- Where the replay began, so that what it has marked can be told from the rest. NULL: it was ordered before this column existed.
-- From now on a row stays until its deliveries are sent.
ALTER TABLE replays ADD COLUMN start_id TEXT;
