//! Caches compiled code on disk, so that after a start or an eviction from memory a plugin is loaded rather than compiled again.
//!
//! Loaded native code has all the rights of the host itself. So a file is used only if it carries this installation's
//! authentication tag (HMAC-SHA-256, RFC 2104) over its own name and all of its content. Every other file is ignored.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

use crate::domain::plugin::{Digest, hex};

use super::compiled_code::CompiledCode;
use super::engine::{self, Purpose};

/// Bytes that the cache may hold: 1 GiB. Beyond that, the least recently used files are removed.
const MAX_BYTES: u64 = 1_073_741_824;

/// Bytes of an authentication tag.
const TAG_BYTES: usize = 32;

/// A cache of compiled code in one folder, under one installation's key.
pub struct Cache {
    folder: PathBuf,
    key: hmac::Key,
    /// Hashes over wasmtime's version, its settings and this machine's processor.
    call_settings: String,
    fuel_settings: String,
    max_bytes: u64,
    /// Held while files are evicted: one writer at a time.
    evicting: Mutex<()>,
}

impl Cache {
    /// Opens `folder`; creates it, accessible by its owner alone, if it is missing. `secret` is the installation's secret key.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn open(folder: &Path, secret: &[u8; 32]) -> io::Result<Self> {
        Self::bounded(folder, secret, MAX_BYTES)
    }

    fn bounded(folder: &Path, secret: &[u8; 32], max_bytes: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let key = cache_key(secret).ok_or_else(|| io::Error::other("no key can be made of the secret key"))?;
        Ok(Self {
            folder: folder.into(),
            key,
            call_settings: settings_hash(Purpose::Calls)?,
            fuel_settings: settings_hash(Purpose::Fuel)?,
            max_bytes,
            evicting: Mutex::default(),
        })
    }

    /// Returns whether there is a file for this digest. Only [`Cache::read`] checks its authenticity.
    pub(super) fn has(&self, purpose: Purpose, digest: &Digest) -> bool {
        self.folder.join(self.file_name(purpose, digest)).is_file()
    }

    /// Reads the code that was compiled from the bytes of this digest, and marks the file as used now. `None` if there is no file,
    /// or this installation did not write it.
    pub(super) fn read(&self, purpose: Purpose, digest: &Digest) -> Option<CompiledCode> {
        let name = self.file_name(purpose, digest);
        let path = self.folder.join(&name);
        let mut content = fs::read(&path).ok()?;
        let Some(compiled) = self.open_file(&name, &mut content) else {
            tracing::warn!(file = %path.display(), "ignored a file of compiled code that this installation did not write");
            return None;
        };
        if let Ok(file) = File::open(&path) {
            let nsec = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
            // The most recently used file is evicted last. If this fails, the file only looks older than it is.
            let _ = futimens(file, &Timestamps { last_access: nsec(UTIME_OMIT), last_modification: nsec(UTIME_NOW) });
        }
        Some(compiled)
    }

    /// Authenticates and parses a file: the tag, one line of JSON, and the code.
    fn open_file(&self, name: &str, content: &mut Vec<u8>) -> Option<CompiledCode> {
        let (tag, rest) = content.split_at_checked(TAG_BYTES)?;
        verify_slices_are_equal(self.tag(name, rest).as_ref(), tag).ok()?;
        let line = rest.iter().position(|byte| *byte == b'\n')?;
        let facts = serde_json::from_slice(rest.get(..line)?).ok()?;
        Some(CompiledCode { facts, code: content.split_off(TAG_BYTES + line + 1) })
    }

    /// Computes a file's tag. It covers the name, so that no authentic file can replace another.
    fn tag(&self, name: &str, content: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(name.as_bytes());
        context.update(b"\n");
        context.update(content);
        context.sign()
    }

    /// Writes `compiled`, then evicts other files if the cache is over its bound.
    ///
    /// # Errors
    /// If the disk refuses it. A file that could not be written completely does not exist.
    pub(super) fn write(&self, purpose: Purpose, digest: &Digest, compiled: &CompiledCode) -> io::Result<()> {
        let name = self.file_name(purpose, digest);
        let mut rest = serde_json::to_vec(&compiled.facts)?;
        rest.push(b'\n');
        rest.extend_from_slice(&compiled.code);
        let tag = self.tag(&name, &rest);
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(tag.as_ref())?;
        file.write_all(&rest)?;
        file.persist(self.folder.join(name))?;
        self.evict()
    }

    /// Returns the digests of all files, whatever the settings with which they were compiled.
    pub(super) fn digests(&self) -> Vec<Digest> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut digests: Vec<_> = entries.filter_map(|entry| digest_of(entry.file_name().to_str()?)).collect();
        digests.sort();
        digests.dedup();
        digests
    }

    /// Removes the files of these digests, whatever the settings with which they were compiled.
    ///
    /// # Errors
    /// If the folder cannot be read, or a file not removed.
    pub(super) fn remove(&self, digests: &[Digest]) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let of_removed = |name: &str| digest_of(name).is_some_and(|digest| digests.contains(&digest));
            if !entry.file_name().to_str().is_some_and(of_removed) {
                continue;
            }
            match fs::remove_file(entry.path()) {
                // Another node of this folder was first.
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Removes the least recently used files until the rest fits. Temporary files that a crash left behind count too.
    fn evict(&self) -> io::Result<()> {
        let _guard = self.evicting.lock();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another node, or an operator, may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() {
                files.push(CachedFile { used_at: metadata.modified()?, bytes: metadata.len(), path: entry.path() });
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if total <= self.max_bytes {
                break;
            }
            fs::remove_file(file.path)?;
            total = total.saturating_sub(file.bytes);
        }
        Ok(())
    }

    fn file_name(&self, purpose: Purpose, digest: &Digest) -> String {
        let settings = match purpose {
            Purpose::Calls => &self.call_settings,
            Purpose::Fuel => &self.fuel_settings,
        };
        format!("{digest}.{}-{settings}", purpose.name())
    }
}

/// Returns the digest in the name of a file of the cache.
fn digest_of(name: &str) -> Option<Digest> {
    let (digest, _) = name.split_once('.')?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| Digest::stored(digest))
}

/// A file of the cache. Files sort by their last use, the oldest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CachedFile {
    used_at: SystemTime,
    bytes: u64,
    path: PathBuf,
}

/// Derives the key of the cache from the installation's secret key (HKDF, RFC 5869).
fn cache_key(secret: &[u8; 32]) -> Option<hmac::Key> {
    let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    let info: &[&[u8]] = &[b"posthaste: compiled plugins"];
    derived.expand(info, hkdf::HKDF_SHA256.hmac_algorithm()).ok().map(hmac::Key::from)
}

/// Returns a hash that changes whenever code of this purpose has to be compiled again.
fn settings_hash(purpose: Purpose) -> io::Result<String> {
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

    use crate::sandbox::compiled_code::ComponentFacts;
    use crate::sandbox::inspect::{Inspection, Track};

    fn compiled(bytes: usize) -> CompiledCode {
        let inspection = Inspection { size: 1, imports: Vec::new(), exports: vec!["x".into()], track: Track::V0_1 };
        CompiledCode { facts: ComponentFacts { inspection, compile_ms: 1 }, code: vec![7; bytes] }
    }

    fn cache(folder: &TempDir) -> Cache {
        Cache::open(folder.path(), &[1; 32]).unwrap()
    }

    #[test]
    fn code_is_found_under_its_own_digest_and_purpose_only() {
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
    fn a_changed_or_foreign_file_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, digest) = (cache(&folder), Digest::of(b"a"));
        cache.write(Purpose::Calls, &digest, &compiled(100)).unwrap();
        let file = folder.path().join(cache.file_name(Purpose::Calls, &digest));
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
        fs::write(folder.path().join(cache.file_name(Purpose::Calls, &other)), &good).unwrap();
        assert!(cache.read(Purpose::Calls, &other).is_none(), "another plugin's file under this name");
        fs::write(&file, &good).unwrap();
        assert!(cache.read(Purpose::Calls, &digest).is_some());
        let stranger = Cache::open(folder.path(), &[2; 32]).unwrap();
        assert!(stranger.read(Purpose::Calls, &digest).is_none(), "the file of another installation");
    }

    /// Sets the last use of a file.
    fn used_at(file: &Path, seconds: i64) {
        let at = Timespec { tv_sec: seconds, tv_nsec: 0 };
        futimens(File::open(file).unwrap(), &Timestamps { last_access: at, last_modification: at }).unwrap();
    }

    #[test]
    fn the_least_recently_used_file_is_evicted_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::bounded(folder.path(), &[1; 32], 3_000).unwrap();
        let [a, b, c] = [b"a", b"b", b"c"].map(|name| Digest::of(name));
        for (digest, written) in [(&a, 1), (&b, 2)] {
            cache.write(Purpose::Calls, digest, &compiled(1_000)).unwrap();
            used_at(&folder.path().join(cache.file_name(Purpose::Calls, digest)), written);
        }
        assert!(cache.read(Purpose::Calls, &a).is_some());
        cache.write(Purpose::Calls, &c, &compiled(1_000)).unwrap();
        let has = [&a, &b, &c].map(|digest| cache.has(Purpose::Calls, digest));
        assert_eq!(has, [true, false, true], "b is the least recently used");
    }

    #[test]
    fn files_are_evicted_only_beyond_the_bound_and_no_more_than_necessary() {
        let folder = tempfile::tempdir().unwrap();
        let digests = [b"a", b"b", b"c"].map(|name| Digest::of(name));
        let cache = Cache::open(folder.path(), &[1; 32]).unwrap();
        assert_eq!(cache.max_bytes, 1 << 30);
        for (digest, written) in digests.iter().zip(1..) {
            cache.write(Purpose::Fuel, digest, &compiled(1_000)).unwrap();
            used_at(&folder.path().join(cache.file_name(Purpose::Fuel, digest)), written);
        }
        let sizes = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        let total: u64 = sizes.sum();
        for (max_bytes, left) in [(total, 3), (total - 1, 2), (total / 3, 1), (0, 0)] {
            Cache { max_bytes, ..Cache::open(folder.path(), &[1; 32]).unwrap() }.evict().unwrap();
            let kept = digests.iter().filter(|digest| cache.has(Purpose::Fuel, digest)).count();
            assert_eq!(kept, left, "{max_bytes} of {total} bytes");
        }
    }

    #[test]
    fn files_of_a_digest_are_removed_whatever_their_settings() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, [gone, kept]) = (cache(&folder), [b"a", b"b"].map(|name| Digest::of(name)));
        for purpose in [Purpose::Calls, Purpose::Fuel] {
            cache.write(purpose, &gone, &compiled(9)).unwrap();
        }
        cache.write(Purpose::Calls, &kept, &compiled(9)).unwrap();
        fs::write(folder.path().join(format!("{gone}.calls-of-another-version")), "x").unwrap();
        fs::write(folder.path().join(".tmpA1b2C3"), "x").unwrap();
        let mut both = vec![gone.clone(), kept.clone()];
        both.sort();
        assert_eq!(cache.digests(), both);
        cache.remove(&[gone, Digest::of(b"c")]).unwrap();
        assert_eq!((cache.digests(), fs::read_dir(folder.path()).unwrap().count()), (vec![kept], 2));
    }

    #[test]
    fn temporary_files_of_a_crash_are_evicted_too() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::bounded(folder.path(), &[1; 32], 2_000).unwrap();
        let left_over = folder.path().join(".tmpA1b2C3");
        fs::write(&left_over, [0; 1_500]).unwrap();
        used_at(&left_over, 1);
        fs::create_dir(folder.path().join("lost+found")).unwrap();
        cache.write(Purpose::Calls, &Digest::of(b"a"), &compiled(1_000)).unwrap();
        assert!(!left_over.exists() && cache.has(Purpose::Calls, &Digest::of(b"a")));
    }

    #[test]
    fn the_folder_is_accessible_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("compiled");
        Cache::open(&inner, &[1; 32]).unwrap();
        assert_eq!(fs::metadata(inner).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn code_for_calls_and_code_that_counts_fuel_have_different_settings() {
        let [calls, fuel] = [Purpose::Calls, Purpose::Fuel].map(|purpose| settings_hash(purpose).unwrap());
        assert_ne!(calls, fuel);
        assert_eq!(calls, settings_hash(Purpose::Calls).unwrap());
    }
}
