//! What is uploaded: it is refused in words or described, without a panic, and soon. Nothing is compiled.

#![no_main]

use std::sync::Once;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use posthaste::sandbox::{componentize, inspect};

/// Inputs have some kilobytes: what takes this long is no longer in proportion to them.
const SOON: Duration = Duration::from_secs(5);

static QUIET: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    // `componentize` catches the panics of wit-component. libFuzzer's hook would end the process before that; a panic that
    // leaves this function ends it in any case.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let started = Instant::now();
    let refused = match componentize(bytes) {
        Err(refusal) => Some(refusal),
        Ok(component) => match inspect(&component) {
            Err(refusal) => Some(refusal),
            Ok(inspection) => {
                assert_eq!(inspection.size, component.len());
                assert!(inspection.exports.iter().any(|name| name.starts_with("posthaste:transform/handler@0.1.")));
                assert!(inspection.imports.iter().all(|name| name.starts_with("posthaste:transform/")));
                None
            }
        },
    };
    if let Some(text) = refused.map(|refusal| refusal.to_string()) {
        assert!(!text.is_empty() && text.len() <= 4 << 10, "{} bytes of refusal", text.len());
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    assert!(started.elapsed() < SOON, "{:?} for {} bytes", started.elapsed(), bytes.len());
});
