//! The filters of the template language: Jinja's, and those for numbers, dates and the texts of services.

pub(crate) mod dates;
mod lists;
mod numbers;
pub(crate) mod texts;

use minijinja::value::{Rest, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, filters};

use crate::escape::Escape;
use crate::number::{Number, Numeric};
use crate::output::{is_absent, json, refuse_absent};

/// The names of the filters.
pub(crate) const NAMES: [&str; 63] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "datetimeformat",
    "decimals",
    "default",
    "dictsort",
    "discord",
    "first",
    "float",
    "googlechat",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "keys",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "markdown",
    "max",
    "min",
    "object",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "rfc3339",
    "round",
    "safe",
    "select",
    "selectattr",
    "slack",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "timestamp",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "url",
    "urlencode",
    "values",
    "xml",
    "zip",
    "fromjson",
    "compact",
    "startswith",
    "endswith",
];

/// What a filter of the engine gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Values as they are, also missing ones and `null`.
    Anything,
    /// Values as they are, but the first must be there.
    Values,
    /// The same, and numbers as the engine knows them.
    PlainNumbers,
}

/// Adds a filter to the engine.
pub(crate) fn add(environment: &mut Environment, name: &'static str) {
    let (takes, function) = function(name);
    environment.add_filter(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
        let args = args.into_values();
        if takes == Takes::Anything {
            return function.call(state, &args);
        }
        args.first().map_or(Ok(()), refuse_absent)?;
        if takes == Takes::Values {
            return function.call(state, &args);
        }
        let plain: Vec<_> = args.iter().map(plain).collect();
        function.call(state, &plain)
    });
}

/// Returns a number as the engine knows it, and any other value as it is.
fn plain(value: &Value) -> Value {
    match value.downcast_object_ref::<Number>() {
        Some(_) => Numeric::of(value).map_or_else(|| value.clone(), |number| Value::from(number.double())),
        None => value.clone(),
    }
}

fn function(name: &str) -> (Takes, Value) {
    use Takes::{Anything, PlainNumbers, Values};
    let escape =
        |escape: fn(&Value) -> Result<Value, Error>| (Values, Value::from_function(move |value: &Value| escape(value)));
    match name {
        "default" | "d" => (Anything, Value::from_function(default)),
        "tojson" => (Anything, Value::from_function(|value: &Value| json(value, None))),
        "fromjson" => (Values, Value::from_function(texts::from_json)),
        "slack" => escape(|value| escaped(value, Escape::Slack)),
        "discord" => escape(|value| escaped(value, Escape::Discord)),
        "markdown" => escape(|value| escaped(value, Escape::Markdown)),
        "googlechat" => escape(|value| escaped(value, Escape::GoogleChat)),
        "url" | "urlencode" => escape(|value| escaped(value, Escape::Url)),
        "xml" => escape(|value| escaped(value, Escape::Xml)),
        "abs" | "decimals" | "float" | "int" | "max" | "min" | "round" | "sum" => (Values, numbers::function(name)),
        "datetimeformat" | "rfc3339" | "timestamp" => (Values, dates::function(name)),
        "compact" | "groupby" | "items" | "join" | "keys" | "map" | "object" | "sort" | "unique" | "values" => {
            (Values, lists::function(name))
        }
        "truncate" | "string" | "startswith" | "endswith" => (Values, texts::function(name)),
        "upper" => (PlainNumbers, Value::from_function(filters::upper)),
        "lower" => (PlainNumbers, Value::from_function(filters::lower)),
        "title" => (PlainNumbers, Value::from_function(filters::title)),
        "capitalize" => (PlainNumbers, Value::from_function(filters::capitalize)),
        "replace" => (PlainNumbers, Value::from_function(filters::replace)),
        "trim" => (PlainNumbers, Value::from_function(filters::trim)),
        "split" => (PlainNumbers, Value::from_function(filters::split)),
        "lines" => (PlainNumbers, Value::from_function(filters::lines)),
        "indent" => (PlainNumbers, Value::from_function(filters::indent)),
        "batch" => (Values, Value::from_function(filters::batch)),
        "slice" => (Values, Value::from_function(filters::slice)),
        "length" | "count" => (Values, Value::from_function(filters::length)),
        "dictsort" => (Values, Value::from_function(filters::dictsort)),
        "reverse" => (Values, Value::from_function(filters::reverse)),
        "first" => (Values, Value::from_function(filters::first)),
        "last" => (Values, Value::from_function(filters::last)),
        "list" => (Values, Value::from_function(filters::list)),
        "bool" => (Anything, Value::from_function(|value: &Value| value.is_true())),
        "attr" => (Values, Value::from_function(filters::attr)),
        "select" => (Values, Value::from_function(filters::select)),
        "reject" => (Values, Value::from_function(filters::reject)),
        "selectattr" => (Values, Value::from_function(filters::selectattr)),
        "rejectattr" => (Values, Value::from_function(filters::rejectattr)),
        "chain" => (Values, Value::from_function(filters::chain)),
        "zip" => (Values, Value::from_function(filters::zip)),
        _ => (Values, Value::from_function(filters::safe)),
    }
}

/// `default(value, other, boolean)`: the other value if the first is missing or `null`, or with `true` also if it is empty.
fn default(value: &Value, other: Option<Value>, boolean: Option<bool>) -> Value {
    if is_absent(value) || (boolean == Some(true) && !value.is_true()) {
        other.unwrap_or_else(|| Value::from(""))
    } else {
        value.clone()
    }
}

fn escaped(value: &Value, escape: Escape) -> Result<Value, Error> {
    let text = crate::output::text(value)?;
    Ok(Value::from_safe_string(escape.apply(&text).into_owned()))
}

/// Returns the filter that a name means: its own, or that of another template language.
pub(crate) fn meant(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|own| *own == name).or_else(|| other_name(name))
}

fn other_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "upcase" | "uppercase" => "upper",
        "downcase" | "lowercase" => "lower",
        "size" | "len" => "length",
        "strip" => "trim",
        "date" | "strftime" | "dateformat" | "timeformat" => "datetimeformat",
        "json" | "to_json" | "parseJson" => "tojson",
        "url_encode" | "urlescape" => "url",
        "escape" | "e" => "xml",
        "epoch" | "to_epoch" => "timestamp",
        "iso" | "isoformat" => "rfc3339",
        "number" => "float",
        "dict" => "object",
        _ => return None,
    })
}

/// Returns the text that refuses an unknown filter: the name of the one that is meant, or all.
pub(crate) fn unknown(name: &str) -> String {
    match other_name(name) {
        Some(meant) => format!("there is no filter `{name}`; it is called `{meant}`"),
        None => format!("there is no filter `{name}`; the filters are {}", NAMES.join(", ")),
    }
}
