//! `posts`: a bare loop of POSTs to the receiver, with no server between: the limit to which a dispatcher is compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use posthaste_load::histogram::Histogram;
use posthaste_load::mark::Mark;
use posthaste_load::processes::{MachineCpu, ProcessGroup};
use posthaste_load::{Error, now_ns};
use serde_json::json;

#[derive(Clone, Copy, ValueEnum)]
enum ClientKind {
    Reqwest,
    HyperUtil,
}

#[derive(Parser)]
struct Args {
    /// The HTTP client to loop with.
    #[arg(value_enum, default_value = "reqwest")]
    client: ClientKind,
    /// Where to POST; the path must end in a subscription number, as `recv` expects.
    #[arg(long, default_value = "http://127.0.0.1:9700/hook/1")]
    target: Uri,
    /// POSTs in all.
    #[arg(long, default_value_t = 200_000)]
    posts: u64,
    /// POSTs in flight, each on a connection kept alive.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Bytes of each body.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
}

enum Sender {
    Reqwest(reqwest::Client),
    HyperUtil(Client<HttpConnector, Full<Bytes>>),
}

impl Sender {
    fn new(kind: ClientKind, idle: usize) -> Result<Self, Error> {
        Ok(match kind {
            ClientKind::Reqwest => {
                Sender::Reqwest(reqwest::Client::builder().no_proxy().pool_max_idle_per_host(idle).build()?)
            }
            ClientKind::HyperUtil => {
                Sender::HyperUtil(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(idle).build_http())
            }
        })
    }

    /// Sends one POST and reads the whole response; fails unless that is a 2xx.
    async fn post(&self, target: &Uri, body: Bytes) -> Result<(), Error> {
        let status = match self {
            Sender::Reqwest(client) => {
                let request = client.post(target.to_string()).header("content-type", "application/json").body(body);
                let response = request.send().await?;
                let status = response.status();
                response.bytes().await?;
                status
            }
            Sender::HyperUtil(client) => {
                let request =
                    Request::post(target.clone()).header("content-type", "application/json").body(Full::new(body))?;
                let response = client.request(request).await?;
                let status = response.status();
                response.into_body().collect().await?;
                status
            }
        };
        if status.is_success() { Ok(()) } else { Err(format!("the receiver answered {status}").into()) }
    }
}

/// Returns a JSON body of `bytes` bytes that carries a mark.
fn body(mark: Mark, bytes: usize) -> Bytes {
    let mark = mark.text();
    let frame = r#"{"data":{"mark":"","note":""}}"#.len() + mark.len();
    let padding = "x".repeat(bytes.saturating_sub(frame));
    Bytes::from(format!(r#"{{"data":{{"mark":"{mark}","note":"{padding}"}}}}"#))
}

/// Sends POSTs one after the other, with numbers from a counter that all loops share, and returns their latencies.
async fn post_loop(sender: Arc<Sender>, args: Arc<Args>, next: Arc<AtomicU64>, run: u64) -> Result<Histogram, Error> {
    let mut latency = Histogram::default();
    loop {
        let seq = next.fetch_add(1, Ordering::Relaxed);
        if seq >= args.posts {
            return Ok(latency);
        }
        let sent_ns = now_ns();
        sender.post(&args.target, body(Mark { run, seq, sent_ns }, args.body_bytes)).await?;
        latency.record(now_ns().saturating_sub(sent_ns));
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args = Arc::new(Args::parse());
    let sender = Arc::new(Sender::new(args.client, args.concurrency)?);
    let next = Arc::new(AtomicU64::new(0));
    let run = now_ns() / 1_000_000;
    let own = ProcessGroup { name: "client".into(), roots: vec![std::process::id()] };
    let (start, cpu_before, machine_before) = (Instant::now(), own.cpu().total_s(), MachineCpu::now().busy_s);
    let mut tasks = Vec::new();
    for _ in 0..args.concurrency {
        tasks.push(tokio::spawn(post_loop(sender.clone(), args.clone(), next.clone(), run)));
    }
    let mut latency = Histogram::default();
    for task in tasks {
        latency.merge(&task.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let per_1000 = |cpu_s: f64| (cpu_s / args.posts as f64 * 1e7).round() / 1e4;
    println!(
        "{}",
        json!({
            "posts": args.posts,
            "concurrency": args.concurrency,
            "body_bytes": args.body_bytes,
            "per_s": (args.posts as f64 / seconds).round(),
            "client_cpu_s_per_1000": per_1000(own.cpu().total_s() - cpu_before),
            "machine_cpu_s_per_1000": per_1000(MachineCpu::now().busy_s - machine_before),
            "latency_ms": latency.summary_ms(),
        })
    );
    Ok(())
}
