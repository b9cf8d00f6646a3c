//! `posts`: a bare loop of POSTs at the receiver, no server between: the limit that a dispatcher is held against.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use posthaste_load::hist::Hist;
use posthaste_load::mark::Mark;
use posthaste_load::now_ns;
use posthaste_load::procfs::{Group, machine_cpu};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Reqwest,
    HyperUtil,
}

#[derive(Parser)]
struct Args {
    /// The HTTP client to loop with.
    #[arg(value_enum, default_value = "reqwest")]
    client: Kind,
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
    fn new(kind: Kind, idle: usize) -> Self {
        match kind {
            Kind::Reqwest => Sender::Reqwest(
                reqwest::Client::builder().pool_max_idle_per_host(idle).build().expect("reqwest client"),
            ),
            Kind::HyperUtil => {
                Sender::HyperUtil(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(idle).build_http())
            }
        }
    }

    /// One POST, its answer read to the end; panics unless it is a 2xx.
    async fn post(&self, target: &Uri, body: Bytes) {
        let ok = match self {
            Sender::Reqwest(client) => {
                let request = client.post(target.to_string()).header("content-type", "application/json").body(body);
                let response = request.send().await.expect("POST");
                let ok = response.status().is_success();
                response.bytes().await.expect("answer");
                ok
            }
            Sender::HyperUtil(client) => {
                let request = Request::post(target.clone())
                    .header("content-type", "application/json")
                    .body(Full::new(body))
                    .expect("request");
                let response = client.request(request).await.expect("POST");
                let ok = response.status().is_success();
                response.into_body().collect().await.expect("answer");
                ok
            }
        };
        assert!(ok, "the receiver refused a POST");
    }
}

/// A JSON body of `bytes` bytes that carries the mark of POST `seq`.
fn body(run: u64, seq: u64, sent_ns: u64, bytes: usize) -> Bytes {
    let mark = Mark { run, seq, sent_ns }.text();
    let frame = r#"{"data":{"mark":"","note":""}}"#.len() + mark.len();
    let pad = "x".repeat(bytes.saturating_sub(frame));
    Bytes::from(format!(r#"{{"data":{{"mark":"{mark}","note":"{pad}"}}}}"#))
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let sender = Arc::new(Sender::new(args.client, args.concurrency));
    let next = Arc::new(AtomicU64::new(0));
    let run = now_ns() / 1_000_000;
    let me = Group { name: "client".into(), roots: vec![std::process::id()] };
    let cpu = |g: &Group| {
        let used = g.usage(false);
        used.user_s + used.sys_s
    };
    let (start, before, machine) = (Instant::now(), cpu(&me), machine_cpu().0);
    let mut tasks = Vec::new();
    for _ in 0..args.concurrency {
        let (sender, next, target) = (sender.clone(), next.clone(), args.target.clone());
        let (posts, bytes) = (args.posts, args.body_bytes);
        tasks.push(tokio::spawn(async move {
            let mut latency = Hist::default();
            loop {
                let seq = next.fetch_add(1, Ordering::Relaxed);
                if seq >= posts {
                    return latency;
                }
                let sent_ns = now_ns();
                sender.post(&target, body(run, seq, sent_ns, bytes)).await;
                latency.record(now_ns() - sent_ns);
            }
        }));
    }
    let mut latency = Hist::default();
    for task in tasks {
        latency.merge(&task.await.expect("a client task"));
    }
    let wall_s = start.elapsed().as_secs_f64();
    let per_1000 = |s: f64| (s / args.posts as f64 * 1e7).round() / 1e4;
    println!(
        "{}",
        json!({
            "posts": args.posts,
            "concurrency": args.concurrency,
            "body_bytes": args.body_bytes,
            "per_s": (args.posts as f64 / wall_s).round(),
            "client_cpu_s_per_1000": per_1000(cpu(&me) - before),
            "machine_cpu_s_per_1000": per_1000(machine_cpu().0 - machine),
            "latency_ms": latency.summary_ms(),
        })
    );
}
