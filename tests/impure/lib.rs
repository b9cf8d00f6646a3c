//! Calls the impure function that the config names; `null` calls all that return a value.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use posthaste_plugin::{Error, Event, Outcome};

fn ask(what: &str) -> Option<String> {
    let names = ["ana", "bernat", "carla", "dolors", "enric", "fina", "gal·la"];
    Some(match what {
        "HashMap order" => format!("{:?}", names.into_iter().zip(0..).collect::<HashMap<_, _>>()),
        "HashSet order" => format!("{:?}", names.into_iter().collect::<HashSet<_>>()),
        "RandomState" => std::hash::RandomState::new().hash_one("ana").to_string(),
        "an address" => format!("{:p}", Box::leak(Box::new(1_u8))),
        "environment" => format!("{:?} {:?}", std::env::var("TZ"), std::env::args().count()),
        "a file" => format!("{:?}", std::fs::read("/etc/hostname").map_err(|error| error.kind())),
        "a thread" => format!("{:?}", std::thread::Builder::new().spawn(|| ()).map(|_| ()).map_err(|error| error.kind())),
        "a connection" => format!("{:?}", std::net::TcpStream::connect("127.0.0.1:1").map_err(|error| error.kind())),
        "SystemTime" => format!("{:?}", std::time::SystemTime::now()),
        "Instant" => format!("{:?}", std::time::Instant::now()),
        "sleep" => format!("{:?}", std::thread::sleep(std::time::Duration::from_millis(1))),
        _ => return None,
    })
}

const ANSWERS: [&str; 8] = [
    "HashMap order",
    "HashSet order",
    "RandomState",
    "an address",
    "environment",
    "a file",
    "a thread",
    "a connection",
];

/// Answers what it saw.
pub fn transform(_: Event, what: Option<String>) -> Result<Outcome, Error> {
    let seen: Vec<_> = match &what {
        Some(what) => vec![(what.as_str(), ask(what))],
        None => ANSWERS.into_iter().map(|what| (what, ask(what))).collect(),
    };
    Outcome::json(&seen)
}

posthaste_plugin::export!(transform);
