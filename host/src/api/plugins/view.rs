//! Plugins and versions as the API shows them.

use serde::Serialize;

use crate::api::pagination::ListPage;
use crate::domain::plugin::is_standard;
use crate::domain::time::rfc3339;
use crate::store::{PluginRow, VersionRow};

#[derive(Serialize)]
pub(in crate::api) struct VersionView {
    name: String,
    digest: String,
    size: i64,
    exports: Vec<String>,
    imports: Vec<String>,
    active: bool,
    created_at: String,
}

impl From<VersionRow> for VersionView {
    fn from(version: VersionRow) -> Self {
        Self {
            name: version.name,
            digest: version.digest.to_string(),
            size: version.size,
            exports: version.exports,
            imports: version.imports,
            active: version.active,
            created_at: rfc3339(version.created_at),
        }
    }
}

#[derive(Serialize)]
pub(in crate::api) struct PluginView {
    name: String,
    /// The active version; null if there are only candidates.
    digest: Option<String>,
    /// Whether it ships with Posthaste.
    standard: bool,
    created_at: String,
    updated_at: String,
}

impl From<PluginRow> for PluginView {
    fn from(plugin: PluginRow) -> Self {
        Self {
            standard: is_standard(&plugin.name),
            name: plugin.name,
            digest: plugin.active.map(|digest| digest.to_string()),
            created_at: rfc3339(plugin.created_at),
            updated_at: rfc3339(plugin.updated_at),
        }
    }
}

/// A plugin with its versions.
#[derive(Serialize)]
pub(in crate::api) struct PluginDetailView {
    #[serde(flatten)]
    plugin: PluginView,
    #[serde(flatten)]
    versions: ListPage<VersionView>,
}

impl PluginDetailView {
    pub(super) fn new(plugin: PluginRow, versions: Vec<VersionRow>) -> Self {
        let data = versions.into_iter().map(Into::into).collect();
        // A plugin has at most a hundred versions, so one page holds them all.
        Self { plugin: plugin.into(), versions: ListPage { data, next_cursor: None } }
    }
}
