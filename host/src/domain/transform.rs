//! The transforms that each event of a webhook passes, in their order: those of the webhook, then those of policies.

use super::plugin::{Digest, PluginRef};
use super::plugin_config::PluginConfig;

/// Most transforms of a webhook, and of a policy.
pub const MAX_TRANSFORMS: usize = 8;

/// What happens to an event if the plugin fails on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The attempt fails and is repeated on the schedule.
    #[default]
    Retry,
    /// The event's own data is sent.
    SendOriginal,
    /// Nothing is sent: the delivery ends as `filtered`.
    Drop,
}

impl OnError {
    /// Returns the name that the API gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::SendOriginal => "send_original",
            Self::Drop => "drop",
        }
    }

    /// Returns the policy with that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Retry, Self::SendOriginal, Self::Drop].into_iter().find(|policy| policy.name() == name)
    }
}

/// One of several transforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// The plugin, as the request named it.
    pub plugin: PluginRef,
    /// The version that runs: the pinned one, otherwise the plugin's active one.
    pub digest: Option<Digest>,
    /// The plugin's config.
    pub config: PluginConfig,
    /// The config's digest, which every attempt records.
    pub config_digest: Digest,
    /// What happens to an event if the plugin fails on it.
    pub on_error: OnError,
}

impl Transform {
    /// Returns it as a part of a list.
    pub fn borrowed(&self) -> TransformRef<'_> {
        TransformRef {
            plugin: &self.plugin,
            digest: self.digest.as_ref(),
            config: &self.config,
            config_digest: &self.config_digest,
            on_error: self.on_error,
            policy: None,
        }
    }
}

/// A transform, wherever its list is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransformRef<'t> {
    /// As [`Transform::plugin`].
    pub plugin: &'t PluginRef,
    /// As [`Transform::digest`].
    pub digest: Option<&'t Digest>,
    /// As [`Transform::config`].
    pub config: &'t PluginConfig,
    /// As [`Transform::config_digest`].
    pub config_digest: &'t Digest,
    /// As [`Transform::on_error`].
    pub on_error: OnError,
    /// The name of the policy that it belongs to; `None`: it is the webhook's own.
    pub policy: Option<&'t str>,
}
