//! What a webhook masks.

use posthaste_plugin::Error;
use posthaste_plugin::json::{KeyPattern, PointerPattern};
use serde::Deserialize;

use crate::{Expression, KeepLast};

/// Regular expressions of one config: each is compiled for every event.
const MAX_EXPRESSIONS: usize = 16;
/// Bytes of all compiled expressions of a config.
const MAX_EXPRESSION_BYTES: usize = 1024 * 1024;

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
    /// Parts of the other strings.
    #[serde(default)]
    pub matches: Vec<Expression>,
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
/// If it has neither a field nor a key nor an expression, more expressions than are allowed, or no field or key that could be
/// missing.
pub fn check(config: &Config) -> Result<(), Error> {
    let names_values = !config.fields.is_empty() || !config.keys.is_empty();
    if !names_values && config.matches.is_empty() {
        return Err("config: none of `fields`, `keys` and `matches` names anything, so nothing would be masked; name a field, such as \
                    `/bank_number` or `/employees/*/iban`, or a key that is masked wherever it is, such as `iban` or `*_token`"
            .into());
    }
    if config.matches.len() > MAX_EXPRESSIONS {
        let count = config.matches.len();
        return Err(Error::new(format!("config: matches: {count} expressions; at most {MAX_EXPRESSIONS} are allowed")));
    }
    if config.matches.iter().map(Expression::bytes).sum::<usize>() > MAX_EXPRESSION_BYTES {
        return Err("config: matches: the expressions are too large together: use fewer or simpler ones".into());
    }
    if !names_values && config.missing == Missing::Fail {
        return Err(
            "config: missing: `fail` is about `fields` and `keys`, and there are none: a text without a match is sent"
                .into(),
        );
    }
    Ok(())
}
