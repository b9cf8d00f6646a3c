//! The name under which the last process of this data directory was a node.
//!
//! After a crash, the next process need not wait until some node declares the earlier one dead: while it holds the lock of this
//! file, no other process runs from the directory.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The file name.
const FILE_NAME: &str = "posthaste.node";
/// Longest node name, in bytes.
const MAX_NAME_BYTES: u64 = 256;

/// The locked file. `None`: it cannot be used, and the last run is unknown.
pub(in crate::delivery) struct LastRun(Option<File>);

impl LastRun {
    /// Locks the file of this folder for as long as the value lives.
    pub(in crate::delivery) fn of(folder: &Path) -> Self {
        let path = folder.join(FILE_NAME);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let locked = file.map_err(TryLockError::Error).and_then(|file| file.try_lock().map(|()| file));
        match locked {
            Ok(file) => Self(Some(file)),
            Err(error) => {
                let reason = match error {
                    TryLockError::WouldBlock => "another node runs from this data directory".to_owned(),
                    TryLockError::Error(error) => error.to_string(),
                };
                tracing::info!(
                    file = %path.display(),
                    reason,
                    "after a crash, the deliveries of this node continue only once its node timeout is over"
                );
                Self(None)
            }
        }
    }

    /// Stores the name of this run. Returns the last run's.
    pub(super) fn replace(&mut self, name: &str) -> Option<String> {
        let file = self.0.as_mut()?;
        let mut last = String::new();
        let replaced =
            file.rewind().and_then(|()| file.take(MAX_NAME_BYTES).read_to_string(&mut last)).and_then(|_| {
                file.seek(SeekFrom::Start(0))?;
                file.set_len(0)?;
                file.write_all(name.as_bytes())
            });
        if let Err(error) = replaced {
            tracing::warn!(%error, file = FILE_NAME, "storing the name of this node failed; that only delays deliveries after a crash");
            return None;
        }
        Some(last).filter(|last| !last.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_run_learns_the_name_of_the_last_and_two_at_once_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = LastRun::of(folder.path());
        assert_eq!(first.replace("run_a"), None);
        assert_eq!(LastRun::of(folder.path()).replace("run_b"), None, "the first runs");
        assert_eq!(first.replace("run_c"), Some("run_a".into()));
        drop(first);
        assert_eq!(LastRun::of(folder.path()).replace("d"), Some("run_c".into()));
        assert_eq!(LastRun::of(folder.path()).replace("e"), Some("d".into()));
    }

    #[test]
    fn folder_that_cannot_hold_the_file_is_no_reason_to_stop() {
        assert_eq!(LastRun::of(Path::new("/dev/null/nowhere")).replace("run_a"), None);
    }
}
