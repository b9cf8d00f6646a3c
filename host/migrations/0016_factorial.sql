-- The version of Factorial's API whose payloads a webhook gets, as its subscriber names it.

ALTER TABLE webhooks ADD COLUMN api_version TEXT;
