//! The writer of the database.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Metrics, add, seconds};

/// Up to the largest group that the writer makes.
const BATCH: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Around the few milliseconds of an fsync.
const COMMIT: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

#[derive(Debug)]
pub(super) struct Writing {
    batch: Histogram,
    commit: Histogram,
    queue: Gauge,
}

impl Writing {
    pub(super) fn register(to: &mut Registry) -> Self {
        Self {
            batch: add(to, "writer_batch_size", "Operations of one commit", Histogram::new(BATCH)),
            commit: seconds(to, "writer_commit_duration", "Transactions of the writer, from begin to commit", &COMMIT),
            queue: add(to, "writer_queue_length", "Operations that wait for the writer", Gauge::default()),
        }
    }
}

impl Metrics {
    /// The writer committed so many operations in this time.
    pub fn committed(&self, operations: usize, took: Duration) {
        self.writing.batch.observe(f64::from(u32::try_from(operations).unwrap_or(u32::MAX)));
        self.writing.commit.observe(took.as_secs_f64());
    }

    /// So many operations wait for the writer at this moment.
    pub fn writer_queue(&self, length: usize) {
        self.writing.queue.set(i64::try_from(length).unwrap_or(i64::MAX));
    }
}
