//! Installs the standard transforms: plugins in the binary, named `std-…`, that every company can use without an upload.
//!
//! They are stored like the versions of any plugin, under an owner name that no company can have. So a webhook can pin a
//! version, and after an upgrade the log can still name the version that ran before.

use bytes::Bytes;

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

/// Stores the versions of this binary that are not stored yet, and activates them. `now` is in milliseconds since 1970.
///
/// # Errors
/// If the store fails, or a component in this binary is not a plugin, which is a fault of the build.
pub(crate) async fn install(store: &Store, now: i64) -> Result<(), StoreError> {
    // The component of the presets is inspected once.
    let mut inspected: Option<(Digest, Inspection)> = None;
    for (name, wasm) in PLUGINS {
        let digest = Digest::of(wasm);
        let stored = store.plugin(STANDARD_OWNER, name).await?;
        if stored.is_some_and(|plugin| plugin.active.as_ref() == Some(&digest)) {
            continue;
        }
        let faulty =
            |refusal: UploadRefusal| StoreError::Setup(format!("the {name} of this binary is faulty: {refusal}"));
        let inspection = match inspected.take().filter(|(inspected, _)| *inspected == digest) {
            Some((_, inspection)) => inspection,
            None => inspect(wasm).map_err(faulty)?,
        };
        inspected = Some((digest.clone(), inspection.clone()));
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
