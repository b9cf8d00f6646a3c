//! Checks data against a schema, step by step.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::{Number, Value};

use super::place::{Faults, Place};
use super::seen::Seen;
use super::{Bound, Node, NodeId, Rule, Schema, Size, TypeSet, Unfinished, canonical};
use crate::domain::Invalid;

/// Most subschemas that are being checked within each other: what fits on a thread's stack.
const MAX_DEPTH: u32 = 400;
/// Bytes of a text that are looked at in one step.
const BYTES_PER_STEP: usize = 64;

/// Whether a value satisfies a part of the schema.
pub(super) type Checked = Result<bool, Unfinished>;

/// A check in progress.
pub(super) struct Check<'s> {
    pub(super) schema: &'s Schema,
    steps: u64,
    depth: u32,
    /// How many keywords around this one try what need not hold.
    quiet: u32,
    faults: Faults,
}

/// A value and its place.
#[derive(Clone, Copy)]
pub(super) struct Subject<'p, 'v> {
    pub(super) value: &'v Value,
    pub(super) place: &'p Place<'p>,
}

/// Returns what breaks the schema: some of it, if that is much.
pub(super) fn check(schema: &Schema, value: &Value, steps: u64) -> Result<Vec<Invalid>, Unfinished> {
    let mut check = Check { schema, steps, depth: 0, quiet: 0, faults: Faults::default() };
    let holds = check.node(0, Subject { value, place: &Place::Root }, None)?;
    let mut faults = check.faults.into_list();
    if !holds && faults.is_empty() {
        faults.push(Invalid::at("", "this value breaks the schema"));
    }
    Ok(faults)
}

impl<'s> Check<'s> {
    /// Takes some steps.
    pub(super) fn take(&mut self, steps: u64) -> Result<(), Unfinished> {
        self.steps = self.steps.checked_sub(steps).ok_or(Unfinished::Steps)?;
        Ok(())
    }

    /// Takes the steps for looking at a text.
    pub(super) fn take_text(&mut self, bytes: usize) -> Result<(), Unfinished> {
        self.take((bytes / BYTES_PER_STEP) as u64 + 1)
    }

    /// Reports that a value breaks a rule, unless that need not hold; returns false.
    pub(super) fn broken(&mut self, place: &Place<'_>, detail: impl FnOnce() -> String) -> Checked {
        if self.quiet == 0 && !self.faults.is_full() {
            self.faults.add(place.pointer(), detail());
        }
        Ok(false)
    }

    /// Whether the result alone is wanted, so that the first broken rule decides.
    pub(super) fn is_decided(&self, holds: bool) -> bool {
        !holds && (self.quiet > 0 || self.faults.is_full())
    }

    /// Checks what need not hold.
    pub(super) fn quietly<'v>(&mut self, id: NodeId, subject: Subject<'_, 'v>, seen: Option<&mut Seen<'v>>) -> Checked {
        self.quiet += 1;
        let checked = self.node(id, subject, seen);
        self.quiet -= 1;
        checked
    }

    /// Checks a value against a subschema, and adds to `seen` what that has looked at, if the value satisfies it.
    pub(super) fn node<'v>(&mut self, id: NodeId, subject: Subject<'_, 'v>, seen: Option<&mut Seen<'v>>) -> Checked {
        self.take(1)?;
        let schema = self.schema;
        let (rules, is_unevaluated) = match schema.node(id) {
            Node::Any => return Ok(true),
            Node::Never => return self.broken(subject.place, || "nothing may be here".into()),
            Node::Rules { rules, is_unevaluated } => (rules, *is_unevaluated),
        };
        if self.depth >= MAX_DEPTH {
            return Err(Unfinished::Depth);
        }
        self.depth += 1;
        let mut own = (seen.is_some() || is_unevaluated).then(Seen::default);
        let mut holds = true;
        for rule in rules {
            self.take(1)?;
            holds &= self.rule(rule, subject, own.as_mut())?;
            if self.is_decided(holds) {
                break;
            }
        }
        self.depth -= 1;
        if let (true, Some(seen), Some(own)) = (holds, seen, own) {
            let count = seen.add(own);
            self.take(count as u64)?;
        }
        Ok(holds)
    }

    fn rule<'v>(&mut self, rule: &'s Rule, subject: Subject<'_, 'v>, seen: Option<&mut Seen<'v>>) -> Checked {
        match rule {
            Rule::Reference(index) => self.node(self.schema.reference(*index), subject, seen),
            Rule::AllOf(_)
            | Rule::AnyOf(_)
            | Rule::OneOf(_)
            | Rule::Not(_)
            | Rule::If { .. }
            | Rule::DependentSchemas(_) => self.combination(rule, subject, seen),
            Rule::Members { .. }
            | Rule::MemberNames(_)
            | Rule::UnevaluatedMembers(_)
            | Rule::Required(_)
            | Rule::DependentRequired(_) => match subject.value {
                Value::Object(members) => self.members(rule, members, subject.place, seen),
                _ => Ok(true),
            },
            Rule::Items { .. } | Rule::Contains { .. } | Rule::UnevaluatedItems(_) | Rule::UniqueItems => {
                match subject.value {
                    Value::Array(items) => self.items(rule, items, subject.place, seen),
                    _ => Ok(true),
                }
            }
            Rule::Type(types) => self.typed(*types, subject),
            Rule::Enum { values, longest } => self.one_of_values(values, *longest, subject),
            Rule::Size(size, limit) => self.size(*size, *limit, subject),
            Rule::MultipleOf(of) => match subject.value {
                Value::Number(number) if !canonical::is_multiple(number, of) => {
                    self.broken(subject.place, || format!("must be a multiple of {of}"))
                }
                _ => Ok(true),
            },
            Rule::Bound(bound, limit) => self.bound(*bound, limit, subject),
            Rule::Pattern(pattern) => match subject.value {
                Value::String(text) => {
                    self.take(pattern.steps(text.len()))?;
                    if pattern.is_match(text) {
                        return Ok(true);
                    }
                    self.broken(subject.place, || "does not match the `pattern` of the schema".into())
                }
                _ => Ok(true),
            },
        }
    }

    fn typed(&mut self, types: TypeSet, Subject { value, place }: Subject<'_, '_>) -> Checked {
        let is = TypeSet::of(value);
        if is.meets(types) {
            return Ok(true);
        }
        // An integer is called a number, unless that is its fault.
        let found = if matches!(value, Value::Number(_)) { "a number".to_owned() } else { is.named() };
        self.broken(place, || format!("must be {}, but is {found}", types.named()))
    }

    fn one_of_values(
        &mut self,
        values: &HashSet<Box<str>>,
        longest: usize,
        Subject { value, place }: Subject<'_, '_>,
    ) -> Checked {
        let mut text = String::new();
        // A text that cannot be equal any more is not written to its end.
        let mut go_on = |bytes, values| self.take(values as u64).map(|()| bytes <= longest);
        let is_complete = match value {
            // A long text is not copied.
            Value::String(own) if own.len() > longest => false,
            value => canonical::write(value, &mut text, &mut go_on)?,
        };
        self.take_text(text.len())?;
        if is_complete && values.contains(text.as_str()) {
            return Ok(true);
        }
        let one = values.len() == 1;
        self.broken(place, || {
            if one { "is not the value of `const` or `enum`" } else { "is none of the values of `enum`" }.into()
        })
    }

    fn bound(&mut self, bound: Bound, limit: &Number, Subject { value, place }: Subject<'_, '_>) -> Checked {
        let Value::Number(number) = value else { return Ok(true) };
        let order = canonical::compare(number, limit);
        let (holds, words) = match bound {
            Bound::Minimum => (order != Ordering::Less, "at least"),
            Bound::Maximum => (order != Ordering::Greater, "at most"),
            Bound::ExclusiveMinimum => (order == Ordering::Greater, "greater than"),
            Bound::ExclusiveMaximum => (order == Ordering::Less, "less than"),
        };
        if holds { Ok(true) } else { self.broken(place, || format!("must be {words} {limit}")) }
    }

    fn size(&mut self, size: Size, limit: u64, Subject { value, place }: Subject<'_, '_>) -> Checked {
        let (count, what) = match (size, value) {
            (Size::MinLength | Size::MaxLength, Value::String(text)) => {
                self.take_text(text.len())?;
                (text.chars().count(), "characters")
            }
            (Size::MinItems | Size::MaxItems, Value::Array(items)) => (items.len(), "items"),
            (Size::MinMembers | Size::MaxMembers, Value::Object(members)) => (members.len(), "members"),
            _ => return Ok(true),
        };
        let count = count as u64;
        let (holds, words) = match size {
            Size::MinLength | Size::MinItems | Size::MinMembers => (count >= limit, "at least"),
            Size::MaxLength | Size::MaxItems | Size::MaxMembers => (count <= limit, "at most"),
        };
        if holds {
            Ok(true)
        } else {
            self.broken(place, || format!("must have {words} {limit} {what}, but has {count}"))
        }
    }

    fn combination<'v>(
        &mut self,
        rule: &'s Rule,
        subject: Subject<'_, 'v>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Checked {
        match rule {
            Rule::AllOf(all) => {
                let mut holds = true;
                for id in all {
                    holds &= self.node(*id, subject, seen.as_deref_mut())?;
                    if self.is_decided(holds) {
                        break;
                    }
                }
                Ok(holds)
            }
            Rule::AnyOf(any) => {
                let mut holds = false;
                for id in any {
                    holds |= self.quietly(*id, subject, seen.as_deref_mut())?;
                    // Every schema that holds counts for the unevaluated keywords.
                    if holds && seen.is_none() {
                        break;
                    }
                }
                if holds {
                    Ok(true)
                } else {
                    self.broken(subject.place, || "satisfies none of the schemas of `anyOf`".into())
                }
            }
            Rule::OneOf(schemas) => self.one_of(schemas, subject, seen),
            Rule::Not(id) => {
                if !self.quietly(*id, subject, None)? {
                    return Ok(true);
                }
                self.broken(subject.place, || "must not satisfy the schema of `not`".into())
            }
            Rule::If { condition, then, otherwise } => {
                let holds = self.quietly(*condition, subject, seen.as_deref_mut())?;
                let next = if holds { then } else { otherwise };
                next.map_or(Ok(true), |next| self.node(next, subject, seen))
            }
            Rule::DependentSchemas(dependent) => {
                let Value::Object(members) = subject.value else { return Ok(true) };
                let mut holds = true;
                for (name, id) in dependent {
                    self.take_text(name.len())?;
                    if members.contains_key(&**name) {
                        holds &= self.node(*id, subject, seen.as_deref_mut())?;
                    }
                }
                Ok(holds)
            }
            _ => Ok(true),
        }
    }

    fn one_of<'v>(&mut self, schemas: &[NodeId], subject: Subject<'_, 'v>, mut seen: Option<&mut Seen<'v>>) -> Checked {
        let mut count = 0;
        for id in schemas {
            count += usize::from(self.quietly(*id, subject, seen.as_deref_mut())?);
            if count > 1 {
                return self.broken(subject.place, || "satisfies more than one of the schemas of `oneOf`".into());
            }
        }
        if count == 1 {
            Ok(true)
        } else {
            self.broken(subject.place, || "satisfies none of the schemas of `oneOf`".into())
        }
    }

    /// Returns whether all items differ.
    pub(super) fn are_unique(&mut self, items: &[Value]) -> Checked {
        // Without room for all: that would cost more than the steps of a check that ends at the second item.
        let mut texts = HashSet::new();
        for item in items {
            let mut text = String::new();
            canonical::write(item, &mut text, &mut |_, values| self.take(values as u64).map(|()| true))?;
            self.take_text(text.len())?;
            if !texts.insert(text) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
