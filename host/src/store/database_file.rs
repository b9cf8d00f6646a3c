//! The files of an SQLite database: the database itself, the companions that SQLite keeps beside it, and Posthaste's own.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use rustix::process::geteuid;

use super::error::StoreError;

/// SQLite's companions: the write-ahead log and its index. They hold committed transactions, and SQLite applies them to
/// whatever database lies beside them.
pub(super) const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// The path of a database.
pub(super) struct DatabaseFile(PathBuf);

impl DatabaseFile {
    /// Returns the database at this path. SQLite follows links, and keeps the companions beside the file itself.
    pub(super) fn at(path: &Path) -> Self {
        Self(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the file beside the database whose name has this suffix.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        with_suffix(&self.0, suffix)
    }

    /// Returns the checked copy that a restore is about to put in place of the database. While it exists, the database may
    /// lack its write-ahead log.
    pub(super) fn restoring(&self) -> PathBuf {
        self.beside(".restoring")
    }

    /// Creates a database file that only its owner can read, if it is missing; SQLite gives its companions the same mode. If
    /// it cannot be created, opening it says why. Takes from an existing one, and from its companions, what others may do with
    /// them, if they belong to this user: an earlier version, or a copy, may have made them readable.
    pub(super) fn make_private(&self) {
        let _ = File::options().write(true).create_new(true).mode(0o600).open(&self.0);
        let companions = COMPANIONS.map(|suffix| self.beside(suffix));
        for path in companions.iter().chain([&self.0]) {
            let Ok(metadata) = fs::metadata(path) else { continue };
            let mode = metadata.permissions().mode();
            if metadata.is_file() && metadata.uid() == geteuid().as_raw() && mode & 0o077 != 0 {
                match fs::set_permissions(path, Permissions::from_mode(mode & 0o700)) {
                    Ok(()) => {
                        tracing::warn!(path = %path.display(), "others could read this file; only its owner can now")
                    }
                    Err(error) => tracing::warn!(%error, path = %path.display(), "others can read this file"),
                }
            }
        }
    }

    /// Locks the database for this process until the returned file is dropped, also by a kill. A second process would treat
    /// the deliveries that the first has in memory as those of a crashed process.
    ///
    /// # Errors
    /// [`StoreError::Setup`]: another process holds the lock, or the file cannot be created.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let name = self.beside(".lock");
        let failed = |error: io::Error| {
            let name = name.display();
            StoreError::Setup(format!("the lock file {name}: {error}; does its folder exist, and is it writable?"))
        };
        let file = File::options().create(true).append(true).mode(0o600).open(&name).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Setup(format!(
                "another posthaste serves this database (it holds {}); an SQLite database is served by one process, a \
                 PostgreSQL database by any number",
                name.display()
            ))),
        }
    }

    /// Refuses a database of which only a part is there: its restore was interrupted, or the database is gone and its
    /// write-ahead log, which SQLite would then remove, is not.
    ///
    /// # Errors
    /// [`StoreError::Setup`].
    pub(super) fn check_complete(&self) -> Result<(), StoreError> {
        let (path, restoring) = (self.0.display(), self.restoring());
        if restoring.exists() {
            return Err(StoreError::Setup(format!(
                "the restore of {path} was interrupted: run it again, with `posthaste restore --from {}`",
                restoring.display()
            )));
        }
        if !self.0.exists() && self.has_log() {
            return Err(StoreError::Setup(format!(
                "the database {path} is missing, and {path}-wal, which belongs to it, is there. Put the database back, or \
                 restore a backup with `posthaste restore --from FILE`, or move {path}-wal elsewhere to begin with a new \
                 database"
            )));
        }
        Ok(())
    }

    /// Returns whether the write-ahead log holds anything: the last process did not close the database, or still has it
    /// open.
    pub(super) fn has_log(&self) -> bool {
        fs::metadata(self.beside("-wal")).is_ok_and(|log| log.len() > 0)
    }
}

/// Returns the path with a suffix after the name of its file.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns the folder of a file.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref())
}

/// Returns the free bytes of the file system of this folder.
pub(super) fn free_space(folder: &Path) -> io::Result<u64> {
    let space = statvfs(folder)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Returns once renamed and removed files of this folder survive a power failure.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_can_read_the_files_of_a_database() {
        let folder = tempfile::tempdir().unwrap();
        let file = DatabaseFile::at(&folder.path().join("x.db"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        file.make_private();
        assert_eq!(mode(file.path()), 0o600);
        fs::write(file.beside("-wal"), "x").unwrap();
        for (path, given) in [(file.path().to_owned(), 0o644), (file.beside("-wal"), 0o660)] {
            fs::set_permissions(&path, Permissions::from_mode(given)).unwrap();
            file.make_private();
            assert_eq!(mode(&path), 0o600);
        }
        fs::set_permissions(file.path(), Permissions::from_mode(0o400)).unwrap();
        file.make_private();
        assert_eq!(mode(file.path()), 0o400);
    }
}
