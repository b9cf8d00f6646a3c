//! `drive`: creates subscriptions, publishes events, waits until the receiver has every
//! delivery, and prints one JSON object of rates, latencies, CPU and memory.
//! See README.md for the profile format.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use posthaste_load::hist::Hist;
use posthaste_load::http1::{Conn, Error};
use posthaste_load::mark::Mark;
use posthaste_load::now_ns;
use posthaste_load::procfs::{Group, Usage, machine_cpu};
use posthaste_load::template::{Body, Vars, fill};
use http::{HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};

#[derive(Parser)]
struct Args {
    /// Profile (JSON): vars, setup steps, publish request.
    #[arg(long)]
    profile: Option<PathBuf>,
    /// Set or override a variable of the profile: name=value.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// Publish endpoint; overrides the profile.
    #[arg(long)]
    publish_url: Option<String>,
    /// Publish header, e.g. 'authorization: Bearer x'; repeatable, added to the profile's.
    #[arg(long = "publish-header", value_name = "NAME: VALUE")]
    publish_headers: Vec<String>,
    /// Publish body template, or @file; overrides the profile.
    #[arg(long)]
    publish_body: Option<String>,
    /// Where the receiver listens; `{{target}}` in templates.
    #[arg(long, default_value = "http://127.0.0.1:9700")]
    receiver: String,
    /// Subscriptions to create (N); each event is expected once per subscription.
    #[arg(long, default_value_t = 1)]
    subs: u64,
    /// Events to publish (M).
    #[arg(long, default_value_t = 1000)]
    events: u64,
    /// Events published, and waited for, before anything is measured.
    #[arg(long, default_value_t = 0)]
    warmup: u64,
    /// Connections, one request in flight on each.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Events per second (open loop). Without it every connection publishes as fast as it is answered.
    #[arg(long)]
    rate: Option<f64>,
    /// Size of the published body, reached through `{{pad}}`.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// Give up waiting for deliveries after this long without a new one.
    #[arg(long, default_value_t = 30)]
    settle_s: u64,
    /// Publish only; expect no deliveries.
    #[arg(long)]
    no_receiver: bool,
    /// Skip the profile's setup steps (subscriptions exist already).
    #[arg(long)]
    no_setup: bool,
    /// Process trees whose CPU and memory count as the server's: name=pid[,pid]; repeatable.
    #[arg(long = "watch", value_name = "NAME=PIDS")]
    watch: Vec<String>,
    /// Free text copied into the result.
    #[arg(long, default_value = "")]
    label: String,
    /// Also append the result, on one line, to this file.
    #[arg(long)]
    out: Option<PathBuf>,
}

struct Call {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

fn headers_of(map: Option<&Value>, vars: &Vars) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    let mut out = Vec::new();
    for (name, value) in map.and_then(Value::as_object).into_iter().flatten() {
        let value = fill(value.as_str().ok_or("header values must be strings")?, vars);
        out.push((name.parse()?, value.parse()?));
    }
    if !out.iter().any(|(n, _)| n == http::header::CONTENT_TYPE) {
        out.push((
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ));
    }
    Ok(out)
}

fn method_of(step: &Value) -> Result<Method, Error> {
    Ok(step["method"].as_str().unwrap_or("POST").parse()?)
}

fn text_of(body: &Value) -> String {
    match body {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

async fn run_setup(steps: &[Value], vars: &mut Vars, subs: u64) -> Result<(), Error> {
    for step in steps {
        let times = if step["per_sub"].as_bool().unwrap_or(false) {
            subs
        } else {
            1
        };
        for n in 1..=times {
            vars.insert("n".into(), n.to_string());
            let uri: Uri =
                fill(step["url"].as_str().ok_or("setup step without url")?, vars).parse()?;
            let body = fill(&text_of(&step["body"]), vars);
            let headers = headers_of(step.get("headers"), vars)?;
            let (status, answer) = Conn::new(&uri)?
                .call(&method_of(step)?, &uri, &headers, body.into())
                .await?;
            if !status.is_success() && step["required"].as_bool().unwrap_or(true) {
                return Err(format!(
                    "setup: {uri}: {status}: {}",
                    String::from_utf8_lossy(&answer)
                )
                .into());
            }
            for (name, pointer) in step["capture"].as_object().into_iter().flatten() {
                let answer: Value = serde_json::from_slice(&answer)?;
                let found = answer.pointer(pointer.as_str().unwrap_or_default());
                let found =
                    found.ok_or_else(|| format!("setup: {uri}: no {pointer} in {answer}"))?;
                vars.insert(name.clone(), text_of(found));
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    ack: Hist,
    accepted: u64,
    refused: BTreeMap<String, u64>,
    opened: u64,
    late_max_ns: u64,
}

/// Publishes `events` events; returns the tally and the seconds from first send to last answer.
async fn publish(
    call: Arc<Call>,
    body: Arc<Body>,
    run: u64,
    events: u64,
    workers: usize,
    rate: Option<f64>,
) -> Result<(Tally, f64), Error> {
    let next = Arc::new(AtomicU64::new(0));
    let start = tokio::time::Instant::now();
    let start_ns = now_ns();
    let mut tasks = Vec::new();
    for _ in 0..workers {
        let (call, body, next) = (call.clone(), body.clone(), next.clone());
        tasks.push(tokio::spawn(async move {
            let mut tally = Tally::default();
            let mut conn = Conn::new(&call.uri)?;
            loop {
                let seq = next.fetch_add(1, Ordering::Relaxed);
                if seq >= events {
                    break;
                }
                let mut sent_ns = now_ns();
                if let Some(rate) = rate {
                    let offset = seq as f64 / rate;
                    tokio::time::sleep_until(start + Duration::from_secs_f64(offset)).await;
                    let due = start_ns + (offset * 1e9) as u64;
                    sent_ns = now_ns();
                    // Timer slack is ours; anything beyond it is the server holding every
                    // connection, and counts from when the event was due.
                    let late = sent_ns.saturating_sub(due);
                    tally.late_max_ns = tally.late_max_ns.max(late);
                    if late > 5_000_000 {
                        sent_ns = due;
                    }
                }
                let mark = Mark { run, seq, sent_ns }.text();
                match conn
                    .call(
                        &call.method,
                        &call.uri,
                        &call.headers,
                        Bytes::from(body.render(&mark, seq)),
                    )
                    .await
                {
                    Ok((status, _)) if status.is_success() => {
                        tally.accepted += 1;
                        tally.ack.record(now_ns().saturating_sub(sent_ns));
                    }
                    Ok((status, answer)) => {
                        let n = tally
                            .refused
                            .entry(status.as_u16().to_string())
                            .or_default();
                        *n += 1;
                        if *n == 1 {
                            eprintln!(
                                "drive: {status}: {}",
                                String::from_utf8_lossy(&answer[..answer.len().min(300)])
                            );
                        }
                    }
                    Err(e) => {
                        let n = tally.refused.entry("connection".into()).or_default();
                        *n += 1;
                        if *n == 1 {
                            eprintln!("drive: {e}");
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            tally.opened = conn.opened;
            Ok::<_, Error>(tally)
        }));
    }
    let mut all = Tally::default();
    for task in tasks {
        let t = task.await??;
        all.ack.merge(&t.ack);
        all.accepted += t.accepted;
        all.opened += t.opened;
        all.late_max_ns = all.late_max_ns.max(t.late_max_ns);
        for (k, v) in t.refused {
            *all.refused.entry(k).or_default() += v;
        }
    }
    Ok((all, start.elapsed().as_secs_f64()))
}

struct Receiver {
    base: String,
    conn: Conn,
}

impl Receiver {
    fn new(base: &str) -> Result<Receiver, Error> {
        Ok(Receiver {
            base: base.into(),
            conn: Conn::new(&base.parse()?)?,
        })
    }

    async fn reset(&mut self, run: u64) -> Result<(), Error> {
        let uri: Uri = format!("{}/_reset?run={run}", self.base).parse()?;
        self.conn
            .call(&Method::POST, &uri, &[], Bytes::new())
            .await?;
        Ok(())
    }

    async fn stats(&mut self) -> Result<Value, Error> {
        let uri: Uri = format!("{}/_stats", self.base).parse()?;
        let (_, body) = self
            .conn
            .call(&Method::GET, &uri, &[], Bytes::new())
            .await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Waits for `want` distinct deliveries; gives up after `idle` without progress.
    async fn wait(&mut self, want: u64, idle: Duration) -> Result<Value, Error> {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let stats = self.stats().await?;
            let got = stats["unique"].as_u64().unwrap_or(0);
            if got >= want || since.elapsed() > idle {
                tokio::time::sleep(Duration::from_millis(300)).await;
                return self.stats().await;
            }
            if got != last {
                (last, since) = (got, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn watch_memory(groups: &[Group]) -> (Arc<AtomicBool>, std::thread::JoinHandle<Vec<u64>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let copies: Vec<Group> = groups
        .iter()
        .map(|g| Group {
            name: g.name.clone(),
            roots: g.roots.clone(),
        })
        .collect();
    let flag = stop.clone();
    let handle = std::thread::spawn(move || {
        let mut peaks = vec![0; copies.len()];
        loop {
            for (peak, g) in peaks.iter_mut().zip(&copies) {
                *peak = (*peak).max(g.usage(true).pss_kb);
            }
            // Walking the page tables of a large tree is not free: seldom, and once at the end.
            for _ in 0..100 {
                if flag.load(Ordering::Relaxed) {
                    for (peak, g) in peaks.iter_mut().zip(&copies) {
                        *peak = (*peak).max(g.usage(true).pss_kb);
                    }
                    return peaks;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    (stop, handle)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let args = Args::parse();
    let profile: Value = match &args.profile {
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path)?)?,
        None => json!({}),
    };

    let mut vars = Vars::new();
    for (k, v) in profile["vars"].as_object().into_iter().flatten() {
        vars.insert(k.clone(), text_of(v));
    }
    for pair in &args.vars {
        let (k, v) = pair.split_once('=').ok_or("--var wants name=value")?;
        vars.insert(k.into(), v.into());
    }
    let run = now_ns() / 1_000_000;
    vars.insert("run".into(), run.to_string());
    vars.insert("target".into(), args.receiver.clone());

    if !args.no_setup {
        let steps = profile["setup"].as_array().cloned().unwrap_or_default();
        run_setup(&steps, &mut vars, args.subs).await?;
    }

    let publish_spec = &profile["publish"];
    let url = args
        .publish_url
        .as_deref()
        .or(publish_spec["url"].as_str())
        .ok_or("no publish url")?;
    let mut headers = headers_of(publish_spec.get("headers"), &vars)?;
    for text in &args.publish_headers {
        let (k, v) = text
            .split_once(':')
            .ok_or("--publish-header wants 'name: value'")?;
        headers.push((k.trim().parse()?, fill(v.trim(), &vars).parse()?));
    }
    let template = match &args.publish_body {
        Some(text) => match text.strip_prefix('@') {
            Some(path) => std::fs::read_to_string(path)?,
            None => text.clone(),
        },
        None => text_of(&publish_spec["body"]),
    };
    let body = Arc::new(Body::new(&template, &vars, args.body_bytes)?);
    let call = Arc::new(Call {
        method: method_of(publish_spec)?,
        uri: fill(url, &vars).parse()?,
        headers,
    });

    let mut groups = args
        .watch
        .iter()
        .map(|t| Group::parse(t))
        .collect::<Result<Vec<_>, _>>()?;
    let watched = groups.len();
    groups.push(Group {
        name: "generator".into(),
        roots: vec![std::process::id()],
    });

    let mut receiver = Receiver::new(&args.receiver)?;
    let idle = Duration::from_secs(args.settle_s);
    if !args.no_receiver {
        let pid = receiver.stats().await?["pid"].as_u64().unwrap_or(0) as u32;
        groups.push(Group {
            name: "receiver".into(),
            roots: vec![pid],
        });
    }
    if args.warmup > 0 {
        if !args.no_receiver {
            receiver.reset(run - 1).await?;
        }
        let (tally, _) = publish(
            call.clone(),
            body.clone(),
            run - 1,
            args.warmup,
            args.concurrency,
            None,
        )
        .await?;
        if !args.no_receiver {
            receiver.wait(tally.accepted * args.subs, idle).await?;
        }
    }
    if !args.no_receiver {
        receiver.reset(run).await?;
    }

    let (stop, memory) = watch_memory(&groups[..watched]);
    let before: Vec<Usage> = groups.iter().map(|g| g.usage(false)).collect();
    let machine_before = machine_cpu();
    let clock = Instant::now();
    let start_ns = now_ns();
    let (tally, publish_s) =
        publish(call, body, run, args.events, args.concurrency, args.rate).await?;
    let expected = tally.accepted * args.subs;
    let stats = if args.no_receiver {
        Value::Null
    } else {
        receiver.wait(expected, idle).await?
    };
    let window_s = clock.elapsed().as_secs_f64();
    let after: Vec<Usage> = groups.iter().map(|g| g.usage(false)).collect();
    let machine_after = machine_cpu();
    stop.store(true, Ordering::Relaxed);
    let peaks = memory.join().expect("memory watcher");

    let unique = stats["unique"].as_u64().unwrap_or(0);
    let last_ns = stats["last_ns"].as_u64().unwrap_or(0);
    let delivery_s = last_ns.saturating_sub(start_ns) as f64 / 1e9;
    let per_thousand = if args.no_receiver {
        tally.accepted
    } else {
        unique
    } as f64
        / 1000.0;
    let round = |x: f64| (x * 1000.0).round() / 1000.0;

    let (mut cpu, mut ours, mut server) = (serde_json::Map::new(), 0.0, 0.0);
    for (i, g) in groups.iter().enumerate() {
        let used = (after[i].user_s - before[i].user_s) + (after[i].sys_s - before[i].sys_s);
        ours += used;
        if i < watched {
            server += used;
        }
        let mut entry = json!({
            "cpu_s": round(used),
            "sys_s": round(after[i].sys_s - before[i].sys_s),
            "cpu_s_per_1000": round(used / per_thousand),
        });
        if i < watched {
            entry["peak_pss_mb"] = json!(round(peaks[i] as f64 / 1024.0));
        }
        cpu.insert(g.name.clone(), entry);
    }
    let busy = machine_after.0 - machine_before.0;
    let cores = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    let result = json!({
        "label": args.label,
        "run": run,
        "subs": args.subs,
        "events": args.events,
        "concurrency": args.concurrency,
        "rate": args.rate,
        "body_bytes": args.body_bytes,
        "accepted": tally.accepted,
        "refused": tally.refused,
        "publish_s": round(publish_s),
        "accepted_per_s": round(tally.accepted as f64 / publish_s),
        "ack_ms": tally.ack.summary_ms(),
        "expected": expected,
        "delivered": unique,
        "duplicates": stats["duplicates"],
        "unmarked": stats["unmarked"],
        "receiver_refused": stats["refused"],
        "delivery_s": round(delivery_s),
        "delivered_per_s": round(unique as f64 / delivery_s.max(1e-9)),
        "latency_ms": stats["latency_ms"],
        "generator_connections": tally.opened,
        "receiver_connections": stats["connections"],
        "generator_late_max_ms": round(tally.late_max_ns as f64 / 1e6),
        "window_s": round(window_s),
        "server_cpu_s_per_1000": round(server / per_thousand),
        "cpu": cpu,
        "other_cpu_s": round(busy - ours),
        "other_cpu_share": round((busy - ours) / (cores * window_s)),
        "stolen_cpu_s": round(machine_after.1 - machine_before.1),
    });
    println!("{}", serde_json::to_string_pretty(&result)?);
    if let Some(path) = &args.out {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        writeln!(file, "{result}")?;
    }
    eprintln!(
        "drive: {} accepted {:.0}/s (ack p50 {} p99 {} ms); delivered {}/{} {:.0}/s (p50 {} p99 {} ms); server CPU {:.3} s/1000; others used {:.1} of {:.1} CPU s",
        args.label,
        tally.accepted as f64 / publish_s,
        result["ack_ms"]["p50"],
        result["ack_ms"]["p99"],
        unique,
        expected,
        unique as f64 / delivery_s.max(1e-9),
        result["latency_ms"]["p50"],
        result["latency_ms"]["p99"],
        server / per_thousand,
        busy - ours,
        cores * window_s,
    );
    if !args.no_receiver && unique < expected {
        return Err(format!("{} deliveries missing", expected - unique).into());
    }
    Ok(())
}
