//! The note that an error has shown a malformed database.

use std::sync::{Arc, OnceLock};

use super::error::{StoreError, is_malformed};

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

#[cfg(test)]
mod tests {
    use super::*;

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
