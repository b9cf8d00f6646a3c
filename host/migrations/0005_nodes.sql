-- Several nodes on one database: which there are, and which of them answers for a webhook whose limits hold over all.

CREATE TABLE nodes (
    id TEXT PRIMARY KEY,            -- the lease of what it has in memory
    beat BIGINT NOT NULL,           -- counts on while the node lives: no two clocks are compared
    started_at BIGINT NOT NULL
);

CREATE TABLE lane_owners (
    webhook_id TEXT PRIMARY KEY,
    node TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE  -- so that none can get a seat while it is removed
);
