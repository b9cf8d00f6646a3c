//! The template files of each language, embedded from `host/assets/scaffold`, the SDK and the WIT.

use std::borrow::Cow;

use super::Lang;

type File = (&'static str, &'static [u8]);

macro_rules! embedded {
    ($folder:literal: $($path:literal)*) => {
        &[$(($path, include_bytes!(concat!("../../../", $folder, "/", $path)))),*]
    };
}

const RUST: &[File] = embedded!("assets/scaffold/rust":
    ".gitignore" "Cargo.toml" "README.md" "cases/drops_other_events.json" "cases/refuses_a_misspelt_config.json" "cases/welcomes.json"
    "config.json" "event.json" "src/lib.rs" "tests/cases.rs");

const JS: &[File] = embedded!("assets/scaffold/js":
    ".gitignore" "README.md" "component.js" "config.json" "event.json" "package-lock.json" "package.json" "plugin.js" "plugin.test.js");

const TS: &[File] = embedded!("assets/scaffold/ts":
    ".gitignore" "README.md" "component.ts" "config.json" "event.json" "package-lock.json" "package.json" "plugin.test.js" "plugin.ts"
    "posthaste.d.ts" "tsconfig.json");

const PYTHON: &[File] = embedded!("assets/scaffold/python":
    ".gitignore" "README.md" "component.py" "config.json" "event.json" "plugin.py" "posthaste.py" "pyproject.toml" "requirements.txt"
    "test_plugin.py");

const C: &[File] = embedded!("assets/scaffold/c":
    ".gitignore" "Makefile" "README.md" "bindings/transform.c" "bindings/transform.h" "bindings/transform_component_type.o" "config.json"
    "event.json" "plugin.c" "requirements.txt" "test_plugin.c");

/// The contract, from its one source.
const WIT: &[u8] = include_bytes!("../../../../wit/v0.1/transform.wit");

/// A Rust plugin contains the SDK, because the SDK is in no registry yet.
const SDK: &[File] = embedded!("../plugin-sdk":
    "README.md" "src/config.rs" "src/error.rs" "src/event.rs" "src/json.rs" "src/json/document.rs" "src/json/find.rs" "src/json/get.rs"
    "src/json/level.rs" "src/json/matching.rs" "src/json/misread.rs" "src/json/pattern.rs" "src/json/place.rs" "src/json/pointer.rs"
    "src/json/strings.rs" "src/lib.rs" "src/log.rs" "src/outcome.rs" "src/testing.rs" "src/testing/file.rs" "src/wasm.rs");

const SDK_MANIFEST: &str = include_str!("../../../../plugin-sdk/Cargo.toml");
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");

/// Returns the paths of a language's template files in the new folder, and their contents.
pub(super) fn of(lang: Lang) -> Vec<(String, Cow<'static, [u8]>)> {
    let (own, sdk, wit) = match lang {
        Lang::Rust => (RUST, SDK, "posthaste-plugin/wit/transform.wit"),
        Lang::Js => (JS, &[][..], "wit/transform.wit"),
        Lang::Ts => (TS, &[][..], "wit/transform.wit"),
        Lang::Python => (PYTHON, &[][..], "wit/transform.wit"),
        Lang::C => (C, &[][..], "wit/transform.wit"),
    };
    let own = own.iter().map(|(path, content)| ((*path).to_owned(), Cow::from(*content)));
    let sdk = sdk.iter().map(|(path, content)| (format!("posthaste-plugin/{path}"), Cow::from(*content)));
    let manifest = (lang == Lang::Rust)
        .then(|| ("posthaste-plugin/Cargo.toml".to_owned(), Cow::from(sdk_manifest().into_bytes())));
    own.chain(sdk).chain([(wit.to_owned(), Cow::from(WIT))]).chain(manifest).collect()
}

/// Returns the SDK's manifest for use outside the workspace: each `x.workspace = true` is replaced by the workspace's line
/// for `x`, and the sections for the SDK's own tests and lints are omitted.
fn sdk_manifest() -> String {
    let sections = SDK_MANIFEST
        .split("\n[")
        .filter(|section| !section.starts_with("dev-dependencies]") && !section.starts_with("lints]"));
    let manifest = sections.collect::<Vec<_>>().join("\n[");
    let line = |line: &str| match line.strip_suffix(".workspace = true") {
        Some(key) => of_workspace(key).unwrap_or_default().to_owned(),
        None => line.to_owned(),
    };
    manifest.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// Returns the line of the workspace's manifest that sets `key`; each key is set once.
fn of_workspace(key: &str) -> Option<&'static str> {
    WORKSPACE.lines().find(|line| line.split_once(" = ").is_some_and(|(name, _)| name == key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Returns the files of a folder of the repository, without build output of the templates.
    fn committed(folder: &str) -> BTreeSet<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let (mut files, mut folders) = (BTreeSet::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let left = ["node_modules", "dist", ".venv", "__pycache__", "target"];
                if path.is_file() {
                    files.insert(path.strip_prefix(&root).unwrap().to_owned());
                } else if !left.iter().any(|name| path.ends_with(name)) {
                    folders.push(path);
                }
            }
        }
        files
    }

    fn embedded(files: &[File]) -> BTreeSet<PathBuf> {
        files.iter().map(|(path, _)| PathBuf::from(path)).collect()
    }

    #[test]
    fn every_file_of_a_template_is_embedded() {
        for (lang, files) in [("rust", RUST), ("js", JS), ("ts", TS), ("python", PYTHON), ("c", C)] {
            assert_eq!(embedded(files), committed(&format!("assets/scaffold/{lang}")), "{lang}");
        }
        let mut sdk = committed("../plugin-sdk");
        sdk.retain(|file| !file.starts_with("tests") && file != Path::new("Cargo.toml"));
        assert!(sdk.remove(Path::new("wit/transform.wit")), "the scaffold takes it from its source");
        assert_eq!(embedded(SDK), sdk);
    }

    #[test]
    fn the_sdks_manifest_needs_no_workspace() {
        let manifest = sdk_manifest();
        assert!(!manifest.contains("workspace") && !manifest.contains("proptest"), "{manifest}");
        for line in
            ["version = \"0.1.0\"", "edition = \"2024\"", "[target.'cfg(target_arch = \"wasm32\")'.dependencies]"]
        {
            assert!(manifest.lines().any(|found| found == line), "{line}: {manifest}");
        }
        let dependencies = ["serde", "serde_json", "serde_path_to_error", "wit-bindgen"];
        for name in dependencies {
            assert!(
                manifest.contains(&format!("\n{name} = {{ version = ")) || manifest.contains(&format!("\n{name} = \"")),
                "{manifest}"
            );
        }
    }
}
