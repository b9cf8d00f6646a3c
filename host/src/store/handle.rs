//! The handle to an open database: the parts of which it consists, and how it opens.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::backend::{Backend, checkpoint_wal};
use super::changes::{self, Change};
use super::db::{self, ConnectionPool, DatabaseKind, QueryTarget};
use super::error::StoreError;
use super::event_rule_cache::EventRuleCache;
use super::event_usage::EventUsage;
use super::key_cache::KeyCache;
use super::readers::{LogReader, Readers};
use super::seal::{SealedPlace, Sealer};
use super::transfer_marks::check_marks;
use super::webhook_cache::WebhookCache;
use super::writer::{Writer, transaction};
use crate::domain::company_limit::CompanyLimit;
use crate::domain::credential::Key;
use crate::domain::quota::Quotas;
use crate::metrics::Metrics;
use crate::shares::{Resource, Share, Shares};

/// Most keys in memory.
const CACHED_KEYS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// Bounds how long a key that another process revoked is still accepted.
const KEY_TTL: Duration = Duration::from_millis(500);
/// Time that the writer may take for an empty operation before it counts as stuck.
const WRITE_PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bounds how long a webhook, and the rule of an event type, is used as it was read.
fn webhook_ttl(kind: DatabaseKind) -> Duration {
    match kind {
        // Webhooks change only through this process; the bound is for changes it cannot see, such as a restored backup.
        DatabaseKind::Sqlite => Duration::from_secs(10),
        // Other nodes send notifications, but a node does not notice at once that its listener is cut off: a change is in
        // force within a second even then.
        DatabaseKind::Postgres => Duration::from_millis(800),
    }
}

/// The database, open at the newest schema.
pub struct Store {
    pub(super) readers: Readers,
    log_reads: Arc<Share>,
    pub(super) writer: Writer,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sealer: Arc<Sealer>,
    pub(super) webhooks: Arc<WebhookCache>,
    pub(super) keys: KeyCache<Arc<Key>>,
    pub(super) event_rules: Arc<EventRuleCache>,
    pub(super) event_usage: Arc<EventUsage>,
    pub(super) quotas: Quotas,
    /// Separate from the valid keys: anyone can make up wrong ones, and would evict those.
    pub(super) wrong_keys: KeyCache<()>,
    _lock: Option<std::fs::File>,
    /// `None` once [`Store::changes`] has handed it out.
    changes: Mutex<Option<mpsc::Receiver<Change>>>,
    /// Stops the tasks that run beside the writer.
    _background: DropGuard,
}

/// Ends when everything handed to the store has been written and the [`Store`] has been dropped.
pub type WriterEnd = tokio::task::JoinHandle<()>;

impl Store {
    /// Opens `url`, creating and migrating the database if needed. `sealer` holds the key of its signing secrets;
    /// `metrics` counts what is written, and `shares` has the companies' parts of reads and writes.
    ///
    /// # Errors
    /// [`StoreError::Setup`]: the database cannot be opened, is served by another process, or is sealed under another key.
    pub async fn open(
        url: &str,
        sealer: Sealer,
        metrics: Arc<Metrics>,
        shares: &Shares,
    ) -> Result<(Self, WriterEnd), StoreError> {
        let (backend, lock) = Backend::open_locked(url).await?;
        check_marks(&backend.readers.background).await?;
        check_secret_key(&backend.readers.background, &sealer).await?;
        let event_usage = Arc::<EventUsage>::default();
        let bytes = shares.of(Resource::WriterBytes).clone();
        let (writer, end) = Writer::start(&backend, metrics.clone(), bytes, event_usage.clone()).await?;
        let stop = CancellationToken::new();
        let memory = shares.of(Resource::WebhookCacheBytes).clone();
        let ttl = webhook_ttl(backend.readers.kind());
        let webhooks = Arc::new(WebhookCache::new(memory, ttl));
        let (sender, changes) = changes::channel();
        match backend.options.listener_pool() {
            None => drop(tokio::spawn(checkpoint_wal(backend.connect().await?, stop.clone()))),
            Some(pool) => drop(tokio::spawn(changes::listen(pool, webhooks.clone(), sender, stop.clone()))),
        }
        let store = Self {
            readers: backend.readers,
            log_reads: shares.of(Resource::LogReads).clone(),
            writer,
            metrics,
            sealer: Arc::new(sealer),
            webhooks,
            keys: KeyCache::new(CACHED_KEYS, KEY_TTL),
            wrong_keys: KeyCache::new(CACHED_KEYS, KEY_TTL),
            event_rules: Arc::new(EventRuleCache::new(ttl)),
            event_usage,
            quotas: Quotas::default(),
            _lock: lock,
            changes: Mutex::new(Some(changes)),
            _background: stop.drop_guard(),
        };
        Ok((store, end))
    }

    /// Sets the quotas of companies for which nothing else is stored.
    #[must_use]
    pub fn with_quotas(self, quotas: Quotas) -> Self {
        Self { quotas, ..self }
    }

    /// Returns the changes that other nodes and this one make from now on; `None` if it was called before. The channel
    /// closes at once if one process serves the database. The store has dropped outdated values from its own caches
    /// before a change is received.
    pub fn changes(&self) -> Option<mpsc::Receiver<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for the company's turn at reading the log.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: too many requests of the company wait already.
    pub(super) async fn log_reader(&self, company: &str) -> Result<LogReader<'_>, StoreError> {
        let turn = self.log_reads.take(company, 1).await.map_err(CompanyLimit::from)?;
        Ok(self.readers.log(turn))
    }

    /// Checks that the database answers and commits writes.
    ///
    /// # Errors
    /// The database's, or [`StoreError::NotCommitted`] if it does not answer within 5 s.
    pub async fn ping(&self) -> Result<(), StoreError> {
        db::query("SELECT 1 FROM meta LIMIT 1").fetch_optional(&self.readers.look_ups).await?;
        timeout(WRITE_PROBE_TIMEOUT, self.written()).await.unwrap_or(Err(StoreError::NotCommitted))
    }

    /// Waits until the completions that were handed in before are written.
    ///
    /// # Errors
    /// The database's.
    pub async fn written(&self) -> Result<(), StoreError> {
        let nothing = transaction(|_| Box::pin(async { Ok(()) }));
        self.writer.run(nothing, |()| ()).await
    }

    /// Waits until everything that was handed in before is written, also by companies.
    ///
    /// # Errors
    /// The database's.
    pub async fn all_written(&self) -> Result<(), StoreError> {
        self.writer.all_written().await
    }

    /// Returns how many operations wait for the writer.
    pub fn writer_queue(&self) -> usize {
        self.writer.queue_length()
    }

    /// Returns whether several nodes may serve this database.
    pub fn is_shared(&self) -> bool {
        self.readers.kind() == DatabaseKind::Postgres
    }
}

/// What a database keeps encrypted, to recognise the secret key.
const PROOF: &[u8] = b"posthaste";

/// Returns what the database keeps encrypted to recognise its secret key; `None` if it has no secrets yet.
pub(super) async fn sealed_proof(on: impl Into<QueryTarget<'_>>) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(db::query("SELECT value FROM meta WHERE name = 'secret_key_check'").value_if_any(on).await?)
}

/// Returns whether this key opens the proof of [`sealed_proof`].
pub(super) fn opens_proof(sealer: &Sealer, sealed: &[u8]) -> bool {
    sealer.open(sealed, SealedPlace::Meta).as_deref() == Some(PROOF)
}

/// Returns whether the database's secrets are encrypted under this key. `false` also if it has none yet.
pub(super) async fn seals_this_database(pool: &ConnectionPool, sealer: &Sealer) -> Result<bool, StoreError> {
    Ok(sealed_proof(pool).await?.is_some_and(|sealed| opens_proof(sealer, &sealed)))
}

/// Refuses a secret key that does not open what the database holds: it would make every signature wrong.
pub(super) async fn check_secret_key(pool: &ConnectionPool, sealer: &Sealer) -> Result<(), StoreError> {
    let insert = "INSERT INTO meta (name, value) VALUES ('secret_key_check', $1) ON CONFLICT (name) DO NOTHING";
    db::query(insert).bind(sealer.seal(PROOF, SealedPlace::Meta)?).execute(pool).await?;
    if seals_this_database(pool, sealer).await? {
        return Ok(());
    }
    Err(StoreError::Setup(
        "the secret key is not the one that this database's signing secrets are encrypted with; pass the right one with \
         --secret-key or --secret-key-file, or give them up with `posthaste keys reset-secrets`"
            .into(),
    ))
}
