//! The transforms of a webhook, as a request lists them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::check_on_error;
use crate::domain::Invalid;
use crate::domain::plugin::{Digest, PluginRef};
use crate::domain::transform::{MAX_TRANSFORMS, OnError, Transform};

/// One of `transforms`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a transform: an object with `plugin`, and maybe `config` and `on_error`")]
pub(in crate::api) struct TransformFields {
    plugin: String,
    #[serde(default)]
    config: Option<Box<RawValue>>,
    #[serde(default)]
    on_error: Option<String>,
}

impl TransformFields {
    /// Returns the rules that it breaks.
    fn broken_rules(&self) -> impl Iterator<Item = Invalid> {
        let plugin = PluginRef::parse(&self.plugin).err().map(|detail| Invalid::at("/plugin", detail));
        let on_error = self.on_error.as_deref().and_then(|name| check_on_error(name).err());
        plugin.into_iter().chain(on_error.map(|detail| Invalid::at("/on_error", detail)))
    }

    /// Returns what it says about failures, if that is sent and known.
    pub(in crate::api) fn on_error(&self) -> Option<OnError> {
        self.on_error.as_deref().and_then(OnError::named)
    }

    fn transform(&self) -> Option<Transform> {
        let config = self.config.as_deref().map_or("null", RawValue::get);
        Some(Transform {
            plugin: PluginRef::parse(&self.plugin).ok()?,
            digest: None,
            config: config.into(),
            config_digest: Digest::of(config.as_bytes()),
            on_error: self.on_error().unwrap_or_default(),
        })
    }
}

/// Returns the rules that a list of transforms breaks.
pub(in crate::api) fn broken_rules(list: &[TransformFields]) -> Vec<Invalid> {
    if list.len() > MAX_TRANSFORMS {
        let detail = format!("{} transforms; at most {MAX_TRANSFORMS} are allowed", list.len());
        return vec![Invalid::at("/transforms", detail)];
    }
    let below = |(index, one): (usize, &TransformFields)| {
        let pointer = format!("/transforms/{index}");
        one.broken_rules().map(|rule| rule.below(&pointer)).collect::<Vec<_>>()
    };
    list.iter().enumerate().flat_map(below).collect()
}

/// Returns the transforms of a list that breaks no rule.
pub(in crate::api) fn transforms(list: &[TransformFields]) -> Vec<Transform> {
    list.iter().filter_map(TransformFields::transform).collect()
}
