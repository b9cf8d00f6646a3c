//! The metrics of the database and its writer.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, add, seconds};

/// Buckets: up to the largest batch of the writer.
const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Buckets in seconds: around the few milliseconds of an fsync.
const COMMIT_BUCKETS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

#[derive(Debug)]
pub(super) struct WriterMetrics {
    batch: Histogram,
    commit: Histogram,
    queue: Gauge,
    database_size: Gauge,
}

impl WriterMetrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        let duration = "Duration of the writer's transactions, from begin to commit";
        let database_size = Gauge::default();
        let size = "Disk that the database takes, with SQLite's write-ahead log";
        to.register_with_unit("database_size", size, Unit::Bytes, database_size.clone());
        Self {
            batch: add(to, "writer_batch_size", "Operations in one commit", Histogram::new(BATCH_BUCKETS)),
            commit: seconds(to, "writer_commit_duration", duration, &COMMIT_BUCKETS),
            database_size,
            queue: add(to, "writer_queue_length", "Operations waiting for the writer", Gauge::default()),
        }
    }
}

impl Metrics {
    /// Records a commit: the number of its operations and its duration.
    pub fn committed(&self, operations: usize, took: Duration) {
        self.writing.batch.observe(f64::from(u32::try_from(operations).unwrap_or(u32::MAX)));
        self.writing.commit.observe(took.as_secs_f64());
    }

    /// Sets the size of the database.
    pub fn database_size(&self, bytes: u64) {
        self.writing.database_size.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Sets the number of operations that wait for the writer.
    pub fn writer_queue(&self, length: usize) {
        self.writing.queue.set(i64::try_from(length).unwrap_or(i64::MAX));
    }
}
