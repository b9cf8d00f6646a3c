//! Moving the log of the version before.

use crate::store::earlier_log::{EarlierRows, move_some};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::writer::transaction;

impl Store {
    /// Moves a few rows of the log of the version before into the tables of this one. Returns how many.
    ///
    /// # Errors
    /// The database's.
    pub async fn move_earlier_log(&self, rows: EarlierRows) -> Result<u64, StoreError> {
        let work = transaction(move |connection| Box::pin(async move { Ok(move_some(connection, rows).await?) }));
        self.writer.run(work, |_| ()).await
    }
}
