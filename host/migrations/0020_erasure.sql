-- An erased event keeps its row, without its data and headers: its id stays taken.
ALTER TABLE events ADD COLUMN erased_at BIGINT;
-- That of its event, so that a statement which changes a delivery decides by that row alone.
ALTER TABLE event_deliveries ADD COLUMN erased_at BIGINT;
