-- Candidates, and versions that were removed.
--
-- Both tables are built anew, in words that SQLite and PostgreSQL share: SQLite cannot take NOT NULL from a column. And
-- the bytes get a table of their own: SQLite writes a whole row, up to 32 MiB, where one column of it changes, and reads
-- through all of it to what stands behind.

CREATE TABLE plugins_new (
    company TEXT NOT NULL,          -- '': the transforms that ship with Posthaste
    name TEXT NOT NULL,
    active_digest TEXT,             -- NULL: there are candidates only
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (company, name)
);
INSERT INTO plugins_new (company, name, active_digest, created_at, updated_at)
    SELECT company, name, active_digest, created_at, updated_at FROM plugins;
DROP TABLE plugins;
ALTER TABLE plugins_new RENAME TO plugins;

CREATE TABLE plugin_bytes (
    digest TEXT PRIMARY KEY,        -- sha-256 of wasm, hex
    wasm BYTEA NOT NULL             -- as uploaded
);
-- Without a WHERE, SQLite takes the ON for that of a join.
INSERT INTO plugin_bytes (digest, wasm)
    SELECT digest, wasm FROM plugin_versions WHERE 1 = 1 ON CONFLICT (digest) DO NOTHING;

CREATE TABLE plugin_versions_new (
    company TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    size BIGINT NOT NULL,
    exports TEXT NOT NULL,          -- JSON array of names
    imports TEXT NOT NULL,          -- JSON array of names
    created_at BIGINT NOT NULL,
    removed_at BIGINT,              -- set: only the log knows it, until retention has removed the attempts of before
    PRIMARY KEY (company, name, digest)
);
INSERT INTO plugin_versions_new (company, name, digest, size, exports, imports, created_at)
    SELECT company, name, digest, size, exports, imports, created_at FROM plugin_versions;
DROP TABLE plugin_versions;
ALTER TABLE plugin_versions_new RENAME TO plugin_versions;

CREATE INDEX plugin_versions_digest ON plugin_versions (digest);
CREATE INDEX plugin_versions_removed ON plugin_versions (removed_at) WHERE removed_at IS NOT NULL;

-- So that the webhooks of a plugin can be compared, and configs that several share be asked about once, without
-- reading up to 256 KiB of each.
ALTER TABLE webhooks ADD COLUMN config_digest TEXT NOT NULL DEFAULT '';
UPDATE webhooks SET config_digest = COALESCE((SELECT digest FROM configs WHERE configs.body = webhooks.config), '');
