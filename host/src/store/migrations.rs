//! The schema's migrations, embedded in the binary.
//!
//! Listed by hand instead of with `sqlx::migrate!`: that macro alone needs sqlx's `macros` feature, which compiles both
//! database drivers a second time, for the compiler itself. A test compares the list with the folder.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// One file of `host/migrations`.
struct MigrationFile {
    version: i64,
    /// Stored in the table of applied migrations: the file's name without version and suffix, `_` as a space.
    description: &'static str,
    sql: &'static str,
}

/// In the order of their versions. A released file never changes, not even in a comment: sqlx compares its checksum with
/// that of the database.
const FILES: [MigrationFile; 8] = [
    MigrationFile { version: 1, description: "init", sql: include_str!("../../migrations/0001_init.sql") },
    MigrationFile { version: 2, description: "candidates", sql: include_str!("../../migrations/0002_candidates.sql") },
    MigrationFile { version: 3, description: "engine", sql: include_str!("../../migrations/0003_engine.sql") },
    MigrationFile { version: 4, description: "proven", sql: include_str!("../../migrations/0004_proven.sql") },
    MigrationFile { version: 5, description: "nodes", sql: include_str!("../../migrations/0005_nodes.sql") },
    MigrationFile { version: 6, description: "receivers", sql: include_str!("../../migrations/0006_receivers.sql") },
    MigrationFile { version: 7, description: "log", sql: include_str!("../../migrations/0007_log.sql") },
    MigrationFile {
        version: 11,
        description: "cancellations",
        sql: include_str!("../../migrations/0011_cancellations.sql"),
    },
];

/// Returns the migrator that brings a SQLite database up to date.
pub(super) fn migrator() -> Migrator {
    let migration = |file: &MigrationFile| {
        Migration::new(file.version, file.description.into(), MigrationType::Simple, file.sql.into_sql_str(), false)
    };
    Migrator { migrations: Cow::Owned(FILES.iter().map(migration).collect()), ..Migrator::DEFAULT }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Compares with sqlx's own reading of the folder, which is also what `sqlx::migrate!` embeds.
    #[tokio::test]
    async fn embedded_migrations_equal_the_files_in_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let expected = Migrator::new(folder).await.unwrap();
        let facts = |migrator: &Migrator| -> Vec<_> {
            let fact = |migration: &Migration| {
                (migration.version, migration.description.clone(), migration.migration_type, migration.checksum.clone())
            };
            migrator.iter().map(fact).collect()
        };
        assert_eq!(facts(&migrator()), facts(&expected));
        assert!(expected.iter().all(|migration| !migration.no_tx));
    }
}
