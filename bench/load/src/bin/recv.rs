//! `recv`: a subscriber that counts what arrives.
//!
//! Every POST is answered at once (or after `--delay-ms`) and, when its body carries a
//! mark of the current run, recorded: arrival time, latency, duplicates. The number
//! ending the path (`/hook/7`) tells subscriptions apart.
//!
//!   POST /_reset?run=R   forget everything, count run R from now on
//!   GET  /_stats         the counts so far, as JSON

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use posthaste_load::hist::Hist;
use posthaste_load::mark::Mark;
use posthaste_load::now_ns;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;

#[derive(Parser, Clone)]
struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9700")]
    listen: SocketAddr,
    /// Wait this long before answering.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Status of the answers.
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// Answer every n-th delivery with 503 instead (0: never). Such deliveries are counted
    /// as refused and nowhere else.
    #[arg(long, default_value_t = 0)]
    fail_every: u64,
    /// Close the connection after every answer.
    #[arg(long)]
    no_keep_alive: bool,
}

#[derive(Default)]
struct Seen {
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
    latency: Hist,
    bits: HashMap<u64, Vec<u64>>,
}

impl Seen {
    /// True when this (subscription, event) pair is new.
    fn note(&mut self, sub: u64, seq: u64) -> bool {
        let words = self.bits.entry(sub).or_default();
        let (word, bit) = ((seq / 64) as usize, 1u64 << (seq % 64));
        if words.len() <= word {
            words.resize(word + 1024, 0);
        }
        let fresh = words[word] & bit == 0;
        words[word] |= bit;
        fresh
    }

    fn json(&self) -> serde_json::Value {
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

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut r = Response::new(Full::new(body.into()));
    *r.status_mut() = status;
    r
}

async fn handle(
    req: Request<Incoming>,
    seen: Arc<Mutex<Seen>>,
    args: Args,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = req.uri().path();
    if req.method() == Method::GET && path == "/_stats" {
        return Ok(reply(
            StatusCode::OK,
            seen.lock().unwrap().json().to_string(),
        ));
    }
    if req.method() == Method::POST && path == "/_reset" {
        let run = req
            .uri()
            .query()
            .and_then(|q| q.strip_prefix("run="))
            .and_then(|v| v.parse().ok())
            .unwrap_or(0);
        *seen.lock().unwrap() = Seen {
            run,
            ..Seen::default()
        };
        return Ok(reply(StatusCode::OK, "ok"));
    }
    let sub = path
        .rsplit('/')
        .next()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    let Ok(body) = req.into_body().collect().await else {
        return Ok(reply(StatusCode::BAD_REQUEST, ""));
    };
    let body = body.to_bytes();
    let now = now_ns();
    let refuse = {
        let mut s = seen.lock().unwrap();
        s.posts += 1;
        s.bytes += body.len() as u64;
        if args.fail_every > 0 && s.posts.is_multiple_of(args.fail_every) {
            s.refused += 1;
            true
        } else {
            match Mark::find(&body) {
                None => s.unmarked += 1,
                Some(m) if m.run != s.run => s.other_run += 1,
                Some(m) => {
                    if s.first_ns == 0 {
                        s.first_ns = now;
                    }
                    if s.note(sub, m.seq) {
                        s.unique += 1;
                        s.last_ns = now;
                        s.latency.record(now.saturating_sub(m.sent_ns));
                    } else {
                        s.duplicates += 1;
                    }
                }
            }
            false
        }
    };
    if args.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(args.delay_ms)).await;
    }
    let status = if refuse {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::from_u16(args.status).unwrap_or(StatusCode::OK)
    };
    Ok(reply(status, ""))
}

// One thread: the receiver should cost little and leave the other cores to the server under test.
#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let listener = tokio::net::TcpListener::bind(args.listen).await?;
    eprintln!("recv: pid {} on {}", std::process::id(), args.listen);
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(pair) => pair,
            Err(e) => {
                eprintln!("recv: accept: {e}");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        seen.lock().unwrap().connections += 1;
        let (seen, args) = (seen.clone(), args.clone());
        tokio::spawn(async move {
            let keep = !args.no_keep_alive;
            let service = service_fn(move |req| handle(req, seen.clone(), args.clone()));
            // A client that hangs up mid-request is no fault of the receiver.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(keep)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
