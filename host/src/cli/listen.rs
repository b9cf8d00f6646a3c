//! `posthaste listen`

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use clap::Args;
use tokio::net::TcpListener;

use super::{Failure, asked_to_stop};
use crate::clock::{Clock, SystemClock};
use crate::domain::time::rfc3339;
use crate::outbound::sign;

/// Longest part of a body that is printed.
const SHOWN: usize = 4096;

/// How to receive.
#[derive(Args)]
pub struct Listen {
    /// Port on 127.0.0.1
    #[arg(long, default_value_t = 8081, value_name = "P")]
    port: u16,
    /// The webhook's signing secret, to verify signatures with
    #[arg(long, hide_env_values = true, value_name = "whsec_…")]
    secret: Option<String>,
    /// The webhook's challenge, to be compared
    #[arg(long, value_name = "TEXT")]
    challenge: Option<String>,
    /// The header that carries the challenge
    #[arg(long, default_value = "x-factorial-wh-challenge", value_name = "NAME")]
    challenge_header: String,
}

struct Expected {
    secret: Option<Vec<u8>>,
    challenge: Option<String>,
    challenge_header: String,
}

impl Listen {
    /// Receives until Ctrl-C.
    ///
    /// # Errors
    /// A secret that is none, or a port that is taken.
    pub async fn run(self) -> Result<(), Failure> {
        let secret = self.secret.as_deref().map(sign::parse_secret).transpose();
        let secret = secret.map_err(|error| format!("--secret: {error}"))?;
        let expected = Expected { secret, challenge: self.challenge, challenge_header: self.challenge_header };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let listener = TcpListener::bind(address).await.map_err(|error| format!("--port {}: {error}", self.port))?;
        eprintln!("listening on http://{}/ until Ctrl-C", listener.local_addr()?);
        let router = Router::new().fallback(receive).with_state(Arc::new(expected));
        axum::serve(listener, router).with_graceful_shutdown(async { drop(asked_to_stop().await) }).await?;
        Ok(())
    }
}

async fn receive(State(expected): State<Arc<Expected>>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now = SystemClock.now_ms();
    println!("{} POST {} {} bytes", rfc3339(now), uri.path(), body.len());
    for (name, value) in &headers {
        println!("  {name}: {}", String::from_utf8_lossy(value.as_bytes()).escape_debug());
    }
    for line in verdicts(&expected, &headers, &body, now / 1000) {
        println!("  => {line}");
    }
    let text = String::from_utf8_lossy(&body);
    let shown: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    println!("{shown}{}\n", if text.chars().count() > SHOWN { " …" } else { "" });
    StatusCode::NO_CONTENT
}

fn verdicts(expected: &Expected, headers: &HeaderMap, body: &[u8], now_s: i64) -> Vec<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut lines = Vec::new();
    if let Some(secret) = &expected.secret {
        let (id, at, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
        lines.push(match (id, at, signature) {
            (Some(id), Some(at), Some(signature)) => match verify(secret, (id, at, signature), body, now_s) {
                Ok(()) => "signature verifies".into(),
                Err(reason) => format!("SIGNATURE DOES NOT VERIFY: {reason}"),
            },
            _ => "NO SIGNATURE: webhook-id, webhook-timestamp or webhook-signature is missing".into(),
        });
    }
    if let Some(challenge) = &expected.challenge {
        lines.push(match header(&expected.challenge_header) {
            Some(got) if verify_slices_are_equal(got.as_bytes(), challenge.as_bytes()).is_ok() => {
                "challenge is right".into()
            }
            Some(_) => "CHALLENGE IS WRONG".into(),
            None => format!("NO CHALLENGE: {} is missing", expected.challenge_header),
        });
    }
    lines
}

/// Verifies `(webhook-id, webhook-timestamp, webhook-signature)`.
pub(super) fn verify(
    secret: &[u8],
    (id, timestamp, signature): (&str, &str, &str),
    body: &[u8],
    now_s: i64,
) -> Result<(), String> {
    let timestamp_s = timestamp.parse().map_err(|_| "webhook-timestamp is not a number of seconds")?;
    sign::verify(signature, secret, &sign::Received { id, timestamp_s, body }, now_s)
}
