ALTER TABLE webhooks ADD COLUMN proven BIGINT NOT NULL DEFAULT 0;  -- 1: its receiver took the last event
