//! What the tests need besides Rust and a C compiler, and Debian has: the languages that plugins are built in, a clock to
//! turn, and PostgreSQL.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Failure, postgres, process};

/// A command that succeeds where something is there, and the Debian packages that bring it.
type Need = (&'static [&'static str], &'static [&'static str]);

const NEEDS: [Need; 5] = [
    (&["npm", "--version"], &["nodejs", "npm"]),
    (&["python3", "-c", "import ensurepip, venv"], &["python3", "python3-venv"]),
    (&["make", "--version"], &["make"]),
    (&["faketime", "--version"], &["faketime"]),
    (&["sh", postgres::SCRIPT, "--look"], &["postgresql"]),
];

/// Installs what is missing with apt-get; who is not root is told the command.
pub(crate) fn install(root: &Path) -> Result<(), Failure> {
    let packages = missing(root, &NEEDS);
    if packages.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !is_root() {
        return Err(format!("the tests need what is not installed: run `{install}` as root"));
    }
    println!("{install}");
    for arguments in [&["update", "-q"][..], &["install", "-qy", "--no-install-recommends"]] {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        if arguments.first() == Some(&"install") {
            apt.args(&packages);
        }
        process::run(&format!("apt-get {}", arguments.join(" ")), &mut apt)
            .map_err(|why| format!("{why}; the tests need {}", packages.join(", ")))?;
    }
    Ok(())
}

fn missing(root: &Path, needs: &[Need]) -> Vec<&'static str> {
    needs.iter().filter(|(probe, _)| !succeeds(root, probe)).flat_map(|(_, packages)| *packages).copied().collect()
}

fn succeeds(root: &Path, probe: &[&str]) -> bool {
    let Some((program, arguments)) = probe.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_packages_of_what_is_missing_and_no_others() {
        let needs: [Need; 3] = [
            (&["true"], &["there"]),
            (&["no-such-program-anywhere"], &["absent", "its-library"]),
            (&["false"], &["broken"]),
        ];
        assert_eq!(missing(Path::new("."), &needs), ["absent", "its-library", "broken"]);
    }
}
