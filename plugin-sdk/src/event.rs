//! The input of a transform.

use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// One event, as its producer published it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The same on every attempt, and the `webhook-id` that the receiver sees.
    pub id: String,
    /// For example `employee_updated` or `employees/employee/update`.
    pub event_type: String,
    /// The company (tenant) that the event belongs to.
    pub company: String,
    /// The time of the event: RFC 3339, UTC, milliseconds. A transform has no other clock.
    pub occurred_at: String,
    /// The headers that the producer asked to send with the event, as `(name, value)`.
    pub headers: Vec<(String, String)>,
    /// The event's data: JSON text, exactly as published.
    pub body: String,
}

impl Event {
    /// Reads the data as a `T`.
    ///
    /// # Errors
    /// If the data is not a `T`; the text says what is wrong, with line and column.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(&self.body).map_err(|error| Error::new(format!("the event's data: {error}")))
    }

    /// Reads the data as a [`Value`], which sorts keys, keeps the last of equal keys and rounds numbers beyond 64 bits. To keep
    /// data as published, edit it with [`json::replace`](crate::json::replace); to read some fields of any data, take
    /// [`json::get`](crate::json::get).
    ///
    /// # Errors
    /// If anything in the data is nested more than 128 levels deep, is a number beyond a double, such as `1e400`, or has half of a
    /// surrogate pair (`"\ud83d"`).
    pub fn value(&self) -> Result<Value, Error> {
        self.json()
    }

    /// Returns the value of the first header with this name. Case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
