-- How many thresholds of its failures were announced by operational events since its last success.
ALTER TABLE webhooks ADD COLUMN failing_announced BIGINT NOT NULL DEFAULT 0;
