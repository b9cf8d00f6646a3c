-- Several webhooks of a company for one event type, told apart by their labels.

-- `event_type` holds the type, or the pattern of types, and for a webhook with a label also that: the type, a space, the label. So
-- the pair of company and event_type is still unique, and nodes of the previous version find no webhook with a label by the
-- type of an event.
ALTER TABLE webhooks ADD COLUMN label TEXT;     -- NULL: none

-- 1: the node finds the webhook of a delivery by its id. NULL: a node of the previous version, which finds it by the type of the
-- event, and would cancel the deliveries of webhooks with labels and of patterns.
ALTER TABLE nodes ADD COLUMN finds_by_id BIGINT;
