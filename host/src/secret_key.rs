//! The key that encrypts signing secrets: given by a flag, or generated at the first start and stored in a file that only
//! its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Config, parse_secret_key};

/// Name of the key file in the data directory.
const FILE: &str = "posthaste.key";

/// Returns the key that the settings name, or else the key in the data directory, which is generated if missing.
///
/// # Errors
/// The key is invalid, or its file cannot be read or created.
pub(crate) fn load(config: &Config) -> Result<[u8; 32], String> {
    if let Some(text) = &config.secret_key.secret_key {
        return parse_secret_key(text);
    }
    if let Some(file) = &config.secret_key.secret_key_file {
        return read(file);
    }
    let file = config.data_dir.join(FILE);
    fs::create_dir_all(&config.data_dir)
        .map_err(|error| format!("--data-dir {}: {error}", config.data_dir.display()))?;
    load_or_generate(&file)
}

/// Returns the key in `file`, which is generated if missing.
///
/// # Errors
/// The file cannot be read or created, or its key is invalid.
pub(crate) fn load_or_generate(file: &Path) -> Result<[u8; 32], String> {
    generate_if_missing(file)?;
    read(file)
}

fn read(file: &Path) -> Result<[u8; 32], String> {
    let text = fs::read_to_string(file).map_err(|error| format!("secret key file {}: {error}", file.display()))?;
    parse_secret_key(&text).map_err(|error| format!("secret key file {}: {error}", file.display()))
}

fn generate_if_missing(file: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("secret key file {}: {error}", file.display());
    let mut open = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        other => other.map_err(failed)?,
    };
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| "the system's random number generator failed".to_owned())?;
    open.write_all(format!("{}\n", STANDARD.encode(key)).as_bytes()).and_then(|()| open.sync_all()).map_err(failed)
}
