//! Builds the plugins that ship with Posthaste, and checks that the committed components match the sources.
//!
//! `plugins/dist/*.wasm` is committed so that `cargo build` alone, without any wasm target, gives the whole binary.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Failure, process};

/// The sources of a plugin in its folder, of which it has some.
const OWN: [&str; 6] = ["Cargo.toml", "build.rs", "package.json", "package-lock.json", "src", "wit"];
/// The sources of every plugin in Rust, besides its own.
const SHARED: [&str; 3] = ["plugin-sdk/Cargo.toml", "plugin-sdk/src", "plugin-sdk/wit"];

/// A crate in the workspace that some plugins use: its name in their manifests, and its sources.
const ENGINES: [(&str, [&str; 2]); 2] = [
    ("posthaste-jinja", ["plugins/engine/jinja/Cargo.toml", "plugins/engine/jinja/src"]),
    ("posthaste-pattern", ["plugins/engine/pattern/Cargo.toml", "plugins/engine/pattern/src"]),
];

/// Builds `plugins/dist/*.wasm` and records in `plugins/dist/SOURCES` the digest of the sources and of the component of each.
pub(crate) fn build_dist(root: &Path) -> Result<(), Failure> {
    process::build_workspace(root)?;
    let dist = dist(root);
    let stale = stale(root)?;
    // A component in JavaScript whose sources are the same would only get other bytes.
    let is_kept =
        |name: &str| is_javascript(root, name) && !stale.iter().any(|(file, _)| *file == component(&dist, name));
    build_all(root, &dist, names(root)?.into_iter().filter(|name| !is_kept(name)))?;
    let mut sources = String::new();
    for name in names(root)? {
        sources.push_str(&format!("{}  {}  {name}\n", digest(root, &name)?, file_digest(&component(&dist, &name))?));
    }
    write(&dist.join("SOURCES"), &sources)
}

/// Builds every plugin from source into `to`.
pub(crate) fn build(root: &Path, to: &Path) -> Result<(), Failure> {
    build_all(root, to, names(root)?.into_iter())
}

fn build_all(root: &Path, to: &Path, names: impl Iterator<Item = String>) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    let posthaste = process::posthaste()?;
    for name in names {
        let file = component(to, &name);
        let mut command = Command::new(&posthaste);
        command.current_dir(root).args(["plugin", "build"]).arg(Path::new("plugins").join(&name)).arg("-o").arg(file);
        process::run(&format!("posthaste plugin build plugins/{name}"), &mut command)?;
    }
    Ok(())
}

/// Checks that the committed components are what their sources give: those that were built into `fresh`. See [`is_javascript`] for
/// those whose bytes cannot be compared: for them it checks that they build.
///
/// # Errors
/// The first that differs.
pub(crate) fn compare(root: &Path, fresh: &Path) -> Result<(), Failure> {
    for name in names(root)?.into_iter().filter(|name| !is_javascript(root, name)) {
        let (committed, built) = (component(&dist(root), &name), component(fresh, &name));
        if file_digest(&committed)? != file_digest(&built)? {
            return Err(format!(
                "{} is not what its sources give ({}): run `cargo xtask plugins` and commit plugins/dist",
                committed.display(),
                built.display()
            ));
        }
    }
    Ok(())
}

/// Returns the files in `plugins/dist` that do not match the sources, each with the reason.
pub(crate) fn stale(root: &Path) -> Result<Vec<(PathBuf, &'static str)>, Failure> {
    let dist = dist(root);
    let recorded = fs::read_to_string(dist.join("SOURCES")).unwrap_or_default();
    let names = names(root)?;
    let mut stale = Vec::new();
    for name in &names {
        let file = component(&dist, name);
        if !file.is_file() {
            stale.push((file, "is missing"));
            continue;
        }
        let mut lines = recorded.lines().map(|line| line.split("  ").collect::<Vec<_>>());
        let recorded = lines.find(|line| line.get(2) == Some(&&**name)).unwrap_or_default();
        if recorded.first() != Some(&&*digest(root, name)?) {
            stale.push((file, "was built from other sources"));
        } else if recorded.get(1) != Some(&&*file_digest(&file)?) {
            stale.push((file, "is not the file that was built from them"));
        }
    }
    for entry in fs::read_dir(&dist).into_iter().flatten().flatten() {
        let file = entry.path();
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        if file.extension().is_some_and(|extension| extension == "wasm") && !names.iter().any(|name| *name == stem) {
            stale.push((file, "belongs to no plugin"));
        }
    }
    Ok(stale)
}

fn dist(root: &Path) -> PathBuf {
    root.join("plugins/dist")
}

fn component(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.wasm"))
}

fn file_digest(file: &Path) -> Result<String, Failure> {
    sha256(&fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?)
}

/// Returns whether the plugin in this folder is JavaScript. Its compiler puts a snapshot of the started interpreter into the component,
/// whose hash seeds are others each time: it gives the same program, and not the same bytes.
fn is_javascript(root: &Path, name: &str) -> bool {
    root.join("plugins").join(name).join("package.json").is_file()
}

/// Returns the folders in `plugins` that hold a crate or an npm package, sorted.
fn names(root: &Path) -> Result<Vec<String>, Failure> {
    let plugins = root.join("plugins");
    let entries = fs::read_dir(&plugins).map_err(|error| format!("{}: {error}", plugins.display()))?;
    let is_plugin = |folder: &PathBuf| ["Cargo.toml", "package.json"].iter().any(|file| folder.join(file).is_file());
    let plugins = entries.flatten().map(|entry| entry.path()).filter(is_plugin);
    let mut names: Vec<_> = plugins.filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Returns the SHA-256 of a plugin's sources: path, length and content of each file, sorted by path.
fn digest(root: &Path, name: &str) -> Result<String, Failure> {
    let own = OWN.map(|source| format!("plugins/{name}/{source}"));
    let manifest = fs::read_to_string(root.join(&own[0])).unwrap_or_default();
    let engines = ENGINES.into_iter().filter(|(engine, _)| manifest.contains(engine)).flat_map(|(_, sources)| sources);
    let mut files = Vec::new();
    let shared = SHARED.into_iter().filter(|_| !is_javascript(root, name));
    for source in own.iter().map(String::as_str).chain(shared).chain(engines) {
        collect(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut text = Vec::new();
    for file in files {
        let content = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let path = file.strip_prefix(root).unwrap_or(&file);
        text.extend(format!("{} {}\n", path.display(), content.len()).into_bytes());
        text.extend(content);
    }
    sha256(&text)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        for entry in entries.flatten() {
            collect(&entry.path(), files)?;
        }
    } else if path.is_file() {
        files.push(path.to_owned());
    }
    Ok(())
}

/// Runs coreutils' `sha256sum`: the standard library has no digests, and xtask compiles in seconds because it has no
/// dependencies.
fn sha256(bytes: &[u8]) -> Result<String, Failure> {
    let mut command = Command::new("sha256sum");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| process::not_started(command.get_program(), &error))?;
    let failed = |error| format!("sha256sum failed: {error}");
    // The digest comes after the end of the input: the pipe is dropped at the end of the statement.
    child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(bytes)).map_err(failed)?;
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let digest = text.split_whitespace().next().filter(|_| output.status.success());
    digest.map(str::to_owned).ok_or_else(|| format!("sha256sum failed ({})", output.status))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::scratch::Scratch;

    fn house() -> Scratch {
        let house = Scratch::new();
        house
            .write("plugin-sdk/Cargo.toml", "sdk")
            .write("plugin-sdk/src/lib.rs", "")
            .write("plugin-sdk/wit/t.wit", "");
        house
            .write("plugins/mask/Cargo.toml", "mask")
            .write("plugins/mask/src/lib.rs", "")
            .write("plugins/README.md", "");
        house
    }

    fn record_sources(house: &Scratch) {
        let (sources, component) = (digest(house.root(), "mask").unwrap(), sha256(b"wasm").unwrap());
        let line = format!("{sources}  {component}  mask\n");
        house.write("plugins/dist/mask.wasm", "wasm").write("plugins/dist/SOURCES", &line);
    }

    fn complaints(house: &Scratch) -> Vec<String> {
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        stale(house.root()).unwrap().iter().map(|(file, why)| format!("{} {why}", name(file))).collect()
    }

    #[test]
    fn the_digest_is_sha256() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc").unwrap(), abc);
        assert_eq!(sha256(&vec![0; 1 << 20]).unwrap().len(), 64);
    }

    #[test]
    fn a_component_is_stale_once_a_source_changes() {
        let house = house();
        assert_eq!(complaints(&house), ["mask.wasm is missing"]);
        record_sources(&house);
        assert_eq!(complaints(&house), [""; 0]);
        for source in [
            "plugins/mask/src/more.rs",
            "plugins/mask/build.rs",
            "plugins/mask/Cargo.toml",
            "plugin-sdk/src/lib.rs",
            "plugin-sdk/wit/t.wit",
        ] {
            house.write(source, "changed");
            assert_eq!(complaints(&house), ["mask.wasm was built from other sources"], "{source}");
            record_sources(&house);
        }
        house.write("plugins/mask/cases/one.json", "{}");
        assert_eq!(complaints(&house), [""; 0]);
    }

    #[test]
    fn an_engine_is_a_source_of_the_plugins_that_use_it() {
        let house = house();
        house.write("plugins/engine/jinja/Cargo.toml", "jinja").write("plugins/engine/jinja/src/lib.rs", "");
        record_sources(&house);
        house.write("plugins/engine/jinja/src/lib.rs", "changed");
        assert_eq!(complaints(&house), [""; 0]);
        house.write("plugins/mask/Cargo.toml", "posthaste-jinja.workspace = true");
        record_sources(&house);
        assert_eq!(complaints(&house), [""; 0]);
        for source in ["plugins/engine/jinja/src/lib.rs", "plugins/engine/jinja/Cargo.toml"] {
            house.write(source, "changed again");
            assert_eq!(complaints(&house), ["mask.wasm was built from other sources"], "{source}");
            record_sources(&house);
        }
    }

    #[test]
    fn a_component_that_was_replaced_is_reported() {
        let house = house();
        record_sources(&house);
        house.write("plugins/fresh/mask.wasm", "wasm");
        let fresh = house.root().join("plugins/fresh");
        assert_eq!(compare(house.root(), &fresh), Ok(()));
        house.write("plugins/dist/mask.wasm", "another");
        assert_eq!(complaints(&house), ["mask.wasm is not the file that was built from them"]);
        assert!(compare(house.root(), &fresh).unwrap_err().contains("mask.wasm is not what its sources give"));
    }

    #[test]
    fn a_component_without_a_plugin_is_reported() {
        let house = house();
        record_sources(&house);
        house.write("plugins/dist/gone.wasm", "");
        assert_eq!(complaints(&house), ["gone.wasm belongs to no plugin"]);
    }
}
