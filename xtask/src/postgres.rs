//! The PostgreSQL server that all tests of one run share.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Failure, process};

/// The script that runs the server, relative to the repository.
pub(crate) const SCRIPT: &str = "tests/harness/postgres.sh";

/// A PostgreSQL server that stops when this value is dropped.
pub(crate) struct Server {
    script: Child,
    /// The URL of one of its databases, with a user who may create others.
    pub(crate) url: String,
}

impl Server {
    /// Starts a server on loopback.
    pub(crate) fn start(root: &Path) -> Result<Self, Failure> {
        let mut command = Command::new("sh");
        // In its own process group, so that Ctrl-C does not stop it before it has cleaned up.
        command.arg(root.join(SCRIPT)).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut script = command.spawn().map_err(|error| process::not_started(command.get_program(), &error))?;
        let mut url = String::new();
        if let Some(output) = script.stdout.take() {
            BufReader::new(output).read_line(&mut url).map_err(|error| format!("{SCRIPT}: {error}"))?;
        }
        let url = url.trim().to_owned();
        let server = Self { script, url };
        if server.url.is_empty() { Err(format!("{SCRIPT} started no PostgreSQL, see above")) } else { Ok(server) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The script stops at the end of its standard input.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
