//! Templates: compiled, checked, and filled.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use minijinja::machinery::{CompiledTemplate, Instruction, Instructions, TemplateConfig, eval, make_string_output};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use crate::escape::Escape;
use crate::names::Names;
use crate::node::Omit;
use crate::output::{emit, json, string};
use crate::scope::Scope;
use crate::{depth, former};

/// A compiled template.
pub struct Template<'s> {
    source: &'s str,
    instructions: Instructions<'s>,
    names: Names<'s>,
    /// Whether it is a lone `{{ expression }}`, whose value keeps its type.
    is_expression: bool,
}

/// What is wrong with a template, or with the values that it is filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The place in the template, such as `line 2, column 5`; empty if it is not known.
    place: String,
    text: String,
}

impl Fault {
    /// Returns a fault of a whole template.
    pub fn new(text: impl Into<String>) -> Self {
        Self { place: String::new(), text: text.into() }
    }

    pub(crate) fn at(source: &str, range: Option<Range<usize>>, text: impl Into<String>) -> Self {
        let place = range.and_then(|range| source.get(..range.start)).map_or_else(String::new, |before| {
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let line = before.matches('\n').count() + 1;
            if source.trim_end().contains('\n') {
                format!("line {line}, column {column}")
            } else {
                format!("column {column}")
            }
        });
        Self { place, text: text.into() }
    }

    /// Returns the fault with the place of the template in the config before the place in the template.
    #[must_use]
    pub fn within(mut self, pointer: &str) -> Self {
        let separator = if self.place.is_empty() { "" } else { ", " };
        self.place = format!("`{pointer}`{separator}{}", self.place);
        self
    }

    fn of(source: &str, error: &minijinja::Error) -> Self {
        let text = match (error.kind(), error.detail()) {
            (ErrorKind::SyntaxError, Some(detail)) => format!("this is no valid template: {detail}"),
            (ErrorKind::TooManyArguments, detail) => {
                format!("too many arguments{}", detail.map(|detail| format!(": {detail}")).unwrap_or_default())
            }
            (ErrorKind::MissingArgument, detail) => {
                format!("an argument is missing{}", detail.map(|detail| format!(": {detail}")).unwrap_or_default())
            }
            (_, Some(detail)) => detail.to_owned(),
            (kind, None) => kind.to_string(),
        };
        Self::at(source, error.range(), text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.text)
    }
}

/// Returns whether a text is a template, and not only itself.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

impl<'s> Template<'s> {
    /// Compiles a template.
    ///
    /// # Errors
    /// If it is malformed, or names a filter, test, function or method that does not exist.
    pub fn compile(source: &'s str) -> Result<Self, Fault> {
        former::refuse(source)?;
        depth::refuse(source)?;
        let config = TemplateConfig {
            syntax_config: SyntaxConfig::default(),
            default_auto_escape: Arc::new(|_: &str| AutoEscape::None),
        };
        let compiled = CompiledTemplate::new("", source, &config).map_err(|error| Fault::of(source, &error))?;
        let mut instructions = compiled.instructions;
        let names = Names::take(source, &mut instructions)?;
        let is_expression = source.starts_with("{{") && source.ends_with("}}") && emits_once(&instructions);
        Ok(Self { source, instructions, names, is_expression })
    }

    /// Fills the template, and returns the text.
    ///
    /// # Errors
    /// If a value is missing or `null`, or cannot be used as the template uses it.
    pub fn text(&self, scope: &Scope, escape: Option<Escape>) -> Result<String, Fault> {
        let mut text = String::with_capacity(self.source.len());
        self.run(&self.instructions, scope, escape, &mut text)?;
        Ok(text)
    }

    /// Returns the value of a template that is a lone expression, and the text of any other.
    ///
    /// # Errors
    /// See [`Template::text`].
    pub(crate) fn value(&mut self, scope: &Scope, escape: Option<Escape>) -> Result<Value, Fault> {
        if !self.is_expression {
            let text = self.text(scope, escape)?;
            // The values in it have been escaped.
            return Ok(Value::from_safe_string(text));
        }
        let last = count(&self.instructions).saturating_sub(1);
        if let Some(emit) = self.instructions.get_mut(last) {
            // The value stays on the stack, where the evaluation ends.
            *emit = Instruction::Jump(last + 1);
        }
        let value = self.run(&self.instructions, scope, escape, &mut String::new());
        if let Some(jump) = self.instructions.get_mut(last) {
            *jump = Instruction::Emit;
        }
        Ok(value?.unwrap_or_default())
    }

    /// Fills the template, and returns JSON: the value of a lone expression, and the text of any other template as a string. `None`
    /// if the value is `omit`.
    ///
    /// # Errors
    /// See [`Template::text`].
    pub fn json(&mut self, scope: &Scope, escape: Option<Escape>) -> Result<Option<String>, Fault> {
        let value = self.value(scope, escape)?;
        if value.downcast_object_ref::<Omit>().is_some() {
            return Ok(None);
        }
        if value.kind() == ValueKind::String && value.is_safe() {
            let mut json = String::new();
            string(&mut json, value.as_str().unwrap_or_default());
            return Ok(Some(json));
        }
        json(&value, escape).map(Some).map_err(|error| Fault::at(self.source, Some(0..0), Fault::of("", &error).text))
    }

    /// Fills the template, and returns the text; `None` if it is a lone expression whose value is `omit`.
    ///
    /// # Errors
    /// See [`Template::text`].
    pub fn text_or_omit(&mut self, scope: &Scope, escape: Option<Escape>) -> Result<Option<String>, Fault> {
        if self.is_expression && self.value(scope, escape)?.downcast_object_ref::<Omit>().is_some() {
            return Ok(None);
        }
        self.text(scope, escape).map(Some)
    }

    fn run(
        &self,
        instructions: &Instructions<'s>,
        scope: &Scope,
        escape: Option<Escape>,
        text: &mut String,
    ) -> Result<Option<Value>, Fault> {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_formatter(emit);
        self.names.add_to(&mut environment);
        let (root, blocks) = (Value::from_object(scope.clone()), BTreeMap::new());
        let mut output = make_string_output(text);
        let result = eval(&environment, instructions, root, &blocks, &mut output, Escape::mode(escape));
        result.map(|(value, _)| value).map_err(|error| Fault::of(self.source, &error))
    }
}

fn count(instructions: &Instructions) -> u32 {
    (0..).find(|index| instructions.get(*index).is_none()).unwrap_or_default()
}

/// Returns whether the last instruction, and no other, writes text.
fn emits_once(instructions: &Instructions) -> bool {
    let count = count(instructions);
    (0..count).all(|index| match instructions.get(index) {
        Some(Instruction::Emit) => index + 1 == count,
        Some(Instruction::EmitRaw(_)) | None => false,
        Some(_) => index + 1 != count,
    }) && count > 0
}
