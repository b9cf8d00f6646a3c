//! What a transform answers.

use serde::Serialize;

use crate::Error;

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Send the event's data as it is.
    Pass,
    /// Send this instead.
    Replace(Message),
    /// Send nothing. The reason is kept in the delivery log.
    Drop(String),
}

impl Outcome {
    /// Sends the event's data as it is.
    pub fn pass() -> Self {
        Self::Pass
    }

    /// Sends this body, or [`Message`], instead.
    pub fn replace(message: impl Into<Message>) -> Self {
        Self::Replace(message.into())
    }

    /// Sends nothing. The reason is kept in the delivery log: name the rule, not the data.
    pub fn drop(reason: impl Into<String>) -> Self {
        Self::Drop(reason.into())
    }

    /// Sends this value as JSON instead.
    ///
    /// # Errors
    /// See [`Message::json`].
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        Message::json(value).map(Self::Replace)
    }
}

impl From<Message> for Outcome {
    fn from(message: Message) -> Self {
        Self::Replace(message)
    }
}

/// What is sent in place of the event's data.
///
/// ```
/// use posthaste_plugin::{Message, Outcome};
///
/// let outcome = Outcome::replace(Message::new("id,name\n52,Bob").content_type("text/csv").header("x-rows", "1"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// At most 1 MiB.
    pub body: String,
    /// `None` keeps `application/json`.
    pub content_type: Option<String>,
    /// Set over the webhook's and the event's own: at most 32, 8 KiB in all. One that the host owns (`webhook-*`,
    /// `x-factorial-*`, `host`, `content-length`, hop-by-hop ones) fails the attempt.
    pub headers: Vec<(String, String)>,
}

impl Message {
    /// A message with this body, as `application/json` and without headers.
    pub fn new(body: impl Into<String>) -> Self {
        Self { body: body.into(), content_type: None, headers: Vec::new() }
    }

    /// A message whose body is this value as JSON.
    ///
    /// # Errors
    /// The value has no JSON form, such as a map whose keys are lists.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        Ok(Self::new(serde_json::to_string(value)?))
    }

    /// Sets the content type.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl<T: Into<String>> From<T> for Message {
    fn from(body: T) -> Self {
        Self::new(body)
    }
}
