//! Downloads Debian's package `rust-src` of the compiler's own version.
//!
//! Uses apt with a private configuration and state: it verifies the archive's signature with Debian's keyring, and the
//! package against the signed index. The machine's own apt lists and packages are neither used nor changed, and root is
//! not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{WasmTargetError, cleaned, run};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The suite that contains current compilers.
const SUITE: &str = "trixie-backports";
/// Suites that identify a source as a mirror of Debian itself.
const DEBIAN_SUITES: [&str; 6] = ["bookworm", "trixie", "stable", "oldstable", "testing", "sid"];

/// Downloads and unpacks the source into `work`; returns its folder `library`.
pub(super) fn rust_src(
    apt_dir: &Path,
    version: &str,
    work: &Path,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, WasmTargetError> {
    if !Path::new(KEYRING).exists() {
        let why = format!("{KEYRING} is missing: install the package debian-archive-keyring (on Debian)");
        return Err(WasmTargetError::NoSource(why));
    }
    let config = configure(&mirror(apt_dir)?, work)?;
    progress("looking for the compiler's source in Debian …");
    run("`apt-get update`", apt("apt-get", &config, work).args(["-q", "update"]))?;
    let offered = run("`apt-cache madison`", apt("apt-cache", &config, work).args(["madison", "rust-src"]))?;
    let Some(package) = matching(&offered, version) else {
        return Err(WasmTargetError::NoSource(format!("Debian's {SUITE} has no rust-src {version}")));
    };
    progress(&format!("downloading rust-src {package} …"));
    run(
        "`apt-get download`",
        apt("apt-get", &config, work).args(["-q", "download"]).arg(format!("rust-src={package}")),
    )?;
    unpack(work, version)
}

fn apt(program: &str, config: &Path, work: &Path) -> Command {
    let mut command = cleaned(program, work);
    command.env("LC_ALL", "C").arg("-c").arg(config);
    command
}

/// Writes apt's private configuration; apt keeps all of its state in `work`.
fn configure(mirror: &str, work: &Path) -> Result<PathBuf, WasmTargetError> {
    let apt = work.join("apt");
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        let folder = apt.join(folder);
        fs::create_dir_all(&folder).map_err(WasmTargetError::io(&folder))?;
    }
    let write = |name: &str, text: &str| {
        let path = apt.join(name);
        fs::write(&path, text).map_err(WasmTargetError::io(&path)).map(|()| path)
    };
    write("status", "")?;
    write("sources.list", &format!("deb [signed-by={KEYRING}] {mirror} {SUITE} main\n"))?;
    let dir = apt.display();
    // The hooks of the machine's own configuration would clean the machine's own cache. `Sandbox::User` matters only for
    // root: apt's own user cannot write into a private folder.
    write(
        "apt.conf",
        &format!(
            "#clear APT::Update;\n#clear DPkg;\n\
             Dir::Etc::sourcelist \"{dir}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::State \"{dir}/state\";\nDir::State::status \"{dir}/status\";\nDir::Cache \"{dir}/cache\";\n\
             APT::Sandbox::User \"root\";\nAPT::Update::Error-Mode \"any\";\n"
        ),
    )
}

fn unpack(work: &Path, version: &str) -> Result<PathBuf, WasmTargetError> {
    let entries = fs::read_dir(work).map_err(WasmTargetError::io(work))?;
    let package = entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "deb"));
    let Some(package) = package else {
        let detail = format!("there is no package in {}", work.display());
        return Err(WasmTargetError::Step { what: "`apt-get download`".into(), detail });
    };
    let source = work.join("source");
    run("unpacking rust-src", cleaned("dpkg", work).arg("-x").arg(&package).arg(&source))?;
    let library = source.join(format!("usr/src/rustc-{version}/library"));
    fs::metadata(&library).map_err(WasmTargetError::io(&library))?;
    Ok(library)
}

/// Returns the version in the lines of `apt-cache madison` (`package | version | source`) whose upstream part is `version`.
fn matching<'a>(madison: &'a str, version: &str) -> Option<&'a str> {
    let versions = madison.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
    versions.into_iter().find(|offered| {
        offered.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-']))
    })
}

/// Returns the address of the Debian mirror that this machine's apt uses.
fn mirror(apt_dir: &Path) -> Result<String, WasmTargetError> {
    let mut files = vec![apt_dir.join("sources.list")];
    if let Ok(entries) = fs::read_dir(apt_dir.join("sources.list.d")) {
        let mut parts: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    let found = files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "list" => one_line_mirror(&text),
            "sources" => deb822_mirror(&text),
            _ => None,
        }
    });
    found.ok_or_else(|| {
        let why = format!(
            "{} names no Debian mirror, from which the compiler's source could be downloaded: this works only on Debian",
            apt_dir.display()
        );
        WasmTargetError::NoSource(why)
    })
}

/// Finds the mirror in lines of the form `deb [options] URI suite component…`, sources.list(5).
fn one_line_mirror(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest =
            rest.strip_prefix('[').map_or(Some(rest), |options| options.split_once(']').map(|(_, rest)| rest))?;
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        usable(uri, &[suite], &words.collect::<Vec<_>>()).then(|| uri.to_owned())
    })
}

/// Finds the mirror in stanzas of `Field: value…`, where indented lines continue a value, deb822(5).
fn deb822_mirror(text: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).find_map(|stanza| {
        let words = |name: &str| -> Vec<&str> {
            let mut inside = false;
            let mut words = Vec::new();
            for line in stanza {
                let mut value = *line;
                if !line.starts_with([' ', '\t']) {
                    let Some((field, rest)) = line.split_once(':') else { continue };
                    inside = field.eq_ignore_ascii_case(name);
                    value = rest;
                }
                if inside {
                    words.extend(value.split_whitespace());
                }
            }
            words
        };
        let uri = words("URIs").first().copied()?;
        let enabled = words("Enabled").first().is_none_or(|value| !value.eq_ignore_ascii_case("no"));
        let fits = enabled && words("Types").contains(&"deb") && usable(uri, &words("Suites"), &words("Components"));
        fits.then(|| uri.to_owned())
    })
}

fn usable(uri: &str, suites: &[&str], components: &[&str]) -> bool {
    let fetchable = uri.starts_with("http://") || uri.starts_with("https://");
    fetchable && components.contains(&"main") && suites.iter().any(|suite| DEBIAN_SUITES.contains(suite))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_formats() {
        let list = "# deb http://commented/ bookworm main\n\
                    deb-src http://source/ bookworm main\n\
                    deb https://vendor.example/apt bookworm-vendor main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib\n";
        assert_eq!(one_line_mirror(list).as_deref(), Some("http://mirror.example/debian"));

        let sources = "Types: deb\nURIs: http://security.example/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
                       Types: deb\n# a comment\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\nEnabled: no\n\n\
                       Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites:\n bookworm\n bookworm-updates\nComponents: main\n";
        assert_eq!(deb822_mirror(sources).as_deref(), Some("http://mirror.example/debian"));
    }

    #[test]
    fn sources_of_other_systems_and_without_an_address_are_ignored() {
        assert_eq!(one_line_mirror("deb http://archive.example/ubuntu jammy main\n"), None);
        assert_eq!(one_line_mirror("deb cdrom:[Debian]/ bookworm main\ndeb [broken\ndeb\n"), None);
        assert_eq!(deb822_mirror("Types: deb\nSuites: bookworm\nComponents: main\n"), None);
    }

    #[test]
    fn the_machines_own_sources_are_read() {
        let apt = tempfile::tempdir().unwrap();
        let parts = apt.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        fs::write(parts.join("a.sources.save"), "Types: deb\nURIs: http://old/\nSuites: bookworm\nComponents: main\n")
            .unwrap();
        let error = mirror(apt.path()).unwrap_err().to_string();
        assert!(error.contains("names no Debian mirror") && error.contains("rustup target add"), "{error}");
        fs::write(parts.join("b.sources"), "Types: deb\nURIs: http://m/debian\nSuites: trixie\nComponents: main\n")
            .unwrap();
        assert_eq!(mirror(apt.path()).unwrap(), "http://m/debian");
    }

    #[test]
    fn only_the_version_of_the_compiler_matches() {
        let madison = " rust-src | 1.95.10+dfsg1-1 | http://m trixie-backports/main amd64 Packages\n \
                        rust-src | 1.95.1+dfsg1-2~bpo13+1 | http://m trixie-backports/main amd64 Packages\n";
        assert_eq!(matching(madison, "1.95.1"), Some("1.95.1+dfsg1-2~bpo13+1"));
        assert_eq!(matching(madison, "1.95"), None);
        assert_eq!(matching(madison, "1.95.2"), None);
        assert_eq!(matching("", "1.95.1"), None);
    }
}
