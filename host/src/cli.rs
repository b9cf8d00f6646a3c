//! The command line: one file per command.

pub mod backup;
pub mod demo;
mod environment;
pub mod event_types;
pub mod keys;
pub mod listen;
pub mod migrate;
pub mod plugin;
pub mod plugin_build;
pub mod plugin_new;
pub mod serve;
pub mod wasm_target;

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::sandbox::{Purpose, compile_in_child};
use crate::version::VERSION;

/// The failure of a command: a text for its user.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Webhook dispatcher that runs an optional, sandboxed WebAssembly transform before each POST
#[derive(Parser)]
#[command(
    name = "posthaste",
    version = VERSION,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service until SIGTERM or Ctrl-C
    Serve(Box<crate::config::Config>),
    /// Demonstrate all features on one screen, without any setup
    Demo(demo::DemoArgs),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Copy the SQLite database, also while it is being served
    Backup(backup::BackupArgs),
    /// Put a backup in place of the SQLite database, which no server may be using; the earlier one is kept
    Restore(backup::RestoreArgs),
    /// Move all data from one database to another: from SQLite to PostgreSQL or back
    Migrate(migrate::MigrateArgs),
    /// Create, build, check, run and push plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Describe event types on a running Posthaste, and list, show and delete their descriptions
    #[command(subcommand)]
    EventTypes(event_types::EventTypesCommand),
    /// Compile one plugin from stdin to stdout, under limits; `serve` runs this for each upload
    #[command(hide = true)]
    CompilePlugin { purpose: Purpose },
    /// Receive webhooks and verify their signatures and challenges
    Listen(listen::ListenArgs),
}

impl Cli {
    /// Parses the command line and the environment. An error is printed, with a suggestion, and ends the process.
    pub fn from_command_line() -> Self {
        let matches = environment::with_environment(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command.
    ///
    /// # Errors
    /// The text tells the user why the command failed.
    pub fn run(self) -> Result<(), Failure> {
        let warnings = environment::warnings(&Self::command(), std::env::vars_os().map(|(name, _)| name));
        match &self.command {
            // The service writes them to its log; the other one answers to a service.
            Command::Serve(_) | Command::CompilePlugin { .. } => (),
            _ => warnings.iter().for_each(|warning| eprintln!("posthaste: {warning}")),
        }
        match self.command {
            Command::Serve(config) => block_on(serve::run(*config, &warnings)),
            Command::Demo(demo) => block_on(demo.run()),
            Command::Keys(keys) => block_on(keys.run()),
            Command::Backup(backup) => block_on(backup.run()),
            Command::Restore(restore) => block_on(restore.run()),
            Command::Migrate(migrate) => block_on(migrate.run()),
            Command::Plugin(plugin) => plugin.run(),
            Command::EventTypes(event_types) => event_types.run(),
            Command::CompilePlugin { purpose } => compile_in_child(purpose),
            Command::Listen(listen) => block_on(listen.run()),
        }
    }
}

/// How long a blocking call that nobody waits for, such as the lookup of a name, may delay the end of a command.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(1);

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(BLOCKING_TIMEOUT);
    done
}

/// Waits for SIGTERM or Ctrl-C.
///
/// # Errors
/// The signal handler cannot be installed.
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    Ok(())
}
