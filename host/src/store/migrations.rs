//! The schema's migrations, embedded in the binary.
//!
//! Listed by hand instead of with `sqlx::migrate!`: that macro alone needs sqlx's `macros` feature, which compiles both
//! database drivers a second time, for the compiler itself. A test compares the list with the folder.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{AppliedMigration, Migrate as _, Migration, MigrationType, Migrator};

use super::db::{DatabaseConnection, DriverConnection};

/// One file of `host/migrations`.
struct MigrationFile {
    version: i64,
    /// Stored in the table of applied migrations: the file's name without version and suffix, `_` as a space.
    description: &'static str,
    sql: &'static str,
}

/// In the order of their versions. A released file never changes, not even in a comment: sqlx compares its checksum with
/// that of the database.
const FILES: [MigrationFile; 24] = [
    MigrationFile { version: 1, description: "init", sql: include_str!("../../migrations/0001_init.sql") },
    MigrationFile { version: 2, description: "candidates", sql: include_str!("../../migrations/0002_candidates.sql") },
    MigrationFile { version: 3, description: "engine", sql: include_str!("../../migrations/0003_engine.sql") },
    MigrationFile { version: 4, description: "proven", sql: include_str!("../../migrations/0004_proven.sql") },
    MigrationFile { version: 5, description: "nodes", sql: include_str!("../../migrations/0005_nodes.sql") },
    MigrationFile { version: 6, description: "receivers", sql: include_str!("../../migrations/0006_receivers.sql") },
    MigrationFile { version: 7, description: "log", sql: include_str!("../../migrations/0007_log.sql") },
    MigrationFile {
        version: 8,
        description: "webhook tls",
        sql: include_str!("../../migrations/0008_webhook_tls.sql"),
    },
    MigrationFile {
        version: 9,
        description: "webhook limits",
        sql: include_str!("../../migrations/0009_webhook_limits.sql"),
    },
    MigrationFile { version: 10, description: "keys", sql: include_str!("../../migrations/0010_keys.sql") },
    MigrationFile {
        version: 11,
        description: "cancellations",
        sql: include_str!("../../migrations/0011_cancellations.sql"),
    },
    MigrationFile { version: 12, description: "quotas", sql: include_str!("../../migrations/0012_quotas.sql") },
    MigrationFile { version: 13, description: "labels", sql: include_str!("../../migrations/0013_labels.sql") },
    MigrationFile { version: 14, description: "events", sql: include_str!("../../migrations/0014_events.sql") },
    MigrationFile {
        version: 15,
        description: "event types",
        sql: include_str!("../../migrations/0015_event_types.sql"),
    },
    MigrationFile { version: 16, description: "factorial", sql: include_str!("../../migrations/0016_factorial.sql") },
    MigrationFile {
        version: 17,
        description: "failing announced",
        sql: include_str!("../../migrations/0017_failing_announced.sql"),
    },
    MigrationFile { version: 18, description: "selections", sql: include_str!("../../migrations/0018_selections.sql") },
    MigrationFile { version: 19, description: "pull", sql: include_str!("../../migrations/0019_pull.sql") },
    MigrationFile { version: 20, description: "erasure", sql: include_str!("../../migrations/0020_erasure.sql") },
    MigrationFile {
        version: 21,
        description: "transient payloads",
        sql: include_str!("../../migrations/0021_transient_payloads.sql"),
    },
    MigrationFile {
        version: 22,
        description: "company removals",
        sql: include_str!("../../migrations/0022_company_removals.sql"),
    },
    MigrationFile { version: 23, description: "chains", sql: include_str!("../../migrations/0023_chains.sql") },
    MigrationFile { version: 24, description: "policies", sql: include_str!("../../migrations/0024_policies.sql") },
];

/// Returns the migrator that brings a SQLite database up to date.
pub(super) fn migrator() -> Migrator {
    let migration = |file: &MigrationFile| {
        Migration::new(file.version, file.description.into(), MigrationType::Simple, file.sql.into_sql_str(), false)
    };
    Migrator { migrations: Cow::Owned(FILES.iter().map(migration).collect()), ..Migrator::DEFAULT }
}

/// Checks that this version, or an earlier one, has written the database.
///
/// # Errors
/// The text says what is wrong with the database.
pub(super) async fn check_schema(connection: &mut DatabaseConnection) -> Result<(), String> {
    let table = &Migrator::DEFAULT.table_name;
    let applied = match &mut connection.driver {
        DriverConnection::Sqlite(connection) => connection.list_applied_migrations(table).await,
        DriverConnection::Postgres(connection) => connection.list_applied_migrations(table).await,
    };
    // The table is missing in a database of another program.
    check_applied(&applied.unwrap_or_default())
}

fn check_applied(applied: &[AppliedMigration]) -> Result<(), String> {
    let known = migrator();
    let newest = known.iter().map(|known| known.version).max().unwrap_or_default();
    let is_known = |applied: &AppliedMigration| {
        known.iter().any(|known| known.version == applied.version && known.checksum == applied.checksum)
    };
    if applied.is_empty() {
        Err("it is not a database of Posthaste".into())
    } else if applied.iter().any(|applied| applied.version > newest) {
        Err("a newer version of Posthaste has written it: use that version".into())
    } else if !applied.iter().all(is_known) {
        Err("its schema is not one of Posthaste, or of another version of it".into())
    } else {
        Ok(())
    }
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

    #[test]
    fn only_known_migrations_are_accepted() {
        let known: Vec<_> = migrator()
            .iter()
            .map(|known| AppliedMigration { version: known.version, checksum: known.checksum.clone() })
            .collect();
        assert_eq!(check_applied(&known), Ok(()));
        assert_eq!(check_applied(&known[..1]), Ok(()), "a backup of an earlier version");
        assert!(check_applied(&[]).unwrap_err().contains("not a database of Posthaste"));
        let newer = AppliedMigration { version: 1_000_000, checksum: b"x".as_slice().into() };
        let refused = check_applied(&[known.clone(), vec![newer.clone()]].concat()).unwrap_err();
        assert!(refused.contains("newer version"), "{refused}");
        let other = AppliedMigration { version: 1, ..newer };
        assert!(check_applied(&[other]).unwrap_err().contains("its schema"));
    }
}
