//! Splits one level of a JSON value: its direct members or elements, each as text.

/// A member with its name, as JSON, or an element, which has none.
pub(super) type Child<'t> = (Option<&'t str>, &'t str);

/// Returns the members of an object, including equal names, or the elements of an array; nothing for any other value.
///
/// `value` must be valid JSON without spaces around it; for any other text the children are unspecified. Values are skipped by
/// their brackets and quotes, so that no depth of nesting needs stack.
pub(super) fn children(value: &str) -> Children<'_> {
    let inside = |is_object, open, close| {
        let rest = value.strip_prefix(open)?.strip_suffix(close)?.trim_ascii_start();
        Some(Children { is_object, rest })
    };
    let object = inside(true, '{', '}');
    object.or_else(|| inside(false, '[', ']')).unwrap_or(Children { is_object: false, rest: "" })
}

/// The iterator of [`children`].
pub(super) struct Children<'t> {
    is_object: bool,
    rest: &'t str,
}

impl<'t> Iterator for Children<'t> {
    type Item = Child<'t>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = self.is_object.then(|| self.take_value());
        Some((name, self.take_value()))
    }
}

impl<'t> Children<'t> {
    /// Takes the next value, and the colon or comma after it.
    fn take_value(&mut self) -> &'t str {
        let (value, after) = self.rest.split_at_checked(length(self.rest)).unwrap_or((self.rest, ""));
        self.rest = after.trim_ascii_start().get(1..).unwrap_or_default().trim_ascii_start();
        value
    }
}

/// Returns the bytes of the value that begins a text.
pub(super) fn length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'"') => end_of_string(bytes, 1),
        Some(b'[' | b'{') => end_of_nested(bytes),
        _ => bytes.iter().position(|byte| b",:]} \t\n\r".contains(byte)).unwrap_or(bytes.len()),
    }
}

/// Returns the position after the bracket that closes the first one.
fn end_of_nested(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth <= 1 => return at,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    bytes.len()
}

/// Returns the position after the quote that closes the string whose characters begin at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Returns whether a pointer's token names the child with this name or, in an array, this index.
pub(super) fn is_meant(name: Option<&str>, index: usize, token: &str) -> bool {
    let Some(name) = name else {
        // An index has no sign and no leading zeros (RFC 6901, section 4).
        return (token == "0" || token.starts_with(|first: char| ('1'..='9').contains(&first)))
            && token.parse() == Ok(index);
    };
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => plain == token,
        // A lone surrogate (`"\ud800"`) is JSON but not text, so no token can name it.
        _ => serde_json::from_str::<String>(name).is_ok_and(|name| name == token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_split_at_their_own_level() {
        let text = "{ \"a,]\\\"\" :\t[1, {\"b\":\"}\"}] ,\"\":\"\\\\\",\n\"n\":-1.5e3,\"a,]\\\"\":null}";
        let expected =
            [("\"a,]\\\"\"", "[1, {\"b\":\"}\"}]"), ("\"\"", "\"\\\\\""), ("\"n\"", "-1.5e3"), ("\"a,]\\\"\"", "null")];
        assert_eq!(children(text).collect::<Vec<_>>(), expected.map(|(name, value)| (Some(name), value)));
        let elements: Vec<_> = children("[ [] , {\"a\":[]},\"é,\", true\n, 0 ]").collect();
        assert_eq!(elements, ["[]", "{\"a\":[]}", "\"é,\"", "true", "0"].map(|value| (None, value)));
        for none in ["{}", "[ ]", "{\n}", "\"[1]\"", "17", "null", ""] {
            assert_eq!(children(none).count(), 0, "{none}");
        }
    }

    #[test]
    fn a_text_that_is_no_json_ends_the_children() {
        for bad in ["[1", "[,]", "[,,,]", "[\"a]", "{\"a\"}", "{:}", "[]]", "[1 2]", "{\"\\}", "[:]", "[é\"]"] {
            assert!(children(bad).count() <= bad.len(), "{bad}");
        }
    }
}
