//! The result of a transform.

use serde::Serialize;

use crate::Error;

/// The decision about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Send the event's data as it is.
    Pass,
    /// Send this message instead.
    Replace(Message),
    /// Send nothing. The reason is kept in the delivery log.
    Drop(String),
}

impl Outcome {
    /// Returns [`Outcome::Pass`]: sends the event's data as it is.
    pub fn pass() -> Self {
        Self::Pass
    }

    /// Returns [`Outcome::Replace`]: sends this body, or [`Message`], instead.
    pub fn replace(message: impl Into<Message>) -> Self {
        Self::Replace(message.into())
    }

    /// Returns [`Outcome::Drop`]: sends nothing. The reason is kept in the delivery log; name the rule, not the data.
    pub fn drop(reason: impl Into<String>) -> Self {
        Self::Drop(reason.into())
    }

    /// Returns [`Outcome::Replace`] with this value as a JSON body.
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

/// The message that is sent in place of the event's data.
///
/// ```
/// use posthaste_plugin::{Message, Outcome};
///
/// let outcome = Outcome::replace(Message::new("id,name\n52,Bob").content_type("text/csv").header("x-rows", "1"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The body, at most 1 MiB.
    pub body: String,
    /// The content type; `None` keeps `application/json`.
    pub content_type: Option<String>,
    /// Headers, which override those of the webhook and the event: at most 32, 8 KiB in total. A header that the host owns
    /// (`webhook-*`, `x-factorial-*`, `host`, `content-length`, hop-by-hop headers) fails the attempt.
    pub headers: Vec<(String, String)>,
}

impl Message {
    /// Returns a message with this body, as `application/json` and without headers.
    pub fn new(body: impl Into<String>) -> Self {
        Self { body: body.into(), content_type: None, headers: Vec::new() }
    }

    /// Returns a message whose body is this value as JSON.
    ///
    /// # Errors
    /// If the value has no JSON form, such as a map whose keys are lists.
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
