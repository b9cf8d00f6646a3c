-- One schema for SQLite and PostgreSQL: TEXT, BIGINT and BYTEA only; instants in ms since 1970; flags 0/1.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,      -- sha-256 of the key, hex: the key itself is not kept
    company TEXT,                   -- NULL: a platform key
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE configs (
    digest TEXT PRIMARY KEY,        -- sha-256 of body, hex
    body TEXT NOT NULL
);

CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    company TEXT NOT NULL,
    event_type TEXT NOT NULL,
    target_url TEXT NOT NULL,
    challenge TEXT,
    name TEXT,
    enabled BIGINT NOT NULL,
    disabled_reason TEXT,
    plugin_name TEXT,
    plugin_pin TEXT,                -- the whole digest of a pinned version; NULL: whichever is active
    config TEXT NOT NULL,           -- JSON text as given
    on_error TEXT NOT NULL,
    headers TEXT NOT NULL,          -- JSON array of [name, value]
    max_in_flight BIGINT NOT NULL,
    rate_limit BIGINT,
    ordered BIGINT NOT NULL,
    signing_secret BYTEA NOT NULL,  -- encrypted
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (company, event_type)
);

CREATE TABLE plugins (
    company TEXT NOT NULL,
    name TEXT NOT NULL,
    active_digest TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (company, name)
);

CREATE TABLE plugin_versions (
    company TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,           -- sha-256 of wasm, hex
    size BIGINT NOT NULL,
    exports TEXT NOT NULL,          -- JSON array of names
    imports TEXT NOT NULL,          -- JSON array of names
    wasm BYTEA NOT NULL,            -- as uploaded
    created_at BIGINT NOT NULL,
    PRIMARY KEY (company, name, digest)
);

-- An event and its delivery are one row: a company has at most one webhook per type, so an event makes at most one
-- delivery. webhook_id is NULL where nobody subscribed.
--
-- A pending row is in one of three states:
--   scheduled  due set:                 waits for that instant (a retry)
--   leased     due and lease set:       a process has it in memory; if it lets go, the row is due again at `due`
--   parked     due NULL, parked 1:      waits in its webhook's lane until there is room (or the webhook is enabled)
CREATE TABLE deliveries (
    company TEXT NOT NULL,
    id TEXT NOT NULL,               -- ascends with creation
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    headers TEXT NOT NULL,          -- JSON array of [name, value]
    data BYTEA NOT NULL,            -- JSON text, byte for byte as published
    webhook_id TEXT,
    status TEXT NOT NULL,
    attempt_count BIGINT NOT NULL,
    due BIGINT,
    lease TEXT,
    parked BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (company, id),
    UNIQUE (company, event_id)
);

-- Only what waits stands in these two, so that look-ups stay flat however long the log grows.
CREATE INDEX deliveries_due ON deliveries (due, id) WHERE due IS NOT NULL;
-- What is parked in a lane, and (without the flag) what a removed webhook cancels. What a process has in memory never
-- enters it, so that an event that is delivered at once does not pay for it.
CREATE INDEX deliveries_waiting ON deliveries (webhook_id, parked, id) WHERE status = 'pending' AND lease IS NULL;

CREATE TABLE attempts (
    delivery_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    status_code BIGINT,
    error TEXT,
    response_body TEXT,
    request_headers TEXT,           -- JSON object
    plugin TEXT,                    -- JSON object
    PRIMARY KEY (delivery_id, number)
);
