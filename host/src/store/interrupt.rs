//! Interrupts a statement of SQLite for which nobody waits any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::SqliteConnection;

/// Instructions of SQLite's virtual machine between two looks at whether somebody still waits: some tens of microseconds.
const INSTRUCTIONS: i32 = 1_000;

/// The caller that waits for the statements of a connection. When it is dropped, a statement that still runs ends: dropping
/// sqlx's future alone leaves it running on the thread of the connection.
#[must_use = "the statements of the connection are interrupted when it is dropped"]
pub(super) struct WaitingCaller(Arc<AtomicBool>);

impl WaitingCaller {
    /// Begins to wait for the next statements of this connection.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn of(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let waits = Arc::new(AtomicBool::new(true));
        let still_waits = waits.clone();
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(INSTRUCTIONS, move || still_waits.load(Ordering::Relaxed));
        Ok(Self(waits))
    }
}

impl Drop for WaitingCaller {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
