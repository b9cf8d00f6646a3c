//! Runs the receiver and prints the events that it takes.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use receiver::{Settings, parse_secret, router};

/// Receives the events of one Posthaste webhook
#[derive(Parser)]
struct Arguments {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: String,
    /// The signing secret of the webhook: `whsec_` and base64
    #[arg(long, env = "SIGNING_SECRET", hide_env_values = true)]
    secret: String,
    /// The challenge that the webhook was subscribed with
    #[arg(long)]
    challenge: Option<String>,
}

#[expect(clippy::disallowed_methods, reason = "the program's own clock; the library takes it as a parameter")]
fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { listen, secret, challenge } = Arguments::parse();
    let on_event = Box::new(|body: bytes::Bytes| println!("{}", String::from_utf8_lossy(&body)));
    let settings = Settings { key: parse_secret(&secret)?, challenge, now_s, on_event };
    let listener = tokio::net::TcpListener::bind(&listen).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    Ok(axum::serve(listener, router(settings)).await?)
}
