//! `posthaste plugin new`: creates a folder with a working plugin.

mod files;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::{Args, ValueEnum};

use super::Failure;
use crate::domain::plugin::check_name;

/// The placeholder for the plugin's name in the templates.
const NAME: &str = "PLUGIN_NAME";

/// The arguments of `posthaste plugin new`.
#[derive(Args)]
pub struct NewArgs {
    /// Name of the plugin and of the folder: 1 to 63 of a-z 0-9 and -
    name: String,
    /// Language of the plugin
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,
}

/// A language of plugins.
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
    /// Returns the command that runs the tests.
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

impl NewArgs {
    /// Creates the folder in the current one, completely or not at all.
    ///
    /// # Errors
    /// The name is invalid, the folder exists and is not empty, or it cannot be written.
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { name, lang } = self;
        check_name(&name).map_err(|rule| format!("`{name}` is not a valid plugin name: {rule}"))?;
        if lang == Lang::Rust && name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!("`{name}`: the name of a Rust crate must begin with a letter, not a digit").into());
        }
        write(&name, lang).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                format!("./{name} exists already and was not changed: choose another name or remove it")
            }
            _ => format!("./{name} cannot be created: {error}"),
        })?;
        println!("created ./{name}, a working plugin; its README.md explains the files. Next:\n");
        println!("  cd {name} && {}\n  posthaste plugin build", lang.test());
        println!("  posthaste plugin run {name}.wasm --event event.json --config config.json");
        Ok(())
    }
}

/// Writes to a temporary folder and renames it, which replaces an empty folder and no other.
fn write(name: &str, lang: Lang) -> io::Result<()> {
    let prefix = format!(".{name}-");
    // The mode of every new folder; the process's umask restricts it.
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

/// Returns the content with the plugin's name inserted. A binary file contains no placeholder and stays unchanged.
fn named(content: &[u8], name: &str) -> Vec<u8> {
    str::from_utf8(content).map_or_else(|_| content.to_owned(), |text| text.replace(NAME, name).into_bytes())
}
