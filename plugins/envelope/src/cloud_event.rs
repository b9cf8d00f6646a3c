//! Converts an event to a CloudEvent 1.0, in either mode of its HTTP binding
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>).

use posthaste_plugin::{Error, Event, Message};
use serde::Serialize;
use serde_json::value::RawValue;

/// The JSON event format
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>, sections 2 and 3).
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    r#type: &'a str,
    time: &'a str,
    datacontenttype: &'a str,
    data: &'a RawValue,
}

/// Returns the structured mode, with everything in the body: HTTP binding, section 3.2.
pub(crate) fn structured(event: &Event, source: &str) -> Result<Message, Error> {
    let message = Message::json(&CloudEvent {
        specversion: "1.0",
        id: &event.id,
        source,
        r#type: &event.event_type,
        time: &event.occurred_at,
        datacontenttype: "application/json",
        data: event.json()?,
    })?;
    Ok(message.content_type("application/cloudevents+json"))
}

/// Returns the binary mode, with the data as the body and everything else in headers: HTTP binding, section 3.1.
pub(crate) fn binary(event: &Event, source: &str) -> Message {
    // Section 3.1.3.2: printable ASCII is written as it is, except quote and percent.
    let value = |text: &str| encoded(text, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%'));
    Message::new(event.body.as_str())
        .header("ce-specversion", "1.0")
        .header("ce-id", value(&event.id))
        .header("ce-source", value(source))
        .header("ce-type", value(&event.event_type))
        .header("ce-time", value(&event.occurred_at))
}

/// Returns the source of a company's events, for a config that names none.
pub(crate) fn default_source(company: &str) -> String {
    format!("/companies/{}", encoded(company, is_unreserved))
}

/// Returns whether a text can be a source: a URI reference that is not empty
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>, "source"), by its characters (RFC 3986, section 2).
/// Its length is bounded because it may become a header.
pub(crate) fn is_source(text: &str) -> bool {
    let is_uri = |byte| is_unreserved(byte) || b":/?#[]@!$&'()*+,;=%".contains(&byte);
    (1..=1024).contains(&text.len()) && text.bytes().all(is_uri)
}

/// Returns whether a byte is unreserved (RFC 3986, section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Percent-encodes every byte that is not plain (RFC 3986, section 2.1).
fn encoded(text: &str, is_plain: fn(u8) -> bool) -> String {
    let encode = |byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}
