//! The arguments of `cargo xtask test`.

use crate::Failure;

/// A database that the suite and the store's tests run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// The value of `--database` and of `POSTHASTE_TEST_DATABASE`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Sqlite => Self::Postgres,
            Self::Postgres => Self::Sqlite,
        }
    }
}

/// `[NAME…] [--database sqlite|postgres] [-- ARGS]`
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestRequest {
    /// The tests to run; empty means every test.
    pub(crate) names: Vec<String>,
    /// The only database to run on; `None` means both.
    pub(crate) database: Option<Database>,
    /// Further arguments of `cargo test`.
    pub(crate) cargo: Vec<String>,
}

impl TestRequest {
    /// Reads the arguments; returns a message for the user if one is unknown.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut request = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--" => {
                    request.cargo = rest.cloned().collect();
                    break;
                }
                "--database" => request.database = Some(database(rest.next().map_or("", String::as_str))?),
                option if option.starts_with('-') => match option.strip_prefix("--database=") {
                    Some(value) => request.database = Some(database(value)?),
                    None => {
                        return Err(format!(
                            "there is no option `{option}`: `--database` is the only one, and arguments for `cargo test` follow `--`"
                        ));
                    }
                },
                name => request.names.push(name.to_owned()),
            }
        }
        Ok(request)
    }
}

fn database(value: &str) -> Result<Database, Failure> {
    let known = [Database::Sqlite, Database::Postgres].into_iter().find(|database| database.name() == value);
    known.ok_or_else(|| format!("`--database` takes `sqlite` or `postgres`, not `{value}`"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn request(arguments: &str) -> TestRequest {
        parse(arguments).unwrap()
    }

    fn parse(arguments: &str) -> Result<TestRequest, Failure> {
        TestRequest::parse(&arguments.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn names_database_and_cargo_arguments_are_separated() {
        assert_eq!(request(""), TestRequest::default());
        let all = request("hostile --database postgres store -- --release -- --nocapture");
        assert_eq!(all.names, ["hostile", "store"]);
        assert_eq!(all.database, Some(Database::Postgres));
        assert_eq!(all.cargo, ["--release", "--", "--nocapture"]);
        assert_eq!(request("--database=sqlite").database, Some(Database::Sqlite));
        assert_eq!(request("-- --database x").cargo, ["--database", "x"]);
    }

    #[test]
    fn unknown_options_and_databases_are_refused() {
        for (arguments, message) in [
            ("--release", "there is no option `--release`"),
            ("hostile --nocapture", "there is no option `--nocapture`"),
            ("--database mysql", "`sqlite` or `postgres`, not `mysql`"),
            ("--database=", "not ``"),
            ("--database", "not ``"),
        ] {
            let refused = parse(arguments).unwrap_err();
            assert!(refused.contains(message), "{arguments}: {refused}");
        }
    }
}
