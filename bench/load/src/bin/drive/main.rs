//! `drive`: creates subscriptions, publishes events, waits until the receiver has every delivery, and prints one JSON
//! object of rates, latencies, CPU and memory. README.md has the profile format.

mod measurement;
mod result;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use posthaste_load::profile::Profile;
use posthaste_load::publisher::{PublishPlan, PublishTally, Publisher};
use posthaste_load::receiver::ReceiverClient;
use posthaste_load::template::BodyTemplate;
use posthaste_load::{Error, now_ns};
use serde_json::Value;

use measurement::{Measurement, WatchedGroups};

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
    /// Base URL of the receiver; `{{target}}` in templates.
    #[arg(long, default_value = "http://127.0.0.1:9700")]
    receiver: String,
    /// Subscriptions to create (N); each event is expected once per subscription.
    #[arg(long, default_value_t = 1)]
    subs: u64,
    /// Events to publish (M).
    #[arg(long, default_value_t = 1000)]
    events: u64,
    /// Events published, and waited for, before the measurement.
    #[arg(long, default_value_t = 0)]
    warmup: u64,
    /// Connections, with one request in flight on each.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Events per second (open loop). Without it every connection publishes as fast as it is answered.
    #[arg(long)]
    rate: Option<f64>,
    /// Size of the published body, reached through `{{pad}}`.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// Stop waiting for deliveries after this long without a new one.
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

impl Args {
    /// Reads the profile, runs its setup and returns the publisher of its events.
    async fn publisher(&self, run: u64) -> Result<Arc<Publisher>, Error> {
        let mut profile = Profile::load(self.profile.as_deref(), &self.vars)?;
        profile.variables.insert("run".into(), run.to_string());
        profile.variables.insert("target".into(), self.receiver.clone());
        if !self.no_setup {
            profile.set_up(self.subs).await?;
        }
        let endpoint = profile.publish_endpoint(self.publish_url.as_deref(), &self.publish_headers)?;
        let template = match self.publish_body.as_ref().map(|body| (body, body.strip_prefix('@'))) {
            Some((_, Some(path))) => std::fs::read_to_string(path)?,
            Some((body, None)) => body.clone(),
            None => profile.publish_body(),
        };
        let body = BodyTemplate::new(&template, &profile.variables, self.body_bytes)?;
        Ok(Arc::new(Publisher { endpoint, body }))
    }

    /// The receiver's client, unless no deliveries are expected.
    fn receiver(&self) -> Result<Option<ReceiverClient>, Error> {
        if self.no_receiver { Ok(None) } else { ReceiverClient::new(&self.receiver).map(Some) }
    }

    fn idle(&self) -> Duration {
        Duration::from_secs(self.settle_s)
    }
}

/// What one run published and what arrived of it.
pub(crate) struct RunOutcome {
    run: u64,
    /// When publishing began, in nanoseconds since 1970.
    start_ns: u64,
    tally: PublishTally,
    /// How many deliveries should arrive.
    expected: u64,
    /// The receiver's counts; `null` without a receiver.
    receiver: Value,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let args = Args::parse();
    let run = now_ns() / 1_000_000;
    let publisher = args.publisher(run).await?;
    let mut receiver = args.receiver()?;
    let receiver_pid = match &mut receiver {
        Some(receiver) => receiver.stats().await?["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
        None => None,
    };
    let groups = WatchedGroups::new(&args.watch, receiver_pid)?;

    if args.warmup > 0 {
        let plan = PublishPlan { run: run - 1, events: args.warmup, connections: args.concurrency, rate: None };
        run_plan(&args, &publisher, plan, &mut receiver).await?;
    }
    let plan = PublishPlan { run, events: args.events, connections: args.concurrency, rate: args.rate };
    let measurement = Measurement::start(groups);
    let outcome = run_plan(&args, &publisher, plan, &mut receiver).await?;
    let used = measurement.finish()?;

    let result = result::to_json(&args, &outcome, &used);
    println!("{}", serde_json::to_string_pretty(&result)?);
    if let Some(path) = &args.out {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{result}")?;
    }
    eprintln!("{}", result::summary(&result));
    let delivered = result["delivered"].as_u64().unwrap_or(0);
    if receiver.is_some() && delivered < outcome.expected {
        return Err(format!("{} deliveries missing", outcome.expected - delivered).into());
    }
    Ok(())
}

/// Publishes all events of a plan and waits for their deliveries.
async fn run_plan(
    args: &Args,
    publisher: &Arc<Publisher>,
    plan: PublishPlan,
    receiver: &mut Option<ReceiverClient>,
) -> Result<RunOutcome, Error> {
    if let Some(receiver) = receiver {
        receiver.reset(plan.run).await?;
    }
    let start_ns = now_ns();
    let tally = publisher.publish(plan).await?;
    let expected = tally.accepted * args.subs;
    let receiver = match receiver {
        Some(receiver) => receiver.wait(expected, args.idle()).await?,
        None => Value::Null,
    };
    Ok(RunOutcome { run: plan.run, start_ns, tally, expected, receiver })
}
