-- What a company holds, and how much of it it may hold.

-- How often the delivery was sent again because somebody asked for it, by a retry or by a replay.
ALTER TABLE deliveries ADD COLUMN requested_count BIGINT NOT NULL DEFAULT 0;

-- Limits of one company, in place of those that the flags set for all.
CREATE TABLE company_limits (
    company TEXT NOT NULL,
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (company, name)
);

-- The bytes of stored events, about: each node adds what it stores and subtracts what it removes now and then.
CREATE TABLE company_usage (
    company TEXT PRIMARY KEY,
    event_bytes BIGINT NOT NULL
);
INSERT INTO company_usage (company, event_bytes)
    SELECT company, SUM(LENGTH(data)) FROM deliveries GROUP BY company;

-- Which company has, or had, which config. The row of `configs` is removed after the last of these.
CREATE TABLE company_configs (
    company TEXT NOT NULL,          -- '': of which no webhook had it when this table was made
    digest TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    released_at BIGINT,             -- set: no webhook has it any more; only the log knows it, until retention has removed the attempts of before
    PRIMARY KEY (company, digest)
);
INSERT INTO company_configs (company, digest, bytes)
    SELECT DISTINCT company, config_digest, octet_length(config) FROM webhooks WHERE config_digest <> '';
INSERT INTO company_configs (company, digest, bytes)
    SELECT '', digest, octet_length(body) FROM configs
    WHERE NOT EXISTS (SELECT 1 FROM company_configs c WHERE c.digest = configs.digest);

CREATE INDEX company_configs_digest ON company_configs (digest);
CREATE INDEX company_configs_held ON company_configs (company, digest) WHERE released_at IS NULL;
CREATE INDEX company_configs_released ON company_configs (released_at) WHERE released_at IS NOT NULL;
CREATE INDEX webhooks_config ON webhooks (config_digest, company);
