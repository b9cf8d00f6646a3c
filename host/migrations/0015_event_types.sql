-- What a company says about the types of its events. The long texts stand last: SQLite reads a row up to the columns that it needs.
CREATE TABLE event_types (
    company TEXT NOT NULL,
    event_type TEXT NOT NULL,
    type_group TEXT,
    deprecated BIGINT NOT NULL,
    validation TEXT NOT NULL,       -- what happens to an event that breaks the schema: 'off', 'warn' or 'reject'
    schema_digest TEXT,             -- sha-256 of the schema, in hex
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    description TEXT,
    schema_text TEXT,               -- a JSON Schema (2020-12), as given
    example TEXT,                   -- JSON, as given
    PRIMARY KEY (company, event_type)
);

-- Publishing reads the rules of a company again and again: the index alone answers that.
CREATE INDEX event_types_validated ON event_types (company, event_type, validation, schema_digest) WHERE validation <> 'off';
