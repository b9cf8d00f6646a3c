//! Reads a webhook's config from JSON text into the author's type, and passes it to the author's functions.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Error, Event, Outcome};

/// The config of a transform without settings: accepts `null` (no config) and `{}`, and refuses everything else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads a config. `null`, the config of a webhook that has none, counts as `{}` unless `C` itself accepts `null`. So a struct
/// whose fields all have defaults needs no config, and the error for a required field names that field.
fn read<C: DeserializeOwned>(text: &str) -> Result<C, Error> {
    match parse(text) {
        Err(_) if text.trim() == "null" => parse("{}"),
        read => read,
    }
    .map_err(|error| Error::new(format!("config: {error}")))
}

/// Reads a JSON text. The error gives the path, such as `fields[1]`: line and column are of little use to an author who wrote
/// the config inside a larger request.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| match error.path().iter().next() {
        Some(_) => Error::new(format!("{}: {}", error.path(), without_position(error.inner()))),
        None => error.into_inner().into(),
    })?;
    reader.end()?;
    Ok(value)
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// Accepts every config: the check of a transform that exports none.
pub fn accept<C>(_config: &C) -> Result<(), Error> {
    Ok(())
}

/// Reads and checks a config.
pub fn check_config<C, O>(
    config: &str,
    _transform: fn(Event, C) -> Result<O, Error>,
    check: fn(&C) -> Result<(), Error>,
) -> Result<(), Error>
where
    C: DeserializeOwned,
{
    check(&read(config)?)
}

/// Reads and checks a config, then transforms the event. The repeated check refuses configs that were stored before the check
/// became stricter.
pub fn transform<C: DeserializeOwned>(
    event: Event,
    config: &str,
    transform: fn(Event, C) -> Result<Outcome, Error>,
    check: fn(&C) -> Result<(), Error>,
) -> Result<Outcome, Error> {
    let config = read(config)?;
    check(&config)?;
    transform(event, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Defaulted {
        #[serde(default)]
        limit: u8,
        name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    struct Required {
        #[serde(rename = "fields")]
        _fields: Vec<String>,
    }

    fn refusal<C: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        read::<C>(text).unwrap_err().to_string()
    }

    #[test]
    fn null_is_an_empty_config_unless_the_type_accepts_it() {
        assert_eq!(read::<Option<Defaulted>>("null"), Ok(None));
        assert_eq!(read::<Defaulted>("null"), Ok(Defaulted { limit: 0, name: None }));
        assert_eq!(read::<serde_json::Value>("null"), Ok(serde_json::Value::Null));
        assert_eq!(read::<NoConfig>("null"), Ok(NoConfig {}));
        assert_eq!(read::<()>("null"), Ok(()));
        assert!(refusal::<Required>("null").contains("missing field `fields`"));
    }

    #[test]
    fn a_refusal_names_the_problem_and_its_path() {
        assert!(refusal::<NoConfig>(r#"{"x":1}"#).contains("unknown field `x`"));
        let text = refusal::<Required>(r#"{"fields": ["a", 7]}"#);
        assert_eq!(text, "config: fields[1]: invalid type: integer `7`, expected a string");
        assert!(refusal::<Defaulted>("{} {}").contains("trailing characters"));
    }

    #[test]
    fn the_authors_check_applies_to_both_calls() {
        fn pass(_: Event, _: Defaulted) -> Result<Outcome, Error> {
            Ok(Outcome::Pass)
        }
        fn check(config: &Defaulted) -> Result<(), Error> {
            if config.limit > 9 { Err("limit: 9 at most".into()) } else { Ok(()) }
        }
        let event = crate::testing::event("ping", "{}");
        assert_eq!(check_config(r#"{"limit":9}"#, pass, check), Ok(()));
        assert_eq!(check_config(r#"{"limit":10}"#, pass, check), Err("limit: 9 at most".into()));
        assert_eq!(transform(event.clone(), r#"{"limit":10}"#, pass, check), Err("limit: 9 at most".into()));
        assert_eq!(transform(event, "null", pass, check), Ok(Outcome::Pass));
    }
}
