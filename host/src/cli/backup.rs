//! `posthaste backup` and `posthaste restore`

use std::path::PathBuf;

use clap::Args;

use super::{Failure, stop_signal};
use crate::clock::{Clock, SystemClock};
use crate::config::{DatabaseSettings, SecretKeySettings};
use crate::domain::time::rfc3339;
use crate::secret_key::{self, SecretKey};
use crate::store::{RestoredSecrets, Sealer, backup, restore};

/// The arguments of `posthaste backup`.
#[derive(Args)]
pub struct BackupArgs {
    #[command(flatten)]
    database: DatabaseSettings,
    /// New file for the copy; an existing file is not overwritten
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// The arguments of `posthaste restore`.
#[derive(Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Backup to restore; it stays as it is
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    secret_key: SecretKeySettings,
    /// Directory of the secret key file
    #[arg(long, default_value = ".", value_name = "DIR")]
    data_dir: PathBuf,
}

impl BackupArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// The text says why no backup was written.
    pub async fn run(self) -> Result<(), Failure> {
        let size = tokio::select! {
            copied = backup(&self.database.database, &self.to) => copied?,
            // Dropping the copy removes what there is of it.
            stopped = stop_signal() => {
                stopped?;
                return Err("stopped; no backup was written".into());
            }
        };
        eprintln!("wrote {} ({size} bytes), checked completely", self.to.display());
        eprintln!(
            "the secret key is not in it: keep posthaste.key, or what --secret-key or --secret-key-file names, with it, \
             because without that key the backup cannot be served"
        );
        Ok(())
    }
}

impl RestoreArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// The text says why the database was not restored.
    pub async fn run(self) -> Result<(), Failure> {
        let key = secret_key::find(&self.secret_key, &self.data_dir)?;
        let sealer = match &key {
            SecretKey::Found(key) => Some(Sealer::new(key)?),
            SecretKey::Missing(_) => None,
        };
        let stamp = rfc3339(SystemClock.now_ms()).replace(['-', ':'], "");
        let restored = restore(&self.database.database, &self.from, &stamp, sealer.as_ref()).await?;
        eprintln!("restored {}", self.from.display());
        if let Some(replaced) = restored.replaced {
            eprintln!("the earlier database is {}; remove it once you do not need it", replaced.display());
        }
        match (restored.secrets, key) {
            (RestoredSecrets::None | RestoredSecrets::Opened, _) => (),
            (RestoredSecrets::Sealed, SecretKey::Found(_)) => eprintln!(
                "the secret key here is another than that of the backup: `posthaste serve` needs the key that belongs to it, or \
                 `posthaste keys reset-secrets` if that is lost"
            ),
            (RestoredSecrets::Sealed, SecretKey::Missing(file)) => eprintln!(
                "`posthaste serve` needs the secret key that belongs to the backup, in {} or by --secret-key or \
                 --secret-key-file",
                file.display()
            ),
        }
        Ok(())
    }
}
