//! Writes jq's definitions (`map`, `select`, …), which jaq has as program text, as Rust code that builds their syntax trees: parsing all of
//! them takes longer than a program runs.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{self, Opt, Part};

/// jaq's definitions that `src/filters.rs` replaces: a definition would hide the native filter.
const NATIVE: [&str; 4] = ["delpaths", "infinite", "nan", "tostring"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let own = include_str!("src/definitions.jq");
    println!("cargo::rerun-if-changed=src/definitions.jq");
    let own = jaq_core::load::parse(own, |parser| parser.defs())
        .ok_or_else(|| io::Error::other("src/definitions.jq is no jq"))?;
    let definitions: Vec<Def<&str>> = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(own)
        .filter(|definition| !NATIVE.contains(&definition.name))
        .collect();
    let mut code = String::new();
    for (index, definition) in definitions.iter().enumerate() {
        let body = Writer { calls: Vec::new() }.definition(definition);
        writeln!(code, "fn definition_{index}() -> Def<&'static str> {{\n    {body}\n}}").map_err(io::Error::other)?;
    }
    let mut table: Vec<(usize, &Def<&str>)> = definitions.iter().enumerate().collect();
    table.sort_by_key(|(index, definition)| (definition.name, *index));
    writeln!(code, "/// Sorted by name.\nstatic DEFINITIONS: [Definition; {}] = [", table.len())
        .map_err(io::Error::other)?;
    for (index, definition) in table {
        let mut writer = Writer { calls: Vec::new() };
        writer.definition(definition);
        writer.calls.sort_unstable();
        writer.calls.dedup();
        let (name, calls) = (definition.name, writer.calls);
        writeln!(
            code,
            "    Definition {{ place: {index}, name: {name:?}, calls: &{calls:?}, build: definition_{index} }},"
        )
        .map_err(io::Error::other)?;
    }
    code.push_str("];\n");
    let folder = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&folder).join("definitions.rs"), code)
}

/// Writes syntax trees as Rust expressions, and collects the names that they call.
struct Writer<'a> {
    calls: Vec<&'a str>,
}

impl<'a> Writer<'a> {
    fn definition(&mut self, definition: &Def<&'a str>) -> String {
        let Def { name, args, body } = definition;
        format!("Def {{ name: {name:?}, args: vec!{args:?}, body: {} }}", self.term(body))
    }

    fn boxed(&mut self, term: &Term<&'a str>) -> String {
        format!("Box::new({})", self.term(term))
    }

    fn option(&mut self, term: Option<&Term<&'a str>>) -> String {
        term.map_or_else(|| "None".to_owned(), |term| format!("Some({})", self.term(term)))
    }

    fn boxed_option(&mut self, term: Option<&Term<&'a str>>) -> String {
        term.map_or_else(|| "None".to_owned(), |term| format!("Some({})", self.boxed(term)))
    }

    fn terms(&mut self, terms: &[Term<&'a str>]) -> String {
        let terms: Vec<_> = terms.iter().map(|term| self.term(term)).collect();
        format!("vec![{}]", terms.join(", "))
    }

    fn term(&mut self, term: &Term<&'a str>) -> String {
        let tree = match term {
            Term::Id => "Id".to_owned(),
            Term::Recurse => "Recurse".to_owned(),
            Term::Num(number) => format!("Num({number:?})"),
            Term::Str(format, parts) => {
                self.calls.extend(format);
                let parts: Vec<_> = parts.iter().map(|part| self.string_part(part)).collect();
                format!("Str({format:?}, vec![{}])", parts.join(", "))
            }
            Term::Arr(inner) => format!("Arr({})", self.boxed_option(inner.as_deref())),
            Term::Obj(entries) => {
                let entries =
                    entries.iter().map(|(key, value)| format!("({}, {})", self.term(key), self.option(value.as_ref())));
                format!("Obj(vec![{}])", entries.collect::<Vec<_>>().join(", "))
            }
            Term::Neg(inner) => format!("Neg({})", self.boxed(inner)),
            Term::BinOp(left, op, right) => {
                let (left, op, right) = (self.boxed(left), self.operator(op), self.boxed(right));
                format!("BinOp({left}, {op}, {right})")
            }
            Term::Label(name, inner) => format!("Label({name:?}, {})", self.boxed(inner)),
            Term::Break(name) => format!("Break({name:?})"),
            Term::Fold(kind, source, pattern, args) => {
                let (source, pattern, args) = (self.boxed(source), self.pattern(pattern), self.terms(args));
                format!("Fold({kind:?}, {source}, {pattern}, {args})")
            }
            Term::TryCatch(inner, catch) => {
                format!("TryCatch({}, {})", self.boxed(inner), self.boxed_option(catch.as_deref()))
            }
            Term::IfThenElse(cases, otherwise) => {
                let cases = cases.iter().map(|(test, then)| format!("({}, {})", self.term(test), self.term(then)));
                let cases = cases.collect::<Vec<_>>().join(", ");
                format!("IfThenElse(vec![{cases}], {})", self.boxed_option(otherwise.as_deref()))
            }
            Term::Def(definitions, inner) => {
                let definitions: Vec<_> = definitions.iter().map(|definition| self.definition(definition)).collect();
                format!("Def(vec![{}], {})", definitions.join(", "), self.boxed(inner))
            }
            Term::Call(name, args) => {
                self.calls.push(name);
                format!("Call({name:?}, {})", self.terms(args))
            }
            Term::Var(name) => format!("Var({name:?})"),
            Term::Path(inner, path) => {
                let parts: Vec<_> = path.0.iter().map(|part| self.path_part(part)).collect();
                format!("Path({}, Path(vec![{}]))", self.boxed(inner), parts.join(", "))
            }
        };
        format!("Term::{tree}")
    }

    fn string_part(&mut self, part: &StrPart<&'a str, Term<&'a str>>) -> String {
        match part {
            StrPart::Str(text) => format!("StrPart::Str({text:?})"),
            StrPart::Term(term) => format!("StrPart::Term({})", self.term(term)),
            StrPart::Char(character) => format!("StrPart::Char({character:?})"),
        }
    }

    fn path_part(&mut self, (part, optional): &(path::Part<Term<&'a str>>, Opt)) -> String {
        let part = match part {
            Part::Index(index) => format!("Part::Index({})", self.term(index)),
            Part::Range(from, to) => {
                format!("Part::Range({}, {})", self.option(from.as_ref()), self.option(to.as_ref()))
            }
        };
        format!("({part}, Opt::{optional:?})")
    }

    fn operator(&mut self, op: &BinaryOp<&'a str>) -> String {
        let op = match op {
            BinaryOp::Pipe(None) => "Pipe(None)".to_owned(),
            BinaryOp::Pipe(Some(pattern)) => format!("Pipe(Some({}))", self.pattern(pattern)),
            BinaryOp::Math(op) => format!("Math(Math::{op:?})"),
            BinaryOp::Cmp(op) => format!("Cmp(Cmp::{op:?})"),
            BinaryOp::UpdateMath(op) => format!("UpdateMath(Math::{op:?})"),
            plain => format!("{plain:?}"),
        };
        format!("BinaryOp::{op}")
    }

    fn pattern(&mut self, pattern: &Pattern<&'a str>) -> String {
        let pattern = match pattern {
            Pattern::Var(name) => format!("Var({name:?})"),
            Pattern::Arr(patterns) => {
                let patterns: Vec<_> = patterns.iter().map(|pattern| self.pattern(pattern)).collect();
                format!("Arr(vec![{}])", patterns.join(", "))
            }
            Pattern::Obj(entries) => {
                let entries =
                    entries.iter().map(|(key, pattern)| format!("({}, {})", self.term(key), self.pattern(pattern)));
                format!("Obj(vec![{}])", entries.collect::<Vec<_>>().join(", "))
            }
        };
        format!("Pattern::{pattern}")
    }
}
