//! The environment variables of the flags: `POSTHASTE_<FLAG>`, the name in upper case, with `_` for `-`.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// How variables of Posthaste begin.
const PREFIX: &str = "POSTHASTE_";
/// How the variables begin that Kubernetes sets for a service with the name `posthaste`.
const KUBERNETES: [&str; 2] = ["POSTHASTE_SERVICE_", "POSTHASTE_PORT_"];
/// The similarity (Jaro) from which on a name is taken for a misspelling of another.
const SIMILAR: f64 = 0.8;

/// Adds its variable to every flag.
pub(super) fn with_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| match argument.get_long() {
        Some(long) => {
            let variable = variable_of(long);
            argument.env(variable)
        }
        None => argument,
    });
    command.mut_subcommands(with_environment)
}

fn variable_of(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))
}

/// Returns a warning for each of these variables that belongs to no flag of any command.
pub(super) fn warnings(command: &clap::Command, names: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut known = BTreeMap::new();
    collect(command, &mut known);
    let ours = names.filter_map(|name| name.into_string().ok()).filter(|name| {
        name.starts_with(PREFIX) && !known.contains_key(name) && !KUBERNETES.iter().any(|set| name.starts_with(set))
    });
    ours.map(|name| warning(&name, &known)).collect()
}

/// Collects the variables of all flags with the names of the flags.
fn collect(command: &clap::Command, known: &mut BTreeMap<String, String>) {
    for long in command.get_arguments().filter_map(clap::Arg::get_long) {
        known.insert(variable_of(long), long.to_owned());
    }
    for subcommand in command.get_subcommands() {
        collect(subcommand, known);
    }
}

fn warning(name: &str, known: &BTreeMap<String, String>) -> String {
    let similar =
        known.iter().map(|(variable, flag)| (strsim::jaro(unprefixed(variable), unprefixed(name)), variable, flag));
    let nearest = similar.filter(|(similarity, ..)| *similarity > SIMILAR).max_by(|(a, ..), (b, ..)| a.total_cmp(b));
    let name = name.escape_debug();
    match nearest {
        Some((_, variable, flag)) => {
            format!(
                "the environment variable {name} belongs to no flag and has no effect; the nearest is {variable} (--{flag})"
            )
        }
        None => format!(
            "the environment variable {name} belongs to no flag and has no effect; `posthaste serve --help` shows all"
        ),
    }
}

fn unprefixed(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_are_warned_about_with_the_nearest_flag() {
        let flag = |name: &'static str| clap::Arg::new(name).long(name);
        let serve = clap::Command::new("serve").arg(flag("database")).arg(flag("data-dir"));
        let command = clap::Command::new("posthaste").subcommand(serve);
        let warnings = |name: &str| warnings(&command, [OsString::from(name)].into_iter());
        for name in ["POSTHASTE_DATABASE", "POSTHASTE_DATA_DIR", "PATH", "posthaste_x", "POSTHASTE_PORT_80_TCP"] {
            assert_eq!(warnings(name), [""; 0], "{name}");
        }
        let [text] = &warnings("POSTHASTE_DATABSE")[..] else { panic!() };
        assert!(text.contains("POSTHASTE_DATABSE") && text.contains("POSTHASTE_DATABASE (--database)"), "{text}");
        let [text] = &warnings("POSTHASTE_DATADIR")[..] else { panic!() };
        assert!(text.contains("(--data-dir)"), "{text}");
        let [text] = &warnings("POSTHASTE_X\nY")[..] else { panic!() };
        assert!(!text.contains('\n') && text.contains("--help"), "{text}");
    }
}
