//! A malformed database: how its errors are recognised, and the note that one was seen.

use std::sync::{Arc, OnceLock};

use super::error::StoreError;

/// Whether an error of this process has shown that the database is malformed. It stays so until the process ends: what else
/// is wrong is unknown, and every further write could make it worse.
#[derive(Debug, Clone, Default)]
pub(super) struct Damage(Arc<OnceLock<()>>);

impl Damage {
    /// Passes a result on, and remembers an error that shows damage.
    pub(super) fn noted<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let Err(error) = &result
            && is_malformed(error)
            && self.0.set(()).is_ok()
        {
            tracing::error!(
                %error,
                "the database is malformed: it takes no more writes and events are refused; stop the service and restore a \
                 backup (docs/operations.md, \"Backup and restore\")"
            );
        }
        result
    }

    /// Refuses further writes to a malformed database.
    ///
    /// # Errors
    /// [`StoreError::Malformed`].
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.0.get().is_some() { Err(StoreError::Malformed) } else { Ok(()) }
    }
}

/// Returns whether the error shows that the database is malformed: SQLITE_CORRUPT (11) or SQLITE_NOTADB (26), whose extended
/// codes have more in the higher bits; or PostgreSQL's `data_corrupted` (XX001) or `index_corrupted` (XX002).
pub(super) fn is_malformed(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| is_code_of_damage(&code))
}

fn is_code_of_damage(code: &str) -> bool {
    match code.len() {
        // A SQLSTATE has five characters, and no code of SQLite has more than four digits.
        5 => matches!(code, "XX001" | "XX002"),
        _ => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 11 | 26)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_recognised_by_its_code_on_both_databases() {
        for code in ["11", "26", "267", "523", "779", "XX001", "XX002"] {
            assert!(is_code_of_damage(code), "{code}");
        }
        for code in ["5", "13", "10", "522", "XX000", "53100", "00011", ""] {
            assert!(!is_code_of_damage(code), "{code}");
        }
    }

    #[test]
    fn damage_stays_known() {
        let damage = Damage::default();
        let _ = damage.noted::<()>(Err(sqlx::Error::PoolTimedOut));
        assert!(damage.check().is_ok(), "no damage");
        damage.0.set(()).unwrap();
        assert!(damage.noted(Ok(())).is_ok());
        assert!(matches!(damage.clone().check(), Err(StoreError::Malformed)));
    }
}
