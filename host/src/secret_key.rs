//! The key that encrypts signing secrets: given by a flag, or generated at the first start and stored in a file that only
//! its owner can read.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt as _;
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

/// Whatever fails, and whenever the machine stops, the file is whole or missing: what was sealed under a key that is lost is
/// lost as well.
fn generate_if_missing(file: &Path) -> Result<(), String> {
    if file.exists() {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("secret key file {}: {error}", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref());
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| "the system's random number generator failed".to_owned())?;
    // Readable by its owner only, and removed unless it gets its name.
    let mut partial = tempfile::Builder::new().prefix(".posthaste-key-").tempfile_in(folder).map_err(failed)?;
    let written = partial.write_all(format!("{}\n", STANDARD.encode(key)).as_bytes());
    written.and_then(|()| partial.as_file().sync_all()).map_err(failed)?;
    match partial.persist_noclobber(file) {
        Ok(_) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed),
        // Another process was faster.
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error.error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn key_is_generated_once_for_its_owner_only_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let key = load_or_generate(&file).unwrap();
        assert_eq!(load_or_generate(&file).unwrap(), key);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let missing = folder.path().join("missing").join(FILE);
        assert!(load_or_generate(&missing).unwrap_err().contains("missing"));
    }
}
