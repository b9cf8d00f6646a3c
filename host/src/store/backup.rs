//! A consistent copy of an SQLite database, also while it is being served.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

use super::backend::{Backend, DatabaseOptions};
use super::damage::Damage;
use super::database_file::{DatabaseFile, folder_of, free_space, sync_folder};
use super::db::{self, DatabaseConnection};
use super::error::StoreError;
use super::integrity::find_fault;

/// Free bytes that the file system of a backup keeps: it may be that of the database, which needs some.
const KEPT_FREE: u64 = 64 << 20;

/// Copies the SQLite database at `url` into the new file `to`, which only its owner can read, and checks the copy. Returns its
/// size, in bytes.
///
/// The copy is made by `VACUUM INTO`: one read transaction, beside which the writer goes on, and whose result contains no free
/// pages. Meanwhile the write-ahead log keeps all that is written.
///
/// # Errors
/// [`StoreError::Setup`]: the database is not a file, is missing or malformed; `to` exists or cannot be written, or its disk
/// has too little space. Nothing is left at `to`.
pub async fn backup(url: &str, to: &Path) -> Result<u64, StoreError> {
    let Some(file) = DatabaseOptions::parse(url)?.file() else {
        return Err(setup(
            "this copies SQLite databases; for PostgreSQL use `pg_dump --format=custom` or base backups \
             (docs/operations.md, \"Several nodes on PostgreSQL\")",
        ));
    };
    let of_target = |error: io::Error| setup(format!("--to {}: {error}", to.display()));
    if to.symlink_metadata().is_ok() {
        return Err(setup(format!(
            "--to {}: this file exists; nothing was written: choose another name",
            to.display()
        )));
    }
    let Some(mut source) = Backend::connect_read_only(url).await? else {
        return Err(setup(format!("there is no database {}", file.path().display())));
    };
    let size = used_bytes(&mut source).await.map_err(|error| source_error(&file, error))?;
    let free = free_space(folder_of(to)).map_err(of_target)?;
    if free < size.saturating_add(KEPT_FREE) {
        return Err(setup(format!(
            "--to {}: the copy needs {size} bytes, {KEPT_FREE} more have to stay free, and {free} bytes are free",
            to.display()
        )));
    }
    // Created for its owner only, and removed unless it is complete.
    let partial =
        tempfile::Builder::new().prefix(".posthaste-backup-").tempfile_in(folder_of(to)).map_err(of_target)?;
    let target = absolute_text(partial.path()).map_err(of_target)?;
    let copied = db::query("VACUUM INTO $1").bind(&target).execute(&mut source).await;
    copied.map_err(|error| source_error(&file, error.into()))?;
    check_copy(&file, &partial).await?;
    partial.as_file().sync_all().map_err(of_target)?;
    let size = fs::metadata(partial.path()).map_err(of_target)?.len();
    partial.persist_noclobber(to).map_err(|error| of_target(error.error))?;
    sync_folder(folder_of(to)).map_err(of_target)?;
    Ok(size)
}

/// Returns the size of the pages in use.
async fn used_bytes(source: &mut DatabaseConnection) -> Result<u64, StoreError> {
    let pages: i64 = db::query("PRAGMA page_count").value(&mut *source).await?;
    let free: i64 = db::query("PRAGMA freelist_count").value(&mut *source).await?;
    let page_size: i64 = db::query("PRAGMA page_size").value(source).await?;
    Ok((pages - free).saturating_mul(page_size).max(0).unsigned_abs())
}

async fn check_copy(file: &DatabaseFile, copy: &NamedTempFile) -> Result<(), StoreError> {
    let mut copy = DatabaseOptions::of_file(copy.path()).connect_read_only(&Damage::default()).await?;
    match find_fault(&mut copy).await? {
        None => Ok(()),
        Some(fault) => Err(setup(format!(
            "the copy of {} is malformed ({fault}), so the database or the memory of this machine is damaged; no backup was \
             written",
            file.path().display()
        ))),
    }
}

/// Names the database in an error of the copy.
fn source_error(file: &DatabaseFile, error: StoreError) -> StoreError {
    let path = file.path().display();
    match error {
        StoreError::Malformed => {
            setup(format!("the database {path} is malformed; no backup was written: restore an earlier one"))
        }
        error => setup(format!("the database {path} could not be copied: {error}; no backup was written")),
    }
}

/// Returns the absolute path as text, for SQL.
fn absolute_text(path: &Path) -> io::Result<String> {
    let text = std::path::absolute(path)?.into_os_string().into_string();
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))
}

fn setup(text: impl Into<String>) -> StoreError {
    StoreError::Setup(text.into())
}
