-- Limits of a webhook's attempts.

ALTER TABLE webhooks ADD COLUMN timeout TEXT;       -- as given, for example '30s'; NULL: the node's --attempt-timeout
