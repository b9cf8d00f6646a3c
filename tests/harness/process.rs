//! The real binary as a separate process.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Client, Home, PATIENCE};

/// The binary under test.
pub fn binary() -> PathBuf {
    let given = std::env::var_os("POSTHASTE_BIN").map(PathBuf::from);
    let built = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("posthaste"));
    let binary = given.or_else(built).unwrap();
    assert!(binary.exists(), "{} is missing: run the tests with `cargo xtask test`", binary.display());
    binary
}

/// `posthaste serve` on a port of its own; killed when dropped.
pub struct Process {
    /// A client with a key of company `acme`.
    pub client: Client,
    child: Child,
    database: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Runs a command to its end and returns its status, stdout and stderr.
    pub async fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> (i32, String, String) {
        Self::run_in(&[], args).await
    }

    /// As above, with these environment variables.
    pub async fn run_in<S: AsRef<OsStr>>(
        environment: &[(&str, &str)],
        args: impl IntoIterator<Item = S>,
    ) -> (i32, String, String) {
        let environment = environment.iter().copied();
        let output = Command::new(binary()).args(args).envs(environment).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Starts `serve` in `home`, with a key of company `acme`.
    pub async fn serve(home: &Home, flags: &[&str]) -> Self {
        Self::serve_in(&[], home, flags).await
    }

    /// As above, with these environment variables.
    pub async fn serve_in(environment: &[(&str, &str)], home: &Home, flags: &[&str]) -> Self {
        let key = new_key("acme", home.database()).await;
        let started = Self::start(home, key, |command| {
            command.envs(environment.iter().copied()).args(flags);
        });
        started.await.unwrap_or_else(|log| panic!("serve ended: {log}"))
    }

    /// As [`Process::serve`], with a limit on open files.
    pub async fn serve_with_files(home: &Home, files: usize, flags: &[&str]) -> Self {
        let key = new_key("acme", home.database()).await;
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]).arg(binary());
        let started = Self::start_by(shell, home, key, |command| {
            command.args(flags);
        });
        started.await.unwrap_or_else(|log| panic!("serve ended: {log}"))
    }

    /// Starts `serve` in `home`, with an existing key and the arguments that `more` adds.
    ///
    /// # Errors
    /// The log of the process, if it ended before it listened.
    pub async fn start(home: &Home, key: String, more: impl FnOnce(&mut Command)) -> Result<Self, String> {
        Self::start_by(Command::new(binary()), home, key, more).await
    }

    /// As above; `command` starts the binary with the arguments that are appended.
    pub async fn start_by(
        mut command: Command,
        home: &Home,
        key: String,
        more: impl FnOnce(&mut Command),
    ) -> Result<Self, String> {
        let database = home.database().to_owned();
        // Longer than a test waits: on a slow machine no call or attempt ends by a limit that the test is not about. Flags
        // override the environment.
        command.env("POSTHASTE_ATTEMPT_TIMEOUT", "10m").env("POSTHASTE_PLUGIN_DEADLINE", "10s");
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-target", "127.0.0.0/8", "--database", &database])
            .arg("--data-dir")
            .arg(home.path())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        more(&mut command);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (listens, listening) = tokio::sync::oneshot::channel();
        let lines_read = log.clone();
        tokio::spawn(async move {
            let mut listens = Some(listens);
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some((_, address)) = line.split_once("serving address=")
                    && let Some(listens) = listens.take()
                {
                    let _ = listens.send(format!("http://{}", address.trim()));
                }
                lines_read.lock().unwrap().push(line);
            }
        });
        let base = tokio::time::timeout(PATIENCE, listening).await.expect("serve never logged its address");
        let base = base.map_err(|_| log.lock().unwrap().join("\n"))?;
        Ok(Self { client: Client::new(base, key), child, database, log })
    }

    /// Returns the lines of its log so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Returns a client of another company.
    pub async fn company(&self, name: &str) -> Client {
        self.client.with_key(new_key(name, &self.database).await)
    }

    /// Returns its peak resident memory in KiB: `VmHWM` of proc(5).
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM")
    }

    /// Returns its resident memory in KiB: `VmRSS` of proc(5).
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let file = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends a signal: `STOP` suspends the process, `CONT` resumes it.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        // The shell's built-in `kill`: the program is not on every machine.
        assert!(Command::new("sh").args(["-c", "kill -$0 $1", name, &id]).status().await.unwrap().success());
    }

    /// Sends SIGTERM and returns the exit status.
    pub async fn terminate(mut self) -> i32 {
        self.signal("TERM").await;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it does not stop").unwrap();
        status.code().unwrap_or(-1)
    }
}

async fn new_key(company: &str, database: &str) -> String {
    let create = ["keys", "create", "--company", company, "--database", database];
    let (status, key, error) = Process::run(create).await;
    assert_eq!(status, 0, "{error}");
    key.trim().to_owned()
}
