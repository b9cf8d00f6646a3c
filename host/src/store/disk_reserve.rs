//! Disk space that is reserved for the completions of deliveries.
//!
//! If the disk is full, new events are refused, and none of them is lost. But accepted events are still being delivered, and
//! recording their completion takes space as well. A file beside the database reserves that space and is removed when the
//! disk is full. It is created again once there is space; until then no events are accepted, or they would use it at once.
//! A process that starts on a full disk needs some of it too, for its write-ahead log and for what its version brings.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use tokio::time::Instant;

use super::database_file::{folder_of, free_space};

/// Largest size of the reserve, in bytes.
const MAX_SIZE: u64 = 16 << 20;
/// The reserve takes this part of the free space, if that is less than [`MAX_SIZE`].
const FREE_SPACE_DIVISOR: u64 = 8;
/// Smallest useful size, in bytes.
const MIN_SIZE: u64 = 128 << 10;
/// Interval between two attempts to create the file again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Free bytes with which a process starts without the reserve.
const NEEDED_TO_START: u64 = 4 << 20;
/// Time in which a process that needed the reserve has started.
const START_TIME: Duration = Duration::from_secs(5);

/// The file that reserves disk space.
pub(super) struct DiskReserve {
    path: PathBuf,
    /// When to try to create the file again; `None` while the disk does not count as full.
    retry_at: Option<Instant>,
}

impl DiskReserve {
    /// Releases the space of an earlier process if this one could not start without it. The file keeps its length, which is how
    /// much the reserve has to be again.
    pub(super) fn make_room_to_start(path: &Path) {
        if free_space(folder_of(path)).is_ok_and(|free| free < NEEDED_TO_START)
            && let Ok(file) = File::options().write(true).open(path)
            && let Ok(length) = file.metadata().map(|file| file.len())
        {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match fallocate(file.as_fd(), hole, 0, length) {
                Ok(()) => tracing::warn!(
                    "the disk is full: the space that is reserved for the results of deliveries is used to start"
                ),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "the reserved disk space could not be released")
                }
            }
        }
    }

    /// Creates the file. If the disk is full, or was when the process started, the reserve starts as missing.
    pub(super) fn create(path: PathBuf, now: Instant) -> Self {
        let mut reserve = Self { path, retry_at: None };
        if fs::metadata(&reserve.path).is_ok_and(|file| file.len() > 0 && file.blocks() == 0) {
            reserve.retry_at = Some(now + START_TIME);
            return reserve;
        }
        if let Err(error) = reserve.allocate() {
            tracing::warn!(%error, path = %reserve.path.display(), "no disk space is reserved");
            reserve.retry_at = (error.kind() == io::ErrorKind::StorageFull).then(|| now + RETRY_INTERVAL);
        }
        reserve
    }

    fn allocate(&self) -> io::Result<()> {
        // The file of an earlier process counts as free space, and the new file is not smaller than that.
        let previous = fs::metadata(&self.path).map_or(0, |file| file.len());
        let _ = fs::remove_file(&self.path);
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        let allocated = match reserve_size(free_space(folder_of(&self.path))?, previous) {
            None => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(size) => fallocate(file.as_fd(), FallocateFlags::empty(), 0, size).map_err(Into::into),
        };
        allocated.inspect_err(|_| drop(fs::remove_file(&self.path)))
    }

    /// Releases the space: called when the disk is full.
    pub(super) fn release(&mut self, now: Instant) {
        if self.retry_at.is_none()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the reserved disk space could not be released");
        }
        self.retry_at = Some(now + RETRY_INTERVAL);
    }

    /// Returns whether the disk counts as full. Tries to create the file again once a second.
    pub(super) fn is_missing(&mut self, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| at <= now) {
            // A file system without `fallocate` reserves nothing, but that does not make it full.
            let full = self.allocate().is_err_and(|error| error.kind() != io::ErrorKind::Unsupported);
            self.retry_at = full.then(|| now + RETRY_INTERVAL);
            if self.retry_at.is_none() {
                tracing::info!("there is space on the disk again: events are accepted");
            }
        }
        self.retry_at.is_some()
    }
}

/// Returns the size of the file for this much free space, or `None` if that is too little. All in bytes; `previous` is the
/// size of the file of an earlier process.
fn reserve_size(free: u64, previous: u64) -> Option<u64> {
    Some((free / FREE_SPACE_DIVISOR).max(previous).min(MAX_SIZE)).filter(|size| *size >= MIN_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_an_eighth_of_the_free_space_within_its_bounds() {
        assert_eq!(reserve_size(8 << 20, 0), Some(1 << 20));
        assert_eq!(reserve_size(u64::MAX, 0), Some(16 << 20));
        assert_eq!(reserve_size(8 * (128 << 10), 0), Some(128 << 10));
        assert_eq!(reserve_size(8 * (128 << 10) - 1, 0), None);
        assert_eq!(reserve_size(0, 0), None);
    }

    #[test]
    fn size_does_not_shrink_from_one_process_to_the_next() {
        assert_eq!(reserve_size(8 << 20, 2 << 20), Some(2 << 20));
        assert_eq!(reserve_size(0, 128 << 10), Some(128 << 10));
        assert_eq!(reserve_size(0, 17 << 20), Some(16 << 20));
    }

    #[test]
    fn space_is_released_and_reserved_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.reserve");
        let now = Instant::now();
        let mut reserve = DiskReserve::create(path.clone(), now);
        let size = fs::metadata(&path).unwrap().len();
        assert!((MIN_SIZE..=MAX_SIZE).contains(&size) && !reserve.is_missing(now));
        reserve.release(now);
        assert!(!path.exists() && reserve.is_missing(now));
        assert!(reserve.is_missing(now + RETRY_INTERVAL - Duration::from_nanos(1)), "it is not tried before");
        assert!(!path.exists());
        assert!(!reserve.is_missing(now + RETRY_INTERVAL) && path.exists());
        assert!(!reserve.is_missing(now), "it stays");
        DiskReserve::create(path.clone(), now);
        assert_eq!(fs::metadata(&path).unwrap().len(), size, "the next process reserves as much");
        fs::remove_file(&path).unwrap();
        drop(folder);
        reserve.release(now);
        assert!(reserve.is_missing(now + RETRY_INTERVAL), "the folder of the file does not exist");
        assert!(reserve.is_missing(now + RETRY_INTERVAL), "it still counts as full until the next try");
    }

    #[test]
    fn space_that_was_needed_to_start_is_reserved_again_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.reserve");
        let file = File::create(&path).unwrap();
        // As `make_room_to_start` leaves it.
        file.set_len(1 << 20).unwrap();
        let now = Instant::now();
        let mut reserve = DiskReserve::create(path.clone(), now);
        assert!(reserve.is_missing(now) && reserve.is_missing(now + START_TIME - Duration::from_nanos(1)));
        assert!(!reserve.is_missing(now + START_TIME));
        assert!(fs::metadata(&path).unwrap().blocks() > 0);
        DiskReserve::make_room_to_start(&path);
        assert!(fs::metadata(&path).unwrap().blocks() > 0, "the disk is not full");
    }

    #[test]
    fn missing_folder_does_not_count_as_a_full_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("x.reserve");
        let now = Instant::now();
        let mut reserve = DiskReserve::create(path.clone(), now);
        assert!(!reserve.is_missing(now) && !reserve.is_missing(now + RETRY_INTERVAL) && !path.exists());
    }
}
