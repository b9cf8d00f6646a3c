//! Compiles and runs a program.

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader, lex};
use jaq_core::{Compiler, Ctx, Filter, Vars, compile};
use posthaste_plugin::{Error, Event};

use crate::definitions::Needed;
use crate::value::{Failure, Value};
use crate::{filters, variables};

/// Bytes of a program.
const MAX_BYTES: usize = 64 * 1024;
/// Depth of brackets in a program: the parser calls itself for each.
const MAX_DEPTH: usize = 100;
/// Characters of the rest of a program that an error quotes.
const QUOTED_CHARS: usize = 20;

/// A compiled program.
pub(crate) struct Program {
    filter: Filter<JustLut<Value>>,
    /// Which of the variables that every program has this one names.
    has_event: bool,
    has_vars: bool,
}

impl Program {
    /// Compiles a program that may name these variables besides `$event` and `$vars`.
    ///
    /// # Errors
    /// The first error, with its line and column in the program.
    pub(crate) fn compile(code: &str, vars: &[(String, Value)]) -> Result<Self, Error> {
        check_size(code)?;
        let needed = Needed::by(code);
        let arena = Arena::default();
        let modules = Loader::new(needed.definitions()).load(&arena, File { code, path: () });
        let modules = modules.map_err(|errors| first(errors, code, not_loaded))?;
        let names = variables::OF_EVERY_PROGRAM.into_iter().chain(vars.iter().map(|(name, _)| name.as_str()));
        let compiler = Compiler::default().with_funs(filters::natives(&needed)).with_global_vars(names);
        let filter = compiler.compile(modules).map_err(|errors| first(errors, code, not_compiled))?;
        Ok(Self { filter, has_event: code.contains("$event"), has_vars: code.contains("$vars") })
    }

    /// Runs the program and returns its outputs. They are computed one by one, as they are asked for.
    pub(crate) fn run(
        &self,
        data: Value,
        event: &Event,
        vars: Vec<(String, Value)>,
    ) -> impl Iterator<Item = Result<Value, Failure>> {
        let event = if self.has_event { variables::event(event) } else { Value::Null };
        let all = if self.has_vars { variables::all(&vars) } else { Value::Null };
        let values = [event, all].into_iter().chain(vars.into_iter().map(|(_, value)| value));
        let context = Ctx::<JustLut<Value>>::new(&self.filter.lut, Vars::new(values));
        self.filter.id.run((context, data)).map(|output| {
            output.map_err(|end| end.get_err().unwrap_or_else(|_| Failure::str("the filter ended without an output")))
        })
    }
}

/// Refuses a program that the parser could not read within its stack.
fn check_size(code: &str) -> Result<(), Error> {
    if code.len() > MAX_BYTES {
        return Err(format!("`filter`: {} bytes; at most {MAX_BYTES} are allowed", code.len()).into());
    }
    let mut depth = 0_usize;
    for byte in code.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!(
                "`filter`: more than {MAX_DEPTH} brackets within each other: define filters of your own, `def f: …;`"
            )
            .into());
        }
    }
    Ok(())
}

/// Returns the first error of the program itself.
fn first<'c, E>(
    errors: load::Errors<&'c str, (), E>,
    code: &'c str,
    describe: impl Fn(E) -> Option<(&'c str, String)>,
) -> Error {
    let own = errors.into_iter().filter(|(file, _)| std::ptr::eq(file.code, code));
    let described = own.into_iter().find_map(|(_, error)| describe(error));
    match described {
        Some((part, text)) => Error::new(format!("`filter`: {}: {text}", place(code, part))),
        None => Error::new("`filter`: the program cannot be compiled"),
    }
}

/// Describes an error of a program that could not be parsed, and returns it with the part of the program where it is.
fn not_loaded(error: load::Error<&str>) -> Option<(&str, String)> {
    match error {
        load::Error::Io(imports) => {
            imports.into_iter().next().map(|(path, _)| (path, "a program cannot import modules".to_owned()))
        }
        load::Error::Lex(errors) => errors.into_iter().next().map(|(expected, found)| match expected {
            lex::Expect::Delim(open) => (open, format!("`{open}` is never closed")),
            other => (found, format!("expected {}, found {}", other.as_str(), quoted(found))),
        }),
        load::Error::Parse(errors) => errors
            .into_iter()
            .next()
            .map(|(expected, found)| (found, format!("expected {}, found {}", expected.as_str(), quoted(found)))),
    }
}

/// Describes a name that nothing defines.
fn not_compiled(errors: Vec<compile::Error<&str>>) -> Option<(&str, String)> {
    let (name, undefined) = errors.into_iter().next()?;
    let text = match undefined {
        compile::Undefined::Filter(arity) => filters::undefined(name, arity),
        compile::Undefined::Var => variables::undefined(name),
        other => format!("there is no {} `{name}`", other.as_str()),
    };
    Some((name, text))
}

/// Returns line and column of a part of the program; both count from 1, and the column counts characters.
fn place(code: &str, part: &str) -> String {
    let at = load::span(code, part).start;
    let before = code.get(..at).unwrap_or(code);
    let line = before.split('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

fn quoted(found: &str) -> String {
    let start: String = found.lines().next().unwrap_or_default().chars().take(QUOTED_CHARS).collect();
    if start.trim().is_empty() { "the end of the program".to_owned() } else { format!("`{start}`") }
}
