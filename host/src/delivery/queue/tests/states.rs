//! The states of a webhook queue: the table of all transitions of each enum, compared with the code and with the diagrams
//! in ARCHITECTURE.md.
//!
//! A table has a row for each state and a column for each input. A cell holds the new state, `.` if it is the same, with
//! `!` behind it if the input answers yes. States with a value stand in several rows.

mod backlog;
mod ordering;
mod ownership;
mod receiver_health;

use std::collections::BTreeSet;

const ARCHITECTURE: &str = include_str!("../../../../../ARCHITECTURE.md");
const SECTION: &str = "## The states of a webhook queue";

/// An edge of a diagram: state, input, new state.
type Edge = (String, String, String);

/// An input: its name, and a call that applies it and returns the answer.
type Input<S> = (&'static str, fn(&mut S) -> bool);

/// Checks the table against the code, and the diagram under this heading against the table.
fn check<S: Clone + PartialEq>(
    heading: &str,
    table: &str,
    states: &[S],
    inputs: &[Input<S>],
    render: fn(&S) -> String,
) {
    let mut lines = table.lines().map(str::trim).filter(|line| !line.is_empty()).map(cells);
    let columns = lines.next().unwrap();
    assert_eq!(columns[1..], inputs.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "the inputs of the table");
    let rows: Vec<_> = lines.collect();
    let rendered: Vec<_> = states.iter().map(render).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), rendered, "the states of the table");
    let mut edges = BTreeSet::new();
    for (state, row) in states.iter().zip(&rows) {
        assert_eq!(row.len(), columns.len(), "{row:?}");
        for ((input, apply), cell) in inputs.iter().zip(&row[1..]) {
            let mut new = state.clone();
            let answer = if apply(&mut new) { "!" } else { "" };
            let shown = if new == *state { ".".to_owned() } else { render(&new) };
            assert_eq!(format!("{shown}{answer}"), **cell, "{} on input {input}", row[0]);
            let (from, to) = (name_of(row[0]).to_owned(), name_of(&render(&new)).to_owned());
            if from != to {
                edges.insert((from, label_of(input), to));
            }
        }
    }
    assert_eq!(diagram(heading), edges, "the diagram under {heading}");
}

fn cells(line: &str) -> Vec<&str> {
    line.split('|').map(str::trim).collect()
}

/// The state without its value.
fn name_of(state: &str) -> &str {
    state.split(' ').next().unwrap()
}

/// The input without its numbers.
fn label_of(input: &str) -> String {
    input.split(' ').filter(|word| word.parse::<u32>().is_err()).collect::<Vec<_>>().join(" ")
}

/// The edges of the state diagram under a heading, such as `A --> B: input, other input`.
fn diagram(heading: &str) -> BTreeSet<Edge> {
    let (_, section) = ARCHITECTURE.split_once(SECTION).expect("the section is there");
    let (_, rest) = section.split_once(&format!("### {heading}\n")).expect("the heading is there");
    let (_, diagram) = rest.split_once("```mermaid\nstateDiagram-v2\n").expect("the diagram is there");
    let (diagram, _) = diagram.split_once("```").unwrap();
    let edges = diagram.lines().map(str::trim).filter(|line| line.contains("-->") && !line.starts_with("[*]"));
    edges
        .flat_map(|line| {
            let (states, inputs) = line.split_once(": ").expect("an edge names its inputs");
            let (from, to) = states.split_once(" --> ").unwrap();
            inputs.split(", ").map(|input| (from.to_owned(), input.to_owned(), to.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}
