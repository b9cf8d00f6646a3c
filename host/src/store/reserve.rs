//! Disk space kept back for the end of deliveries.
//!
//! When the disk is full, events are refused and nothing is lost by it. But what was accepted is still being delivered, and
//! writing down that it was takes room as well: a file beside the database keeps some, and is given up then. It is made
//! again when there is room; until then no events are accepted, or they would take it at once.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tokio::time::Instant;

/// The most that is kept back, in bytes, and the part of what is free.
const MOST: u64 = 16 << 20;
const PART: u64 = 8;
/// Less is of no use, in bytes.
const LEAST: u64 = 128 << 10;
/// How often it is looked whether there is room again.
const LOOK: Duration = Duration::from_secs(1);

/// The file.
pub(super) struct Reserve {
    path: PathBuf,
    /// When to look again; `None`: it is there.
    missing: Option<Instant>,
}

impl Reserve {
    /// Makes the file. Where the disk is full it is missing from the start.
    pub(super) fn make(path: PathBuf, now: Instant) -> Self {
        let mut reserve = Self { path, missing: None };
        if let Err(error) = reserve.fill() {
            tracing::warn!(%error, path = %reserve.path.display(), "no disk space is kept back");
            reserve.missing = (error.kind() == io::ErrorKind::StorageFull).then(|| now + LOOK);
        }
        reserve
    }

    fn fill(&self) -> io::Result<()> {
        // What an earlier process has left counts as free; no less than that is kept back.
        let left = fs::metadata(&self.path).map_or(0, |file| file.len());
        let _ = fs::remove_file(&self.path);
        let file = File::create(&self.path)?;
        let space =
            statvfs(self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref()))?;
        let size = (space.f_bavail.saturating_mul(space.f_frsize) / PART).max(left).min(MOST);
        let filled = if size < LEAST {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        } else {
            fallocate(file.as_fd(), FallocateFlags::empty(), 0, size).map_err(Into::into)
        };
        filled.inspect_err(|_| drop(fs::remove_file(&self.path)))
    }

    /// The disk is full: gives the space up.
    pub(super) fn give_up(&mut self, now: Instant) {
        if self.missing.is_none()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the disk space kept back was not to be had");
        }
        self.missing = Some(now + LOOK);
    }

    /// Whether the disk is full, as far as is known; looks now and then whether there is room again.
    pub(super) fn is_missing(&mut self, now: Instant) -> bool {
        if self.missing.is_some_and(|at| at <= now) {
            // A file system that knows no such files keeps nothing back, and is not full for that.
            let full = self.fill().is_err_and(|error| error.kind() != io::ErrorKind::Unsupported);
            self.missing = full.then(|| now + LOOK);
            if self.missing.is_none() {
                tracing::info!("there is room on the disk again: events are accepted");
            }
        }
        self.missing.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_given_up_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.reserve");
        let now = Instant::now();
        let mut reserve = Reserve::make(path.clone(), now);
        let size = fs::metadata(&path).unwrap().len();
        assert!((LEAST..=MOST).contains(&size) && !reserve.is_missing(now));
        reserve.give_up(now);
        assert!(!path.exists() && reserve.is_missing(now));
        assert!(!reserve.is_missing(now + LOOK) && path.exists());
        Reserve::make(path.clone(), now);
        assert_eq!(fs::metadata(&path).unwrap().len(), size, "the next process keeps back as much");
        fs::remove_file(&path).unwrap();
        drop(folder);
        reserve.give_up(now);
        assert!(reserve.is_missing(now + LOOK), "there is no folder to make it in");
    }
}
