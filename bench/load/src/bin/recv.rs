//! `recv`: a subscriber that counts the deliveries it receives.
//!
//! It answers every POST at once (or after `--delay-ms`). If the body carries a mark of the current run, it records the
//! arrival time, the latency and duplicates. The number at the end of the path (`/hook/7`) identifies the subscription.
//!
//!   POST /_reset?run=R   forget everything, count run R from now on
//!   GET  /_stats         the counts so far, as JSON

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use posthaste_load::histogram::Histogram;
use posthaste_load::mark::Mark;
use posthaste_load::now_ns;
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9700")]
    listen: SocketAddr,
    /// Wait this long before answering.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Status of the answers.
    #[arg(long, default_value = "200")]
    status: StatusCode,
    /// Answer every n-th delivery with 503 instead (0: never). Such deliveries are counted only as refused.
    #[arg(long, default_value_t = 0)]
    fail_every: u64,
    /// Close the connection after every answer.
    #[arg(long)]
    no_keep_alive: bool,
}

/// The counts of one run.
#[derive(Default)]
struct Counts {
    run: u64,
    posts: u64,
    unmarked: u64,
    other_run: u64,
    refused: u64,
    unique: u64,
    duplicates: u64,
    bytes: u64,
    connections: u64,
    first_ns: u64,
    last_ns: u64,
    latency: Histogram,
    /// A bit for each event that arrived, by subscription.
    arrived: HashMap<u64, Vec<u64>>,
}

impl Counts {
    /// Counts one POST; returns false if it is to be refused.
    fn record(&mut self, subscription: u64, body: &[u8], fail_every: u64) -> bool {
        let now = now_ns();
        self.posts += 1;
        self.bytes += body.len() as u64;
        if fail_every > 0 && self.posts.is_multiple_of(fail_every) {
            self.refused += 1;
            return false;
        }
        match Mark::find(body) {
            None => self.unmarked += 1,
            Some(mark) if mark.run != self.run => self.other_run += 1,
            Some(mark) => {
                if self.first_ns == 0 {
                    self.first_ns = now;
                }
                if self.is_first_arrival(subscription, mark.seq) {
                    self.unique += 1;
                    self.last_ns = now;
                    self.latency.record(now.saturating_sub(mark.sent_ns));
                } else {
                    self.duplicates += 1;
                }
            }
        }
        true
    }

    fn is_first_arrival(&mut self, subscription: u64, seq: u64) -> bool {
        let words = self.arrived.entry(subscription).or_default();
        let (word, bit) = ((seq / 64) as usize, 1u64 << (seq % 64));
        if words.len() <= word {
            words.resize(word + 1024, 0);
        }
        let Some(word) = words.get_mut(word) else { return false };
        let first = *word & bit == 0;
        *word |= bit;
        first
    }

    fn to_json(&self) -> serde_json::Value {
        json!({
            "pid": std::process::id(),
            "run": self.run,
            "posts": self.posts,
            "unique": self.unique,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "unmarked": self.unmarked,
            "other_run": self.other_run,
            "bytes": self.bytes,
            "connections": self.connections,
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "latency_ms": self.latency.summary_ms(),
        })
    }
}

struct Receiver {
    args: Args,
    counts: Mutex<Counts>,
}

impl Receiver {
    /// A panic while counting leaves counts that are still worth reading.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path();
        if request.method() == Method::GET && path == "/_stats" {
            return Ok(response(StatusCode::OK, self.counts().to_json().to_string()));
        }
        if request.method() == Method::POST && path == "/_reset" {
            let run = request.uri().query().and_then(|query| query.strip_prefix("run="));
            let run = run.and_then(|run| run.parse().ok()).unwrap_or(0);
            *self.counts() = Counts { run, ..Counts::default() };
            return Ok(response(StatusCode::OK, "ok"));
        }
        let subscription = path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let Ok(body) = request.into_body().collect().await else {
            return Ok(response(StatusCode::BAD_REQUEST, ""));
        };
        let accepted = self.counts().record(subscription, &body.to_bytes(), self.args.fail_every);
        if self.args.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.args.delay_ms)).await;
        }
        Ok(response(if accepted { self.args.status } else { StatusCode::SERVICE_UNAVAILABLE }, ""))
    }
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

// One thread, so that the receiver leaves the other cores to the server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let listener = tokio::net::TcpListener::bind(args.listen).await?;
    eprintln!("recv: pid {} on {}", std::process::id(), args.listen);
    let receiver = Arc::new(Receiver { args, counts: Mutex::default() });
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("recv: accept: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        receiver.counts().connections += 1;
        let receiver = receiver.clone();
        tokio::spawn(async move {
            let keep_alive = !receiver.args.no_keep_alive;
            let service = service_fn(move |request| {
                let receiver = receiver.clone();
                async move { receiver.handle(request).await }
            });
            // The client may hang up during a request; that is not an error of the receiver.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(keep_alive)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
