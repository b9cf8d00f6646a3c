//! Regular expressions, which are matched in time linear in the text.

use std::ops::Range;

use regex_automata::nfa::thompson::pikevm::{Cache, PikeVM};
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Capture, Class, ClassBytes, ClassBytesRange, Hir, HirKind, Repetition};
use regex_syntax::utf8::{Utf8Range, Utf8Sequence, Utf8Sequences};

/// Whether upper and lower case differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// They do.
    Kept,
    /// They are equal, by Unicode's simple case folding.
    Ignored,
}

/// Bytes of an expression.
const MAX_SOURCE_BYTES: usize = 1_000;
/// Groups and classes within each other: compiling them recurses, and the guest's stack is 64 KiB.
const MAX_NESTING: u32 = 64;
/// Bytes of one compiled expression: a text may be in all of its states at once.
const MAX_BYTES: usize = 256 * 1024;

/// Ranges of characters in a class that is compiled as an alternation.
const MAX_WRITTEN_OUT: usize = 16;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Pattern(PikeVM);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn compile(source: &str, case: Case) -> Result<Self, String> {
        // Without captures, because nobody asks where the match is.
        compile(source, case, WhichCaptures::None).map(Self)
    }

    /// The memory that the compiled expression takes.
    pub fn bytes(&self) -> usize {
        self.0.get_nfa().memory_usage()
    }

    /// Returns a matcher for any number of texts.
    pub fn matcher(&self) -> Matcher<'_> {
        Matcher { pattern: &self.0, cache: self.0.create_cache() }
    }
}

/// An expression with the memory for matching.
pub struct Matcher<'p> {
    pattern: &'p PikeVM,
    cache: Cache,
}

impl Matcher<'_> {
    /// Returns whether some part of the text matches.
    pub fn is_match(&mut self, text: &[u8]) -> bool {
        self.pattern.is_match(&mut self.cache, text)
    }
}

/// A compiled expression that tells where it matches.
#[derive(Debug, Clone)]
pub struct PartPattern(PikeVM);

impl PartPattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn compile(source: &str) -> Result<Self, String> {
        compile(source, Case::Kept, WhichCaptures::Implicit).map(Self)
    }

    /// The memory that the compiled expression takes.
    pub fn bytes(&self) -> usize {
        self.0.get_nfa().memory_usage()
    }

    /// Returns a finder for any number of texts.
    pub fn finder(&self) -> Finder<'_> {
        Finder { pattern: &self.0, cache: self.0.create_cache() }
    }
}

/// An expression with the memory for finding its matches.
pub struct Finder<'p> {
    pattern: &'p PikeVM,
    cache: Cache,
}

impl Finder<'_> {
    /// Returns the byte ranges of the matches in a text, in order and without overlaps; empty ones are left out.
    pub fn parts(&mut self, text: &str) -> impl Iterator<Item = Range<usize>> {
        let found = self.pattern.find_iter(&mut self.cache, text);
        found.map(|part| part.range()).filter(|part| !part.is_empty())
    }
}

fn compile(source: &str, case: Case, captures: WhichCaptures) -> Result<PikeVM, String> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(format!("{} bytes; at most {MAX_SOURCE_BYTES} are allowed", source.len()));
    }
    let mut parser = ParserBuilder::new();
    parser.nest_limit(MAX_NESTING).case_insensitive(case == Case::Ignored);
    let expression = parser.build().parse(source).map_err(|error| refusal(source, &error))?;
    let limits = Config::new().nfa_size_limit(Some(MAX_BYTES)).which_captures(captures);
    let states = Compiler::new().configure(limits).build_from_hir(&written_out(expression));
    states.and_then(PikeVM::new_from_nfa).map_err(|_| {
        let mend = "repeat less, or write `[0-9]` for `\\d` and `[a-z]` for `\\w`";
        format!("the expression is too large once its repetitions are written out: {mend}")
    })
}

/// Writes classes of few ranges out as sequences of bytes. The compiler has a table of 200 KB for classes, whose preparation takes
/// about as long as all else of a call; without a class it is not made.
fn written_out(expression: Hir) -> Hir {
    match expression.into_kind() {
        HirKind::Class(Class::Unicode(class)) if !class.is_ascii() && class.ranges().len() <= MAX_WRITTEN_OUT => {
            let sequences = class.iter().flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
            Hir::alternation(sequences.map(|sequence| bytes(&sequence)).collect())
        }
        HirKind::Class(class) => Hir::class(class),
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Capture(group) => written_out(*group.sub),
        HirKind::Repetition(repetition) => {
            Hir::repetition(Repetition { sub: Box::new(written_out(*repetition.sub)), ..repetition })
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(written_out).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(written_out).collect()),
    }
}

fn bytes(sequence: &Utf8Sequence) -> Hir {
    let range = |range: &Utf8Range| ClassBytes::new([ClassBytesRange::new(range.start, range.end)]);
    let parts = sequence.as_slice().iter().map(|part| Hir::class(Class::Bytes(range(part))));
    // In a group, which is compiled to nothing, so that an alternation of characters is not made a class again.
    Hir::capture(Capture { index: 1, name: None, sub: Box::new(Hir::concat(parts.collect())) })
}

fn refusal(source: &str, error: &regex_syntax::Error) -> String {
    let (what, at) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start),
        _ => return format!("`{source}` is not a regular expression"),
    };
    let before = source.get(..at.offset).unwrap_or(source);
    format!("{what}, at character {} of `{source}`", before.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(source: &str, text: &str) -> bool {
        Pattern::compile(source, Case::Kept).unwrap().matcher().is_match(text.as_bytes())
    }

    fn refused(source: &str) -> String {
        Pattern::compile(source, Case::Kept).unwrap_err()
    }

    #[test]
    fn an_expression_matches_a_part_of_a_text() {
        assert!(matches("b+", "abbc") && matches("", "") && matches("^$", "") && matches("^a.c$", "aéc"));
        assert!(!matches("^b", "abc") && !matches("^a.c$", "aéec") && !matches("^a.c$", "a\nc"));
        assert!(matches(r"^\w+ \d\b", "Núria ٣") && !matches(r"(?-u)^\d$", "٣") && matches(r"^\p{Lu}", "Ñ"));
    }

    #[test]
    fn a_class_matches_its_characters() {
        for (class, fits, others) in [
            (".", "aé€😀\u{10ffff}", "\n"),
            ("[à-ü€]", "àéü€", "aß¢\u{20ad}"),
            ("[^a-z€]", "A😀é\n", "az€"),
            (r"\d", "0٣", "a€"),
            (r"\W", " €😀", "aé3_"),
            ("(?s-u:[a-z])|é", "aé", "Aè"),
        ] {
            let pattern = Pattern::compile(&format!("^(?:{class}){{1,2}}$"), Case::Kept).unwrap();
            let mut matcher = pattern.matcher();
            let mut is_match = |text: String| matcher.is_match(text.as_bytes());
            assert!(fits.chars().all(|one| is_match(one.into()) && is_match(format!("{one}{one}"))), "{class}");
            assert!(!others.chars().any(|one| is_match(one.into())), "{class}");
        }
    }

    #[test]
    fn an_expression_may_ignore_case() {
        let matches =
            |source, text: &str| Pattern::compile(source, Case::Ignored).unwrap().matcher().is_match(text.as_bytes());
        assert!(matches("^núria$", "NÚRIA") && matches("ΣΑΣ", "σας") && matches("[k]", "\u{212a}"));
        assert!(!matches("^strasse$", "STRAßE") && !matches("i", "ı") && !matches("(?-i)a", "A"));
    }

    #[test]
    fn a_finder_returns_the_parts_that_match() {
        let pattern = PartPattern::compile(r"(é|\d)+|x*").unwrap();
        let mut finder = pattern.finder();
        assert_eq!(finder.parts("aé1 xx 22").collect::<Vec<_>>(), [1..4, 5..7, 8..10]);
        assert_eq!(finder.parts("a").count(), 0);
    }

    #[test]
    fn half_a_character_matches_nothing() {
        let matches =
            |source: &str, text: &[u8]| Pattern::compile(source, Case::Kept).unwrap().matcher().is_match(text);
        assert!(matches("^a", b"a\xed\xa0\xbd") && matches("b$", b"\xed\xa0\xbdb"));
        assert!(!matches("^a.", b"a\xed\xa0\xbd") && !matches(r"^\W", b"\xed\xa0\xbdb"));
    }

    #[test]
    fn a_matcher_forgets_the_text_before() {
        let pattern = Pattern::compile("^ab$", Case::Kept).unwrap();
        let mut matcher = pattern.matcher();
        let texts = [&b"ab"[..], b"a", b"b", b"ab"].map(|text| matcher.is_match(text));
        assert_eq!(texts, [true, false, false, true]);
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_where() {
        for (source, what, at) in [
            ("é(b", "unclosed group", 2),
            ("ab[c", "unclosed character class", 3),
            ("a(?=b)", "look-around", 2),
            (r"(a)\1", "backreferences are not supported", 4),
            ("*a", "repetition operator missing expression", 1),
            (r"a\p{Nope}", "Unicode property not found", 2),
        ] {
            let text = refused(source);
            assert!(text.contains(what) && text.ends_with(&format!("at character {at} of `{source}`")), "{text}");
        }
    }

    #[test]
    fn the_size_of_an_expression_is_bounded() {
        assert!(refused(&"a".repeat(1_001)).contains("1001 bytes; at most 1000"));
        assert!(refused("(a{100}){100}").contains("too large"));
        assert!(refused(r"\w{100}").contains("too large"));
        assert!(refused(&format!("{}a{}", "(".repeat(100), ")".repeat(100))).contains("nested"));
        let largest = Pattern::compile(r"\w+@\w+", Case::Kept).unwrap().bytes();
        assert!(largest < MAX_BYTES, "{largest}");
    }
}
