//! The transitions of a webhook's ownership.

use std::sync::Arc;

use super::check;
use crate::delivery::queue::ownership::{NodeOwnership, NodeShare, Ownership};

const TABLE: &str = "
         | 3 nodes if shared       | 3 nodes if single     | shared         | single         | single and owned here      | granted | lost
Sole     | Shared 3                | Other                 | .              | .              | .                          | .       | .
Shared 2 | Shared 3                | Shared 3              | Shared 5       | Other          | Owner                      | .       | .
Owner    | .                       | .                     | Shared 5       | .              | .                          | .       | Other
Other    | .                       | .                     | Shared 5       | .              | .                          | Owner   | .
";

fn render(ownership: &Ownership) -> String {
    match ownership {
        Ownership::Sole => "Sole".into(),
        Ownership::Shared { nodes } => format!("Shared {nodes}"),
        Ownership::Owner => "Owner".into(),
        Ownership::Other => "Other".into(),
    }
}

fn states() -> [Ownership; 4] {
    [Ownership::Sole, Ownership::Shared { nodes: 2 }, Ownership::Owner, Ownership::Other]
}

fn becomes(ownership: &mut Ownership, new: Ownership) -> bool {
    *ownership = new;
    false
}

#[test]
fn ownership_transitions_are_those_of_the_table_and_the_diagram() {
    check(
        "Ownership",
        TABLE,
        &states(),
        &[
            ("3 nodes if shared", |own| becomes(own, own.node_count_set(3, false))),
            ("3 nodes if single", |own| becomes(own, own.node_count_set(3, true))),
            ("shared", |own| becomes(own, own.single_owner_set(false, NodeShare { count: 5, owns: true }))),
            ("single", |own| becomes(own, own.single_owner_set(true, NodeShare { count: 5, owns: false }))),
            ("single and owned here", |own| {
                becomes(own, own.single_owner_set(true, NodeShare { count: 5, owns: true }))
            }),
            ("granted", |own| becomes(own, own.granted())),
            ("lost", |own| becomes(own, own.lost())),
        ],
        render,
    );
}

#[test]
fn only_a_shared_webhook_has_its_slots_divided_and_only_another_nodes_is_not_served() {
    assert_eq!(states().map(|own| own.slots(32)), [32, 16, 32, 32]);
    assert_eq!([0, 3, 64].map(|nodes| Ownership::Shared { nodes }.slots(32)), [32, 10, 1]);
    assert_eq!(states().map(Ownership::may_serve), [true, true, true, false]);
    assert_eq!(states().map(Ownership::is_among_several), [false, true, true, true]);
}

#[test]
fn a_queue_begins_with_the_ownership_that_its_node_has() {
    let mut node = NodeOwnership::default();
    let begin = |node: &NodeOwnership| [true, false].map(|single_owner| node.ownership_of("a", single_owner));
    assert_eq!(begin(&node), [Ownership::Sole, Ownership::Sole]);
    assert!(node.set_count(2) && !node.set_count(2));
    assert_eq!(begin(&node), [Ownership::Other, Ownership::Shared { nodes: 2 }]);
    assert!(!node.grant(&Arc::from("a"), 1) && node.grant(&Arc::from("a"), 0));
    assert_eq!(begin(&node), [Ownership::Owner, Ownership::Shared { nodes: 2 }]);
    node.forget("a");
    assert!(!node.owns("a") && node.grant(&Arc::from("a"), 0) && node.owns("a"));
    node.lose_all();
    assert_eq!((node.owns("a"), node.term()), (false, 1));
}
