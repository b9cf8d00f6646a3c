//! Describes why a call failed, for the plugin's author and for readers of the delivery log.

use std::time::Duration;

use wasmtime::{Error, Trap};

use crate::domain::headers::MAX_COUNT;

use super::limits::{HANDLES, LimitExceeded, Limits};
use super::text::{printable, size};

/// Bytes that are kept of a reason or error text.
pub(super) const TEXT_BYTES: usize = 4 << 10;

/// Returns the reason in one bounded line.
pub(super) fn describe(error: &Error, limits: &Limits) -> String {
    if let Some(limit) = error.downcast_ref::<LimitExceeded>() {
        return limit.to_string();
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return trap_text(*trap, limits.deadline);
    }
    let cause = format!("{error:#}");
    // The types of these two errors are private to wasmtime, so they are recognised by their texts.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        let (body, lifted) = (size(limits.output_bytes), size(limits.lift_bytes()));
        return format!(
            "output limit: a body of {body} and {MAX_COUNT} headers allowed, over {lifted} wanted in one result or log \
             message"
        );
    }
    if cause.contains("store handle limit exceeded") {
        return format!("handle limit: {HANDLES} handles to resources allowed, {} wanted", HANDLES + 1);
    }
    printable(&cause, TEXT_BYTES)
}

fn trap_text(trap: Trap, deadline: Duration) -> String {
    match trap {
        Trap::Interrupt => format!("deadline: {deadline:?} allowed"),
        Trap::StackOverflow => "stack exhausted: the plugin calls itself too deeply".into(),
        Trap::UnreachableCodeReached => "`unreachable` executed: the plugin panicked, or used something that the \
             sandbox does not have (clock, random numbers, files, network, environment)"
            .into(),
        // A guest's own stack ends where its memory begins, so that is also how its overflow shows.
        Trap::MemoryOutOfBounds => {
            "memory accessed out of bounds: the plugin's stack is exhausted, or its code has a memory error".into()
        }
        other => other.to_string(),
    }
}
