//! What connections to receivers trust: the system's authorities with those of `--tls-ca`, whose files are read again when
//! they change, or what a webhook says itself.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use super::{anchors, certificates_in, config, system_certificates};
use crate::clock::Clock;
use crate::domain::plugin::Digest;
use crate::domain::tls::{TlsSettings, parse_pin};
use crate::telemetry::ThrottledLog;

/// How a certificate can be trusted that is not.
const ADVICE: &str = "to trust it, set `tls` of the webhook, or start Posthaste with --tls-ca";
/// As above, if the webhook says itself what it trusts.
const OWN_ADVICE: &str = "to trust it, change `tls` of the webhook";
/// Milliseconds between two looks at the files.
const CHECK_INTERVAL_MS: i64 = 10_000;
/// Bounds a file with certificates, in bytes: all public authorities together have a fourth of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Settings of webhooks that are kept: building them again costs a few signatures' time.
const OWN_KEPT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Names what a connection trusts: connections that trust other things are never shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::outbound) enum TrustId {
    /// The files as they were read for the `n`th time with other contents.
    System(u64),
    /// The digest of a webhook's settings.
    Webhook(Digest),
}

/// The settings of a connection.
#[derive(Clone)]
pub(in crate::outbound) struct Trusted {
    pub(in crate::outbound) id: TrustId,
    pub(in crate::outbound) config: Arc<ClientConfig>,
}

/// What connections to receivers trust.
pub struct Trust {
    clock: Arc<dyn Clock>,
    system: Vec<CertificateDer<'static>>,
    files: Vec<PathBuf>,
    current: Mutex<Current>,
    webhooks: Mutex<LruCache<Digest, Arc<ClientConfig>>>,
    log: ThrottledLog,
}

/// The settings of webhooks that say nothing themselves.
struct Current {
    generation: u64,
    config: Arc<ClientConfig>,
    /// The contents of the files that were last read, also if they could not be used.
    seen: Vec<Vec<u8>>,
    checked_at: i64,
}

impl Trust {
    /// Reads the authorities of this system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and the PEM files of the
    /// operator.
    ///
    /// # Errors
    /// A file cannot be read or holds no certificate, or there are no certificates at all; the text says how to correct it.
    pub fn load(files: Vec<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let (system, contents) = (system_certificates(), read_files(&files)?);
        let config = Arc::new(build(&system, &files, &contents)?);
        let current = Current { generation: 0, config, seen: contents, checked_at: clock.steady_ms() };
        let webhooks = Mutex::new(LruCache::new(OWN_KEPT));
        Ok(Self { clock, system, files, current: Mutex::new(current), webhooks, log: ThrottledLog::default() })
    }

    /// Returns the settings for a webhook with these settings of its own; reads the files again if they may have changed.
    ///
    /// # Errors
    /// The webhook's settings cannot be used.
    pub(in crate::outbound) async fn settings(self: &Arc<Self>, own: Option<&TlsSettings>) -> Result<Trusted, String> {
        let Some(own) = own else {
            if self.is_check_due() {
                let trust = self.clone();
                // Files may lie on a slow disk. The reader logs its failures.
                let _ = tokio::task::spawn_blocking(move || trust.read_again()).await;
            }
            let current = self.current();
            return Ok(Trusted { id: TrustId::System(current.generation), config: current.config.clone() });
        };
        let mut kept = self.webhooks.lock().unwrap_or_else(PoisonError::into_inner);
        let config = match kept.get(own.digest()) {
            Some(config) => config.clone(),
            None => {
                let config = Arc::new(own_config(own)?);
                kept.put(own.digest().clone(), config.clone());
                config
            }
        };
        Ok(Trusted { id: TrustId::Webhook(own.digest().clone()), config })
    }

    /// Returns the name of what a webhook with these settings trusts now.
    pub(in crate::outbound) fn id(&self, own: Option<&TlsSettings>) -> TrustId {
        own.map_or_else(|| TrustId::System(self.current().generation), |own| TrustId::Webhook(own.digest().clone()))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the files are to be read; if so, no other caller is told so for a while.
    fn is_check_due(&self) -> bool {
        let (mut current, now) = (self.current(), self.clock.steady_ms());
        let due = !self.files.is_empty() && now.saturating_sub(current.checked_at) >= CHECK_INTERVAL_MS;
        if due {
            current.checked_at = now;
        }
        due
    }

    /// Reads the files. If they have changed and can be used, new connections trust what they hold now.
    fn read_again(&self) {
        let changed = read_files(&self.files).and_then(|contents| {
            if self.current().seen == contents {
                return Ok(None);
            }
            let built = build(&self.system, &self.files, &contents);
            self.current().seen = contents;
            built.map(Some)
        });
        match changed {
            Ok(None) => (),
            Ok(Some(config)) => {
                let mut current = self.current();
                (current.config, current.generation) = (Arc::new(config), current.generation + 1);
                tracing::info!("read the changed files of --tls-ca");
            }
            Err(error) => {
                self.log.warn("a changed file of --tls-ca cannot be used; what it held stays trusted", &error)
            }
        }
    }
}

fn read_files(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    files.iter().map(|file| read_file(file).map_err(|error| format!("--tls-ca {}: {error}", file.display()))).collect()
}

fn read_file(file: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut contents = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| error.to_string())?;
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut contents).map_err(|error| error.to_string())?;
    if contents.len() as u64 > MAX_FILE_BYTES {
        return Err("the file is larger than 1 MiB".into());
    }
    Ok(contents)
}

/// Builds the settings that trust the system's certificates and those in the files.
fn build(system: &[CertificateDer<'static>], files: &[PathBuf], contents: &[Vec<u8>]) -> Result<ClientConfig, String> {
    let mut found = Vec::new();
    for (file, contents) in files.iter().zip(contents) {
        let certificates = certificates_in(contents);
        found.extend(certificates.map_err(|error| format!("--tls-ca {}: {error}", file.display()))?);
    }
    config(Some(anchors(system, found)?), None, ADVICE)
}

/// Builds the settings of a webhook: its authorities stand in place of all others, and its pin alone trusts one key.
fn own_config(own: &TlsSettings) -> Result<ClientConfig, String> {
    let found = own.ca().map(|ca| certificates_in(ca.as_bytes())).transpose();
    let found = found.map_err(|error| format!("the webhook's `tls.ca`: {error}"))?;
    let pin = own.pin_sha256().map(parse_pin).transpose();
    let pin = pin.map_err(|error| format!("the webhook's `tls.pin_sha256`: {error}"))?;
    config(found.map(|found| anchors(&[], found)).transpose()?, pin, OWN_ADVICE)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::super::samples::authority;
    use super::*;

    #[derive(Default)]
    struct SetClock(AtomicI64);

    impl Clock for SetClock {
        fn now_ms(&self) -> i64 {
            0
        }

        fn steady_ms(&self) -> i64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn changed_files_are_read_after_the_interval_and_unusable_ones_change_nothing() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(SetClock::default()));
        let (file, other) = (folder.path().join("a.pem"), folder.path().join("b.pem"));
        let (first, second) = (authority("first").pem(), authority("second").pem());
        std::fs::write(&file, &first).unwrap();
        std::fs::write(&other, &first).unwrap();
        let trust = Arc::new(Trust::load(vec![other, file.clone()], clock.clone()).unwrap());
        let generation = async |passed| {
            clock.0.fetch_add(passed, Ordering::SeqCst);
            let Trusted { id, .. } = trust.settings(None).await.unwrap();
            assert_eq!(id, trust.id(None));
            id
        };
        std::fs::write(&file, &second).unwrap();
        assert_eq!(generation(CHECK_INTERVAL_MS - 1).await, TrustId::System(0));
        assert_eq!(generation(1).await, TrustId::System(1));
        std::fs::write(&file, "rubbish").unwrap();
        assert_eq!(generation(CHECK_INTERVAL_MS).await, TrustId::System(1));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(generation(CHECK_INTERVAL_MS).await, TrustId::System(1));
        std::fs::write(&file, &second).unwrap();
        assert_eq!(generation(CHECK_INTERVAL_MS).await, TrustId::System(2));
        assert_eq!(generation(CHECK_INTERVAL_MS).await, TrustId::System(2));
    }

    #[test]
    fn file_that_cannot_be_used_is_named_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let (missing, rubbish, large) =
            (folder.path().join("missing"), folder.path().join("rubbish"), folder.path().join("large"));
        std::fs::write(&rubbish, "rubbish").unwrap();
        std::fs::write(&large, " ".repeat(1024 * 1024 + 1)).unwrap();
        for (file, part) in [(missing, "No such file"), (rubbish, "this is not PEM"), (large, "larger than 1 MiB")] {
            let named = format!("--tls-ca {}: ", file.display());
            let error = Trust::load(vec![file], Arc::new(SetClock::default())).err().unwrap();
            assert!(error.starts_with(&named) && error.contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn settings_of_a_webhook_are_built_once() {
        let trust = Arc::new(Trust::load(Vec::new(), Arc::new(SetClock::default())).unwrap());
        let own = TlsSettings::new(Some(&authority("own").pem()), Some(&"a1".repeat(32))).unwrap();
        let (first, again) = (trust.settings(Some(&own)).await.unwrap(), trust.settings(Some(&own)).await.unwrap());
        assert!(Arc::ptr_eq(&first.config, &again.config));
        assert_eq!((&first.id, trust.id(Some(&own))), (&TrustId::Webhook(own.digest().clone()), first.id.clone()));
        for bad in [TlsSettings::new(Some("rubbish"), None), TlsSettings::new(None, Some("a1"))] {
            let error = trust.settings(bad.as_ref()).await.err().unwrap();
            assert!(error.starts_with("the webhook's `tls."), "{error}");
        }
    }
}
