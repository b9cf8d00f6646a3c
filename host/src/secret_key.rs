//! The key that encrypts signing secrets: given by a flag, or generated at the first start and stored in a file that only
//! its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::{SecretKeySettings, parse_secret_key};
use crate::store::holds_secrets;

/// Name of the key file in the data directory.
const FILE: &str = "posthaste.key";

/// The key that the settings name.
pub(crate) enum SecretKey {
    Found([u8; 32]),
    /// None is named, and this file in the data directory does not exist.
    Missing(PathBuf),
}

/// Finds the key that the settings name, or else the key in the data directory. Writes nothing.
///
/// # Errors
/// The key is invalid, or its file cannot be read.
pub(crate) fn find(settings: &SecretKeySettings, data_dir: &Path) -> Result<SecretKey, String> {
    if let Some(text) = &settings.secret_key {
        return parse_secret_key(text).map(SecretKey::Found);
    }
    if let Some(file) = &settings.secret_key_file {
        return read(file).map(SecretKey::Found);
    }
    let file = data_dir.join(FILE);
    if file.exists() { read(&file).map(SecretKey::Found) } else { Ok(SecretKey::Missing(file)) }
}

/// Finds the key as [`find`], and generates a missing one, unless the database holds secrets, which it could not decrypt.
///
/// # Errors
/// As [`find`]; the file cannot be created; the database's key is lost.
pub(crate) async fn load(settings: &SecretKeySettings, data_dir: &Path, database: &str) -> Result<[u8; 32], String> {
    let file = match find(settings, data_dir)? {
        SecretKey::Found(key) => return Ok(key),
        SecretKey::Missing(file) => file,
    };
    if holds_secrets(database).await.map_err(|error| error.to_string())? {
        return Err(format!(
            "the secret key file {} is missing, and the signing secrets in the database are encrypted with its key; restore \
             the file from a backup, pass the key with --secret-key or --secret-key-file, or give the secrets up with \
             `posthaste keys reset-secrets`; nothing was written",
            file.display()
        ));
    }
    create_private_dir(data_dir)?;
    load_or_generate(&file)
}

/// Creates a data directory that only its owner can enter, if it is missing.
///
/// # Errors
/// It cannot be created.
pub(crate) fn create_private_dir(data_dir: &Path) -> Result<(), String> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    created.map_err(|error| format!("--data-dir {}: {error}", data_dir.display()))
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
