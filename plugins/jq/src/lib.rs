//! `jq`: reshapes or filters the data with a jq program.
//!
//! ```json
//! {"filter": "{id, name: \"\\(.first_name) \\(.last_name)\", source: $source}", "vars": {"source": "factorial"}}
//! ```
//!
//! | | |
//! | --- | --- |
//! | `filter` | the program, in the jq language (<https://jqlang.org/manual/v1.7/>); its input is the event's data |
//! | `vars` | values that the program has as `$name`, and together as `$vars` |
//!
//! The program has `$event`, an object with `id`, `type`, `company`, `occurred_at` and `headers`. Its one output is sent; without an
//! output the event is dropped, and several outputs fail the attempt. Data that the program returns as it is keeps its bytes, and a
//! number that it only moves keeps its spelling. With the config above, `employee_created`
//!
//! ```json
//! {"id": 52, "first_name": "Bob", "last_name": "Macri", "email": "bob.macri@example.com", "invited_on": "2021-10-22"}
//! ```
//!
//! is sent as
//!
//! ```json
//! {"id":52,"name":"Bob Macri","source":"factorial"}
//! ```
//!
//! The interpreter is [jaq](https://github.com/01mf02/jaq). It compiles the program for every event, so only those of jq's own
//! definitions (`map`, `select`) are compiled that the program uses.

mod config;
mod definitions;
mod filters;
mod program;
mod reading;
mod value;
mod variables;

use posthaste_plugin::{Error, Event, Outcome};

pub use config::Config;
use value::{Failure, Value};

/// Characters of a program's own error that are kept.
const MAX_ERROR_CHARS: usize = 500;

/// Runs the program.
///
/// # Errors
/// If the program fails, has several outputs, or has one that is no JSON.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let data = reading::value(&event.body)?;
    let mut outputs = config.program.run(data.clone(), &event, config.vars);
    let Some(output) = outputs.next() else {
        return Ok(Outcome::drop("the filter has no output for this event"));
    };
    let output = output.map_err(failed)?;
    if outputs.next().transpose().map_err(failed)?.is_some() {
        let mend = "put them in a list, `[…]`, or take one, `first(…)`";
        return Err(format!("the filter has more than one output, and one event is one message: {mend}").into());
    }
    if output.is_same(&data) {
        return Ok(Outcome::Pass);
    }
    if !output.is_finite() {
        return Err("filter: an output has a number that is infinite or NaN, which JSON does not have".into());
    }
    Ok(Outcome::replace(output.to_string()))
}

/// Returns the error of a program: a string as its text, any other value as JSON.
fn failed(error: Failure) -> Error {
    let value = error.into_val();
    let text = match &value {
        Value::Text(text) => text.to_string(),
        other => other.to_string(),
    };
    let mut shown: String = text.chars().take(MAX_ERROR_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    Error::new(format!("filter: {shown}"))
}

posthaste_plugin::export!(transform);
