//! The name of the node that ran last from this data directory.
//!
//! A process that is started again after a crash need not wait until the other nodes, or it itself, find the earlier one
//! dead: while it holds the lock of this file, no other process runs from here.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The file.
const NAME: &str = "posthaste.node";
/// Names are no longer than this.
const MOST: u64 = 256;

/// What is known of the last run; nothing, where the file cannot be used.
pub(super) struct LastRun(Option<File>);

impl LastRun {
    /// Locks the file of this folder for as long as the answer lives.
    pub(super) fn of(folder: &Path) -> Self {
        let path = folder.join(NAME);
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
                    "after a crash, what this node had begun will be taken up only when its time-out is over"
                );
                Self(None)
            }
        }
    }

    /// Writes this run's name down; answers the last one's.
    pub(super) fn replace(&mut self, name: &str) -> Option<String> {
        let file = self.0.as_mut()?;
        let mut last = String::new();
        let replaced = file.rewind().and_then(|()| file.take(MOST).read_to_string(&mut last)).and_then(|_| {
            file.seek(SeekFrom::Start(0))?;
            file.set_len(0)?;
            file.write_all(name.as_bytes())
        });
        if let Err(error) = replaced {
            tracing::warn!(%error, file = NAME, "writing down this node's name failed; that only delays it after a crash");
            return None;
        }
        Some(last).filter(|last| !last.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_run_learns_the_name_of_the_last_and_two_at_once_do_not() {
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
    fn a_folder_that_takes_no_file_is_no_reason_to_stop() {
        assert_eq!(LastRun::of(Path::new("/dev/null/nowhere")).replace("run_a"), None);
    }
}
