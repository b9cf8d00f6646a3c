//! What a plugin answers: headers that pass the check can be sent as they are and are none of the host's, and texts that
//! are shown steer nothing.

#![no_main]

use arbitrary::Arbitrary;
use http::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use posthaste::domain::headers;
use posthaste::sandbox::printable;

const CHALLENGE: &str = "x-factorial-wh-challenge";

#[derive(Arbitrary, Debug)]
struct Outcome {
    webhook: Vec<(String, String)>,
    plugin: Vec<(String, String)>,
    content_type: Option<String>,
    text: String,
    kept: u16,
}

fuzz_target!(|outcome: Outcome| {
    let Outcome { webhook, plugin, content_type, text, kept } = outcome;
    check_headers(&webhook, &plugin);
    if let Some(kind) = content_type.filter(|kind| headers::check("content-type", kind, CHALLENGE).is_ok()) {
        check_value(&kind);
    }
    check_text(&text, usize::from(kept));
});

fn check_headers(webhook: &[(String, String)], plugin: &[(String, String)]) {
    for list in [webhook, plugin] {
        match headers::check_all(list, CHALLENGE) {
            Err((_, detail)) => check_text(&detail, detail.len()),
            Ok(()) => {
                assert!(list.len() <= headers::MAX_COUNT);
                list.iter().for_each(|(name, value)| check_header(name, value));
            }
        }
    }
    let fine = |list: &[(String, String)]| headers::check_all(list, CHALLENGE).is_ok();
    if fine(webhook) && fine(plugin) {
        let merged = headers::merge([webhook, plugin]);
        for (index, (name, value)) in merged.iter().enumerate() {
            check_header(name, value);
            assert!(!merged[..index].iter().any(|(earlier, _)| earlier == name), "{name} twice");
        }
        for (name, _) in plugin {
            let name = name.to_ascii_lowercase();
            let last = plugin.iter().rfind(|(other, _)| other.eq_ignore_ascii_case(&name));
            assert!(
                merged.iter().any(|(merged, value)| *merged == name && Some(value) == last.map(|(_, value)| value))
            );
        }
    }
}

fn check_header(name: &str, value: &str) {
    let parsed = HeaderName::from_bytes(name.as_bytes()).expect("an accepted name is one");
    let lower = parsed.as_str();
    assert!(!lower.starts_with("webhook-") && !lower.starts_with("x-factorial-") && lower != CHALLENGE, "{lower}");
    let own =
        ["host", "connection", "content-length", "content-encoding", "transfer-encoding", "te", "trailer", "upgrade"];
    assert!(!own.contains(&lower), "{lower}");
    check_value(value);
}

fn check_value(value: &str) {
    let parsed = HeaderValue::from_str(value).expect("an accepted value is one");
    assert_eq!(parsed.to_str().expect("visible ASCII"), value);
}

fn check_text(text: &str, kept: usize) {
    let shown = printable(text, kept);
    assert!(shown.len() <= kept);
    assert!(
        !shown.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}')),
        "{shown:?}"
    );
    // What is printable already stays as it is.
    assert_eq!(printable(&shown, kept), shown);
}
