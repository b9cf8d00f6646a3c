-- Lists of a long log are read from an index for each filter. Only deliveries_type holds every row: what is delivered at once
-- must not pay for the filters by status.

CREATE INDEX deliveries_type ON deliveries (company, event_type, id);
CREATE INDEX deliveries_ended ON deliveries (company, status, id) WHERE status IN ('failed', 'filtered', 'cancelled');
DROP INDEX deliveries_failed;
CREATE INDEX deliveries_pending ON deliveries (company, id) WHERE status = 'pending' AND lease IS NULL;
CREATE INDEX deliveries_retrying ON deliveries (company, id)
    WHERE status = 'pending' AND lease IS NULL AND attempt_count > attempt_base;

-- Instead of deliveries_due: a row is in one of the two, so that the leased rows, which are few because they are in some
-- node's memory, are found beside any number of scheduled ones.
CREATE INDEX deliveries_scheduled ON deliveries (due, id) WHERE due IS NOT NULL AND lease IS NULL;
CREATE INDEX deliveries_leased ON deliveries (due, company, id) WHERE lease IS NOT NULL;
DROP INDEX deliveries_due;
