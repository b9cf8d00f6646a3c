//! Rules for every file: a `//!` line, a bounded length, a specific name, no unfinished work.

use std::path::Path;

use super::Violation;
use crate::source::Source;

/// Lines outside tests: above the first a file gets a note, above the second it breaks the rule.
const GUIDE_LINES: usize = 400;
const MAX_LINES: usize = 500;
const MAX_PLUGIN_LINES: usize = 60;
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];
/// Split, because this file is checked too.
const UNFINISHED: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("#[", "ignore")];

/// Checks one Rust file.
pub(crate) fn check_rust(source: &Source<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut broken = |line: usize, what: String| found.push(Violation { path: source.path.clone(), line, what });

    // A crate may show its README in place of a `//!`.
    if !["//!", "#![doc = include_str!("].iter().any(|start| source.text.starts_with(start)) {
        broken(1, "the file has no description: begin it with a `//!` line".into());
    }
    let parts = source.path.iter().map(|part| part.to_string_lossy());
    if let Some(name) = parts.map(|part| part.trim_end_matches(".rs").to_owned()).find(|p| EMPTY_NAMES.contains(&&**p))
    {
        broken(
            1,
            format!(
                "the name `{name}` is unspecific, so unrelated code gathers there: name the file after its purpose"
            ),
        );
    }
    let lines = source.end_of_code() - 1;
    if lines > MAX_LINES && !is_test(&source.path) {
        let what = format!(
            "{lines} lines outside tests, at most {MAX_LINES} (the guide is {GUIDE_LINES}): split it by purpose"
        );
        broken(MAX_LINES + 1, what);
    }
    let code = source.lines_of_code();
    if is_plugin(&source.path) && code > MAX_PLUGIN_LINES {
        let what = format!(
            "{code} lines of code, at most {MAX_PLUGIN_LINES}: plugins are examples to read; move code of general use into the SDK"
        );
        broken(1, what);
    }
    found
}

/// Notes a file that is longer than the guide, but not too long.
pub(crate) fn note_length(source: &Source<'_>) -> Option<Violation> {
    let lines = source.end_of_code() - 1;
    let long = lines > GUIDE_LINES && lines <= MAX_LINES && !is_test(&source.path);
    let what = format!("{lines} lines outside tests, and the guide is {GUIDE_LINES}: consider splitting the file");
    long.then(|| Violation { path: source.path.clone(), line: GUIDE_LINES + 1, what })
}

/// Looks for marks of unfinished work, in code and comments.
pub(crate) fn check_marks(path: &Path, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(mark) = UNFINISHED.into_iter().find(|mark| has_word(line, mark)) {
            let what = format!("`{mark}` marks unfinished work: finish it, or write an issue and remove the mark");
            found.push(Violation { path: path.to_owned(), line: index + 1, what });
        }
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
        ![before, after].into_iter().flatten().any(|next| next.is_alphanumeric() || next == '_')
    })
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| part == "tests" || part == "tests.rs")
}

fn is_plugin(path: &Path) -> bool {
    let mut parts = path.iter();
    parts.next().is_some_and(|first| first == "plugins") && parts.nth(1).is_some_and(|src| src == "src") && {
        parts.next().is_some_and(|file| file == "lib.rs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(file: &str, text: &str) -> Vec<String> {
        check_rust(&Source::read(Path::new(file), text)).into_iter().map(|found| found.what).collect()
    }

    #[test]
    fn a_file_without_description_is_refused() {
        for text in ["//! This.\n", "#![doc = include_str!(\"../README.md\")]\n"] {
            assert_eq!(complaints("a.rs", text), [""; 0], "{text:?}");
        }
        for text in ["", "// This.\n", "\n//! Late.\n", "use a;\n"] {
            assert!(complaints("a.rs", text)[0].contains("`//!`"), "{text:?}");
        }
    }

    #[test]
    fn unspecific_names_are_refused() {
        for file in ["host/src/utils.rs", "host/src/common/keys.rs", "tests/helpers.rs", "misc.rs"] {
            assert!(complaints(file, "//! x\n")[0].contains("unspecific"), "{file}");
        }
        assert_eq!(complaints("host/src/commons.rs", "//! x\n"), [""; 0]);
    }

    #[test]
    fn length_is_counted_outside_tests() {
        let code = |lines: usize| "//! x\n".to_owned() + &"use a;\n".repeat(lines - 1);
        assert_eq!(complaints("host/src/a.rs", &code(500)), [""; 0]);
        assert!(complaints("host/src/a.rs", &code(501))[0].contains("501 lines"));
        assert_eq!(complaints("host/src/a/tests.rs", &code(501)), [""; 0]);
        assert_eq!(complaints("tests/suite/a.rs", &code(501)), [""; 0]);
        let note = |lines| note_length(&Source::read(Path::new("host/src/a.rs"), &code(lines))).map(|note| note.line);
        assert_eq!([400, 401, 500, 501].map(note), [None, Some(401), Some(401), None]);
        let with_tests = code(499) + "#[cfg(test)]\nmod tests {\n" + &"use b;\n".repeat(200) + "}\n";
        assert_eq!(complaints("host/src/a.rs", &with_tests), [""; 0]);
    }

    #[test]
    fn long_plugins_are_refused() {
        let code = |lines: usize| "//! x\n\n// why\n".to_owned() + &"use a;\n".repeat(lines);
        assert_eq!(complaints("plugins/mask/src/lib.rs", &code(60)), [""; 0]);
        assert!(complaints("plugins/mask/src/lib.rs", &code(61))[0].contains("61 lines of code"));
        assert_eq!(complaints("plugins/mask/src/more.rs", &code(61)), [""; 0]);
        assert_eq!(complaints("plugin-sdk/src/lib.rs", &code(61)), [""; 0]);
    }

    #[test]
    fn marks_of_unfinished_work_are_refused() {
        let lines =
            |text: &str| check_marks(Path::new("a.rs"), text).iter().map(|found| found.line).collect::<Vec<_>>();
        for mark in UNFINISHED {
            assert_eq!(lines(&format!("fine\n// {mark}: later\n")), [2], "{mark}");
        }
        assert_eq!(lines(&format!("{} = \"reason\"]\n", UNFINISHED[3])), [1]);
        assert_eq!(lines("mkdtemp XXXXXX, TODOS, ignore\n"), [0usize; 0]);
    }
}
