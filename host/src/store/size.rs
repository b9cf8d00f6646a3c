//! How much disk the database takes.

use std::path::{Path, PathBuf};

use super::db::{self, DriverPool};
use super::error::StoreError;
use super::handle::Store;

impl Store {
    /// Returns the bytes of the database on disk: of an SQLite file and its write-ahead log, or of the whole PostgreSQL
    /// database with its indexes.
    ///
    /// # Errors
    /// The database's, or the file system's.
    pub async fn size_bytes(&self) -> Result<u64, StoreError> {
        match &self.readers.background.driver {
            // The files, because the write-ahead log is no part of what SQLite itself tells.
            DriverPool::Sqlite(pool) => files_size(pool.connect_options().get_filename())
                .map_err(|error| StoreError::Database(sqlx::Error::Io(error))),
            DriverPool::Postgres(_) => {
                let bytes: i64 =
                    db::query("SELECT pg_database_size(current_database())").value(&self.readers.background).await?;
                Ok(bytes.unsigned_abs())
            }
        }
    }
}

fn files_size(database: &Path) -> std::io::Result<u64> {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let log = match std::fs::metadata(PathBuf::from(log)) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(std::fs::metadata(database)?.len() + log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_database_is_as_large_as_its_file_and_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        assert!(files_size(&file).is_err());
        std::fs::write(&file, [0; 100]).unwrap();
        assert_eq!(files_size(&file).unwrap(), 100);
        std::fs::write(folder.path().join("a.db-wal"), [0; 7]).unwrap();
        assert_eq!(files_size(&file).unwrap(), 107);
    }
}
