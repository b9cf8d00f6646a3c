//! The only room that knows SQL. The database is the log; memory is the fast path.

mod backend;
mod cache;
mod changes;
mod db;
mod deliveries;
mod keys;
mod migrations;
mod multi;
mod nodes;
mod plugins;
mod reserve;
mod seal;
mod transfer;
mod webhooks;
mod writer;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::domain::credential::Key;
use crate::domain::webhook::Webhook;
use crate::metrics::Metrics;
use backend::Backend;
use cache::ReadCache;
use db::{Kind, Pool};
use writer::Writer;

pub use changes::Change;
pub use deliveries::{
    Claimed, Completion, Filter, NewDelivery, Page, Parked, Published, Recorded, Replay, ReplayStep, Urge, Urged,
    WaitingLane,
};
pub use keys::KeyStore;
pub use nodes::Node;
pub use plugins::{Activation, Follower, NewVersion, PluginRow, VersionRow};
pub use seal::Sealer;
pub use transfer::{Told, transfer};
pub use webhooks::Rotation;
pub use writer::Publish;

/// Webhooks kept in memory; others are read when their event comes.
const WEBHOOKS_KEPT: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// Keys kept in memory.
const KEYS_KEPT: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// A key that another process revokes is refused after this at the latest.
const KEY_TTL: Duration = Duration::from_millis(500);

/// How long a webhook is believed to be as it was read.
fn webhook_ttl(kind: Kind) -> Duration {
    match kind {
        // They change only through this process; the bound is for what it cannot know, such as a restored backup.
        Kind::Sqlite => Duration::from_secs(10),
        // Other nodes tell of their changes, but nobody hears that he has gone deaf: in force within a second all the same.
        Kind::Postgres => Duration::from_millis(800),
    }
}

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be set up: the text says what and how to mend it.
    #[error("{0}")]
    Setup(String),
    /// A rule of the store was broken: the text says which.
    #[error("{0}")]
    Limit(String),
    /// Something is used by something else: the text says by what.
    #[error("{0}")]
    InUse(String),
    /// What was found out before the transaction no longer holds: the text says what.
    #[error("{0}")]
    Changed(String),
    /// The transaction did not commit; nothing of it is stored.
    #[error("the database did not take the write")]
    NotCommitted,
    /// The database went away before it answered: it may be stored or not.
    #[error("the database went away before it answered")]
    Unanswered,
    /// There is no room on the disk; nothing of it is stored.
    #[error("the disk is full")]
    Full,
    /// The service is shutting down.
    #[error("the service is shutting down")]
    Closed,
    /// Anything else that the database says.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Webhooks by company and event type; `None`: nobody subscribes.
type WebhookCache = ReadCache<(String, String), Option<Arc<Webhook>>>;

/// The database, open at the newest schema.
pub struct Store {
    readers: Pool,
    writer: Writer,
    metrics: Arc<Metrics>,
    sealer: Arc<Sealer>,
    webhooks: Arc<WebhookCache>,
    keys: ReadCache<String, Arc<Key>>,
    /// Apart from the valid ones: anyone can make up wrong keys, and would push those out.
    wrong_keys: ReadCache<String, ()>,
    _lock: Option<std::fs::File>,
    /// Until somebody takes it.
    heard: Mutex<Option<mpsc::Receiver<Change>>>,
    /// Ends what runs beside the writer.
    _beside: DropGuard,
}

/// Ends when everything handed to the store has been written and the [`Store`] has been dropped.
pub type WriterEnd = tokio::task::JoinHandle<()>;

impl Store {
    /// Opens `url`, creating and migrating it where needed; `sealer` holds the key of its signing secrets, `metrics`
    /// hears of what is written.
    ///
    /// # Errors
    /// [`StoreError::Setup`]: not openable, served by another process, or sealed under another key.
    pub async fn open(url: &str, sealer: Sealer, metrics: Arc<Metrics>) -> Result<(Self, WriterEnd), StoreError> {
        let backend = Backend::open(url).await?;
        let lock = backend.lock()?;
        transfer::check_marks(&backend.readers).await?;
        check_key(&backend.readers, &sealer).await?;
        let (writer, end) = Writer::start(&backend, metrics.clone()).await?;
        let stop = CancellationToken::new();
        let webhooks = Arc::new(ReadCache::new(WEBHOOKS_KEPT, webhook_ttl(backend.readers.kind())));
        let (sender, heard) = changes::heard();
        match backend.options.ear() {
            None => drop(tokio::spawn(backend::fold_back(backend.connect().await?, stop.clone()))),
            Some(ear) => drop(tokio::spawn(changes::listen(ear, webhooks.clone(), sender, stop.clone()))),
        }
        let store = Self {
            readers: backend.readers,
            writer,
            metrics,
            sealer: Arc::new(sealer),
            webhooks,
            keys: ReadCache::new(KEYS_KEPT, KEY_TTL),
            wrong_keys: ReadCache::new(KEYS_KEPT, KEY_TTL),
            _lock: lock,
            heard: Mutex::new(Some(heard)),
            _beside: stop.drop_guard(),
        };
        Ok((store, end))
    }
}

impl Store {
    /// What other nodes and this one change, from now on; for the first who asks. It ends at once where one process serves
    /// the database. The store itself has forgotten by then what a change made old.
    pub fn changes(&self) -> Option<mpsc::Receiver<Change>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A secret key that does not open what stands in the database would make every signature wrong: refuse to start.
async fn check_key(pool: &Pool, sealer: &Sealer) -> Result<(), StoreError> {
    const PROOF: &[u8] = b"posthaste";
    let insert = "INSERT INTO meta (name, value) VALUES ('secret_key_check', $1) ON CONFLICT (name) DO NOTHING";
    db::query(insert).bind(sealer.seal(PROOF)?).execute(pool).await?;
    let sealed: Vec<u8> = db::query("SELECT value FROM meta WHERE name = 'secret_key_check'").value(pool).await?;
    match sealer.open(&sealed).as_deref() {
        Some(PROOF) => Ok(()),
        _ => Err(StoreError::Setup(
            "the secret key is not the one that this database's signing secrets are encrypted with; give the right \
             one with --secret-key or --secret-key-file"
                .into(),
        )),
    }
}
