//! `posthaste plugin new`: a folder with a plugin that works, to begin with.

mod files;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::{Args, ValueEnum};

use super::Failure;
use crate::domain::plugin::check_name;

/// Stands for the plugin's name in the templates.
const NAME: &str = "PLUGIN_NAME";

/// What to make.
#[derive(Args)]
pub struct New {
    /// The plugin's name, and the folder's: 1 to 63 of a-z 0-9 and -
    name: String,
    /// The language
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,
}

/// A language that plugins can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// Rust, with the SDK
    Rust,
    /// JavaScript; needs Node.js to build
    #[value(alias = "javascript")]
    Js,
    /// TypeScript; needs Node.js to build
    #[value(alias = "typescript")]
    Ts,
    /// Python; needs Python and its venv to build
    #[value(alias = "py")]
    Python,
    /// C; needs Python and its venv to build, which fetch the compiler
    C,
}

impl Lang {
    /// How its tests are run.
    fn test(self) -> &'static str {
        match self {
            Self::Rust => "cargo test",
            Self::Js => "npm test",
            Self::Ts => "npm install && npm test",
            Self::Python => "python3 -m unittest",
            Self::C => "make test",
        }
    }
}

impl New {
    /// Makes the folder in the current one, whole or not at all.
    ///
    /// # Errors
    /// The name is no plugin's, the folder exists and is not empty, or it cannot be written.
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { name, lang } = self;
        check_name(&name).map_err(|rule| format!("`{name}` is no plugin's name: {rule}"))?;
        if lang == Lang::Rust && name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!("`{name}`: a Rust crate's name cannot begin with a digit; put a letter first").into());
        }
        write(&name, lang).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                format!("./{name} exists already, and is left as it is: choose another name or remove it")
            }
            _ => format!("./{name} cannot be made: {error}"),
        })?;
        println!("made ./{name}, a plugin that works; README.md says what is what. Next:\n");
        println!("  cd {name} && {}\n  posthaste plugin build", lang.test());
        println!("  posthaste plugin run {name}.wasm --event event.json --config config.json");
        Ok(())
    }
}

/// Writes beside the final place and renames: that replaces an empty folder, and no other.
fn write(name: &str, lang: Lang) -> io::Result<()> {
    let prefix = format!(".{name}-");
    // As every new folder: the process's umask takes from it.
    let permissions = Permissions::from_mode(0o777);
    let made = tempfile::Builder::new().prefix(&prefix).permissions(permissions).tempdir_in(".")?;
    for (path, content) in files::of(lang) {
        let file = made.path().join(path);
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        fs::write(file, named(&content, name))?;
    }
    fs::rename(made.path(), name)?;
    let _moved_away = made.keep();
    Ok(())
}

/// The content with the plugin's name in it; what is no text has none.
fn named(content: &[u8], name: &str) -> Vec<u8> {
    str::from_utf8(content).map_or_else(|_| content.to_owned(), |text| text.replace(NAME, name).into_bytes())
}
