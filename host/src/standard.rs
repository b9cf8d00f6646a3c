//! The transforms that ship in the binary, as `std-…` usable by every company without uploading anything.
//!
//! They are kept like any plugin's versions, under an owner that no company can be. So a webhook may pin one, and after
//! an upgrade the log can still name the one that ran before.

use bytes::Bytes;

use crate::domain::plugin::{Digest, STANDARD_OWNER};
use crate::sandbox::{Refusal, inspect};
use crate::store::{Activation, NewVersion, Store, StoreError};

/// Each name and its component, built from `plugins/` by `cargo xtask plugins`.
pub const PLUGINS: [(&str, &[u8]); 5] = [
    ("std-mask", include_bytes!("../../plugins/dist/mask.wasm")),
    ("std-filter", include_bytes!("../../plugins/dist/filter.wasm")),
    ("std-envelope", include_bytes!("../../plugins/dist/envelope.wasm")),
    ("std-map", include_bytes!("../../plugins/dist/map.wasm")),
    ("std-template", include_bytes!("../../plugins/dist/template.wasm")),
];

/// Stores those that are not stored yet and makes this binary's versions active; `now` is milliseconds since 1970.
///
/// # Errors
/// The store's, or a component in this binary that cannot be one: a fault of the build.
pub(crate) async fn install(store: &Store, now: i64) -> Result<(), StoreError> {
    for (name, wasm) in PLUGINS {
        let digest = Digest::of(wasm);
        let stored = store.plugin(STANDARD_OWNER, name).await?;
        if stored.is_some_and(|plugin| plugin.active.as_ref() == Some(&digest)) {
            continue;
        }
        let faulty = |refusal: Refusal| StoreError::Setup(format!("the {name} of this binary is faulty: {refusal}"));
        let inspection = inspect(wasm).map_err(faulty)?;
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
            wasm: Bytes::from_static(wasm),
            now,
        };
        store.put_plugin(new, Some(activation)).await?;
    }
    Ok(())
}
