//! The escapes of values for the services that interpret text.

use std::borrow::Cow;

use minijinja::AutoEscape;

/// How the characters of a value are written in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Slack's mrkdwn: <https://docs.slack.dev/messaging/formatting-message-text#escaping>. No name mentions anybody.
    Slack,
    /// Discord's Markdown; `@everyone`, `@here` and `<@id>` mention nobody.
    Discord,
    /// CommonMark, as Teams, GitHub and Mattermost read it.
    Markdown,
    /// Google Chat: `<users/all>` and `<url|text>` are shown as they are.
    GoogleChat,
    /// Percent-encoding (RFC 3986, section 2.1) of all but unreserved characters.
    Url,
    /// XML 1.0, in text and in attributes. Characters that XML does not allow become U+FFFD.
    Xml,
}

impl Escape {
    /// The names in configs and of the filters.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("slack", Self::Slack),
        ("discord", Self::Discord),
        ("markdown", Self::Markdown),
        ("googlechat", Self::GoogleChat),
        ("url", Self::Url),
        ("xml", Self::Xml),
    ];

    /// Returns the escape with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(own, _)| *own == name).map(|(_, escape)| *escape)
    }

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, escape)| *escape == self).map_or("", |(name, _)| name)
    }

    /// Returns the mode in which the engine inserts values.
    pub(crate) fn mode(escape: Option<Self>) -> AutoEscape {
        escape.map_or(AutoEscape::None, |escape| AutoEscape::Custom(escape.name().into()))
    }

    /// Returns the escape of the engine's mode.
    pub(crate) fn of_mode(mode: &AutoEscape) -> Option<Self> {
        match mode {
            AutoEscape::Custom(name) => Self::named(name),
            AutoEscape::Html => Some(Self::Xml),
            _ => None,
        }
    }

    /// Returns the text with every character escaped that has a meaning.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Slack => replaced(text, |c| match c {
                '&' => Some("&amp;"),
                '<' => Some("&lt;"),
                '>' => Some("&gt;"),
                _ => None,
            }),
            Self::GoogleChat => replaced(text, |c| (c == '<').then_some("<\u{200b}")),
            Self::Xml => replaced(text, xml),
            Self::Discord => prefixed(text, |c| "\\`*_~|>#-[]()<:".contains(c), "@"),
            Self::Markdown => prefixed(text, |c| c.is_ascii_punctuation(), ""),
            Self::Url => url(text),
        }
    }
}

fn xml(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'.. => None,
        _ => Some("\u{FFFD}"),
    }
}

fn replaced(text: &str, instead: impl Fn(char) -> Option<&'static str>) -> Cow<'_, str> {
    if text.chars().all(|c| instead(c).is_none()) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match instead(c) {
            Some(instead) => escaped.push_str(instead),
            None => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Writes a backslash before each character that has a meaning, and a zero-width space after each of `separated`.
fn prefixed<'t>(text: &'t str, has_meaning: impl Fn(char) -> bool, separated: &str) -> Cow<'t, str> {
    if !text.contains(|c| has_meaning(c) || separated.contains(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if has_meaning(c) {
            escaped.push('\\');
        }
        escaped.push(c);
        if separated.contains(c) {
            escaped.push('\u{200b}');
        }
    }
    Cow::Owned(escaped)
}

fn url(text: &str) -> Cow<'_, str> {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if text.bytes().all(is_unreserved) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if is_unreserved(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_is_escaped() {
        for (name, text, expected) in [
            ("slack", "<!channel> & co", "&lt;!channel&gt; &amp; co"),
            ("discord", "*a* @everyone <@1>", "\\*a\\* @\u{200b}everyone \\<@\u{200b}1\\>"),
            ("markdown", "[a](b) 1.", "\\[a\\]\\(b\\) 1\\."),
            ("googlechat", "<users/all> *a*", "<\u{200b}users/all> *a*"),
            ("url", "a b&c=é/~", "a%20b%26c%3D%C3%A9%2F~"),
            ("xml", "a<b>&\"'\u{1}", "a&lt;b&gt;&amp;&quot;&#39;\u{FFFD}"),
        ] {
            assert_eq!(Escape::named(name).unwrap().apply(text), expected, "{name}");
            assert_eq!(Escape::named(name).unwrap().apply("plain"), "plain");
        }
        assert_eq!(Escape::named("html"), None);
    }
}
