//! Compiled plugins, by digest: compiled at upload, or once when they are first needed after a start.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::{OnceCell, Semaphore};

use crate::domain::plugin::Digest;
use crate::sandbox::{Plugin, Sandbox};
use crate::store::Store;

/// Compiled plugins kept in memory; one takes about 0.3 MiB.
const KEPT: NonZeroUsize = NonZeroUsize::new(256).unwrap();

type Slot = Arc<OnceCell<Arc<Plugin>>>;

/// The compiled plugins of this process.
pub struct Plugins {
    sandbox: Sandbox,
    store: Arc<Store>,
    kept: Mutex<LruCache<Digest, Slot>>,
    /// Compiling takes a whole core: one at a time leaves the others to the deliveries.
    compiling: Arc<Semaphore>,
}

impl Plugins {
    pub(super) fn new(sandbox: Sandbox, store: Arc<Store>) -> Self {
        let compiling = Arc::new(Semaphore::new(1));
        Self { sandbox, store, kept: Mutex::new(LruCache::new(KEPT)), compiling }
    }

    /// The compiled version, compiling it where it is not in memory.
    ///
    /// # Errors
    /// A text that says why there is none.
    pub async fn get(&self, company: &str, name: &str, digest: &Digest) -> Result<Arc<Plugin>, String> {
        let slot = self.slot(digest);
        let load = || async {
            let bytes = self.store.wasm(company, name, digest).await.map_err(|error| error.to_string())?;
            let bytes = bytes.ok_or_else(|| format!("version {digest} of plugin `{name}` is not stored"))?;
            self.compile(label(digest), bytes.into()).await
        };
        slot.get_or_try_init(load).await.cloned()
    }

    /// Compiles an upload, checks it as the contract asks, and keeps it for the deliveries to come.
    ///
    /// # Errors
    /// Why it is not a plugin that could run here.
    pub async fn admit(&self, digest: &Digest, bytes: Bytes) -> Result<Arc<Plugin>, String> {
        let plugin = self.compile(label(digest), bytes).await?;
        self.sandbox.verify(&plugin).await.map_err(|refusal| refusal.to_string())?;
        // An earlier upload of the same bytes may have filled it; they are the same code.
        let _ = self.slot(digest).set(plugin.clone());
        Ok(plugin)
    }

    fn slot(&self, digest: &Digest) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(digest.clone(), Slot::default).clone()
    }

    async fn compile(&self, label: String, bytes: Bytes) -> Result<Arc<Plugin>, String> {
        let permit = self.compiling.clone().acquire_owned().await;
        let sandbox = self.sandbox.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            sandbox.compile(&label, &bytes)
        });
        let compiled = compiled.await.map_err(|_| "compiling it broke off; this is a fault of the host".to_owned())?;
        compiled.map(Arc::new).map_err(|refusal| refusal.to_string())
    }
}

/// What error texts call it. Not by a plugin's name: the same bytes may have other names with other companies, which are
/// none of this company's business.
fn label(digest: &Digest) -> String {
    let short: String = digest.as_str().chars().take(8).collect();
    format!("version {short}")
}
