//! The transitions of a queue's backlog.

use super::check;
use crate::delivery::queue::BacklogKind;
use crate::delivery::queue::backlog::{Backlog, BacklogRows};

const TABLE: &str = "
                 | spilled          | replay requested | all wanted    | fetch spilled    | fetch ordered    | fetch replays    | fetched        | fetched with spilled left | fetched with replays left | dropped
Idle             | Wanted spilled   | Wanted replays   | Wanted both   | .                | .                | .                | .              | .                     | .                     | .
Wanted spilled   | .                | Wanted both      | Wanted both   | Fetching         | Fetching         | Fetching spilled | .              | .                     | .                     | Idle
Wanted replays   | Wanted both      | .                | Wanted both   | Fetching replays | Fetching replays | Fetching         | .              | .                     | .                     | Idle
Wanted both      | .                | .                | .             | Fetching replays | Fetching replays | Fetching spilled | .              | .                     | .                     | Idle
Fetching         | Fetching spilled | Fetching replays | Fetching both | .                | .                | .                | Idle           | Wanted spilled        | Wanted replays        | .
Fetching spilled | .                | Fetching both    | Fetching both | .                | .                | .                | Wanted spilled | Wanted spilled        | Wanted both           | Fetching
Fetching replays | Fetching both    | .                | Fetching both | .                | .                | .                | Wanted replays | Wanted both           | Wanted replays        | Fetching
Fetching both    | .                | .                | .             | .                | .                | .                | Wanted both    | Wanted both           | Wanted both           | Fetching
";

const ROWS: [BacklogRows; 3] = [BacklogRows::Spilled, BacklogRows::Replays, BacklogRows::Both];

fn render(backlog: &Backlog) -> String {
    let rows = |rows| match rows {
        BacklogRows::Spilled => "spilled",
        BacklogRows::Replays => "replays",
        BacklogRows::Both => "both",
    };
    match *backlog {
        Backlog::Idle => "Idle".into(),
        Backlog::Wanted(wanted) => format!("Wanted {}", rows(wanted)),
        Backlog::Fetching { again: None } => "Fetching".into(),
        Backlog::Fetching { again: Some(again) } => format!("Fetching {}", rows(again)),
    }
}

fn states() -> Vec<Backlog> {
    let wanted = ROWS.map(Backlog::Wanted);
    let fetching = ROWS.map(|rows| Backlog::Fetching { again: Some(rows) });
    [Backlog::Idle].into_iter().chain(wanted).chain([Backlog::Fetching { again: None }]).chain(fetching).collect()
}

fn written(backlog: &mut Backlog, rows: BacklogRows) -> bool {
    backlog.written(rows);
    false
}

fn started(backlog: &mut Backlog, kind: BacklogKind) -> bool {
    backlog.fetch_started(kind);
    false
}

fn ended(backlog: &mut Backlog, kind: BacklogKind, more: bool) -> bool {
    backlog.fetch_ended(kind, more);
    false
}

#[test]
fn backlog_transitions_are_those_of_the_table_and_the_diagram() {
    check(
        "Backlog",
        TABLE,
        &states(),
        &[
            ("spilled", |backlog| written(backlog, BacklogRows::Spilled)),
            ("replay requested", |backlog| written(backlog, BacklogRows::Replays)),
            ("all wanted", |backlog| written(backlog, BacklogRows::Both)),
            ("fetch spilled", |backlog| started(backlog, BacklogKind::Unordered)),
            ("fetch ordered", |backlog| started(backlog, BacklogKind::Ordered)),
            ("fetch replays", |backlog| started(backlog, BacklogKind::Replay)),
            ("fetched", |backlog| ended(backlog, BacklogKind::Unordered, false)),
            ("fetched with spilled left", |backlog| ended(backlog, BacklogKind::Ordered, true)),
            ("fetched with replays left", |backlog| ended(backlog, BacklogKind::Replay, true)),
            ("dropped", |backlog| {
                backlog.dropped();
                false
            }),
        ],
        render,
    );
}

#[test]
fn a_backlog_tells_its_states_apart() {
    for backlog in states() {
        let told = (backlog.is_idle(), backlog.lets_new_events_in(), backlog.has_spilled(), backlog.has_only_replays());
        let expected = match render(&backlog).as_str() {
            "Idle" => (true, true, false, false),
            "Wanted replays" => (false, true, false, true),
            "Wanted spilled" | "Wanted both" => (false, false, true, false),
            _ => (false, false, false, false),
        };
        assert_eq!(told, expected, "{backlog:?}");
    }
}
