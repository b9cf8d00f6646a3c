//! The key that encrypts signing secrets: given, or made at the first start and kept in a file only its owner reads.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Config, parse_secret_key};

/// The key's file in the data directory.
const FILE: &str = "posthaste.key";

/// The key that the settings name; without one, that of the data directory, made where it is missing.
///
/// # Errors
/// What is wrong with the key or its file.
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
    kept_in(&file)
}

/// The key in `file`, which is made where it is missing.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn kept_in(file: &Path) -> Result<[u8; 32], String> {
    make(file)?;
    read(file)
}

fn read(file: &Path) -> Result<[u8; 32], String> {
    let text = fs::read_to_string(file).map_err(|error| format!("secret key file {}: {error}", file.display()))?;
    parse_secret_key(&text).map_err(|error| format!("secret key file {}: {error}", file.display()))
}

fn make(file: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("secret key file {}: {error}", file.display());
    let mut open = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        other => other.map_err(failed)?,
    };
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| "the machine has no random numbers to give".to_owned())?;
    open.write_all(format!("{}\n", STANDARD.encode(key)).as_bytes()).and_then(|()| open.sync_all()).map_err(failed)
}
