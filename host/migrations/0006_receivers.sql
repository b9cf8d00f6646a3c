-- What is sent to a receiver, and what comes back.

-- The webhook's headers, encrypted like the signing secret: they may carry credentials. `headers` then holds '[]'. NULL: it has
-- none, or the row was last written before this column existed, and `headers` holds them in clear.
ALTER TABLE webhooks ADD COLUMN sealed_headers BYTEA;

ALTER TABLE attempts ADD COLUMN url TEXT;
ALTER TABLE attempts ADD COLUMN response_headers TEXT;      -- JSON object

-- Events for whose type nobody subscribes, which have no delivery.
CREATE INDEX deliveries_unmatched ON deliveries (company, id) WHERE webhook_id IS NULL;
