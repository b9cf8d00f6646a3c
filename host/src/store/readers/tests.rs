//! Time limits and classes, on SQLite.

use futures_util::FutureExt as _;
use tempfile::TempDir;

use sqlx::sqlite::SqlitePoolOptions;

use super::*;
use crate::store::backend::{DatabaseOptions, served};
use crate::store::db::{self, DriverPool};
use crate::store::error::StoreError;

const ENDLESS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n WHERE i < 0";

/// Returns a pool of one connection.
fn lone_connection(time_limit: Duration) -> (ConnectionPool, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = DatabaseOptions::parse(&format!("sqlite://{}/x.db", folder.path().display())).unwrap();
    let DatabaseOptions::Sqlite(sqlite) = &options else { unreachable!("the URL names a file") };
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(60));
    let driver = DriverPool::Sqlite(pool.connect_lazy_with(served(sqlite)));
    (ConnectionPool { driver, damage: Damage::default(), time_limit }, folder)
}

async fn answers(pool: &ConnectionPool) {
    assert_eq!(db::query("SELECT 1").value::<i64>(pool).await.unwrap(), 1);
}

#[tokio::test]
async fn statement_that_exceeds_its_time_is_interrupted() {
    let (pool, _folder) = lone_connection(Duration::from_millis(10));
    let error = db::query(ENDLESS).value::<i64>(&pool).await.unwrap_err();
    assert!(matches!(StoreError::from(error), StoreError::TooSlow));
    // It would wait behind the statement if that went on.
    let pool = ConnectionPool { time_limit: Duration::from_secs(60), ..pool };
    answers(&pool).await;
}

#[tokio::test]
async fn statement_whose_caller_has_gone_is_interrupted() {
    let (pool, _folder) = lone_connection(Duration::from_secs(3_600));
    answers(&pool).await;
    let mut running = Box::pin(db::query(ENDLESS).value::<i64>(&pool));
    for _ in 0..100 {
        assert!(running.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(running);
    answers(&pool).await;
}

#[tokio::test]
async fn class_that_is_busy_delays_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let options = DatabaseOptions::parse(&format!("sqlite://{}/x.db", folder.path().display())).unwrap();
    let readers = Readers::new(|class| options.pool(class, Damage::default()));
    let busy = futures_util::future::join_all((0..20).map(|_| db::query(ENDLESS).value::<i64>(&readers.log)));
    tokio::select! {
        _ = busy => panic!("the statements have no end"),
        () = answers(&readers.look_ups) => (),
    }
    answers(&readers.background).await;
}
