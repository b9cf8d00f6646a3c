//! Requests that wait for their company's part of what all share.

use std::time::Duration;

use super::ApiState;
use super::problem::Problem;
use crate::shares::{Part, Resource};
use crate::store::VersionRow;

/// How long a request waits at most.
pub(super) const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// The size of a plugin version for which a call counts as one more.
const BYTES_PER_CALL: u64 = 4 << 20;

/// Waits until a company can have an amount of a resource, at most half of all.
///
/// # Errors
/// 429 if too many requests of this company wait, or if it waited for too long; 503 if it has none itself.
pub(super) async fn turn(api: &ApiState, resource: Resource, company: &str, amount: u64) -> Result<Part, Problem> {
    let share = api.shares.of(resource);
    Ok(share.take_in_time(company, share.obtainable(amount), TURN_TIMEOUT).await?)
}

/// Waits for the company's turn to run plugins for a request. `version` is one that may be read and compiled for it, which
/// takes about three times its size of memory: a large one takes the room of several calls.
///
/// # Errors
/// As [`turn`].
pub(super) async fn heavy_call(api: &ApiState, company: &str, version: Option<&VersionRow>) -> Result<Part, Problem> {
    turn(api, Resource::HeavyCalls, company, weight(version.map_or(0, |version| version.size))).await
}

/// How many calls a plugin version of this size counts for.
fn weight(bytes: i64) -> u64 {
    1 + bytes.unsigned_abs() / BYTES_PER_CALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_plugin_counts_for_several_calls() {
        assert_eq!([0, 100_000, 4 << 20, 32 << 20].map(weight), [1, 1, 2, 9]);
    }
}
