//! Reads a schema: each subschema once, however many references lead to it.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::keywords::{self, KNOWN};
use super::pattern::Pattern;
use super::place::{Faults, Place, quoted};
use super::references::References;
use super::{MAX_NODES, Node, NodeId, Rule, Schema, cycles};
use crate::domain::Invalid;

/// Most KiB of all compiled regular expressions of a schema.
const MAX_PATTERNS_KIB: usize = 1024;
/// The dialect that is supported.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Where a subschema stands: below another one, or where a reference says.
#[derive(Debug, Clone)]
enum Origin<'d> {
    Document,
    Reference(&'d str),
    Keyword { parent: NodeId, keyword: &'static str },
    Member { parent: NodeId, keyword: &'static str, name: &'d str },
    Item { parent: NodeId, keyword: &'static str, index: usize },
}

/// The compiler's state.
struct Compiler<'d> {
    document: &'d Value,
    nodes: Vec<Option<Node>>,
    origins: Vec<Origin<'d>>,
    /// Subschemas by their addresses in the document.
    known: HashMap<*const Value, NodeId>,
    waiting: Vec<(NodeId, &'d Value)>,
    references: References<'d>,
    faults: Faults,
    patterns_kib: usize,
    bytes: usize,
}

/// Compiles a schema.
pub(super) fn compile(document: &Value) -> Result<Schema, Vec<Invalid>> {
    let mut compiler = Compiler {
        document,
        nodes: Vec::new(),
        origins: Vec::new(),
        known: HashMap::new(),
        waiting: Vec::new(),
        references: References::default(),
        faults: Faults::default(),
        patterns_kib: 0,
        bytes: 0,
    };
    compiler.subschema(document, Origin::Document);
    compiler.run();
    let targets = compiler.references.targets();
    if !compiler.faults.is_empty() {
        return Err(compiler.faults.into_list());
    }
    let nodes = compiler.nodes.into_iter().map(|node| node.unwrap_or(Node::Any)).collect();
    let schema = Schema { nodes, references: targets, bytes: compiler.bytes };
    match cycles::endless(&schema) {
        None => Ok(schema),
        Some(id) => {
            let detail = "this leads back to itself through references without descending into the data, or takes too \
                          many steps to do so";
            Err(vec![Invalid::at(pointer(&compiler.origins, id), detail)])
        }
    }
}

/// Returns the pointer to a subschema.
fn pointer(origins: &[Origin<'_>], id: NodeId) -> String {
    let (mut steps, mut id) = (Vec::new(), id);
    let mut start = "";
    while let Some(origin) = origins.get(id) {
        match origin {
            Origin::Document => break,
            Origin::Reference(fragment) => {
                start = fragment;
                break;
            }
            Origin::Keyword { parent, keyword } => {
                steps.push(((*keyword).to_owned(), None));
                id = *parent;
            }
            Origin::Member { parent, keyword, name } => {
                steps.push(((*keyword).to_owned(), Some((*name).to_owned())));
                id = *parent;
            }
            Origin::Item { parent, keyword, index } => {
                steps.push(((*keyword).to_owned(), Some(index.to_string())));
                id = *parent;
            }
        }
    }
    let mut pointer = start.to_owned();
    for (keyword, inner) in steps.into_iter().rev() {
        let place = Place::Member(&Place::Root, &keyword);
        pointer.push_str(&match &inner {
            Some(name) => Place::Member(&place, name).pointer(),
            None => place.pointer(),
        });
    }
    super::place::clipped(&pointer, 512)
}

impl<'d> Compiler<'d> {
    fn run(&mut self) {
        loop {
            while let Some((id, value)) = self.waiting.pop() {
                let node = self.node(id, value);
                if let Some(place) = self.nodes.get_mut(id) {
                    *place = Some(node);
                }
            }
            // What references lead to may have further references.
            while let Some((at, reference)) = self.references.next() {
                self.resolve(at, reference);
            }
            if self.waiting.is_empty() {
                return;
            }
        }
    }

    /// Returns the subschema that stands here; it is read later.
    fn subschema(&mut self, value: &'d Value, origin: Origin<'d>) -> NodeId {
        if let Some(id) = self.known.get(&std::ptr::from_ref(value)) {
            return *id;
        }
        let id = self.nodes.len();
        if id >= MAX_NODES {
            let detail = format!("a schema may have at most {MAX_NODES} subschemas");
            self.faults.add(String::new(), detail);
            return 0;
        }
        self.nodes.push(None);
        self.origins.push(origin);
        self.known.insert(std::ptr::from_ref(value), id);
        self.waiting.push((id, value));
        id
    }

    /// Reports a fault of a keyword.
    fn fault(&mut self, id: NodeId, keyword: &str, detail: impl Into<String>) {
        let place = Place::Member(&Place::Root, keyword);
        let keyword = if keyword.is_empty() { String::new() } else { place.pointer() };
        self.faults.add(format!("{}{keyword}", pointer(&self.origins, id)), detail.into());
    }

    fn resolve(&mut self, at: NodeId, reference: &'d str) {
        let target = match self.references.anchor(reference) {
            Some(id) => Some(id),
            None => super::references::find(self.document, reference)
                .map(|value| self.subschema(value, Origin::Reference(reference.trim_start_matches('#')))),
        };
        match target {
            Some(id) => self.references.resolved(id),
            None => {
                let detail = if reference.starts_with('#') {
                    format!("there is nothing at {} in this schema", quoted(reference))
                } else {
                    "a schema can refer only to itself: move what this names into `$defs`, and write `#/$defs/…`".into()
                };
                self.fault(at, "$ref", detail);
                self.references.resolved(0);
            }
        }
    }

    fn node(&mut self, id: NodeId, value: &'d Value) -> Node {
        let members = match value {
            Value::Bool(true) => return Node::Any,
            Value::Bool(false) => return Node::Never,
            Value::Object(members) => members,
            _ => {
                self.fault(id, "", "a schema is an object, `true` or `false`");
                return Node::Any;
            }
        };
        self.check_identity(id, members);
        let mut rules = Vec::new();
        for (keyword, value) in members {
            if let Some(known) = KNOWN.iter().find(|known| **known == keyword.as_str()) {
                match keywords::rule(known, value, &mut |source| self.pattern(source)) {
                    Ok(rule) => rules.extend(rule),
                    Err(detail) => self.fault(id, known, detail),
                }
            }
        }
        rules.extend(self.applicators(id, members));
        let before = rules.len();
        // After all others, whose results they use.
        for (keyword, rule) in [
            ("unevaluatedProperties", Rule::UnevaluatedMembers as fn(NodeId) -> Rule),
            ("unevaluatedItems", Rule::UnevaluatedItems),
        ] {
            rules.extend(self.single(id, members, keyword).map(rule));
        }
        let is_unevaluated = rules.len() > before;
        Node::Rules { rules, is_unevaluated }
    }

    fn check_identity(&mut self, id: NodeId, members: &'d Map<String, Value>) {
        for keyword in ["$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"] {
            if members.contains_key(keyword) {
                self.fault(id, keyword, "dynamic references are not supported: use `$ref`");
            }
        }
        if let Some(dialect) = members.get("$schema")
            && dialect.as_str().map(|text| text.trim_end_matches('#')) != Some(DIALECT)
        {
            self.fault(id, "$schema", format!("only JSON Schema 2020-12 is supported: `{DIALECT}`"));
        }
        if id != 0 && members.contains_key("$id") {
            self.fault(id, "$id", "only the whole schema may have an `$id`: refer to its parts by `#/$defs/…`");
        }
        if let Some(anchor) = members.get("$anchor") {
            match anchor.as_str() {
                Some(anchor) if self.references.add_anchor(anchor, id) => (),
                _ => self.fault(id, "$anchor", "an anchor is a text that stands once in a schema"),
            }
        }
    }

    /// Reads the keywords that have subschemas.
    fn applicators(&mut self, id: NodeId, members: &'d Map<String, Value>) -> Vec<Rule> {
        let mut rules = Vec::new();
        let _ = self.named(id, members, "$defs");
        if let Some(reference) = members.get("$ref") {
            match reference.as_str() {
                Some(text) => rules.push(Rule::Reference(self.references.add(id, text))),
                None => self.fault(id, "$ref", "a reference is a text"),
            }
        }
        rules.extend(self.list(id, members, "allOf").map(Rule::AllOf));
        rules.extend(self.list(id, members, "anyOf").map(Rule::AnyOf));
        rules.extend(self.list(id, members, "oneOf").map(Rule::OneOf));
        rules.extend(self.single(id, members, "not").map(Rule::Not));
        let (then, otherwise) = (self.single(id, members, "then"), self.single(id, members, "else"));
        let condition = self.single(id, members, "if");
        rules.extend(condition.map(|condition| Rule::If { condition, then, otherwise }));
        rules.extend(self.named(id, members, "dependentSchemas").map(Rule::DependentSchemas));
        rules.extend(self.single(id, members, "propertyNames").map(Rule::MemberNames));
        let named = self.named(id, members, "properties").unwrap_or_default();
        let patterns = self.patterns(id, members);
        let rest = self.single(id, members, "additionalProperties");
        if !named.is_empty() || !patterns.is_empty() || rest.is_some() {
            rules.push(Rule::Members { named: named.into_iter().collect(), patterns, rest });
        }
        let first = self.list(id, members, "prefixItems").unwrap_or_default();
        let rest = self.single(id, members, "items");
        if !first.is_empty() || rest.is_some() {
            rules.push(Rule::Items { first, rest });
        }
        if let Some(node) = self.single(id, members, "contains") {
            let count = |keyword| members.get(keyword).and_then(keywords::count);
            rules.push(Rule::Contains { node, min: count("minContains").unwrap_or(1), max: count("maxContains") });
        }
        rules
    }

    fn single(&mut self, parent: NodeId, members: &'d Map<String, Value>, keyword: &'static str) -> Option<NodeId> {
        let value = members.get(keyword)?;
        if keyword == "items" && value.is_array() {
            self.fault(parent, keyword, "in JSON Schema 2020-12, an array of schemas is written `prefixItems`");
            return None;
        }
        Some(self.subschema(value, Origin::Keyword { parent, keyword }))
    }

    fn list(&mut self, parent: NodeId, members: &'d Map<String, Value>, keyword: &'static str) -> Option<Vec<NodeId>> {
        let value = members.get(keyword)?;
        let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
            self.fault(parent, keyword, "this is an array of at least one schema");
            return None;
        };
        let item = |(index, value)| self.subschema(value, Origin::Item { parent, keyword, index });
        Some(items.iter().enumerate().map(item).collect())
    }

    fn named(
        &mut self,
        parent: NodeId,
        members: &'d Map<String, Value>,
        keyword: &'static str,
    ) -> Option<Vec<(Box<str>, NodeId)>> {
        let value = members.get(keyword)?;
        let Some(schemas) = value.as_object() else {
            self.fault(parent, keyword, "this is an object of schemas");
            return None;
        };
        let member = |(name, value): (&'d String, &'d Value)| {
            (name.as_str().into(), self.subschema(value, Origin::Member { parent, keyword, name }))
        };
        Some(schemas.iter().map(member).collect())
    }

    fn patterns(&mut self, id: NodeId, members: &'d Map<String, Value>) -> Vec<(Pattern, NodeId)> {
        let keyword = "patternProperties";
        let mut patterns = Vec::new();
        for (source, node) in self.named(id, members, keyword).unwrap_or_default() {
            match self.pattern(&source) {
                Ok(pattern) => patterns.push((pattern, node)),
                Err(detail) => self.fault(id, keyword, detail),
            }
        }
        patterns
    }

    /// Compiles a regular expression.
    fn pattern(&mut self, source: &str) -> Result<Pattern, String> {
        if self.patterns_kib <= MAX_PATTERNS_KIB {
            let compiled = Pattern::compile(source).map_err(|detail| format!("{}: {detail}", quoted(source)));
            // One that is refused took about as long as a large one.
            self.patterns_kib += compiled.as_ref().map_or(64, Pattern::kib);
            self.bytes += compiled.as_ref().map_or(0, Pattern::bytes);
            if compiled.is_err() || self.patterns_kib <= MAX_PATTERNS_KIB {
                return compiled;
            }
        }
        Err("the regular expressions of this schema are too large together: use simpler ones".into())
    }
}
