//! Compiles the plugin versions that enabled webhooks run and that are not on disk, so that no delivery waits for a compiler:
//! after an upgrade of wasmtime, on a new disk, or once another node has a new version.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::compiled_plugins::CompiledPlugins;
use crate::domain::plugin::PluginVersion;
use crate::store::{Store, StoreError};
use crate::telemetry::ThrottledLog;

/// Most versions that one pass looks at.
const VERSIONS: u32 = 4_096;

/// Compiles ahead of need.
pub(super) struct Precompiler {
    pub(super) store: Arc<Store>,
    pub(super) plugins: Arc<CompiledPlugins>,
    /// Other versions may be in use.
    pub(super) wake: Arc<Notify>,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl Precompiler {
    /// Runs until the engine stops.
    pub(super) async fn run(self) {
        if let Err(error) = self.plugins.forget_removed().await {
            self.log.warn("dropping the compiled code of removed plugins failed", &error);
        }
        while !self.stop.is_cancelled() {
            if let Err(error) = self.pass().await {
                self.log.warn("looking for plugins to compile failed", &error);
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.wake.notified() => (),
            }
        }
    }

    async fn pass(&self) -> Result<(), StoreError> {
        for PluginVersion { owner, name, digest } in self.store.versions_in_use(VERSIONS).await? {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = self.plugins.prepare(&owner, &name, &digest).await {
                tracing::warn!(company = owner, plugin = name, %digest, error, "a stored plugin does not compile");
            }
        }
        Ok(())
    }
}
