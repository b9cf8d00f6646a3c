//! `map`: picks, removes, renames, moves, converts and translates fields, and adds fields.
//!
//! ```json
//! {
//!   "pick": ["/id", "/email"],
//!   "move": {"/first_name": "/name/first", "/last_name": "/name/last"},
//!   "set": {"/source": "factorial"}
//! }
//! ```
//!
//! At least one of these is required. They apply in this order:
//!
//! | | |
//! | --- | --- |
//! | `remove` | these fields are not sent |
//! | `move` | the value at the first pointer is sent at the second; a new name in the same object renames the field |
//! | `pick` | only these fields, and the fields of `move`, are sent; without it, all are |
//! | `defaults` | this JSON is sent if the field is missing or `null` |
//! | `convert` | the value is sent as a `string`, `number`, `boolean`, `epoch`, `epoch_ms`, `rfc3339`, `json`, or read with `from_json` |
//! | `lookup` | the value is sent as the `table` translates it, or as the `default` |
//! | `set` | this JSON is sent at this pointer; its strings are Jinja templates |
//! | `drop_nulls` | with `true`, members that are `null` are not sent |
//!
//! The fields of `remove`, `move` and `pick` are those of the event's data as published, all others those of the result so far. All
//! are JSON Pointers (RFC 6901), in which the name `*` stands for any element of a list and any member of an object. `-` stands for
//! the element after the last one where a value is moved or set.
//!
//! A field that an event does not have is not an error: it is missing in the result too. A value that is moved or set replaces the
//! existing one; objects on the path that are missing or `null` are created, and any other value on the path fails the attempt.
//! A field inside another one may be removed or moved together with it: the inner one is taken first. Values keep their bytes,
//! including `2.50` and `12345678901234567890123`. With the config above, `employee_created`
//!
//! ```json
//! {"id": 52, "first_name": "Bob", "last_name": "Macri", "email": "bob.macri@example.com", "invited_on": "2021-10-22"}
//! ```
//!
//! is sent as
//!
//! ```json
//! {"id":52,"email":"bob.macri@example.com","name":{"first":"Bob","last":"Macri"},"source":"factorial"}
//! ```

mod config;
mod moving;
mod values;

use posthaste_plugin::json::{Document, without_nulls};
use posthaste_plugin::{Error, Event, Outcome};

pub use config::Config;

/// Rearranges the data.
///
/// # Errors
/// If a target lies inside a value that is neither an object nor a list, a value cannot be converted or translated, or a template
/// cannot be filled.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let mut data = Document::parse(&event.body)?;
    moving::apply(&mut data, &config)?;
    values::fill_in(&mut data, &config.defaults)?;
    values::convert(&mut data, &config.convert)?;
    values::look_up(&mut data, &config.lookup)?;
    values::set(&mut data, &event, &config)?;
    let sent = data.to_string();
    Ok(Outcome::replace(if config.drop_nulls { without_nulls(&sent) } else { sent }))
}

/// Refuses a config that does nothing, one with parts that contradict each other, and one with a faulty part.
///
/// # Errors
/// The text names the parts.
pub fn check(config: &Config) -> Result<(), Error> {
    moving::check(config)?;
    values::check(config)
}

/// Refuses what [`check`] does, except for templates and conversions, which [`transform`] refuses.
fn recheck(config: &Config) -> Result<(), Error> {
    moving::check(config)
}

posthaste_plugin::export!(transform, check, recheck);
