//! `posthaste plugin build`: builds a plugin's source to one component file. One module per language.

mod c;
mod javascript;
mod python;
mod rust;
mod venv;

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use thiserror::Error;

use crate::sandbox::componentize;

use super::wasm_target::WasmTargetError;

/// A plugin that has been built.
#[derive(Debug)]
pub struct BuiltPlugin {
    /// The component file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: usize,
    /// Duration of the build in seconds, including that of a wasm target.
    pub seconds: f64,
}

/// Why a plugin could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The folder contains no plugin that can be built.
    #[error("{}: {why}", folder.display())]
    NotAPlugin {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it and how to fix it.
        why: String,
    },
    /// There is no wasm target.
    #[error(transparent)]
    WasmTarget(#[from] WasmTargetError),
    /// cargo could not be run, or failed and has printed the errors.
    #[error("{0}")]
    Cargo(String),
    /// A tool of the language is missing, or failed and has printed the errors.
    #[error("{0}")]
    Tool(String),
    /// The built module cannot be converted to a component.
    #[error("{plugin}: {why}")]
    Component {
        /// The plugin's name.
        plugin: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl BuildError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// The output of a language's tools: a component, or a core module with wit-bindgen's metadata.
struct BuiltModule {
    /// The plugin's name, from which the default output file is derived.
    name: String,
    bytes: Vec<u8>,
}

/// Builds a plugin of one language in its folder.
type Builder = fn(&Path) -> Result<BuiltModule, BuildError>;

/// A language of plugins.
struct PluginLanguage {
    /// The file that identifies the language.
    marker: &'static str,
    build: Builder,
}

const LANGUAGES: [PluginLanguage; 4] = [
    PluginLanguage { marker: "Cargo.toml", build: rust::build },
    PluginLanguage { marker: "package.json", build: javascript::build },
    PluginLanguage { marker: "pyproject.toml", build: python::build },
    PluginLanguage { marker: "plugin.c", build: c::build },
];

/// Builds the plugin in the folder `path` to the component `output`, by default `NAME.wasm` in the current folder. NAME
/// is the name of the crate, or of the folder in the other languages.
///
/// Blocks; progress and the tools' own messages go to stderr.
///
/// # Errors
/// The folder contains no plugin, a tool is missing, or the plugin does not compile to a component.
pub fn build(path: &Path, output: Option<&Path>) -> Result<BuiltPlugin, BuildError> {
    let started = Instant::now();
    let folder = fs::canonicalize(path).map_err(BuildError::io(path))?;
    let Some(language) = LANGUAGES.iter().find(|language| folder.join(language.marker).is_file()) else {
        let markers = LANGUAGES.map(|language| language.marker).join(", ");
        let why =
            format!("the folder contains no plugin: it has none of {markers}; `posthaste plugin new` creates one");
        return Err(BuildError::NotAPlugin { folder: path.to_owned(), why });
    };
    let module = (language.build)(&folder)?;
    let file = output.map_or_else(|| PathBuf::from(format!("{}.wasm", module.name)), Path::to_owned);
    let component = componentize(&module.bytes)
        .map_err(|refusal| BuildError::Component { plugin: module.name, why: refusal.to_string() })?;
    write_atomically(&file, &component)?;
    Ok(BuiltPlugin { file, size: component.len(), seconds: started.elapsed().as_secs_f64() })
}

/// Prints the start of a step that takes long.
fn print_progress(text: &str) {
    eprintln!("posthaste: {text}");
}

/// Returns the name of the folder: the plugin's name in languages whose manifest is not read.
fn folder_name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| "plugin".into(), |name| name.to_string_lossy().into_owned())
}

/// Runs a tool to completion, with its output on stderr. `advice` says how to install it if it is missing.
fn run(tool: &mut Command, advice: &str) -> Result<(), BuildError> {
    let program = Path::new(tool.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let status = tool.stdin(Stdio::null()).stdout(io::stderr()).status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BuildError::Tool(format!("`{program}` is missing: {advice}")),
        _ => BuildError::Tool(format!("`{program}` cannot be run: {error}")),
    })?;
    let arguments: Vec<_> = tool.get_args().take(3).map(|argument| argument.to_string_lossy()).collect();
    let failed = || BuildError::Tool(format!("`{program} {} …` failed ({status}), see above", arguments.join(" ")));
    if status.success() { Ok(()) } else { Err(failed()) }
}

/// Runs a tool that writes a file in a temporary folder, and returns the content of the file.
fn output_of(make: impl FnOnce(&Path) -> Result<(), BuildError>) -> Result<Vec<u8>, BuildError> {
    let folder = tempfile::tempdir().map_err(BuildError::io(Path::new("a temporary folder")))?;
    let file = folder.path().join("plugin.wasm");
    make(&file)?;
    fs::read(&file).map_err(BuildError::io(&file))
}

fn write_atomically(file: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The mode of every new file; the process's umask restricts it.
    let writable = Permissions::from_mode(0o666);
    let made = tempfile::Builder::new().prefix(".posthaste-").permissions(writable).tempfile_in(folder);
    let mut temporary = made.map_err(BuildError::io(folder))?;
    temporary.write_all(bytes).map_err(BuildError::io(file))?;
    temporary.persist(file).map_err(|error| BuildError::io(file)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        folder
    }

    fn refusal(files: &[(&str, &str)]) -> String {
        let folder = plugin(files);
        let output = folder.path().join("out.wasm");
        let error = build(folder.path(), Some(&output)).unwrap_err();
        assert!(!output.exists());
        error.to_string()
    }

    #[test]
    fn the_error_says_why_a_folder_contains_no_plugin() {
        assert!(refusal(&[]).contains("none of Cargo.toml, package.json, pyproject.toml, plugin.c;"));
        assert!(refusal(&[("package.json", "{}")]).contains("`main`"));
        assert!(refusal(&[("package.json", "{")]).contains("package.json: "));
        assert!(refusal(&[("pyproject.toml", "")]).contains("requirements.txt"));
        assert!(refusal(&[("plugin.c", "")]).contains("requirements.txt"));
        let workspace = refusal(&[("Cargo.toml", "[workspace]\nmembers = []\n")]);
        assert!(workspace.contains("this is a workspace"), "{workspace}");
        let manifest = "[package]\nname = \"x\"\nversion = \"0.0.0\"\n[workspace]\n";
        let no_cdylib = refusal(&[("Cargo.toml", manifest), ("src/lib.rs", "")]);
        assert!(no_cdylib.contains("add `crate-type = [\"cdylib\"]`"), "{no_cdylib}");
        assert!(refusal(&[("Cargo.toml", "not toml")]).contains("cargo cannot read"));
        let nowhere = build(Path::new("/no/such/plugin"), None).unwrap_err().to_string();
        assert!(nowhere.starts_with("/no/such/plugin: "), "{nowhere}");
    }

    #[test]
    fn the_output_is_replaced_atomically_and_has_the_mode_of_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.wasm");
        fs::write(&file, "old and longer").unwrap();
        write_atomically(&file, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o600, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = write_atomically(&folder.path().join("absent/x.wasm"), b"").unwrap_err().to_string();
        assert!(error.contains("absent"), "{error}");
    }
}
