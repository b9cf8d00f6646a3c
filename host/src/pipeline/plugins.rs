//! Compiled plugins, by digest: compiled at upload, kept on disk, and in memory while they are used.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::OnceCell;

use crate::domain::event::Event;
use crate::domain::plugin::Digest;
use crate::sandbox::{CompileError, Compiler, Plugin, Sandbox, Source};
use crate::store::Store;

/// Versions in memory, loaded or about to be.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// Bytes of compiled code in memory. A small Rust plugin has half a MiB, Python's 18 MB component 32 MiB. What does not
/// fit is loaded from disk again, in milliseconds.
const KEPT_BYTES: usize = 256 << 20;

type Slot = Arc<OnceCell<Arc<Plugin>>>;

/// The compiled plugins of this process.
pub struct Plugins {
    sandbox: Sandbox,
    compiler: Compiler,
    store: Arc<Store>,
    kept: Mutex<LruCache<Digest, Slot>>,
}

impl Plugins {
    pub(super) fn new(sandbox: Sandbox, compiler: Compiler, store: Arc<Store>) -> Self {
        Self { sandbox, compiler, store, kept: Mutex::new(LruCache::new(KEPT)) }
    }

    /// The compiled version: from memory, from disk, or compiled anew where this host has been given other settings or
    /// another wasmtime since the upload.
    ///
    /// # Errors
    /// A text that says why there is none. It is never the fault of the event, and hardly ever the plugin's: the version
    /// was compiled when it was uploaded.
    pub async fn get(&self, company: &str, name: &str, digest: &Digest) -> Result<Arc<Plugin>, String> {
        let slot = self.slot(digest);
        if let Some(plugin) = slot.get() {
            return Ok(plugin.clone());
        }
        let load = || async {
            if let Some(plugin) = self.compiler.kept(&self.sandbox, &label(digest), digest).await {
                return Ok(Arc::new(plugin));
            }
            let source = self.source(company, name, digest).await?;
            let compiled = self.compiler.plugin(&self.sandbox, source, true).await;
            compiled.map(Arc::new).map_err(|error| error.to_string())
        };
        let plugin = slot.get_or_try_init(load).await.cloned();
        self.make_room();
        plugin
    }

    /// Whether it is on this disk, compiled.
    pub(super) fn keeps(&self, digest: &Digest) -> bool {
        self.compiler.keeps(digest)
    }

    /// Compiles ahead of need what is not on disk.
    pub(super) async fn prepare(&self, company: &str, name: &str, digest: &Digest) -> Result<(), String> {
        if self.keeps(digest) {
            return Ok(());
        }
        self.get(company, name, digest).await.map(drop)
    }

    /// Compiles an upload, checks it as the contract asks, and keeps it for the deliveries to come.
    ///
    /// # Errors
    /// Why it is not a plugin that could run here, or why this cannot be said now.
    pub async fn admit(&self, company: &str, digest: &Digest, bytes: Bytes) -> Result<Arc<Plugin>, CompileError> {
        let source = Source { label: label(digest), tenant: company.into(), digest: digest.clone(), bytes };
        let plugin = Arc::new(self.compiler.plugin(&self.sandbox, source, false).await?);
        self.sandbox.verify(&plugin).await?;
        // An earlier upload of the same bytes may have filled it; they are the same code.
        let _ = self.slot(digest).set(plugin.clone());
        self.make_room();
        Ok(plugin)
    }

    /// The fuel that transforming `event` takes; `None` when it is more than a call inside its deadline can burn.
    ///
    /// # Errors
    /// Why it cannot be counted now.
    pub async fn fuel(
        &self,
        version: (&str, &str, &Digest),
        event: Arc<Event>,
        config: Arc<str>,
    ) -> Result<Option<u64>, String> {
        let (company, name, digest) = version;
        let source = self.source(company, name, digest).await?;
        let compiled = self.compiler.metered(&source).await.map_err(|error| error.to_string())?;
        self.sandbox.fuel(compiled, event, config).await.map_err(|error| error.to_string())
    }

    async fn source(&self, company: &str, name: &str, digest: &Digest) -> Result<Source, String> {
        let bytes = self.store.wasm(company, name, digest).await.map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or_else(|| format!("version {digest} of plugin `{name}` is not stored"))?;
        Ok(Source { label: label(digest), tenant: company.into(), digest: digest.clone(), bytes: bytes.into() })
    }

    fn slot(&self, digest: &Digest) -> Slot {
        self.lock().get_or_insert(digest.clone(), Slot::default).clone()
    }

    /// Lets go of what was used the longest ago until the rest fits; calls that use it still have it.
    fn make_room(&self) {
        let mut kept = self.lock();
        let bytes = |slot: &Slot| slot.get().map_or(0, |plugin| plugin.code_bytes());
        let mut held: usize = kept.iter().map(|(_, slot)| bytes(slot)).sum();
        while held > KEPT_BYTES && kept.len() > 1 {
            let Some((_, oldest)) = kept.pop_lru() else { return };
            held = held.saturating_sub(bytes(&oldest));
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Digest, Slot>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What error texts call it. Not by a plugin's name: the same bytes may have other names with other companies, which are
/// none of this company's business.
fn label(digest: &Digest) -> String {
    let short: String = digest.as_str().chars().take(8).collect();
    format!("version {short}")
}
