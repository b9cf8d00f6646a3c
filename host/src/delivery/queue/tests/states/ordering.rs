//! The transitions of a webhook's order.

use super::check;
use crate::delivery::queue::ordering::{DeliveryOrder, OrderAnswer};

const TABLE: &str = "
                | ordered on | ordered off | invalidate | ask             | not asked | open      | blocked by 3 | blocked by 7 | 5 will retry    | 5 ended   | 9 ended
Off             | Unknown!   | .           | .          | .               | .         | .         | .            | .            | .               | .         | .
Unknown         | .          | Off         | .          | Asking          | .         | .         | .            | .            | Unknown 5       | .         | .
Unknown 5       | .          | Off         | Unknown    | Asking 5        | .         | .         | .            | .            | .               | Unknown!  | .
Asking          | .          | Off         | Unknown    | .               | Unknown   | Open      | Blocked 3    | Blocked 7    | Asking 5        | .         | .
Asking 5        | .          | Off         | Unknown    | .               | Unknown 5 | Blocked 5 | Blocked 3    | Blocked 5    | .               | Unknown!  | .
Open            | .          | Off         | Unknown    | OpenAsking      | .         | .         | .            | .            | Blocked 5       | .         | .
OpenAsking      | .          | Off         | Unknown    | .               | Open      | Open      | Blocked 3    | Blocked 7    | BlockedAsking 5 | .         | .
Blocked 5       | .          | Off         | Unknown    | BlockedAsking 5 | .         | .         | .            | .            | .               | Unknown!  | .
Blocked 9       | .          | Off         | Unknown    | BlockedAsking 9 | .         | .         | .            | .            | Blocked 5       | .         | Unknown!
BlockedAsking 5 | .          | Off         | Unknown    | .               | Blocked 5 | Blocked 5 | Blocked 3    | Blocked 5    | .               | Unknown!  | .
";

fn render(order: &DeliveryOrder) -> String {
    match order {
        DeliveryOrder::Off => "Off".into(),
        DeliveryOrder::Unknown { retrying: None } => "Unknown".into(),
        DeliveryOrder::Unknown { retrying: Some(id) } => format!("Unknown {id}"),
        DeliveryOrder::Asking { retrying: None } => "Asking".into(),
        DeliveryOrder::Asking { retrying: Some(id) } => format!("Asking {id}"),
        DeliveryOrder::Open => "Open".into(),
        DeliveryOrder::OpenAsking => "OpenAsking".into(),
        DeliveryOrder::Blocked { by } => format!("Blocked {by}"),
        DeliveryOrder::BlockedAsking { by } => format!("BlockedAsking {by}"),
    }
}

fn states() -> Vec<DeliveryOrder> {
    let (none, five) = (|| None, || Some("5".to_owned()));
    vec![
        DeliveryOrder::Off,
        DeliveryOrder::Unknown { retrying: none() },
        DeliveryOrder::Unknown { retrying: five() },
        DeliveryOrder::Asking { retrying: none() },
        DeliveryOrder::Asking { retrying: five() },
        DeliveryOrder::Open,
        DeliveryOrder::OpenAsking,
        DeliveryOrder::Blocked { by: "5".into() },
        DeliveryOrder::Blocked { by: "9".into() },
        DeliveryOrder::BlockedAsking { by: "5".into() },
    ]
}

fn answer(order: &mut DeliveryOrder, answer: OrderAnswer) -> bool {
    order.answer(answer);
    false
}

fn change(order: &mut DeliveryOrder, change: fn(&mut DeliveryOrder)) -> bool {
    change(order);
    false
}

#[test]
fn order_transitions_are_those_of_the_table_and_the_diagram() {
    check(
        "Order",
        TABLE,
        &states(),
        &[
            ("ordered on", |order| order.set_ordered(true)),
            ("ordered off", |order| order.set_ordered(false)),
            ("invalidate", |order| change(order, DeliveryOrder::invalidate)),
            ("ask", |order| change(order, DeliveryOrder::ask)),
            ("not asked", |order| answer(order, OrderAnswer::NotAsked)),
            ("open", |order| answer(order, OrderAnswer::Open)),
            ("blocked by 3", |order| answer(order, OrderAnswer::BlockedBy("3".into()))),
            ("blocked by 7", |order| answer(order, OrderAnswer::BlockedBy("7".into()))),
            ("5 will retry", |order| order.attempt_ended("5", true)),
            ("5 ended", |order| order.attempt_ended("5", false)),
            ("9 ended", |order| order.attempt_ended("9", false)),
        ],
        render,
    );
}

#[test]
fn an_order_lets_pass_what_does_not_overtake() {
    let passes = |order: &DeliveryOrder| ["4", "5", "6"].map(|id| order.lets_pass(id));
    for order in states() {
        let (expected, is_open, has_to_ask) = match render(&order).as_str() {
            "Off" | "Open" | "OpenAsking" => ([true; 3], true, false),
            "Blocked 5" | "BlockedAsking 5" => ([true, true, false], false, false),
            "Blocked 9" => ([true; 3], false, false),
            _ => ([false; 3], false, true),
        };
        assert_eq!((passes(&order), order.is_open(), order.has_to_ask()), (expected, is_open, has_to_ask), "{order:?}");
        assert_eq!(order.is_on(), order != DeliveryOrder::Off);
        assert_eq!(order.waits_for(), render(&order).split_once(' ').map(|(_, id)| id), "{order:?}");
    }
}
