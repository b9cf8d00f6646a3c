//! Compiled plugin versions, by digest: compiled at upload, kept on disk, and in memory while they are in use.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::OnceCell;

use crate::domain::event::Event;
use crate::domain::plugin::{Digest, PluginVersion, preset, preset_config};
use crate::sandbox::{CompileError, Compiler, Plugin, Sandbox, Source};
use crate::store::{Store, StoreError};

/// Versions in memory, loaded or being loaded.
const MAX_VERSIONS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// Bytes of compiled code in memory. A small Rust plugin has half a MiB, Python's 18 MB component 32 MiB. A version that does
/// not fit is loaded from disk again, in milliseconds.
const MAX_BYTES: usize = 256 << 20;

type VersionSlot = Arc<OnceCell<Arc<Plugin>>>;

/// The compiled plugin versions of this process.
pub struct CompiledPlugins {
    sandbox: Sandbox,
    compiler: Compiler,
    pub(super) store: Arc<Store>,
    kept: Mutex<LruCache<Digest, VersionSlot>>,
}

impl CompiledPlugins {
    pub(super) fn new(sandbox: Sandbox, compiler: Compiler, store: Arc<Store>) -> Self {
        Self { sandbox, compiler, store, kept: Mutex::new(LruCache::new(MAX_VERSIONS)) }
    }

    /// The compiled version: from memory, from disk, or compiled again if this host has had other settings or another wasmtime
    /// since the upload.
    ///
    /// # Errors
    /// The reason, as a text. It is never the fault of the event, and hardly ever the plugin's: the version was compiled
    /// when it was uploaded.
    pub async fn get(&self, company: &str, name: &str, digest: &Digest) -> Result<Arc<Plugin>, String> {
        let plugin = self.component(company, name, digest).await?;
        Ok(preset(name).map_or(plugin.clone(), |preset| Arc::new(plugin.with_preset(preset))))
    }

    /// The compiled version itself, which a preset shares.
    async fn component(&self, company: &str, name: &str, digest: &Digest) -> Result<Arc<Plugin>, String> {
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

    /// Compiles the version ahead of need, unless it is on disk.
    pub(super) async fn prepare(&self, company: &str, name: &str, digest: &Digest) -> Result<(), String> {
        if self.keeps(digest) {
            return Ok(());
        }
        self.get(company, name, digest).await.map(drop)
    }

    /// Compiles an upload, checks it by the contract, and keeps it for later deliveries.
    ///
    /// # Errors
    /// The reason why it is not a plugin that can run here, or why that cannot be found out now.
    pub async fn admit(&self, company: &str, digest: &Digest, bytes: Bytes) -> Result<Arc<Plugin>, CompileError> {
        let source = Source { label: label(digest), tenant: company.into(), digest: digest.clone(), bytes };
        let plugin = Arc::new(self.compiler.plugin(&self.sandbox, source, false).await?);
        self.sandbox.verify(&plugin).await?;
        // An earlier upload of the same bytes may have filled it; they are the same code.
        let _ = self.slot(digest).set(plugin.clone());
        self.make_room();
        Ok(plugin)
    }

    /// Drops versions that no company has any more, from memory and from disk. Calls under way keep theirs.
    pub(super) async fn forget(&self, versions: Vec<Digest>) {
        for digest in &versions {
            self.lock().pop(digest);
        }
        self.compiler.forget(versions).await;
    }

    /// Drops every version that no company has any more: this node may not have run when it was removed.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn forget_removed(&self) -> Result<(), StoreError> {
        let mut all = self.compiler.all_kept().await;
        all.extend(self.lock().iter().map(|(digest, _)| digest.clone()));
        let unknown = self.store.unknown_digests(all).await?;
        self.forget(unknown).await;
        Ok(())
    }

    /// The fuel that transforming `event` takes; `None`: more than a call within its deadline can burn.
    ///
    /// # Errors
    /// The reason why it cannot be counted now.
    pub async fn fuel(
        &self,
        version: &PluginVersion,
        event: Arc<Event>,
        config: Arc<str>,
    ) -> Result<Option<u64>, String> {
        let source = self.source(&version.owner, &version.name, &version.digest).await?;
        let config = preset(&version.name).map_or(config.clone(), |preset| preset_config(preset, &config).into());
        let compiled = self.compiler.metered(&source).await.map_err(|error| error.to_string())?;
        self.sandbox.fuel(compiled, event, config).await.map_err(|error| error.to_string())
    }

    async fn source(&self, company: &str, name: &str, digest: &Digest) -> Result<Source, String> {
        let bytes = self.store.wasm_to_run(company, name, digest).await.map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or_else(|| format!("version {digest} of plugin `{name}` is not stored"))?;
        Ok(Source { label: label(digest), tenant: company.into(), digest: digest.clone(), bytes: bytes.into() })
    }

    fn slot(&self, digest: &Digest) -> VersionSlot {
        self.lock().get_or_insert(digest.clone(), VersionSlot::default).clone()
    }

    /// Drops the least recently used versions until the rest fits. Calls under way keep theirs.
    fn make_room(&self) {
        let mut kept = self.lock();
        let bytes = |slot: &VersionSlot| slot.get().map_or(0, |plugin| plugin.code_bytes());
        let mut held: usize = kept.iter().map(|(_, slot)| bytes(slot)).sum();
        while held > MAX_BYTES && kept.len() > 1 {
            let Some((_, oldest)) = kept.pop_lru() else { return };
            held = held.saturating_sub(bytes(&oldest));
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Digest, VersionSlot>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version's name in error texts. Not the plugin's name: the same bytes may have another name in another company, which
/// this company must not learn.
fn label(digest: &Digest) -> String {
    let short: String = digest.as_str().chars().take(8).collect();
    format!("version {short}")
}
