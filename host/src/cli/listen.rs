//! `posthaste listen`

mod pull;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use clap::Args;
use tokio::net::TcpListener;

use super::{Failure, stop_signal};
use crate::clock::{Clock, SystemClock};
use crate::domain::time::rfc3339;
use crate::outbound::sign;
use pull::Forwarding;

/// Bounds the printed part of a body, in characters.
const MAX_SHOWN_CHARS: usize = 4096;

/// The arguments of `posthaste listen`.
#[derive(Args)]
pub struct ListenArgs {
    /// Port on 127.0.0.1 to listen on
    #[arg(long, default_value_t = 8081, value_name = "P")]
    port: u16,
    /// Signing secret of the webhook, to verify signatures
    #[arg(long, hide_env_values = true, value_name = "whsec_…")]
    secret: Option<String>,
    /// Challenge of the webhook, to compare it with the received one
    #[arg(long, value_name = "TEXT")]
    challenge: Option<String>,
    /// Header that carries the challenge
    #[arg(long, default_value = "x-factorial-wh-challenge", value_name = "NAME")]
    challenge_header: String,
    /// Fetch the events of the pull webhook at this URL, http://…/api/v1/webhooks/wh_…, instead of listening on a port
    #[arg(long, value_name = "URL")]
    pull: Option<String>,
    /// API key with the scope `webhooks`, for `--pull`
    #[arg(long, hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
    /// POST what `--pull` fetches to this address on this machine; an event is acknowledged after a 2xx
    #[arg(long, value_name = "http://127.0.0.1:PORT/PATH", requires = "pull")]
    port_to: Option<String>,
}

/// The expected signature and challenge.
struct ExpectedWebhook {
    secret: Option<Vec<u8>>,
    challenge: Option<String>,
    challenge_header: String,
}

/// The headers of a signed request.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignatureHeaders<'a> {
    /// The header `webhook-id`.
    pub(super) id: &'a str,
    /// The header `webhook-timestamp`.
    pub(super) timestamp: &'a str,
    /// The header `webhook-signature`.
    pub(super) signature: &'a str,
}

impl ListenArgs {
    /// Receives until SIGTERM or Ctrl-C.
    ///
    /// # Errors
    /// The secret is invalid, or the port is in use.
    pub async fn run(self) -> Result<(), Failure> {
        let secret = self.secret.as_deref().map(sign::parse_secret).transpose();
        let secret = secret.map_err(|error| format!("--secret: {error}"))?;
        let (challenge, challenge_header) = (self.challenge, self.challenge_header);
        let expected = ExpectedWebhook { secret, challenge, challenge_header };
        if let Some(pull) = &self.pull {
            let forwarding = Forwarding::new(pull, self.key, self.port_to.as_deref(), expected)?;
            return tokio::select! {
                ended = forwarding.run() => ended,
                stopped = stop_signal() => Ok(stopped?),
            };
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let listener = TcpListener::bind(address).await.map_err(|error| format!("--port {}: {error}", self.port))?;
        eprintln!("listening on http://{}/ until Ctrl-C", listener.local_addr()?);
        let router = Router::new().fallback(receive).with_state(Arc::new(expected));
        axum::serve(listener, router).with_graceful_shutdown(async { drop(stop_signal().await) }).await?;
        Ok(())
    }
}

async fn receive(
    State(expected): State<Arc<ExpectedWebhook>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    show(&expected, uri.path(), &headers, &body);
    StatusCode::NO_CONTENT
}

/// Prints a request.
fn show(expected: &ExpectedWebhook, path: &str, headers: &HeaderMap, body: &Bytes) {
    let now = SystemClock.now_ms();
    println!("{} POST {path} {} bytes", rfc3339(now), body.len());
    for (name, value) in headers {
        println!("  {name}: {}", String::from_utf8_lossy(value.as_bytes()).escape_debug());
    }
    for line in check(expected, headers, body, now / 1000) {
        println!("  => {line}");
    }
    let text = String::from_utf8_lossy(body);
    let shown: String =
        text.chars().take(MAX_SHOWN_CHARS).map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    println!("{shown}{}\n", if text.chars().count() > MAX_SHOWN_CHARS { " …" } else { "" });
}

/// Checks the signature and the challenge; returns a line for each.
fn check(expected: &ExpectedWebhook, headers: &HeaderMap, body: &[u8], now_s: i64) -> Vec<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut lines = Vec::new();
    if let Some(secret) = &expected.secret {
        let (id, at, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
        lines.push(match (id, at, signature) {
            (Some(id), Some(timestamp), Some(signature)) => {
                match verify(secret, &SignatureHeaders { id, timestamp, signature }, body, now_s) {
                    Ok(()) => "signature verifies".into(),
                    Err(reason) => format!("SIGNATURE DOES NOT VERIFY: {reason}"),
                }
            }
            _ => "NO SIGNATURE: webhook-id, webhook-timestamp or webhook-signature is missing".into(),
        });
    }
    if let Some(challenge) = &expected.challenge {
        lines.push(match header(&expected.challenge_header) {
            Some(got) if verify_slices_are_equal(got.as_bytes(), challenge.as_bytes()).is_ok() => {
                "challenge is correct".into()
            }
            Some(_) => "CHALLENGE IS WRONG".into(),
            None => format!("NO CHALLENGE: {} is missing", expected.challenge_header),
        });
    }
    lines
}

/// Verifies the signature of a request; `now_s` is the receiver's clock in seconds since 1970.
pub(super) fn verify(secret: &[u8], headers: &SignatureHeaders<'_>, body: &[u8], now_s: i64) -> Result<(), String> {
    let timestamp_s = headers.timestamp.parse().map_err(|_| "webhook-timestamp is not a number of seconds")?;
    sign::verify(headers.signature, secret, &sign::Received { id: headers.id, timestamp_s, body }, now_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 24] = [7; 24];
    const NOW_S: i64 = 1_700_000_000;

    fn lines(headers: &[(&'static str, String)]) -> Vec<String> {
        let expected = ExpectedWebhook {
            secret: Some(SECRET.to_vec()),
            challenge: Some("abc".into()),
            challenge_header: "x-challenge".into(),
        };
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        check(&expected, &headers.collect(), b"{}", NOW_S)
    }

    #[test]
    fn the_signature_and_the_challenge_are_checked() {
        let signed = |challenge: &str, timestamp: i64| {
            lines(&[
                ("webhook-id", "evt_1".into()),
                ("webhook-timestamp", timestamp.to_string()),
                ("webhook-signature", sign::sign(&SECRET, "evt_1", NOW_S, b"{}")),
                ("x-challenge", challenge.into()),
            ])
        };
        assert_eq!(signed("abc", NOW_S), ["signature verifies", "challenge is correct"]);
        let wrong = signed("abd", NOW_S + 1);
        assert!(wrong[0].starts_with("SIGNATURE DOES NOT VERIFY: no signature matches"), "{wrong:?}");
        assert_eq!(wrong[1], "CHALLENGE IS WRONG");
        let missing = lines(&[]);
        assert!(missing[0].starts_with("NO SIGNATURE") && missing[1].starts_with("NO CHALLENGE: x-challenge"));
    }
}
