//! Credentials: whom they speak for, what they may do, and how API keys are kept.

use std::fmt;

/// A group of calls that a key may be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Subscriptions.
    Webhooks,
    /// Uploaded plugins.
    Plugins,
    /// Publishing.
    Events,
    /// The delivery log.
    Deliveries,
    /// The installation itself.
    Admin,
}

/// All areas, in the order in which they are shown.
pub const AREAS: [Area; 5] = [Area::Webhooks, Area::Plugins, Area::Events, Area::Deliveries, Area::Admin];

impl Area {
    /// The scope's name.
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

/// What a call does with its area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only looks.
    Read,
    /// Changes something.
    Write,
}

/// What a key may do: for each area nothing, read, or read and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<(Area, Access)>);

impl Scopes {
    /// Everything.
    pub fn all() -> Self {
        Self(AREAS.map(|area| (area, Access::Write)).to_vec())
    }

    /// Reads `webhooks,events:read`, separated by commas or spaces.
    ///
    /// # Errors
    /// Names the scope that does not exist, or says that there is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scopes = Vec::new();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            scopes.push(scope(word).ok_or_else(|| {
                format!("there is no scope `{word}`; scopes are {}, each with `:read` to only look", names())
            })?);
        }
        if scopes.is_empty() {
            return Err(format!("no scope given; scopes are {}", names()));
        }
        Ok(Self(scopes))
    }

    /// Those of an access token: of the words between spaces the ones that are scopes here, each once. The others, such
    /// as `openid`, are for other services.
    pub fn among(words: &str) -> Self {
        let mut scopes = Vec::new();
        for found in words.split(' ').filter_map(scope) {
            if !scopes.contains(&found) {
                scopes.push(found);
            }
        }
        Self(scopes)
    }

    /// Whether these allow `access` to `area`.
    pub fn allow(&self, area: Area, access: Access) -> bool {
        self.0.iter().any(|(have, how)| *have == area && (*how == Access::Write || access == Access::Read))
    }
}

/// Reads `webhooks` or `webhooks:read`.
fn scope(word: &str) -> Option<(Area, Access)> {
    let (name, access) = match word.strip_suffix(":read") {
        Some(name) => (name, Access::Read),
        None => (word, Access::Write),
    };
    AREAS.into_iter().find(|area| area.name() == name).map(|area| (area, access))
}

fn names() -> String {
    AREAS.map(Area::name).join(", ")
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, (area, access)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let suffix = if *access == Access::Read { ":read" } else { "" };
            write!(f, "{comma}{}{suffix}", area.name())?;
        }
        Ok(())
    }
}

/// Whom a key speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// One company.
    Company(String),
    /// The operator's own systems: any company.
    Platform,
}

/// What a valid credential gives its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whom the bearer speaks for.
    pub owner: Owner,
    /// What it may do.
    pub scopes: Scopes,
}

/// A key as it is kept: everything but the key itself, of which only the sha-256 is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// For `keys revoke`.
    pub id: String,
    /// Whom it speaks for.
    pub owner: Owner,
    /// What it may do.
    pub scopes: Scopes,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970; from then on it is refused.
    pub revoked_at: Option<i64>,
}

/// Checks a company's name: 1–128 visible ASCII characters.
pub fn check_company(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 128 || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a company is named by 1 to 128 visible ASCII characters".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_and_writes_unless_it_says_read() {
        let scopes = Scopes::parse("webhooks, events:read").unwrap();
        assert!(scopes.allow(Area::Webhooks, Access::Write) && scopes.allow(Area::Events, Access::Read));
        assert!(!scopes.allow(Area::Events, Access::Write) && !scopes.allow(Area::Plugins, Access::Read));
        assert_eq!(scopes.to_string(), "webhooks,events:read");
        assert_eq!(Scopes::parse(&Scopes::all().to_string()).unwrap(), Scopes::all());
    }

    #[test]
    fn a_typo_is_named() {
        assert!(Scopes::parse("webhook").unwrap_err().contains("`webhook`"));
        assert!(Scopes::parse("").is_err());
    }
}
