//! `posthaste migrate`

use std::io::{IsTerminal, Write};

use clap::Args;

use super::Failure;
use crate::clock::{Clock, SystemClock};
use crate::store::{TransferProgress, transfer};

/// Both databases belong to nobody meanwhile: stop what serves the first, and give an empty one for the second.
#[derive(Args)]
pub struct Migrate {
    /// The database that everything is in: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL", hide_env_values = true)]
    from: String,
    /// The empty database that everything goes to
    #[arg(long, value_name = "URL", hide_env_values = true)]
    to: String,
}

impl Migrate {
    /// Runs the command.
    ///
    /// # Errors
    /// Why it was refused or broke off, and how to go on.
    pub async fn run(self) -> Result<(), Failure> {
        let watched = std::io::stderr().is_terminal();
        let mut progress = |progress: TransferProgress<'_>| match progress {
            TransferProgress::Resumed { table } => println!("going on where an earlier run stopped: {table}"),
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
            "moved: every row is in the new database and reads the same there. Start the nodes on it with the same \
             secret key: --secret-key, --secret-key-file, or a copy of posthaste.key in each data directory"
        );
        Ok(())
    }
}
