//! What a webhook masks.

use posthaste_plugin::Error;
use posthaste_plugin::json::{KeyPattern, PointerPattern};
use serde::Deserialize;

use crate::KeepLast;

/// The values to mask, and their mask.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The values by their places.
    #[serde(default)]
    pub fields: Vec<PointerPattern>,
    /// The values by the names of their members.
    #[serde(default)]
    pub keys: Vec<KeyPattern>,
    /// The string that is sent in their place.
    #[serde(default = "default_mask")]
    pub with: String,
    /// How much of a value follows the mask.
    #[serde(default)]
    pub keep_last: Option<KeepLast>,
    /// What happens if a field or a key masks nothing.
    #[serde(default)]
    pub missing: Missing,
}

/// What happens if a field or a key masks nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// The log has a warning.
    #[default]
    Ignore,
    /// The attempt fails, and nothing is sent.
    Fail,
}

fn default_mask() -> String {
    "***".into()
}

/// Refuses a config that would mask nothing.
///
/// # Errors
/// If it has neither a field nor a key.
pub fn check(config: &Config) -> Result<(), Error> {
    if config.fields.is_empty() && config.keys.is_empty() {
        return Err("config: neither `fields` nor `keys` names anything, so nothing would be masked; name a field, such as \
                    `/bank_number` or `/employees/*/iban`, or a key that is masked wherever it is, such as `iban` or `*_token`"
            .into());
    }
    Ok(())
}
