-- Limits of a webhook's attempts.

ALTER TABLE webhooks ADD COLUMN timeout TEXT;       -- as given, for example '30s'; NULL: the node's --attempt-timeout

-- The rate limit as given, for example '30/min'; NULL: given as a number. `rate_limit` is then the whole number per second
-- that comes closest from below, at least 1: nodes of the previous version follow that, and if one of them changes it, the two
-- no longer belong together and `rate_limit` alone counts.
ALTER TABLE webhooks ADD COLUMN rate TEXT;
