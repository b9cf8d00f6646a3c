//! The PostgreSQL that the tests of one run share.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Failure, process};

/// The script that runs it, in the repository.
pub(crate) const SCRIPT: &str = "tests/harness/postgres.sh";

/// A server that ends with this value.
pub(crate) struct Server {
    script: Child,
    /// The URL of a database of it, as somebody who may make others.
    pub(crate) url: String,
}

impl Server {
    /// Starts one on loopback.
    pub(crate) fn start(root: &Path) -> Result<Self, Failure> {
        let mut command = Command::new("sh");
        // In a group of its own, so that Ctrl-C leaves it the time to clean up.
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
        // The script ends when its standard input does.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
