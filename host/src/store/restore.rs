//! A backup in place of an SQLite database.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::backend::DatabaseOptions;
use super::damage::Damage;
use super::database_file::{COMPANIONS, DatabaseFile, folder_of, free_space, sync_folder, with_suffix};
use super::db::{self, DatabaseConnection};
use super::error::StoreError;
use super::handle::{opens_proof, sealed_proof};
use super::integrity::find_fault;
use super::migrations::check_schema;
use super::seal::Sealer;

/// What [`restore`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Restored {
    /// The name that the earlier database has now; `None` if there was none.
    pub replaced: Option<PathBuf>,
    /// Whether the key opens the secrets of the backup.
    pub secrets: RestoredSecrets,
}

/// How a secret key fits the secrets of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoredSecrets {
    /// There are none yet.
    None,
    /// The key opens them.
    Opened,
    /// They are encrypted under another key, or no key was given.
    Sealed,
}

/// Puts a copy of the backup `from` in place of the SQLite database at `url`, once it is checked completely. The earlier
/// database keeps its files under another name, which ends in `stamp`. `sealer` holds the secret key, if it was found.
///
/// # Errors
/// [`StoreError::Setup`]: a process serves the database; the backup is missing, malformed or not one of a known version; a file
/// cannot be written. The database is unchanged, or, if its files were being exchanged, marked as not restored.
pub async fn restore(url: &str, from: &Path, stamp: &str, sealer: Option<&Sealer>) -> Result<Restored, StoreError> {
    let Some(file) = DatabaseOptions::parse(url)?.file() else {
        return Err(setup("this restores SQLite databases; for PostgreSQL use `pg_restore` or a base backup"));
    };
    let _lock = file.lock()?;
    let in_folder = |error: io::Error| setup(format!("{}: {error}", folder_of(file.path()).display()));
    // In the folder of the database, so that it can be renamed into its place.
    let folder = tempfile::Builder::new().prefix(".posthaste-restore-").tempdir_in(folder_of(file.path()));
    let folder = folder.map_err(in_folder)?;
    let copy = copy_backup(from, &file, &folder)?;
    let secrets = check_backup(from, &copy, sealer).await?;
    File::open(&copy).and_then(|copy| copy.sync_all()).map_err(in_folder)?;
    let replaced = exchange(&file, &copy, stamp).map_err(in_folder)?;
    Ok(Restored { replaced, secrets })
}

/// Copies the backup, with a write-ahead log that lies beside it, into a folder of its own.
fn copy_backup(from: &Path, file: &DatabaseFile, folder: &TempDir) -> Result<PathBuf, StoreError> {
    let of_backup = |error: io::Error| setup(format!("--from {}: {error}; nothing was changed", from.display()));
    let size = fs::metadata(from).map_err(of_backup)?.len();
    if fs::canonicalize(from).map_err(of_backup)? == fs::canonicalize(file.path()).unwrap_or_default() {
        return Err(setup(format!("--from {}: this is the database itself", from.display())));
    }
    let source = DatabaseFile::at(from);
    // The files of a database that is being served change while they are copied.
    let _unserved = source.beside(".lock").exists().then(|| source.lock()).transpose()?;
    let copy = folder.path().join("copy.db");
    let log = source.beside("-wal");
    let logged = fs::metadata(&log).map_or(0, |log| log.len());
    let free = free_space(folder.path()).map_err(of_backup)?;
    // The log is written into the copy.
    if free < size.saturating_add(logged.saturating_mul(2)) {
        return Err(setup(format!(
            "the copy needs {} bytes beside {}, and {free} bytes are free; nothing was changed",
            size.saturating_add(logged.saturating_mul(2)),
            file.path().display()
        )));
    }
    for (source, target) in [(from, copy.clone()), (&log, with_suffix(&copy, "-wal"))] {
        if source == from || logged > 0 {
            copy_private(source, &target).map_err(of_backup)?;
        }
    }
    Ok(copy)
}

/// Copies a file into a new one that only its owner can read.
fn copy_private(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut to = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut to)?;
    Ok(())
}

/// Checks the copy of a backup, and writes a log that was copied with it into it.
async fn check_backup(from: &Path, copy: &Path, sealer: Option<&Sealer>) -> Result<RestoredSecrets, StoreError> {
    let refused = |why: &str| setup(format!("--from {}: {why}; nothing was changed", from.display()));
    let options = DatabaseOptions::of_file(copy);
    let mut connection =
        options.connect_plain(&Damage::default()).await.map_err(|error| refused(&error.to_string()))?;
    if let Some(fault) = find_fault(&mut connection).await? {
        return Err(refused(&format!("the backup is malformed, or not an SQLite database ({fault})")));
    }
    check_schema(&mut connection).await.map_err(|why| refused(&why))?;
    let secrets = secrets_of(&mut connection, sealer).await?;
    let mode: String = db::query("PRAGMA journal_mode = DELETE").value(&mut connection).await?;
    connection.close().await?;
    if mode != "delete" || DatabaseFile::at(copy).has_log() {
        return Err(refused("the write-ahead log beside it could not be written into the copy"));
    }
    Ok(secrets)
}

async fn secrets_of(
    connection: &mut DatabaseConnection,
    sealer: Option<&Sealer>,
) -> Result<RestoredSecrets, StoreError> {
    Ok(match (sealed_proof(connection).await?, sealer) {
        (None, _) => RestoredSecrets::None,
        (Some(proof), Some(sealer)) if opens_proof(sealer, &proof) => RestoredSecrets::Opened,
        (Some(_), _) => RestoredSecrets::Sealed,
    })
}

/// Gives the files of the database another name and puts the copy in their place. At every moment, the earlier database is
/// complete under one of its names, and [`DatabaseFile::restoring`] exists while the database lacks its log.
fn exchange(file: &DatabaseFile, copy: &Path, stamp: &str) -> io::Result<Option<PathBuf>> {
    let (folder, restoring) = (folder_of(file.path()), file.restoring());
    let kept: Vec<_> = ["", "-wal"].into_iter().filter(|suffix| file.beside(suffix).exists()).collect();
    let replaced = (!kept.is_empty()).then(|| file.beside(&format!(".replaced-{stamp}")));
    if let Some(replaced) = &replaced {
        for suffix in kept {
            fs::hard_link(file.beside(suffix), with_suffix(replaced, suffix))?;
        }
    }
    fs::rename(copy, &restoring)?;
    sync_folder(folder)?;
    for companion in COMPANIONS.map(|suffix| file.beside(suffix)).iter().filter(|companion| companion.exists()) {
        fs::remove_file(companion)?;
    }
    sync_folder(folder)?;
    fs::rename(&restoring, file.path())?;
    sync_folder(folder)?;
    Ok(replaced)
}

fn setup(text: impl Into<String>) -> StoreError {
    StoreError::Setup(text.into())
}
