//! Event types: what a company says about the events that it publishes.

use super::plugin::Digest;

/// Most bytes of a schema, and of an example.
pub const MAX_JSON_BYTES: usize = 64 * 1024;
/// Most bytes of a description.
pub const MAX_DESCRIPTION_BYTES: usize = 4 * 1024;
/// Most characters of a group.
pub const MAX_GROUP_CHARS: usize = 64;

/// What happens to an event whose data break the schema of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Validation {
    /// Nothing: events are not checked.
    #[default]
    Off,
    /// It is accepted, and the answer says what is wrong.
    Warn,
    /// It is refused.
    Reject,
}

impl Validation {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Off, Self::Warn, Self::Reject];

    /// Returns its name, in requests and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Reject => "reject",
        }
    }

    /// Returns the value of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|validation| validation.name() == name)
    }
}

/// A schema as it was given, with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaText {
    /// JSON text.
    pub text: Box<str>,
    /// The digest of the text.
    pub digest: Digest,
}

impl SchemaText {
    /// Returns the schema of this JSON text.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), digest: Digest::of(text.as_bytes()) }
    }
}

/// A type of a company's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventType {
    /// The company (tenant).
    pub company: String,
    /// Its name, as events have it in `type`.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Types of one group belong together, for people.
    pub group: Option<String>,
    /// The JSON Schema of its events' data.
    pub schema: Option<SchemaText>,
    /// The data of an example, JSON text.
    pub example: Option<Box<str>>,
    /// Whether it should not be used any more.
    pub deprecated: bool,
    /// What happens to an event that breaks the schema.
    pub validation: Validation,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

/// Checks a description: some text without control characters other than line breaks and tabs.
///
/// # Errors
/// The broken rule.
pub fn check_description(text: &str) -> Result<(), String> {
    let fine = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    if text.is_empty() || text.len() > MAX_DESCRIPTION_BYTES || !text.chars().all(fine) {
        return Err(format!("a description is 1 to {MAX_DESCRIPTION_BYTES} bytes of text, without control characters"));
    }
    Ok(())
}

/// Checks a group: 1–64 visible characters, with spaces between them.
///
/// # Errors
/// The broken rule.
pub fn check_group(text: &str) -> Result<(), String> {
    let trimmed = text.trim() == text;
    if text.is_empty() || text.chars().count() > MAX_GROUP_CHARS || text.chars().any(char::is_control) || !trimmed {
        return Err(format!("a group is 1 to {MAX_GROUP_CHARS} visible characters, without spaces at its ends"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validations_are_found_by_their_names() {
        for validation in Validation::ALL {
            assert_eq!(Validation::named(validation.name()), Some(validation));
        }
        assert_eq!(Validation::named("Reject"), None);
    }

    #[test]
    fn groups_are_visible_and_descriptions_may_have_lines() {
        for fine in ["a", "Time off", &"é".repeat(MAX_GROUP_CHARS)] {
            assert_eq!(check_group(fine), Ok(()), "{fine}");
        }
        for bad in ["", " a", "a ", "a\tb", "a\0", &"a".repeat(MAX_GROUP_CHARS + 1)] {
            assert!(check_group(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_description("One line,\n\tand another."), Ok(()));
        for bad in ["", "a\0b", "a\u{1b}b", &"a".repeat(MAX_DESCRIPTION_BYTES + 1)] {
            assert!(check_description(bad).is_err(), "{bad:?}");
        }
    }
}
