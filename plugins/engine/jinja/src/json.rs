//! JSON whose strings and names are templates.

use std::borrow::Cow;
use std::collections::BTreeSet;

use minijinja::Value;
use posthaste_plugin::json::{characters, elements, members};

use crate::escape::Escape;
use crate::output::string;
use crate::scope::Scope;
use crate::template::{Fault, Template, is_template};

/// Lists and objects within each other. Bounded because filling them recurses, and the guest's stack is small.
const MAX_DEPTH: usize = 32;

/// Any JSON: its strings and the names of its members are templates, and the objects `{"$for": "x in list", "$each": …}` and
/// `{"$if": "expression", "$then": …, "$else": …}` repeat and choose. Everything else is sent as it is.
pub struct JsonTemplate<'j> {
    json: &'j str,
}

/// What a part of a template becomes.
enum Filled {
    /// It is left out.
    Nothing,
    One(String),
    /// The elements that a `$for` makes: in a list, they are its elements; elsewhere they are a list.
    Many(Vec<String>),
}

/// An object that repeats or chooses.
enum Control<'j> {
    For { names: Vec<String>, list: String, each: &'j str },
    If { condition: String, then: &'j str, otherwise: Option<&'j str> },
}

impl<'j> JsonTemplate<'j> {
    /// Returns the template. `json` must be valid JSON.
    pub fn new(json: &'j str) -> Self {
        Self { json: json.trim_ascii() }
    }

    /// Returns whether it is sent as it is.
    pub fn is_constant(&self) -> bool {
        is_constant(self.json)
    }

    /// Compiles everything in it.
    ///
    /// # Errors
    /// The place begins with `pointer`, the place of the template in the config.
    pub fn check(&self, pointer: &str) -> Result<(), Fault> {
        check(self.json, pointer, 0)
    }

    /// Fills it, and returns JSON.
    ///
    /// # Errors
    /// See [`Template::text`]; the place begins with `pointer`.
    pub fn fill(&self, scope: &Scope, escape: Option<Escape>, pointer: &str) -> Result<Option<String>, Fault> {
        Ok(match fill(self.json, scope, escape, pointer)? {
            Filled::Nothing => None,
            Filled::One(json) => Some(json),
            Filled::Many(elements) => Some(format!("[{}]", elements.join(","))),
        })
    }
}

/// Returns whether a part has nothing to fill. It may err on the other side.
fn is_constant(json: &str) -> bool {
    !is_template(json) && !["\\u", "\"$for\"", "\"$if\""].iter().any(|part| json.contains(part))
}

/// Returns the JSON Pointer (RFC 6901) of the member `name` of the value at `pointer`.
pub fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn check(json: &str, pointer: &str, depth: usize) -> Result<(), Fault> {
    if is_constant(json) {
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Err(Fault::new(format!("lists and objects are more than {MAX_DEPTH} deep")).within(pointer));
    }
    if json.starts_with('"') {
        let text = characters(json);
        return if is_template(&text) { compile(&text, pointer).map(drop) } else { Ok(()) };
    }
    match Control::read(json, pointer)? {
        Some(Control::For { list, each, .. }) => {
            compile(&list, &below(pointer, "$for"))?;
            return check(each, &below(pointer, "$each"), depth + 1);
        }
        Some(Control::If { condition, then, otherwise }) => {
            compile(&condition, &below(pointer, "$if"))?;
            check(then, &below(pointer, "$then"), depth + 1)?;
            return otherwise.map_or(Ok(()), |otherwise| check(otherwise, &below(pointer, "$else"), depth + 1));
        }
        None => {}
    }
    for (name, value) in members(json) {
        compile(&name, &below(pointer, &name))?;
        check(value, &below(pointer, &name), depth + 1)?;
    }
    elements(json).enumerate().try_for_each(|(index, value)| check(value, &format!("{pointer}/{index}"), depth + 1))
}

fn compile<'t>(text: &'t str, pointer: &str) -> Result<Template<'t>, Fault> {
    Template::compile(text).map_err(|fault| fault.within(pointer))
}

fn fill(json: &str, scope: &Scope, escape: Option<Escape>, pointer: &str) -> Result<Filled, Fault> {
    if is_constant(json) {
        return Ok(Filled::One(json.to_owned()));
    }
    if json.starts_with('"') {
        let text = characters(json);
        if !is_template(&text) {
            return Ok(Filled::One(json.to_owned()));
        }
        let filled = compile(&text, pointer)?.json(scope, escape).map_err(|fault| fault.within(pointer))?;
        return Ok(filled.map_or(Filled::Nothing, Filled::One));
    }
    match Control::read(json, pointer)? {
        Some(control) => control.fill(scope, escape, pointer),
        None if json.starts_with('{') => fill_object(json, scope, escape, pointer),
        None => {
            let mut filled = Vec::new();
            for (index, element) in elements(json).enumerate() {
                match fill(element, scope, escape, &format!("{pointer}/{index}"))? {
                    Filled::Nothing => {}
                    Filled::One(element) => filled.push(element),
                    Filled::Many(elements) => filled.extend(elements),
                }
            }
            Ok(Filled::One(format!("[{}]", filled.join(","))))
        }
    }
}

fn fill_object(json: &str, scope: &Scope, escape: Option<Escape>, pointer: &str) -> Result<Filled, Fault> {
    let mut filled = String::from("{");
    let mut names = BTreeSet::new();
    for (name, value) in members(json) {
        let pointer = below(pointer, &name);
        let value = match fill(value, scope, escape, &pointer)? {
            Filled::Nothing => continue,
            Filled::One(value) => value,
            Filled::Many(elements) => format!("[{}]", elements.join(",")),
        };
        let name = if is_template(&name) {
            let name = compile(&name, &pointer)?.text(scope, None).map_err(|fault| fault.within(&pointer))?;
            if names.contains(&name) {
                return Err(Fault::new(format!("two members are called `{name}`")).within(&pointer));
            }
            Cow::Owned(name)
        } else {
            name
        };
        if filled.len() > 1 {
            filled.push(',');
        }
        string(&mut filled, &name);
        filled.push(':');
        filled.push_str(&value);
        names.insert(name.into_owned());
    }
    filled.push('}');
    Ok(Filled::One(filled))
}

impl<'j> Control<'j> {
    /// Reads an object with `$for` or `$if`; `None` for any other value.
    fn read(json: &'j str, pointer: &str) -> Result<Option<Self>, Fault> {
        let (mut each, mut then, mut otherwise, mut head, mut others) = (None, None, None, None, false);
        for (name, value) in members(json) {
            match &*name {
                "$for" | "$if" if head.is_none() => head = Some((name.into_owned(), characters(value))),
                "$each" => each = Some(value),
                "$then" => then = Some(value),
                "$else" => otherwise = Some(value),
                _ => others = true,
            }
        }
        let Some((name, expression)) = head else { return Ok(None) };
        match (&*name, each, then, otherwise) {
            ("$for", Some(each), None, None) if !others => {
                let wrong = || {
                    Fault::new("`$for` is such as `line in lines`, or `name, value in object | items`")
                        .within(&below(pointer, "$for"))
                };
                let (names, list) = expression.split_once(" in ").ok_or_else(wrong)?;
                let names: Vec<_> = names.split(',').map(|name| name.trim().to_owned()).collect();
                let is_word = |name: &String| {
                    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                };
                if !names.iter().all(is_word) {
                    return Err(wrong());
                }
                Ok(Some(Self::For { names, list: format!("{{{{{list}}}}}"), each }))
            }
            ("$if", None, Some(then), otherwise) if !others => {
                Ok(Some(Self::If { condition: format!("{{{{{expression}}}}}"), then, otherwise }))
            }
            _ => {
                let text = "an object with `$for` has `$for` and `$each`, and one with `$if` has `$if`, `$then` and perhaps `$else`";
                Err(Fault::new(text).within(pointer))
            }
        }
    }

    fn fill(self, scope: &Scope, escape: Option<Escape>, pointer: &str) -> Result<Filled, Fault> {
        match self {
            Self::If { condition, then, otherwise } => {
                let pointer_of_if = below(pointer, "$if");
                let value = compile(&condition, &pointer_of_if)?.value(scope, None);
                if value.map_err(|fault| fault.within(&pointer_of_if))?.is_true() {
                    return fill(then, scope, escape, &below(pointer, "$then"));
                }
                otherwise.map_or(Ok(Filled::Nothing), |part| fill(part, scope, escape, &below(pointer, "$else")))
            }
            Self::For { names, list, each } => {
                let place = below(pointer, "$for");
                let list = compile(&list, &place)?.value(scope, None).map_err(|fault| fault.within(&place))?;
                let mut filled = Vec::new();
                for element in iterate(&list).map_err(|text| Fault::new(text).within(&place))? {
                    let scope = bind(scope, &names, element).map_err(|text| Fault::new(text).within(&place))?;
                    match fill(each, &scope, escape, &below(pointer, "$each"))? {
                        Filled::Nothing => {}
                        Filled::One(element) => filled.push(element),
                        Filled::Many(elements) => filled.extend(elements),
                    }
                }
                Ok(Filled::Many(filled))
            }
        }
    }
}

fn iterate(list: &Value) -> Result<Vec<Value>, String> {
    if list.as_str().is_some() {
        return Err("`$for` needs a list, and this is a text".to_owned());
    }
    let text = |error: minijinja::Error| error.detail().unwrap_or("`$for` needs a list").to_owned();
    list.try_iter().map_err(text)?.checked().collect::<Result<_, _>>().map_err(text)
}

fn bind(scope: &Scope, names: &[String], element: Value) -> Result<Scope, String> {
    if let [name] = names {
        return Ok(scope.with(name, element));
    }
    let parts = iterate(&element)?;
    if parts.len() != names.len() {
        return Err(format!("`$for` has {} names, and an element has {} parts", names.len(), parts.len()));
    }
    Ok(names.iter().zip(parts).fold(scope.clone(), |scope, (name, part)| scope.with(name, part)))
}
