//! Reads Rust just well enough to find the paths and functions in it: words and punctuation, without comments and literals.

use std::path::{Path, PathBuf};

/// A word (identifier, keyword, number) or one punctuation character; `::` is one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

/// A path in the source, such as `crate::store::Store`; each branch of a `use` group is a path of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathUse<'a> {
    pub(crate) segments: Vec<&'a str>,
    pub(crate) line: usize,
    /// The number of enclosing inline modules, `mod { … }`.
    pub(crate) nesting: usize,
}

/// One Rust file.
pub(crate) struct Source<'a> {
    pub(crate) path: PathBuf,
    pub(crate) text: &'a str,
    pub(crate) tokens: Vec<Token<'a>>,
}

impl<'a> Source<'a> {
    /// `path` is relative to the repository.
    pub(crate) fn read(path: &Path, text: &'a str) -> Self {
        Self { path: path.to_owned(), text, tokens: tokens(text) }
    }

    /// Returns the module of a file, given its path below `src`: `store/log.rs` is `store::log`, and `lib.rs` the root.
    pub(crate) fn module_of(file: &Path) -> Vec<String> {
        let stem = file.with_extension("");
        let mut module: Vec<_> = stem.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
        module
    }

    /// Returns the line of the first `#[cfg(test)] mod`, or one past the last line. The lines before it are not tests.
    pub(crate) fn end_of_code(&self) -> usize {
        const TESTS: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
        let texts = self.tokens.windows(TESTS.len());
        let mut starts = texts.filter(|window| window.iter().map(|token| token.text).eq(TESTS));
        let first = starts.next().and_then(|window| window.first());
        first.map_or(self.text.lines().count() + 1, |token| token.line)
    }

    /// Returns the number of lines before [`Self::end_of_code`] that hold code: no blank lines, no comments.
    pub(crate) fn lines_of_code(&self) -> usize {
        let end = self.end_of_code();
        let mut lines: Vec<_> = self.tokens.iter().map(|token| token.line).filter(|line| *line < end).collect();
        lines.dedup();
        lines.len()
    }

    /// Returns every path in the source, in order.
    pub(crate) fn paths(&self) -> Vec<PathUse<'a>> {
        let mut reader = Reader { tokens: &self.tokens, at: 0, found: Vec::new() };
        // The depth of braces at which each enclosing inline module began.
        let mut modules = Vec::new();
        let mut depth = 0usize;
        while let Some(token) = reader.peek(0) {
            match token.text {
                "{" => {
                    if reader.before(2) == Some("mod") {
                        modules.push(depth);
                    }
                    depth += 1;
                }
                "}" => {
                    depth = depth.saturating_sub(1);
                    modules.pop_if(|began| *began == depth);
                }
                _ if reader.starts_path() => {
                    reader.path(&[], modules.len());
                    continue;
                }
                _ => {}
            }
            reader.at += 1;
        }
        reader.found
    }
}

struct Reader<'s, 'a> {
    tokens: &'s [Token<'a>],
    at: usize,
    found: Vec<PathUse<'a>>,
}

impl<'a> Reader<'_, 'a> {
    fn peek(&self, ahead: usize) -> Option<Token<'a>> {
        self.tokens.get(self.at + ahead).copied()
    }

    fn before(&self, back: usize) -> Option<&'a str> {
        Some(self.tokens.get(self.at.checked_sub(back)?)?.text)
    }

    /// Returns true at a word before `::`, and at the only word of a `use`.
    fn starts_path(&self) -> bool {
        let goes_on = self.peek(1).is_some_and(|token| token.text == "::");
        let used = self.before(1) == Some("use") || (self.before(1) == Some("::") && self.before(2) == Some("use"));
        self.peek(0).is_some_and(|token| is_word(token.text) && token.text != "use") && (goes_on || used)
    }

    /// Reads one path that starts at a word; a group gives one path for each of its branches.
    fn path(&mut self, prefix: &[&'a str], nesting: usize) {
        let mut segments = prefix.to_vec();
        let line = self.peek(0).map_or(0, |token| token.line);
        while let Some(token) = self.peek(0).filter(|token| is_word(token.text) || token.text == "*") {
            segments.push(token.text);
            self.at += 1;
            if self.peek(0).is_none_or(|token| token.text != "::") {
                break;
            }
            self.at += 1;
            if self.peek(0).is_some_and(|token| token.text == "{") {
                return self.group(&segments, nesting);
            }
        }
        self.found.push(PathUse { segments, line, nesting });
    }

    fn group(&mut self, prefix: &[&'a str], nesting: usize) {
        self.at += 1;
        while let Some(token) = self.peek(0) {
            match token.text {
                "}" => {
                    self.at += 1;
                    return;
                }
                "," => self.at += 1,
                "as" => self.at += 2,
                text if is_word(text) || text == "*" => self.path(prefix, nesting),
                // Not a `use` after all, or a broken file: the caller goes on from here.
                _ => return,
            }
        }
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let literal = skipped(rest);
        let length = match literal {
            Some(length) => length,
            None if first.is_alphanumeric() || first == '_' => word_length(rest),
            None if rest.starts_with("::") => 2,
            None => first.len_utf8(),
        };
        let (text, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if literal.is_none() && !first.is_whitespace() {
            tokens.push(Token { text: text.strip_prefix("r#").unwrap_or(text), line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

fn word_length(rest: &str) -> usize {
    let raw = if rest.starts_with("r#") { 2 } else { 0 };
    let word = rest.get(raw..).unwrap_or_default();
    raw + word.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(word.len())
}

/// Returns the length of the comment or literal at the start of `rest`.
fn skipped(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if let Some(length) = raw_string(rest) {
        return Some(length);
    }
    let prefix = usize::from(rest.starts_with(['b', 'c']));
    let quoted = rest.get(prefix..).unwrap_or_default();
    if quoted.starts_with('"') {
        return Some(prefix + until_quote(quoted, '"'));
    }
    if quoted.starts_with('\'') {
        return Some(prefix + character_or_lifetime(quoted));
    }
    None
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) {
        let step = if tail.starts_with("/*") {
            depth += 1;
            2
        } else if tail.starts_with("*/") {
            depth = depth.saturating_sub(1);
            2
        } else {
            tail.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// `r"…"`, `r#"…"#`, `br"…"`, `cr"…"`.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix("cr")).or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(rest.len() - body.len() + length)
}

fn until_quote(quoted: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in quoted.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if next == quote => return at + 1,
            _ => {}
        }
    }
    quoted.len()
}

/// `'a'` and `'\n'` are characters; `'a` is a lifetime, which is not a path either.
fn character_or_lifetime(quoted: &str) -> usize {
    let mut after = quoted.char_indices().skip(1);
    match (after.next(), after.next()) {
        (Some((_, '\\')), _) => until_quote(quoted, '\''),
        (_, Some((at, '\''))) => at + 1,
        _ => 1 + word_length(quoted.get(1..).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let source = Source::read(Path::new("x.rs"), text);
        source
            .paths()
            .iter()
            .map(|path| format!("{}@{}+{}", path.segments.join("::"), path.line, path.nesting))
            .collect()
    }

    #[test]
    fn a_use_group_gives_one_path_per_branch() {
        let text = "use crate::{a, b::{self, C as D}, e::*};\nuse sqlx;\nuse ::axum::Router as _;\nuse x as y;\n";
        let expected = ["crate::a@1+0", "crate::b::self@1+0", "crate::b::C@1+0", "crate::e::*@1+0", "sqlx@2+0"];
        assert_eq!(paths(text)[..5], expected);
        assert_eq!(paths(text)[5..], ["axum::Router@3+0", "x@4+0"]);
        assert_eq!(paths("use crate::{\n    a,\n    b,\n};"), ["crate::a@2+0", "crate::b@3+0"]);
    }

    #[test]
    fn finds_paths_in_code_types_and_attributes() {
        let text = "#[derive(sqlx::FromRow)]\nfn f(a: &'a crate::b::C<d::E>) -> i { g::<u8>(); if a < h { } }";
        assert_eq!(paths(text), ["sqlx::FromRow@1+0", "crate::b::C@2+0", "d::E@2+0", "g@2+0"]);
    }

    #[test]
    fn comments_and_literals_hold_no_paths() {
        let text = r##"// a::b
/* c::d /* e::f */ g::h */ /// i::j
let x = ("k::l \" m::n", r#"o::p " q::r"#, b"s::t", '"', 'u', '\'', c"v::w", br"x::y");
'label: loop { z::end(); }"##;
        assert_eq!(paths(text), ["z::end@4+0"]);
    }

    #[test]
    fn counts_the_inline_modules_around_a_path() {
        let text = "mod tests { use super::a; mod b { use super::c; fn f() { d::e() } } use super::g; }\nuse super::h;";
        assert_eq!(paths(text), ["super::a@1+1", "super::c@1+2", "d::e@1+2", "super::g@1+1", "super::h@2+0"]);
    }

    #[test]
    fn malformed_source_does_not_panic() {
        for text in
            ["\"open", "/* open", "r#\"open", "'", "use a::{b, {", "'é", "}}}", "b'", "use", "::", "r#", "use a::"]
        {
            let _ = paths(text);
        }
    }

    #[test]
    fn counts_code_before_the_tests() {
        let text =
            "//! Docs.\n\nuse a;\n/* one\ntwo */\nfn f() {} // end\n\n#[cfg(test)]\nmod tests {\n    use b;\n}\n";
        let source = Source::read(Path::new("x.rs"), text);
        assert_eq!((source.lines_of_code(), source.end_of_code()), (2, 8));
        assert_eq!(Source::read(Path::new("x.rs"), "fn f() {}\n").end_of_code(), 2);
    }
}
