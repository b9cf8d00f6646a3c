-- Companies that are being removed: what they have is removed in small steps.
CREATE TABLE company_removals (
    company TEXT PRIMARY KEY,
    end_id TEXT NOT NULL,           -- the first place in the log that is not removed: what is published later is another company's
    events BIGINT NOT NULL,         -- removed so far
    deliveries BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,      -- deliveries among them that waited
    requested_by TEXT NOT NULL,     -- the id of the key
    created_at BIGINT NOT NULL,
    emptied_at BIGINT               -- when nothing was left; the row stays a little longer, for what is written late
);
