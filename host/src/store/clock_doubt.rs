//! The doubt whether the machine's clock is right, for the next process.

use super::db;
use super::error::StoreError;
use super::handle::Store;
use super::writer::transaction;
use crate::domain::clock_doubt::ClockDoubt;

impl Store {
    /// Returns the doubt that an earlier process kept.
    ///
    /// # Errors
    /// The database's.
    pub async fn clock_doubt(&self) -> Result<Option<ClockDoubt>, StoreError> {
        let query = db::query("SELECT value FROM meta WHERE name = 'clock_doubt'");
        let kept: Option<Vec<u8>> = query.value_if_any(&self.readers.background).await?;
        Ok(kept.and_then(|kept| ClockDoubt::parse(&String::from_utf8_lossy(&kept))))
    }

    /// Keeps the doubt for the next process.
    ///
    /// # Errors
    /// The database's.
    pub async fn keep_clock_doubt(&self, doubt: Option<ClockDoubt>) -> Result<(), StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                let query = match doubt {
                    Some(doubt) => db::query(
                        "INSERT INTO meta (name, value) VALUES ('clock_doubt', $1) \
                         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    )
                    .bind(doubt.to_string().into_bytes()),
                    None => db::query("DELETE FROM meta WHERE name = 'clock_doubt'"),
                };
                query.execute(connection).await?;
                Ok(())
            })
        });
        self.writer.run(work, |()| ()).await
    }
}
