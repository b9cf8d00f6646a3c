//! The real binary as a process of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Client, PATIENCE};

/// The binary under test.
pub fn binary() -> PathBuf {
    let given = std::env::var_os("POSTHASTE_BIN").map(PathBuf::from);
    let built = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("posthaste"));
    let binary = given.or_else(built).unwrap();
    assert!(binary.exists(), "{} is missing: run the tests with `cargo xtask test`", binary.display());
    binary
}

/// `posthaste serve` on a port of its own; killed with the test.
pub struct Process {
    /// Speaks to it with a key of company `acme`.
    pub client: Client,
    child: Child,
    database: String,
}

impl Process {
    /// Runs a command to its end and answers its status, stdout and stderr.
    pub async fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> (i32, String, String) {
        Self::run_in(&[], args).await
    }

    /// The same, with these environment variables.
    pub async fn run_in<S: AsRef<OsStr>>(
        environment: &[(&str, &str)],
        args: impl IntoIterator<Item = S>,
    ) -> (i32, String, String) {
        let environment = environment.iter().copied();
        let output = Command::new(binary()).args(args).envs(environment).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Starts `serve` in `folder`, with a key of company `acme`.
    pub async fn serve(folder: &Path, flags: &[&str]) -> Self {
        Self::serve_in(&[], folder, flags).await
    }

    /// The same, with these environment variables.
    pub async fn serve_in(environment: &[(&str, &str)], folder: &Path, flags: &[&str]) -> Self {
        let database = format!("sqlite://{}", folder.join("posthaste.db").display());
        let key = new_key("acme", &database).await;
        let mut child = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-target", "127.0.0.0/8", "--database", &database])
            .arg("--data-dir")
            .arg(folder)
            .args(flags)
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let base = tokio::time::timeout(PATIENCE, async {
            let mut said = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, address)) = line.split_once("serving address=") {
                    return format!("http://{}", address.trim());
                }
                said.push_str(&line);
                said.push('\n');
            }
            panic!("serve ended: {said}");
        });
        let base = base.await.expect("serve never said where it listens");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { client: Client::new(base, key), child, database }
    }

    /// A client of another company.
    pub async fn company(&self, name: &str) -> Client {
        self.client.with_key(new_key(name, &self.database).await)
    }

    /// The most memory that it has had, in KiB: the `VmHWM` of proc(5).
    pub fn peak_kib(&self) -> u64 {
        let file = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; answers the exit status.
    pub async fn terminate(mut self) -> i32 {
        let id = self.child.id().unwrap().to_string();
        // The shell's own `kill`: the program of that name is not on every machine.
        assert!(Command::new("sh").args(["-c", "kill -TERM $0", &id]).status().await.unwrap().success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it did not stop").unwrap();
        status.code().unwrap_or(-1)
    }
}

async fn new_key(company: &str, database: &str) -> String {
    let create = ["keys", "create", "--company", company, "--database", database];
    let (status, key, error) = Process::run(create).await;
    assert_eq!(status, 0, "{error}");
    key.trim().to_owned()
}
