//! What a transform is given.

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
    /// When it happened: RFC 3339, UTC, milliseconds. A transform has no other clock.
    pub occurred_at: String,
    /// The headers that the producer asked to be sent along, as `(name, value)`.
    pub headers: Vec<(String, String)>,
    /// The event's data: JSON text, exactly as published.
    pub body: String,
}

impl Event {
    /// Reads the data as a `T`.
    ///
    /// # Errors
    /// The data is no `T`; the text says what is wrong, with line and column.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(&self.body).map_err(|error| Error::new(format!("the event's data: {error}")))
    }

    /// Reads the data as a [`Value`], which sorts keys, keeps the last of equal ones and rounds numbers
    /// beyond 64 bits. What has to stay as published is edited with [`json::replace`](crate::json::replace).
    ///
    /// # Errors
    /// The data is nested more than 128 deep.
    pub fn value(&self) -> Result<Value, Error> {
        self.json()
    }

    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
