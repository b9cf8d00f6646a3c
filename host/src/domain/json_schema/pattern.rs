//! Regular expressions: those of JavaScript (ECMA-262) that can be matched in linear time.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// The sizes that a compiled expression may have, in KiB.
const SIZES_KIB: [usize; 5] = [1, 4, 16, 64, 256];
/// Most bytes of an expression: reading one takes longer than in proportion to them.
const MAX_BYTES: usize = 2 * 1024;
/// Most groups and classes within each other.
const MAX_NESTING: u32 = 64;

/// A compiled regular expression.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// The bound of its size in KiB.
    kib: usize,
    /// How many steps it may take for each byte of a text.
    steps_per_byte: usize,
}

/// The steps for each byte of a text: an expression may be in all of its states at once.
fn steps_per_byte(kib: usize) -> usize {
    if kib == 1 { 2 } else { kib * 4 }
}

/// Builds a translated expression of the smallest of the sizes. `Ok(None)`: it is larger than all of them.
fn build(translated: &str) -> Result<Option<(Regex, usize)>, regex::Error> {
    for kib in SIZES_KIB {
        match RegexBuilder::new(translated).size_limit(kib * 1024).nest_limit(MAX_NESTING).build() {
            Ok(regex) => return Ok(Some((regex, kib))),
            Err(regex::Error::CompiledTooBig(_)) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

impl Pattern {
    /// Compiles an expression as it stands in a schema.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        if source.len() > MAX_BYTES {
            return Err(format!("a regular expression has at most {MAX_BYTES} bytes"));
        }
        let (regex, kib) = match build(&translate(source, true)) {
            Ok(Some(built)) => built,
            Ok(None) => {
                let detail =
                    "this regular expression is too large once its repetitions are written out: use a simpler one";
                return Err(detail.into());
            }
            Err(_) => return Err(refusal(source).into()),
        };
        // A class of Unicode has many states, of which a text is in one at a time; finding that takes longer.
        let steps_per_byte = match build(&translate(source, false)) {
            Ok(Some((_, without))) if without < kib => steps_per_byte(without) * 4,
            _ => steps_per_byte(kib),
        };
        Ok(Self { regex, kib, steps_per_byte })
    }

    /// Returns whether some part of the text matches.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Returns the steps that matching a text of this length may take.
    pub(super) fn steps(&self, bytes: usize) -> u64 {
        (bytes as u64 + 1).saturating_mul(self.steps_per_byte as u64)
    }

    /// Returns the memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        // The compiled expression, and the state of its matching.
        self.kib * 1024 * 4
    }

    /// Returns the bound of its size in KiB.
    pub(super) fn kib(&self) -> usize {
        self.kib
    }
}

fn refusal(source: &str) -> &'static str {
    let has = |parts: &[&str]| parts.iter().any(|part| source.contains(part));
    if has(&["(?=", "(?!", "(?<=", "(?<!", "\\k<"]) || (1..=9).any(|digit| source.contains(&format!("\\{digit}"))) {
        "this regular expression has look-around or back-references, which cannot be matched in linear time: write it \
         without them"
    } else {
        "this is not a regular expression"
    }
}

/// Writes an expression of JavaScript in the syntax of the `regex` crate, where `\d`, `\w` and `\s` are classes of Unicode, and
/// brackets have operators of their own. Without `classes`, each class of Unicode is one character.
fn translate(source: &str, classes: bool) -> String {
    let (mut to, mut characters, mut in_class) =
        (String::with_capacity(source.len()), source.chars().peekable(), false);
    while let Some(character) = characters.next() {
        match character {
            '\\' => escape(&mut to, &mut characters, in_class, classes),
            // Flags are no part of JavaScript's expressions, and make classes of Unicode expensive: this is refused.
            '(' if !in_class && has_flags(characters.clone()) => to.push_str("(?!"),
            '[' if !in_class => {
                in_class = true;
                to.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    to.push('^');
                }
                // `[]` matches nothing and `[^]` anything.
                if characters.next_if_eq(&']').is_some() {
                    in_class = false;
                    let negated = to.ends_with('^');
                    to.truncate(to.len() - if negated { 2 } else { 1 });
                    to.push_str(if negated { "(?s:.)" } else { "[^\\x{0}-\\x{10ffff}]" });
                }
            }
            ']' if in_class => {
                in_class = false;
                to.push(']');
            }
            '[' | '&' | '~' if in_class => to.extend(['\\', character]),
            '-' if in_class && characters.peek() == Some(&'-') => to.push_str("\\-"),
            '{' if !in_class && !opens_repetition(&to, characters.clone()) => to.push_str("\\{"),
            other => to.push(other),
        }
    }
    to
}

/// The rest of an expression.
type Rest<'s> = Peekable<Chars<'s>>;

/// Returns whether a group has flags, or anything else but a name after its `?`.
fn has_flags(mut rest: Rest<'_>) -> bool {
    rest.next() == Some('?') && !matches!(rest.next(), Some(':' | '<'))
}

/// Translates an escape, after its backslash.
fn escape(to: &mut String, rest: &mut Rest<'_>, in_class: bool, classes: bool) {
    let Some(escaped) = rest.next() else { return to.push('\\') };
    match escaped {
        'd' => to.push_str("[0-9]"),
        'D' => to.push_str("[^0-9]"),
        'w' => to.push_str("[A-Za-z0-9_]"),
        'W' => to.push_str("[^A-Za-z0-9_]"),
        // The same characters, and the byte order mark.
        's' => to.push_str("[\\s\\x{feff}]"),
        'S' => to.push_str("[^\\s\\x{feff}]"),
        'b' if in_class => to.push_str("\\x08"),
        'b' => to.push_str("(?-u:\\b)"),
        'c' => match rest.next() {
            Some(letter) if letter.is_ascii_alphabetic() => {
                to.push_str(&format!("\\x{:02x}", u32::from(letter) % 32));
            }
            // Not an expression of JavaScript either.
            _ => to.push_str("\\c"),
        },
        '0' => to.push_str("\\x00"),
        'p' | 'P' if !classes && rest.next_if_eq(&'{').is_some() => {
            rest.by_ref().take_while(|next| *next != '}').for_each(drop);
            to.push('a');
        }
        other => to.extend(['\\', other]),
    }
}

/// Returns whether an opening brace belongs to a repetition or an escape; elsewhere JavaScript takes it for a character.
fn opens_repetition(before: &str, rest: Rest<'_>) -> bool {
    if ["\\p", "\\P", "\\u", "\\x"].iter().any(|escape| before.ends_with(escape)) {
        return true;
    }
    let inside: String = rest.take_while(|next| *next != '}').take(12).collect();
    inside.starts_with(|c: char| c.is_ascii_digit()) && inside.chars().all(|c| c.is_ascii_digit() || c == ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(text)
    }

    #[test]
    fn expressions_have_the_meaning_of_javascript() {
        for (pattern, text, expected) in [
            ("a", "bab", true),
            ("^a$", "a\n", false),
            (r"^\d+$", "0123", true),
            (r"^\d$", "\u{0664}", false),
            (r"^\w$", "é", false),
            (r"^[\w.-]+$", "a-b.c_9", true),
            (r"^[^\w]$", "é", true),
            (r"^\s$", "\u{feff}", true),
            (r"^\S$", "\u{a0}", false),
            (r"^\cC$", "\u{3}", true),
            (r"^\u00e9$", "é", true),
            (r"^\p{L}{2}$", "éa", true),
            (r"^[[a]$", "[", true),
            (r"^[a&&b]$", "&", true),
            (r"^[a--]$", "-", true),
            (r"^[]$", "", false),
            (r"^[^]$", "\n", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^a{,3}$", "a{,3}", true),
            (r"^{a}$", "{a}", true),
            (r"^]$", "]", true),
            (r"^\/\-\.$", "/-.", true),
            (r"\bb\b", "a b", true),
            ("^.$", "\u{1f432}", true),
            ("^(?:a|(?<b>c))$", "c", true),
            ("[(?i)]", "i", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text:?}: {}", translate(pattern, true));
        }
    }

    #[test]
    fn what_takes_more_than_linear_time_or_much_memory_is_refused() {
        for (pattern, part) in [
            ("(?=a)", "look-around"),
            (r"(a)\1", "back-references"),
            ("(", "not a regular expression"),
            ("\\", "not a regular expression"),
            ("a{1000}{1000}", "too large"),
            ("(((a{99}){99}){99}){99}", "too large"),
            (&"(".repeat(1000), "not a regular expression"),
            ("(?i:a)", "not a regular expression"),
            (&r"\p{L}".repeat(1000), "at most 2048 bytes"),
        ] {
            let refused = Pattern::compile(pattern).unwrap_err();
            assert!(refused.contains(part), "{pattern}: {refused}");
        }
    }

    #[test]
    fn larger_expressions_take_more_steps() {
        let steps = |pattern| Pattern::compile(pattern).unwrap().steps(99);
        assert_eq!(steps("^a$"), 200);
        assert!(steps("^[a-z]{200}$") > steps("^[a-z]{20}$"));
        assert!(steps(r"^\p{L}+$") < 10 * steps("^[a-z]+$"), "its size is not what it takes");
    }
}
