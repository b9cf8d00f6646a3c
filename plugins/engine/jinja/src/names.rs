//! The names in a template: each filter, test and function must exist, and only those that occur are given to the engine.

use std::collections::BTreeSet;

use minijinja::machinery::{Instruction, Instructions};
use minijinja::{Environment, Value};

use crate::operators::{self, Operator};
use crate::scope::FUNCTIONS;
use crate::template::Fault;
use crate::{filters, tests};

/// No filter is remembered between instructions.
const NO_LOCAL: u8 = u8::MAX;

/// The filters, tests and operators of a template.
#[derive(Default)]
pub(crate) struct Names<'s> {
    operators: Vec<Operator>,
    filters: BTreeSet<&'s str>,
    tests: BTreeSet<&'s str>,
    /// The texts in it: one may name a filter or a test, as in `map("upper")`.
    texts: Vec<Value>,
    functions: BTreeSet<&'s str>,
}

impl<'s> Names<'s> {
    /// Returns the names in a template, and replaces its operators.
    ///
    /// # Errors
    /// If a name does not exist, or an instruction is not available.
    pub(crate) fn take(source: &'s str, instructions: &mut Instructions<'s>) -> Result<Self, Fault> {
        let mut names = Self::default();
        for index in 0.. {
            let span = instructions.get_span(index);
            let Some(instruction) = instructions.get_mut(index) else { break };
            names.visit(instruction).map_err(|text| {
                let range = span.map(|span| span.start_offset as usize..span.end_offset as usize);
                Fault::at(source, range, text)
            })?;
        }
        Ok(names)
    }

    fn visit(&mut self, instruction: &mut Instruction<'s>) -> Result<(), String> {
        if let Some(operator) = operators::of(instruction) {
            *instruction = Instruction::ApplyFilter(operator.0, Some(operator.1), NO_LOCAL);
            if !self.operators.iter().any(|own| own.0 == operator.0) {
                self.operators.push(operator);
            }
            return Ok(());
        }
        match instruction {
            Instruction::ApplyFilter(name, ..) => {
                if !filters::NAMES.contains(name) {
                    return Err(filters::unknown(name));
                }
                self.filters.insert(name);
            }
            Instruction::PerformTest(name, ..) => {
                if !tests::NAMES.contains(name) {
                    return Err(format!("there is no test `is {name}`; the tests are {}", tests::NAMES.join(", ")));
                }
                self.tests.insert(name);
            }
            Instruction::CallFunction(name, _) if *name == "loop" => {}
            Instruction::CallFunction(name, _) => {
                if !FUNCTIONS.contains(name) {
                    return Err(unknown_function(name));
                }
                self.functions.insert(name);
            }
            Instruction::CallMethod(name, _) if !["cycle", "changed"].contains(name) => {
                return Err(format!("values have no methods such as `.{name}()`; write a filter, as in `| {name}`"));
            }
            Instruction::CallObject(_) => {
                return Err("only the functions `dict`, `namespace` and `range` can be called".into());
            }
            Instruction::CompareAndPreserve(_) => {
                return Err("one comparison after another; write `a < b and b < c`".into());
            }
            // `{{ a if b }}` without `else` is an empty text.
            Instruction::LoadConst(value) if value.is_undefined() => *value = Value::from(""),
            Instruction::LoadConst(value) => self.texts.extend(value.as_str().is_some().then(|| value.clone())),
            Instruction::Lookup(name) if FUNCTIONS.contains(name) => {
                self.functions.insert(name);
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds the filters, tests, functions and operators that the template uses.
    pub(crate) fn add_to(&self, environment: &mut Environment) {
        for (name, _, operator) in &self.operators {
            environment.add_filter(*name, operators::function(*operator));
        }
        let texts = || self.texts.iter().filter_map(Value::as_str);
        for name in filters::NAMES {
            if self.filters.contains(name) || texts().any(|text| text == name) {
                filters::add(environment, name);
            }
        }
        for name in tests::NAMES {
            if self.tests.contains(name) || texts().any(|text| text == name) {
                tests::add(environment, name);
            }
        }
        for name in &self.functions {
            match *name {
                "dict" => environment.add_function("dict", minijinja::functions::dict),
                "namespace" => environment.add_function("namespace", minijinja::functions::namespace),
                _ => environment.add_function("range", minijinja::functions::range),
            }
        }
    }
}

fn unknown_function(name: &str) -> String {
    match name {
        "now" | "utcnow" | "time" => {
            format!(
                "there is no function `{name}`, because a retry must send the same; `event.occurred_at` is the event's time"
            )
        }
        _ => format!(
            "there is no function `{name}`; the functions are `dict`, `namespace` and `range`, and filters are written `| {name}`"
        ),
    }
}
