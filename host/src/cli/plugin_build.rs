//! `posthaste plugin build`: from a plugin's source to one component file. One file per language.

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
pub struct Built {
    /// The component.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: usize,
    /// How long it took, a wasm target that had to be made first included.
    pub seconds: f64,
}

/// Why a plugin could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The folder holds no plugin that can be built.
    #[error("{}: {why}", folder.display())]
    NotAPlugin {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it and how to mend it.
        why: String,
    },
    /// There is no wasm target to build with.
    #[error(transparent)]
    WasmTarget(#[from] WasmTargetError),
    /// cargo could not be run, or reported errors, which it has printed.
    #[error("{0}")]
    Cargo(String),
    /// A language's tool is missing, or reported errors, which it has printed.
    #[error("{0}")]
    Tool(String),
    /// What was built cannot be made a component.
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
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BuildError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What a language's tools made: a component, or a core module that carries wit-bindgen's metadata.
struct Made {
    /// The plugin's name, which names the file where no other is given.
    name: String,
    bytes: Vec<u8>,
}

/// How a plugin of one language is built, from its folder.
type Builder = fn(&Path) -> Result<Made, BuildError>;

/// The file that tells each language, and its builder.
const LANGUAGES: [(&str, Builder); 4] = [
    ("Cargo.toml", rust::build),
    ("package.json", javascript::build),
    ("pyproject.toml", python::build),
    ("plugin.c", c::build),
];

/// Builds the plugin in the folder `path` to the component `output`, by default `NAME.wasm` in the current folder. NAME is the
/// crate's name; in the other languages the folder's.
///
/// Blocks; progress and the tools' own messages go to stderr.
///
/// # Errors
/// The folder holds no plugin, a tool is missing, or the plugin does not compile to a component.
pub fn build(path: &Path, output: Option<&Path>) -> Result<Built, BuildError> {
    let started = Instant::now();
    let folder = fs::canonicalize(path).map_err(BuildError::io(path))?;
    let found = LANGUAGES.iter().find(|(marker, _)| folder.join(marker).is_file());
    let Some((_, builder)) = found else {
        let markers = LANGUAGES.map(|(marker, _)| marker).join(", ");
        let why = format!("this is no plugin's folder: it has none of {markers}; `posthaste plugin new` makes one");
        return Err(BuildError::NotAPlugin { folder: path.to_owned(), why });
    };
    let made = builder(&folder)?;
    let file = output.map_or_else(|| PathBuf::from(format!("{}.wasm", made.name)), Path::to_owned);
    let component = componentize(&made.bytes)
        .map_err(|refusal| BuildError::Component { plugin: made.name, why: refusal.to_string() })?;
    write_whole(&file, &component)?;
    Ok(Built { file, size: component.len(), seconds: started.elapsed().as_secs_f64() })
}

/// Tells what takes long.
fn say(text: &str) {
    eprintln!("posthaste: {text}");
}

/// The folder's own name, which is the plugin's where no manifest that we read says it.
fn folder_name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| "plugin".into(), |name| name.to_string_lossy().into_owned())
}

/// Runs a tool to its end; all that it prints goes to stderr. `mend` says what to do where it is missing.
fn run(tool: &mut Command, mend: &str) -> Result<(), BuildError> {
    let program = Path::new(tool.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let status = tool.stdin(Stdio::null()).stdout(io::stderr()).status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BuildError::Tool(format!("`{program}` is missing: {mend}")),
        _ => BuildError::Tool(format!("`{program}` cannot be run: {error}")),
    })?;
    let arguments: Vec<_> = tool.get_args().take(3).map(|argument| argument.to_string_lossy()).collect();
    let failed = || BuildError::Tool(format!("`{program} {} …` failed ({status}), see above", arguments.join(" ")));
    if status.success() { Ok(()) } else { Err(failed()) }
}

/// Lets a tool make a file in a folder of its own, and reads it.
fn output_of(make: impl FnOnce(&Path) -> Result<(), BuildError>) -> Result<Vec<u8>, BuildError> {
    let folder = tempfile::tempdir().map_err(BuildError::io(Path::new("a temporary folder")))?;
    let file = folder.path().join("plugin.wasm");
    make(&file)?;
    fs::read(&file).map_err(BuildError::io(&file))
}

fn write_whole(file: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As every new file: the process's umask takes from it.
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
    fn says_what_is_wrong_with_a_folder_that_is_no_plugin() {
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
    fn the_output_is_replaced_whole_and_readable_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.wasm");
        fs::write(&file, "old and longer").unwrap();
        write_whole(&file, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o600, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = write_whole(&folder.path().join("absent/x.wasm"), b"").unwrap_err().to_string();
        assert!(error.contains("absent"), "{error}");
    }
}
