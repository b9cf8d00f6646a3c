//! Selects the definitions of jq's own filters that a program needs.

use std::collections::BTreeSet;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::{Cmp, Math};
use jaq_core::path::{Opt, Part, Path};

/// A filter that is defined in jq itself.
struct Definition {
    /// Its place in the order of definitions: it may call those before it.
    place: usize,
    name: &'static str,
    /// The names that it calls.
    calls: &'static [&'static str],
    build: fn() -> Def<&'static str>,
}

include!(concat!(env!("OUT_DIR"), "/definitions.rs"));

/// The names that a program may call, and all that their definitions call.
pub(crate) struct Needed<'p> {
    names: BTreeSet<&'p str>,
    definitions: Vec<&'static Definition>,
}

impl<'p> Needed<'p> {
    /// Every word of a program counts as a call: a member `.first` costs no more than the definition of `first`.
    pub(crate) fn by(program: &'p str) -> Self {
        let mut needed = Self { names: BTreeSet::new(), definitions: Vec::new() };
        words(program).for_each(|word| needed.add(word));
        needed.definitions.sort_by_key(|definition| definition.place);
        needed
    }

    fn add(&mut self, name: &'p str) {
        if !self.names.insert(name) {
            return;
        }
        let start = DEFINITIONS.partition_point(|definition| definition.name < name);
        for definition in DEFINITIONS.iter().skip(start).take_while(|definition| definition.name == name) {
            self.definitions.push(definition);
            definition.calls.iter().for_each(|call| self.add(call));
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(crate) fn definitions(&self) -> impl Iterator<Item = Def<&'static str>> {
        self.definitions.iter().map(|definition| (definition.build)())
    }
}

/// Returns the words of a program that may name a filter: `map`, `@base64`.
fn words(program: &str) -> impl Iterator<Item = &str> {
    program.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '@').filter(|word| !word.is_empty())
}
