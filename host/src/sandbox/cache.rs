//! Compiled code on disk: what a start, or a plugin that has been put out of memory, loads instead of compiling again.
//!
//! Loading is running: native code from a file is as powerful as the host itself. So a file counts only when it carries
//! this installation's authentication code (HMAC-SHA-256, RFC 2104) over its own name and all of its content. Any other
//! is as good as absent.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

use crate::domain::plugin::{Digest, hex};

use super::compile::Compiled;
use super::engine::{self, Purpose};

/// Bytes that the cache may hold; the files that were used the longest ago make room.
const MOST_BYTES: u64 = 1 << 30;

/// Bytes of an authentication code.
const CODE: usize = 32;

/// The folder, the key and the settings that files are good for.
pub struct Cache {
    folder: PathBuf,
    key: hmac::Key,
    /// A hash over wasmtime's version, its settings and this machine's processor, for each purpose.
    settings: [String; 2],
    most_bytes: u64,
    /// One writer at a time makes room.
    writing: Mutex<()>,
}

impl Cache {
    /// Opens `folder`, making it, readable by its owner alone, where it is missing. `secret` is the installation's.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, secret: &[u8; 32]) -> io::Result<Self> {
        Self::bounded(folder, secret, MOST_BYTES)
    }

    fn bounded(folder: &Path, secret: &[u8; 32], most_bytes: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let settings = [Purpose::Calls, Purpose::Fuel].map(settings);
        let [calls, fuel] = settings;
        let key = hmac_key(secret).ok_or_else(|| io::Error::other("no key can be made of the secret key"))?;
        Ok(Self { folder: folder.into(), key, settings: [calls?, fuel?], most_bytes, writing: Mutex::default() })
    }

    /// Whether there is a file for it; whether it is good is seen when it is read.
    pub(super) fn has(&self, purpose: Purpose, digest: &Digest) -> bool {
        self.folder.join(self.name(purpose, digest)).is_file()
    }

    /// What was compiled from the bytes of this digest; `None` where nothing was, or the file is not ours.
    pub(super) fn read(&self, purpose: Purpose, digest: &Digest) -> Option<Compiled> {
        let name = self.name(purpose, digest);
        let path = self.folder.join(&name);
        let mut content = fs::read(&path).ok()?;
        let Some(compiled) = self.open_sealed(&name, &mut content) else {
            tracing::warn!(file = %path.display(), "this file is not what this installation wrote: it is ignored");
            return None;
        };
        if let Ok(file) = File::open(&path) {
            let nsec = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
            // What was used last is removed last. Where this fails, the file only looks older than it is.
            let _ = futimens(file, &Timestamps { last_access: nsec(UTIME_OMIT), last_modification: nsec(UTIME_NOW) });
        }
        Some(compiled)
    }

    fn open_sealed(&self, name: &str, content: &mut Vec<u8>) -> Option<Compiled> {
        let (code, rest) = content.split_at_checked(CODE)?;
        verify_slices_are_equal(self.authenticate(name, rest).as_ref(), code).ok()?;
        let line = rest.iter().position(|byte| *byte == b'\n')?;
        let facts = serde_json::from_slice(rest.get(..line)?).ok()?;
        Some(Compiled { facts, code: content.split_off(CODE + line + 1) })
    }

    /// The name is a part of it, so that no good file can stand in for another.
    fn authenticate(&self, name: &str, content: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(name.as_bytes());
        context.update(b"\n");
        context.update(content);
        context.sign()
    }

    /// Keeps `compiled`, and makes room for it.
    ///
    /// # Errors
    /// When the disk does not take it; then there is no file.
    pub(super) fn write(&self, purpose: Purpose, digest: &Digest, compiled: &Compiled) -> io::Result<()> {
        let name = self.name(purpose, digest);
        let mut rest = serde_json::to_vec(&compiled.facts)?;
        rest.push(b'\n');
        rest.extend_from_slice(&compiled.code);
        let code = self.authenticate(&name, &rest);
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(code.as_ref())?;
        file.write_all(&rest)?;
        file.persist(self.folder.join(name))?;
        self.make_room()
    }

    /// Removes what was used the longest ago until the rest fits, what a crash left half-written included.
    fn make_room(&self) -> io::Result<()> {
        let _one = self.writing.lock();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another node, or an operator, may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut held: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if held <= self.most_bytes {
                break;
            }
            fs::remove_file(path)?;
            held = held.saturating_sub(bytes);
        }
        Ok(())
    }

    fn name(&self, purpose: Purpose, digest: &Digest) -> String {
        let [calls, fuel] = &self.settings;
        let settings = match purpose {
            Purpose::Calls => calls,
            Purpose::Fuel => fuel,
        };
        format!("{digest}.{}-{settings}", purpose.name())
    }
}

/// The key of the cache alone, derived from the installation's (HKDF, RFC 5869).
fn hmac_key(secret: &[u8; 32]) -> Option<hmac::Key> {
    let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    let info: &[&[u8]] = &[b"posthaste: compiled plugins"];
    derived.expand(info, hkdf::HKDF_SHA256.hmac_algorithm()).ok().map(hmac::Key::from)
}

fn settings(purpose: Purpose) -> io::Result<String> {
    let engine = engine::on_demand(purpose).map_err(|error| io::Error::other(format!("{error:#}")))?;
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Ok(hex(&hasher.finish().to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use crate::sandbox::compile::Facts;
    use crate::sandbox::inspect::{Inspection, Track};

    fn compiled(bytes: usize) -> Compiled {
        let inspection = Inspection { size: 1, imports: Vec::new(), exports: vec!["x".into()], track: Track::V0_1 };
        Compiled { facts: Facts { inspection, compile_ms: 1 }, code: vec![7; bytes] }
    }

    fn cache(folder: &TempDir) -> Cache {
        Cache::open(folder.path(), &[1; 32]).unwrap()
    }

    #[test]
    fn gives_back_what_it_was_given_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, digest) = (cache(&folder), Digest::of(b"a"));
        assert!(!cache.has(Purpose::Calls, &digest));
        cache.write(Purpose::Calls, &digest, &compiled(9)).unwrap();
        let read = cache.read(Purpose::Calls, &digest).unwrap();
        assert_eq!((read.facts, read.code), (compiled(9).facts, vec![7; 9]));
        assert!(cache.has(Purpose::Calls, &digest));
        assert!(cache.read(Purpose::Fuel, &digest).is_none());
        assert!(cache.read(Purpose::Calls, &Digest::of(b"b")).is_none());
    }

    #[test]
    fn a_changed_or_foreign_file_is_as_good_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, digest) = (cache(&folder), Digest::of(b"a"));
        cache.write(Purpose::Calls, &digest, &compiled(100)).unwrap();
        let file = folder.path().join(cache.name(Purpose::Calls, &digest));
        let good = fs::read(&file).unwrap();
        for byte in 0..good.len() {
            let mut changed = good.clone();
            changed[byte] ^= 1;
            fs::write(&file, changed).unwrap();
            assert!(cache.read(Purpose::Calls, &digest).is_none(), "byte {byte}");
        }
        for length in 0..good.len() {
            fs::write(&file, &good[..length]).unwrap();
            assert!(cache.read(Purpose::Calls, &digest).is_none(), "cut at {length}");
        }
        let other = Digest::of(b"b");
        fs::write(folder.path().join(cache.name(Purpose::Calls, &other)), &good).unwrap();
        assert!(cache.read(Purpose::Calls, &other).is_none(), "another's file under this name");
        fs::write(&file, &good).unwrap();
        assert!(cache.read(Purpose::Calls, &digest).is_some());
        let stranger = Cache::open(folder.path(), &[2; 32]).unwrap();
        assert!(stranger.read(Purpose::Calls, &digest).is_none(), "another installation's");
    }

    #[test]
    fn what_was_used_the_longest_ago_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::bounded(folder.path(), &[1; 32], 3_000).unwrap();
        let [a, b, c] = [b"a", b"b", b"c"].map(|name| Digest::of(name));
        let age = |digest: &Digest, seconds| {
            let at = Timespec { tv_sec: seconds, tv_nsec: 0 };
            let file = File::open(folder.path().join(cache.name(Purpose::Calls, digest))).unwrap();
            futimens(file, &Timestamps { last_access: at, last_modification: at }).unwrap();
        };
        for (digest, written) in [(&a, 1), (&b, 2)] {
            cache.write(Purpose::Calls, digest, &compiled(1_000)).unwrap();
            age(digest, written);
        }
        assert!(cache.read(Purpose::Calls, &a).is_some());
        cache.write(Purpose::Calls, &c, &compiled(1_000)).unwrap();
        let has = [&a, &b, &c].map(|digest| cache.has(Purpose::Calls, digest));
        assert_eq!(has, [true, false, true], "b was used the longest ago");
    }

    #[test]
    fn nobody_else_can_look_inside() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("compiled");
        Cache::open(&inner, &[1; 32]).unwrap();
        assert_eq!(fs::metadata(inner).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn code_for_calls_and_code_that_counts_are_not_mixed_up() {
        let [calls, fuel] = [Purpose::Calls, Purpose::Fuel].map(|purpose| settings(purpose).unwrap());
        assert_ne!(calls, fuel);
        assert_eq!(calls, settings(Purpose::Calls).unwrap());
    }
}
