-- Policies: transforms that run for every webhook of a company after its own. They are in `chain_transforms`, with `policy:` and the name
-- as their holder.
CREATE TABLE policies (
    company TEXT NOT NULL,
    name TEXT NOT NULL,
    types TEXT NOT NULL,            -- a JSON array of event types and patterns
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (company, name)
);
