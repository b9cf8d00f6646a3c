//! `posthaste migrate`

use std::io::{IsTerminal, Write};

use clap::Args;

use super::Failure;
use crate::clock::{Clock, SystemClock};
use crate::store::{TransferProgress, transfer};

/// The arguments of `posthaste migrate`. No node may serve either database during the move.
#[derive(Args)]
pub struct MigrateArgs {
    /// Source database, which no node may be serving: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL", hide_env_values = true)]
    from: String,
    /// Target database, which must be empty
    #[arg(long, value_name = "URL", hide_env_values = true)]
    to: String,
}

impl MigrateArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// The text says why the move was refused or stopped, and how to continue.
    pub async fn run(self) -> Result<(), Failure> {
        let watched = std::io::stderr().is_terminal();
        let mut progress = |progress: TransferProgress<'_>| match progress {
            TransferProgress::Resumed { table } => println!("continuing where an earlier run stopped: {table}"),
            TransferProgress::Copied { table, rows } if watched => {
                let mut stderr = std::io::stderr();
                let _ = write!(stderr, "\r{table}: {rows} rows copied\x1b[K");
            }
            TransferProgress::Copied { .. } => (),
            TransferProgress::Verified { table, rows, sha256 } => {
                if watched {
                    eprint!("\r\x1b[K");
                }
                println!("{table:<16} {rows:>10} rows  sha-256 {sha256}");
            }
        };
        transfer(&self.from, &self.to, SystemClock.now_ms(), &mut progress).await?;
        println!(
            "moved: the target database contains every row, unchanged. Start the nodes on it with the same \
             secret key: --secret-key, --secret-key-file, or a copy of posthaste.key in each data directory"
        );
        Ok(())
    }
}
