//! The keywords about members of objects and items of arrays.

use serde_json::{Map, Value};

use super::Rule;
use super::check::{Check, Checked, Subject};
use super::place::{Place, quoted};
use super::seen::Seen;

impl<'s> Check<'s> {
    pub(super) fn members<'v>(
        &mut self,
        rule: &'s Rule,
        members: &'v Map<String, Value>,
        place: &Place<'_>,
        seen: Option<&mut Seen<'v>>,
    ) -> Checked {
        match rule {
            Rule::Members { .. } => self.each_member(rule, members, place, seen),
            Rule::MemberNames(id) => {
                let mut holds = true;
                for name in members.keys() {
                    self.take_text(name.len())?;
                    let value = Value::String(name.clone());
                    let fits = self.quietly(*id, Subject { value: &value, place }, None)?;
                    holds &= fits || self.broken(place, || format!("the name {} is not allowed", quoted(name)))?;
                    if self.is_decided(holds) {
                        break;
                    }
                }
                Ok(holds)
            }
            Rule::UnevaluatedMembers(id) => {
                let Some(seen) = seen else { return Ok(true) };
                let mut holds = true;
                for (name, value) in members {
                    self.take_text(name.len())?;
                    if !seen.members.contains(name.as_str()) {
                        let place = Place::Member(place, name);
                        holds &= self.node(*id, Subject { value, place: &place }, None)?;
                        seen.members.insert(name);
                    }
                }
                Ok(holds)
            }
            Rule::Required(names) => self.required(names, members, place),
            Rule::DependentRequired(dependent) => {
                let mut holds = true;
                for (name, names) in dependent {
                    self.take_text(name.len())?;
                    holds &= !members.contains_key(&**name) || self.required(names, members, place)?;
                }
                Ok(holds)
            }
            _ => Ok(true),
        }
    }

    fn required(&mut self, names: &[Box<str>], members: &Map<String, Value>, place: &Place<'_>) -> Checked {
        let mut holds = true;
        for name in names {
            self.take_text(name.len())?;
            if !members.contains_key(&**name) {
                holds = self.broken(place, || format!("the member {} is missing", quoted(name)))?;
            }
            if self.is_decided(holds) {
                break;
            }
        }
        Ok(holds)
    }

    fn each_member<'v>(
        &mut self,
        rule: &'s Rule,
        members: &'v Map<String, Value>,
        place: &Place<'_>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Checked {
        let Rule::Members { named, patterns, rest } = rule else { return Ok(true) };
        let mut holds = true;
        for (name, value) in members {
            self.take_text(name.len())?;
            let place = Place::Member(place, name);
            let subject = Subject { value, place: &place };
            let mut is_known = false;
            if let Some(id) = named.get(name.as_str()) {
                is_known = true;
                holds &= self.node(*id, subject, None)?;
            }
            for (pattern, id) in patterns {
                self.take(pattern.steps(name.len()))?;
                if pattern.is_match(name) {
                    is_known = true;
                    holds &= self.node(*id, subject, None)?;
                }
            }
            if let (false, Some(id)) = (is_known, rest) {
                is_known = true;
                holds &= self.node(*id, subject, None)?;
            }
            if let (true, Some(seen)) = (is_known, seen.as_deref_mut()) {
                seen.members.insert(name);
            }
            if self.is_decided(holds) {
                break;
            }
        }
        Ok(holds)
    }

    pub(super) fn items<'v>(
        &mut self,
        rule: &'s Rule,
        items: &'v [Value],
        place: &Place<'_>,
        seen: Option<&mut Seen<'v>>,
    ) -> Checked {
        match rule {
            Rule::Items { first, rest } => {
                let mut holds = true;
                for (index, value) in items.iter().enumerate() {
                    let Some(id) = first.get(index).or(rest.as_ref()) else { break };
                    let place = Place::Item(place, index);
                    holds &= self.node(*id, Subject { value, place: &place }, None)?;
                    if self.is_decided(holds) {
                        break;
                    }
                }
                if let Some(seen) = seen {
                    let all = if rest.is_some() { usize::MAX } else { first.len() };
                    seen.first_items = seen.first_items.max(all);
                }
                Ok(holds)
            }
            Rule::UnevaluatedItems(id) => {
                let Some(seen) = seen else { return Ok(true) };
                let mut holds = true;
                for (index, value) in items.iter().enumerate() {
                    self.take(1)?;
                    if !seen.has_item(index) {
                        let place = Place::Item(place, index);
                        holds &= self.node(*id, Subject { value, place: &place }, None)?;
                    }
                }
                seen.first_items = usize::MAX;
                Ok(holds)
            }
            Rule::UniqueItems => {
                if self.are_unique(items)? {
                    return Ok(true);
                }
                self.broken(place, || "has the same item twice".into())
            }
            Rule::Contains { .. } => self.contains(rule, items, place, seen),
            _ => Ok(true),
        }
    }

    fn contains<'v>(
        &mut self,
        rule: &'s Rule,
        items: &'v [Value],
        place: &Place<'_>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Checked {
        let Rule::Contains { node, min, max } = rule else { return Ok(true) };
        let mut count = 0;
        for (index, value) in items.iter().enumerate() {
            let place = Place::Item(place, index);
            if self.quietly(*node, Subject { value, place: &place }, None)? {
                count += 1;
                if let Some(seen) = seen.as_deref_mut() {
                    seen.items.insert(index);
                }
            }
            // Every item that satisfies it counts for `unevaluatedItems`.
            if seen.is_none() && max.is_none() && count >= *min {
                break;
            }
        }
        if count < *min {
            return self
                .broken(place, || format!("must have at least {min} items that satisfy `contains`, but has {count}"));
        }
        match max {
            Some(max) if count > *max => {
                self.broken(place, || format!("must have at most {max} items that satisfy `contains`, but has {count}"))
            }
            _ => Ok(true),
        }
    }
}
