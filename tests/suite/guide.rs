//! The plugin guide as a newcomer follows it: every command of `docs/plugins.md`, in order, in one shell.

use std::path::Path;
use std::process::Stdio;

use posthaste_tests::{binary, until};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Marks the end of a command's output.
const END: &str = "--8<--";

/// One command of the guide.
#[derive(Debug, Default)]
struct Step {
    command: String,
    /// The output that the guide shows, each line a part of a line of the real output; `…` stands for anything.
    shown: Vec<String>,
}

/// Returns the steps of all `console` blocks; a `text` block is the output of the background programs by then.
fn steps(guide: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block = "";
    for line in guide.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(kind), "") => {
                block = kind;
                if kind == "text" {
                    steps.push(Step::default());
                }
            }
            (Some(_), _) => block = "",
            (None, "console") => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.into(), shown: Vec::new() }),
                None if line.starts_with("    ") => {
                    let step = steps.last_mut().unwrap();
                    step.command = format!("{}\n{line}", step.command);
                }
                None => steps.last_mut().unwrap().shown.push(line.into()),
            },
            (None, "text") => steps.last_mut().unwrap().shown.push(line.into()),
            _ => {}
        }
    }
    steps
}

/// Returns whether every promised line is in the output.
fn shows(output: &str, promised: &[String]) -> bool {
    let has = |line: &str, promise: &str| {
        let mut rest = line;
        promise.split('…').all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    };
    promised.iter().all(|promise| output.lines().any(|line| has(line, promise)))
}

struct Shell {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Shell {
    fn start(folder: &Path, listen: &str) -> Self {
        let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile"]).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        // The guide's cargo must not inherit the settings of the cargo that runs this test.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME") {
            command.env_remove(name);
        }
        command.env("PATH", path).env("POSTHASTE_LISTEN", listen).env("POSTHASTE_PLUGIN_DEADLINE", "10s");
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { input: process.stdin.take().unwrap(), output, _process: process }
    }

    /// Runs a command; returns its output and whether it succeeded.
    async fn run(&mut self, command: &str) -> (String, bool) {
        let line = format!("{{ {command}\n}} 2>&1 < /dev/null; echo; echo \"{END}$?\"\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        let mut said = String::new();
        loop {
            let line = self.output.next_line().await.unwrap().expect("the shell has ended");
            if let Some(status) = line.strip_prefix(END) {
                return (said, status == "0");
            }
            said += &format!("{line}\n");
        }
    }
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn every_command_of_the_plugin_guide_works_as_shown() {
    let folder = tempfile::tempdir().unwrap();
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plugins.md")).unwrap();
    let (host, receiver) = (free_port().await, free_port().await);
    let guide = guide.replace("8080", &host.to_string()).replace("8081", &receiver.to_string());
    let mut shell = Shell::start(folder.path(), &format!("127.0.0.1:{host}"));
    // The shell ends with its input, even if this test fails.
    shell.run("trap 'kill $(jobs -p)' EXIT").await;
    let background = folder.path().join("background.log");
    let steps = steps(&guide);
    assert!(steps.len() > 15, "{steps:#?}");
    for Step { command, shown } in steps {
        if command.is_empty() {
            until(&format!("shown in the background: {shown:?}"), || async {
                shows(&std::fs::read_to_string(&background).unwrap(), &shown).then_some(())
            })
            .await;
        } else if let Some(command) = command.strip_suffix('&') {
            shell.run(&format!("{command} >> {} 2>&1 &", background.display())).await;
            let port = if command.contains("listen") { receiver } else { host };
            until(command, || async { TcpStream::connect(("127.0.0.1", port)).await.ok() }).await;
        } else if command.starts_with("curl") && !command.contains("--request") {
            // A command that only reads may be repeated until its result is there.
            look(&mut shell, &command, &shown).await;
        } else {
            let (said, well) = shell.run(&command).await;
            assert!(well && shows(&said, &shown), "{command}\n{said}\npromised: {shown:?}");
        }
    }
}

/// Repeats a command that changes nothing until it shows the promised lines.
async fn look(shell: &mut Shell, command: &str, shown: &[String]) {
    let patience = std::time::Instant::now() + posthaste_tests::PATIENCE;
    loop {
        let (said, well) = shell.run(command).await;
        if well && shows(&said, shown) {
            return;
        }
        assert!(std::time::Instant::now() < patience, "{command}\n{said}\npromised: {shown:?}");
    }
}
