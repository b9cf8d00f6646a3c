//! The programs that tests use besides Rust and a C compiler, all packaged by Debian: the languages that plugins are built
//! in, a clock that can be set, and PostgreSQL.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Failure, postgres, process};

/// A program, and the modules of the suite that use it.
struct Need {
    /// A command that succeeds if the program is installed.
    probe: &'static [&'static str],
    /// The Debian packages that install it.
    packages: &'static [&'static str],
    /// Empty for PostgreSQL, which depends on the chosen database.
    modules: &'static [&'static str],
}

const NEEDS: [Need; 5] = [
    Need {
        probe: &["npm", "--version"],
        packages: &["nodejs", "npm"],
        modules: &["guide", "languages", "oauth", "verifying"],
    },
    Need {
        probe: &["python3", "-c", "import ensurepip, venv"],
        packages: &["python3", "python3-venv"],
        modules: &["event_types", "factorial_sdk", "guide", "languages", "verifying"],
    },
    Need { probe: &["make", "--version"], packages: &["make"], modules: &["guide", "languages"] },
    Need { probe: &["faketime", "--version"], packages: &["faketime"], modules: &["purity"] },
    Need { probe: &["sh", postgres::SCRIPT, "--look"], packages: &["postgresql"], modules: &[] },
];

/// The tests that run.
pub(crate) enum Scope<'a> {
    Everything,
    /// These modules of the suite, and whether anything runs on PostgreSQL.
    Modules(&'a BTreeSet<String>, bool),
}

impl Need {
    fn is_used_by(&self, scope: &Scope<'_>) -> bool {
        match scope {
            Scope::Everything => true,
            Scope::Modules(_, postgres) if self.modules.is_empty() => *postgres,
            Scope::Modules(modules, _) => self.modules.iter().any(|module| modules.contains(*module)),
        }
    }
}

/// Installs missing programs with apt-get, or returns the command if the user is not root.
pub(crate) fn install(root: &Path, scope: &Scope<'_>) -> Result<(), Failure> {
    let packages = missing(root, NEEDS.iter().filter(|need| need.is_used_by(scope)));
    if packages.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !is_root() {
        return Err(format!("the tests need packages that are not installed: run `{install}` as root"));
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

fn missing<'a>(root: &Path, needs: impl Iterator<Item = &'a Need>) -> Vec<&'static str> {
    needs.filter(|need| !succeeds(root, need.probe)).flat_map(|need| need.packages).copied().collect()
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
    fn lists_only_the_packages_of_missing_programs() {
        let needs = [
            Need { probe: &["true"], packages: &["there"], modules: &[] },
            Need { probe: &["no-such-program-anywhere"], packages: &["absent", "its-library"], modules: &[] },
            Need { probe: &["false"], packages: &["broken"], modules: &[] },
        ];
        assert_eq!(missing(Path::new("."), needs.iter()), ["absent", "its-library", "broken"]);
    }

    #[test]
    fn a_scope_uses_only_the_programs_of_its_modules() {
        let used = |scope: &Scope<'_>| {
            let needs = NEEDS.iter().filter(|need| need.is_used_by(scope));
            needs.filter_map(|need| need.packages.last().copied()).collect::<Vec<_>>().join(" ")
        };
        let modules = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(used(&Scope::Everything), "npm python3-venv make faketime postgresql");
        assert_eq!(used(&Scope::Modules(&modules(&["hostile"]), true)), "postgresql");
        assert_eq!(used(&Scope::Modules(&modules(&["oauth", "purity"]), false)), "npm faketime");
        assert_eq!(used(&Scope::Modules(&modules(&[]), false)), "");
    }
}
