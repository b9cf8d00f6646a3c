//! Installs the standard transforms: plugins in the binary, named `std-…`, that every company can use without an upload.
//!
//! They are stored like the versions of any plugin, under an owner name that no company can have. So a webhook can pin a
//! version, and after an upgrade the log can still name the version that ran before.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::domain::plugin::{Digest, STANDARD_OWNER};
use crate::sandbox::{Inspection, UploadRefusal, inspect};
use crate::store::{Activation, NewVersion, Store, StoreError};

/// The names and components of the standard transforms, built from `plugins/` by `cargo xtask plugins`.
pub const PLUGINS: [(&str, &[u8]); 13] = [
    ("std-mask", include_bytes!("../../plugins/dist/mask.wasm")),
    ("std-filter", include_bytes!("../../plugins/dist/filter.wasm")),
    ("std-envelope", include_bytes!("../../plugins/dist/envelope.wasm")),
    ("std-map", include_bytes!("../../plugins/dist/map.wasm")),
    ("std-jq", include_bytes!("../../plugins/dist/jq.wasm")),
    ("std-js", include_bytes!("../../plugins/dist/js.wasm")),
    ("std-template", TEMPLATE),
    // Presets: one component, which is compiled and stored once.
    ("std-slack", TEMPLATE),
    ("std-teams", TEMPLATE),
    ("std-discord", TEMPLATE),
    ("std-google-chat", TEMPLATE),
    ("std-pagerduty", TEMPLATE),
    ("std-jira", TEMPLATE),
];

const TEMPLATE: &[u8] = include_bytes!("../../plugins/dist/template.wasm");

/// Time between two attempts to install what a full disk had no room for.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Installs the standard transforms. A full disk does not keep the service from starting: what does not fit is installed later, and
/// until then each webhook runs the version that it ran before.
///
/// # Errors
/// As [`install`], except for a full disk.
pub(crate) async fn install_when_there_is_room(store: &Arc<Store>, clock: &Arc<dyn Clock>) -> Result<(), StoreError> {
    match install(store, clock.now_ms()).await {
        Err(StoreError::Full) => {
            tracing::warn!(
                "the disk is full: the standard transforms of this version are installed once there is room"
            );
            tokio::spawn(install_later(Arc::downgrade(store), clock.clone()));
            Ok(())
        }
        done => done,
    }
}

/// Installs once there is room, unless the service ends before.
async fn install_later(store: Weak<Store>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(RETRY_INTERVAL).await;
        let Some(store) = store.upgrade() else { return };
        match install(&store, clock.now_ms()).await {
            Ok(()) => return tracing::info!("the standard transforms of this version are installed"),
            Err(StoreError::Full) => {}
            Err(error) => tracing::warn!(%error, "the standard transforms of this version could not be installed"),
        }
    }
}

/// Stores the versions of this binary that are not stored yet, and activates them. `now` is in milliseconds since 1970.
///
/// # Errors
/// If the store fails, or a component in this binary is not a plugin, which is a fault of the build.
async fn install(store: &Store, now: i64) -> Result<(), StoreError> {
    // The presets share a component, which is hashed and inspected once.
    for sharing in PLUGINS.chunk_by(|(_, one), (_, other)| one == other) {
        let Some((_, wasm)) = sharing.first() else { continue };
        let digest = Digest::of(wasm);
        let mut inspected: Option<Inspection> = None;
        for (name, _) in sharing {
            let stored = store.plugin(STANDARD_OWNER, name).await?;
            if stored.is_some_and(|plugin| plugin.active.as_ref() == Some(&digest)) {
                continue;
            }
            let faulty =
                |refusal: UploadRefusal| StoreError::Setup(format!("the {name} of this binary is faulty: {refusal}"));
            let inspection = match inspected.take() {
                Some(inspection) => inspection,
                None => inspect(wasm).map_err(faulty)?,
            };
            inspected = Some(inspection.clone());
            store_active(store, name, Bytes::from_static(wasm), (digest.clone(), inspection), now).await?;
        }
    }
    Ok(())
}

/// Stores a version, and activates it.
async fn store_active(
    store: &Store,
    name: &str,
    wasm: Bytes,
    (digest, inspection): (Digest, Inspection),
    now: i64,
) -> Result<(), StoreError> {
    let activation = Activation {
        company: STANDARD_OWNER.into(),
        name: name.into(),
        digest: digest.clone(),
        followers: Vec::new(),
        now,
    };
    let new = NewVersion {
        company: STANDARD_OWNER.into(),
        name: name.into(),
        digest,
        exports: inspection.exports,
        imports: inspection.imports,
        wasm,
        now,
    };
    store.put_plugin(new, Some(activation)).await.map(drop)
}
