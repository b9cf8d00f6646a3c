//! The config of a webhook's plugin.

use std::sync::Arc;

/// The config of a webhook's plugin: JSON text as given, by default `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginConfig {
    /// The text.
    Text(Arc<str>),
    /// A large text that was not read. It is stored under the webhook's config digest.
    Stored {
        /// Its size.
        bytes: usize,
    },
}

impl PluginConfig {
    /// Returns the text; `None`: it was not read.
    pub fn text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Stored { .. } => None,
        }
    }

    /// Returns the size of the text, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Stored { bytes } => *bytes,
        }
    }
}

impl<T: Into<Arc<str>>> From<T> for PluginConfig {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}
