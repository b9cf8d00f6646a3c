//! Access tokens, also from an independent OpenID provider.

mod forged;
mod keys;
mod provider;
mod signer;

use posthaste_tests::{Answer, Client};

/// Returns whether the token grants `webhooks:read`.
async fn opens(client: &Client, token: &str) -> bool {
    let answer = client.with_key(token).get("/webhooks").await;
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
