//! Credentials: their owners, their scopes, and stored API keys.

use std::fmt;
use std::sync::Arc;

/// A group of API calls to which a scope applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Webhooks.
    Webhooks,
    /// Uploaded plugins.
    Plugins,
    /// Publishing of events.
    Events,
    /// The delivery log.
    Deliveries,
    /// The installation itself.
    Admin,
}

/// All areas, in display order.
pub const AREAS: [Area; 5] = [Area::Webhooks, Area::Plugins, Area::Events, Area::Deliveries, Area::Admin];

impl Area {
    /// Returns the name of the scope.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhooks => "webhooks",
            Self::Plugins => "plugins",
            Self::Events => "events",
            Self::Deliveries => "deliveries",
            Self::Admin => "admin",
        }
    }
}

/// The access that a call needs to its area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads only.
    Read,
    /// Changes something. As a scope, it includes reading.
    Write,
}

/// An area with read access, or with read and write access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scope {
    area: Area,
    access: Access,
}

/// The scopes of a credential: for each area no access, read access, or read and write access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Returns read and write access to all areas.
    pub fn all() -> Self {
        Self(AREAS.map(|area| Scope { area, access: Access::Write }).to_vec())
    }

    /// Parses scopes such as `webhooks,events:read`, separated by commas or spaces.
    ///
    /// # Errors
    /// The text names the unknown scope, or says that no scope is given.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scopes = Vec::new();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            scopes.push(Scope::parse(word).ok_or_else(|| {
                format!("there is no scope `{word}`; scopes are {}, each with `:read` for read-only access", names())
            })?);
        }
        if scopes.is_empty() {
            return Err(format!("no scope given; scopes are {}", names()));
        }
        Ok(Self(scopes))
    }

    /// Parses the `scope` claim of an access token: words separated by spaces. Unknown words, such as `openid`, are
    /// meant for other services and ignored; duplicates count once.
    pub fn among(words: &str) -> Self {
        let mut scopes = Vec::new();
        for found in words.split(' ').filter_map(Scope::parse) {
            if !scopes.contains(&found) {
                scopes.push(found);
            }
        }
        Self(scopes)
    }

    /// Returns whether these scopes allow `access` to `area`.
    pub fn allow(&self, area: Area, access: Access) -> bool {
        self.0.iter().any(|scope| scope.area == area && (scope.access == Access::Write || access == Access::Read))
    }
}

impl Scope {
    /// Parses `webhooks` or `webhooks:read`.
    fn parse(word: &str) -> Option<Self> {
        let (name, access) = match word.strip_suffix(":read") {
            Some(name) => (name, Access::Read),
            None => (word, Access::Write),
        };
        AREAS.into_iter().find(|area| area.name() == name).map(|area| Self { area, access })
    }
}

fn names() -> String {
    AREAS.map(Area::name).join(", ")
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, scope) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let suffix = if scope.access == Access::Read { ":read" } else { "" };
            write!(f, "{comma}{}{suffix}", scope.area.name())?;
        }
        Ok(())
    }
}

/// The owner of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// One company.
    Company(String),
    /// The operator's own systems, which may act for any company.
    Platform,
}

/// The rights of a valid credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The company, or all of them, for which the bearer may act.
    pub owner: Owner,
    /// The calls that the bearer may make.
    pub scopes: Scopes,
    /// The credential itself.
    pub credential: Credential,
}

/// A valid credential, as a record of what was done with it names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API key.
    Key(Arc<Key>),
    /// An access token.
    Token,
}

impl Credential {
    /// Returns the id of the key; that of a token is not known.
    pub fn name(&self) -> &str {
        match self {
            Self::Key(key) => &key.id,
            Self::Token => "access token",
        }
    }
}

/// A stored API key, without the key itself, of which only the sha-256 is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The identifier, which `keys revoke` takes.
    pub id: String,
    /// The owner.
    pub owner: Owner,
    /// The scopes.
    pub scopes: Scopes,
    /// Creation time, in milliseconds since 1970.
    pub created_at: i64,
    /// Revocation time, in milliseconds since 1970; the key is refused from then on.
    pub revoked_at: Option<i64>,
    /// What the operator calls it; see [`check_key_name`].
    pub name: Option<String>,
    /// Expiry, in milliseconds since 1970; the key is refused from then on.
    pub expires_at: Option<i64>,
}

impl Key {
    /// Returns a key without a name and an expiry, created at `created_at`, in milliseconds since 1970.
    pub fn new(id: String, owner: Owner, scopes: Scopes, created_at: i64) -> Self {
        Self { id, owner, scopes, created_at, revoked_at: None, name: None, expires_at: None }
    }

    /// Returns whether the key is accepted at `now`, in milliseconds since 1970.
    pub fn is_valid_at(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// Checks a key's name: 1–64 printable characters.
///
/// # Errors
/// The text states the rule.
pub fn check_key_name(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if length == 0 || length > 64 || name.trim() != name || name.chars().any(char::is_control) {
        return Err("a key's name must be 1 to 64 printable characters, without spaces at its ends".into());
    }
    Ok(())
}

/// Checks a company's name: 1–128 visible ASCII characters.
pub fn check_company(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 128 || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a company's name must be 1 to 128 visible ASCII characters".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_allows_reading_and_writing_unless_it_ends_in_read() {
        let scopes = Scopes::parse("webhooks, events:read").unwrap();
        assert!(scopes.allow(Area::Webhooks, Access::Write) && scopes.allow(Area::Events, Access::Read));
        assert!(!scopes.allow(Area::Events, Access::Write) && !scopes.allow(Area::Plugins, Access::Read));
        assert_eq!(scopes.to_string(), "webhooks,events:read");
        assert_eq!(Scopes::parse(&Scopes::all().to_string()).unwrap(), Scopes::all());
    }

    #[test]
    fn a_key_is_valid_until_it_expires_or_is_revoked() {
        let key = Key::new("key_1".into(), Owner::Platform, Scopes::all(), 1);
        assert!(key.is_valid_at(i64::MAX));
        let ends = Key { expires_at: Some(5), ..key.clone() };
        assert!(ends.is_valid_at(4) && !ends.is_valid_at(5));
        assert!(!Key { revoked_at: Some(9), ..key }.is_valid_at(0));
    }

    #[test]
    fn a_key_name_is_short_and_printable() {
        for good in ["billing", "Ñandú export (2026)", &"x".repeat(64)] {
            assert_eq!(check_key_name(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "a ", "a\nb", "\u{1b}[31m", &"x".repeat(65)] {
            assert!(check_key_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_error_names_an_unknown_scope() {
        assert!(Scopes::parse("webhook").unwrap_err().contains("`webhook`"));
        assert!(Scopes::parse("").is_err());
    }
}
