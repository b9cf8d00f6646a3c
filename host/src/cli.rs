//! The command line: one file per command.

pub mod demo;
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

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::sandbox::{Purpose, compile_in_child};

/// A command's failure: a text for the person who typed it.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Webhook dispatcher that runs an optional, sandboxed WebAssembly transform before each POST
#[derive(Parser)]
#[command(
    name = "posthaste",
    version,
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
    /// Show the whole story on one screen, with nothing set up
    Demo(demo::Demo),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Move everything from one database into another, from SQLite to PostgreSQL or back
    Migrate(migrate::Migrate),
    /// Make, build, check, run and push plugins
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Compile one plugin from stdin to stdout, under limits; what `serve` runs for each upload
    #[command(hide = true)]
    CompilePlugin { purpose: Purpose },
    /// Receive webhooks and say whether their signature and challenge verify
    Listen(listen::Listen),
}

/// Lets every flag be set by an environment variable `POSTHASTE_<FLAG>` too, upper-case, `_` for `-`.
fn with_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| match argument.get_long() {
        Some(long) => {
            let variable = format!("POSTHASTE_{}", long.to_uppercase().replace('-', "_"));
            argument.env(variable)
        }
        None => argument,
    });
    command.mut_subcommands(with_environment)
}

impl Cli {
    /// Reads the command line and the environment; on a typo says what was meant and ends the process.
    pub fn from_command_line() -> Self {
        let matches = with_environment(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// Why it failed, in words for the person who typed it.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Serve(config) => block_on(serve::run(*config)),
            Command::Demo(demo) => block_on(demo.run()),
            Command::Keys(keys) => block_on(keys.run()),
            Command::Migrate(migrate) => block_on(migrate.run()),
            Command::Plugin(plugin) => plugin.run(),
            Command::CompilePlugin { purpose } => compile_in_child(purpose),
            Command::Listen(listen) => block_on(listen.run()),
        }
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Ends at SIGTERM or Ctrl-C.
///
/// # Errors
/// The handler cannot be installed.
async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    Ok(())
}
