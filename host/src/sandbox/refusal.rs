//! The reason why an upload is not accepted.

use super::text::printable;

/// Names that a refusal lists.
const LISTED_NAMES: usize = 20;

/// Why an upload is not accepted: a text for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UploadRefusal(String);

impl UploadRefusal {
    /// Returns a refusal with this text, bounded and printable: most of these texts quote the upload.
    pub(super) fn new(text: impl AsRef<str>) -> Self {
        Self(printable(text.as_ref(), super::failure::TEXT_BYTES))
    }

    /// Returns a refusal of imports, which lists their names.
    pub(super) fn imports(names: &[String]) -> Self {
        Self::new(format!(
            "imports what the host does not offer: {}; a transform may import only `posthaste:transform/log` and \
             `posthaste:transform/types` 0.1.x, so build it without WASI",
            list(names)
        ))
    }
}

pub(super) fn list(names: &[String]) -> String {
    let mut text: Vec<_> = names.iter().take(LISTED_NAMES).map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED_NAMES {
        text.push(format!("and {} more", names.len() - LISTED_NAMES));
    }
    text.join(", ")
}
