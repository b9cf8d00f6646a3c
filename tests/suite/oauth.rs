//! Access tokens, also from an independent OpenID provider.

mod forged;
mod keys;
mod provider;
mod signer;

use posthaste_tests::{Answer, Client, StoppedClock, until};

/// Returns the answer to a token once the host could ask the issuer for its keys, which a slow machine may prevent for a while. The
/// clock is the host's.
async fn answer_to(client: &Client, clock: &StoppedClock, token: &str) -> Answer {
    until("the issuer's keys are fetched", async || {
        // The second request waits for the end of a fetch that the first one left behind.
        for _ in 0..2 {
            let answer = client.with_key(token).get("/webhooks").await;
            if answer.status != 503 {
                return Some(answer);
            }
        }
        // Until then, the host does not fetch them again.
        clock.pass_seconds(10);
        None
    })
    .await
}

/// Returns whether the token grants `webhooks:read`.
async fn opens(client: &Client, clock: &StoppedClock, token: &str) -> bool {
    let answer = answer_to(client, clock, token).await;
    assert!(answer.status == 200 || answer.status == 401, "{}", String::from_utf8_lossy(&answer.bytes));
    answer.status == 200
}

/// Checks that a token was refused as RFC 6750 §3 requires, and returns the reason.
fn refused(answer: &Answer) -> String {
    let detail = answer.problem(401);
    let expected = format!("Bearer realm=\"posthaste\", error=\"invalid_token\", error_description=\"{detail}\"");
    assert_eq!(answer.header("www-authenticate"), expected);
    detail
}
