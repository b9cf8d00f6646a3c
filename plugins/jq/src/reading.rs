//! Reads JSON into values. Half a surrogate pair becomes U+FFFD, as in jq.

use std::rc::Rc;

use posthaste_plugin::{Error, json};

use crate::value::{Members, Number, Value};

/// Most levels of lists and objects: a value this deep is read, written and dropped within the stack.
const MAX_DEPTH: usize = 1_000;

/// Reads valid JSON.
///
/// # Errors
/// If the value is nested too deeply, or the text is no JSON.
pub(crate) fn value(text: &str) -> Result<Value, Error> {
    let mut reader = Reader { rest: text, depth: 0 };
    let value = reader.value()?;
    if reader.peek().is_some() { Err(not_json()) } else { Ok(value) }
}

struct Reader<'t> {
    rest: &'t str,
    depth: usize,
}

fn not_json() -> Error {
    Error::new("the data is not JSON")
}

impl<'t> Reader<'t> {
    /// Returns the next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.bytes().next()
    }

    fn skip(&mut self, bytes: usize) -> Result<&'t str, Error> {
        let (skipped, rest) = self.rest.split_at_checked(bytes).ok_or_else(not_json)?;
        self.rest = rest;
        Ok(skipped)
    }

    fn value(&mut self) -> Result<Value, Error> {
        match self.peek().ok_or_else(not_json)? {
            b'"' => self.text().map(Value::Text),
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::list),
            b'n' => self.skip(4).map(|_| Value::Null),
            b't' => self.skip(4).map(|_| Value::Bool(true)),
            b'f' => self.skip(5).map(|_| Value::Bool(false)),
            _ => self.number(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, Error>) -> Result<Value, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("the data is nested more than {MAX_DEPTH} levels deep").into());
        }
        self.skip(1)?;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value, Error> {
        let mut members = Members::default();
        if self.ends_with(b'}')? {
            return Ok(Value::object(members));
        }
        loop {
            self.peek();
            let name = self.text()?;
            self.expect(b':')?;
            members.insert(name, self.value()?);
            if !self.continues(b'}')? {
                return Ok(Value::object(members));
            }
        }
    }

    fn list(&mut self) -> Result<Value, Error> {
        let mut elements = Vec::new();
        if self.ends_with(b']')? {
            return Ok(Value::list(elements));
        }
        loop {
            elements.push(self.value()?);
            if !self.continues(b']')? {
                return Ok(Value::list(elements));
            }
        }
    }

    fn ends_with(&mut self, end: u8) -> Result<bool, Error> {
        let ends = self.peek() == Some(end);
        if ends {
            self.skip(1)?;
        }
        Ok(ends)
    }

    /// Returns whether another element follows.
    fn continues(&mut self, end: u8) -> Result<bool, Error> {
        let next = self.peek();
        self.skip(1)?;
        match next {
            Some(b',') => Ok(true),
            next if next == Some(end) => Ok(false),
            _ => Err(not_json()),
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return Err(not_json());
        }
        self.skip(1).map(drop)
    }

    fn text(&mut self) -> Result<Rc<str>, Error> {
        let mut escaped = true; // The opening quote does not end the string.
        let closing = self.rest.bytes().position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let string = self.skip(closing.ok_or_else(not_json)? + 1)?;
        Ok(json::characters(string).into())
    }

    fn number(&mut self) -> Result<Value, Error> {
        let end = self.rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(self.rest.len());
        match self.skip(end)? {
            number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                Ok(Value::Number(Number::read(number)))
            }
            _ => Err(not_json()),
        }
    }
}
