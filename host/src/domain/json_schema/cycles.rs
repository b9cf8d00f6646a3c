//! Finds subschemas whose check would never end, or lead too deep: they lead to themselves without descending into the data.

use super::{Node, NodeId, Rule, Schema};

/// Most subschemas in a row that check the same value.
const MAX_CHAIN: usize = 64;

/// What is known about a subschema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Entered,
    /// The longest row of subschemas for one value that begins here.
    Chain(usize),
}

/// A subschema on the way, and those that it leads to.
struct Step {
    id: NodeId,
    followers: Vec<NodeId>,
    /// How many of them have been followed.
    followed: usize,
}

/// Returns a subschema that leads to itself, or begins too long a row.
pub(super) fn endless(schema: &Schema) -> Option<NodeId> {
    let mut states = vec![State::Unknown; schema.nodes.len()];
    for start in 0..schema.nodes.len() {
        let mut path = vec![Step::new(schema, start)];
        while let Some(mut step) = path.pop() {
            let state = states.get_mut(step.id)?;
            match *state {
                State::Chain(_) => continue,
                State::Entered if step.followed == 0 => return Some(step.id),
                _ => *state = State::Entered,
            }
            if let Some(follower) = step.followers.get(step.followed).copied() {
                step.followed += 1;
                path.push(step);
                path.push(Step::new(schema, follower));
                continue;
            }
            let length = |id: &NodeId| match states.get(*id) {
                Some(State::Chain(length)) => *length,
                _ => 0,
            };
            let chain = step.followers.iter().map(length).max().unwrap_or_default() + 1;
            if chain > MAX_CHAIN {
                return Some(step.id);
            }
            *states.get_mut(step.id)? = State::Chain(chain);
        }
    }
    None
}

impl Step {
    fn new(schema: &Schema, id: NodeId) -> Self {
        Self { id, followers: followers(schema, id), followed: 0 }
    }
}

/// The subschemas that check the same value as this one.
fn followers(schema: &Schema, id: NodeId) -> Vec<NodeId> {
    let Some(Node::Rules { rules, .. }) = schema.nodes.get(id) else { return Vec::new() };
    let mut all = Vec::new();
    for rule in rules {
        match rule {
            Rule::Reference(index) => all.push(schema.reference(*index)),
            Rule::AllOf(ids) | Rule::AnyOf(ids) | Rule::OneOf(ids) => all.extend(ids),
            Rule::Not(id) => all.push(*id),
            Rule::If { condition, then, otherwise } => {
                all.extend([Some(*condition), *then, *otherwise].into_iter().flatten());
            }
            Rule::DependentSchemas(dependent) => all.extend(dependent.iter().map(|(_, id)| *id)),
            _ => (),
        }
    }
    all
}
