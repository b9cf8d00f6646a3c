//! The number of pending deliveries in each state, and how long the oldest has been due.

use crate::domain::delivery::Waiting;
use crate::store::db;
use crate::store::error::StoreError;
use crate::store::handle::Store;

/// Reads no row, only the two partial indexes, each once. The condition on the webhook, which every one of these rows has, is
/// for SQLite, which would take an index without the column `parked`.
const COUNT: &str = "SELECT w.unleased, w.parked, w.replayed, l.leased FROM \
     (SELECT COUNT(*) AS unleased, COUNT(CASE WHEN parked = 1 THEN 1 END) AS parked, \
     COUNT(CASE WHEN parked = 2 THEN 1 END) AS replayed \
     FROM deliveries WHERE webhook_id > '' AND status = 'pending' AND lease IS NULL) AS w, \
     (SELECT COUNT(*) AS leased FROM deliveries WHERE lease IS NOT NULL) AS l";

const OLDEST_DUE: &str = "SELECT due FROM deliveries WHERE due <= $1 AND lease IS NULL ORDER BY due, id LIMIT 1";

impl Store {
    /// Counts the pending deliveries. `now` is in milliseconds since 1970. The time grows with their number: about 0.1 s for
    /// a million.
    ///
    /// # Errors
    /// The database's.
    pub async fn waiting(&self, now: i64) -> Result<Waiting, StoreError> {
        let oldest_due = db::query(OLDEST_DUE).bind(now).value_if_any(&self.readers).await?;
        let counts = db::query(COUNT).fetch_one(&self.readers).await?;
        let count = |column| counts.try_get::<i64>(column);
        let (parked, replayed) = (count("parked")?, count("replayed")?);
        let scheduled = count("unleased")? - parked - replayed;
        Ok(Waiting { scheduled, leased: count("leased")?, parked, replayed, oldest_due })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;
    use crate::store::Sealer;

    async fn store(folder: &tempfile::TempDir) -> Store {
        let url = format!("sqlite://{}", folder.path().join("waiting.db").display());
        let metrics = Arc::new(Metrics::new(0, []));
        Store::open(&url, Sealer::new(&[7; 32]).unwrap(), metrics).await.unwrap().0
    }

    async fn plan(store: &Store, sql: &'static str) -> String {
        let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = db::query(sql).bind(0).fetch_all(&store.readers).await.unwrap();
        rows.iter().map(|row| row.try_get::<String>("detail").unwrap() + "\n").collect()
    }

    /// Inserts rows with these values of `due`, `lease` and `parked`, as the states of a pending delivery have them.
    async fn fill(store: &Store, rows: i64, due: &str, lease: &str, parked: i64) {
        let sql = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             INSERT INTO deliveries (company, id, event_id, event_type, webhook_id, status, attempt_count, \
             attempt_base, due, lease, parked, created_at, finished_at, occurred_at, headers, data) \
             SELECT 'c', hex(randomblob(18)), hex(randomblob(18)), 't', 'wh_0198c0aa000070008000000000000000', \
             'pending', 0, 0, {due}, {lease}, {parked}, 0, NULL, 0, '[]', zeroblob(200) FROM n"
        );
        db::query(sqlx::AssertSqlSafe(sql)).execute(&store.readers).await.unwrap();
    }

    /// The query plan says `USING INDEX` if the statement could look up the row. Whether it does is visible only in the
    /// program.
    #[tokio::test]
    async fn counting_reads_no_row() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let plan = plan(&store, COUNT).await;
        for index in ["deliveries USING INDEX deliveries_waiting", "USING INDEX deliveries_leased"] {
            assert!(plan.contains(index), "{plan}");
        }
        let program = sqlx::AssertSqlSafe(format!("EXPLAIN {COUNT}"));
        let program = db::query(program).fetch_all(&store.readers).await.unwrap();
        let steps = program
            .iter()
            .map(|row| (row.try_get("opcode").unwrap(), row.try_get("p1").unwrap(), row.try_get("p4").unwrap()));
        let steps: Vec<(String, i64, Option<String>)> = steps.collect();
        let is_table = |key: &Option<String>| !key.as_ref().is_some_and(|key| key.starts_with("k("));
        let opened = steps.iter().filter(|(code, _, key)| code == "OpenRead" && is_table(key));
        let tables: Vec<_> = opened.map(|(_, cursor, _)| cursor).collect();
        assert_eq!(tables.len(), 2, "SQLite opens the table of each index in case it needs a row: {steps:?}");
        assert!(!steps.iter().any(|(code, cursor, _)| code == "Column" && tables.contains(&cursor)), "{steps:?}");
    }

    #[tokio::test]
    async fn oldest_due_delivery_is_found_in_index_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let plan = plan(&store, OLDEST_DUE).await;
        assert!(plan.contains("USING INDEX deliveries_scheduled (due<?)") && !plan.contains("TEMP B-TREE"), "{plan}");
    }

    #[tokio::test]
    async fn each_state_is_counted_and_a_leased_delivery_is_not_overdue() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        assert_eq!(store.waiting(1_000).await.unwrap(), Waiting::default());
        fill(&store, 2, "5000", "NULL", 0).await;
        fill(&store, 3, "100", "'run'", 0).await;
        fill(&store, 4, "NULL", "NULL", 1).await;
        fill(&store, 5, "NULL", "NULL", 2).await;
        let counted = Waiting { scheduled: 2, leased: 3, parked: 4, replayed: 5, oldest_due: None };
        assert_eq!(store.waiting(4_999).await.unwrap(), counted);
        fill(&store, 1, "700", "NULL", 0).await;
        let counted = Waiting { scheduled: 3, oldest_due: Some(700), ..counted };
        assert_eq!(store.waiting(5_001).await.unwrap(), counted);
    }
}
