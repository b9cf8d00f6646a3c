//! Publishes events from many connections and counts the answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::connection::{Connection, Endpoint};
use crate::histogram::Histogram;
use crate::mark::Mark;
use crate::template::BodyTemplate;
use crate::{Error, now_ns};

/// A later send is no longer explained by timer slack: every connection was busy, and the wait belongs to the server.
const TIMER_SLACK_NS: u64 = 5_000_000;

/// One phase of publishing.
#[derive(Clone, Copy)]
pub struct PublishPlan {
    /// The run that the marks name.
    pub run: u64,
    /// How many events to publish.
    pub events: u64,
    /// How many connections, with one request in flight on each.
    pub connections: usize,
    /// Events per second, evenly spaced (open loop); without it each connection publishes as fast as it is answered.
    pub rate: Option<f64>,
}

/// The result of one phase.
#[derive(Default)]
pub struct PublishTally {
    /// Time from publish to answer, of accepted events.
    pub ack: Histogram,
    /// Answers with a 2xx status.
    pub accepted: u64,
    /// Other answers by status, and failed connections as `connection`.
    pub refused: BTreeMap<String, u64>,
    /// Connections opened.
    pub opened: u64,
    /// The longest delay of a send after it was due, in nanoseconds.
    pub late_max_ns: u64,
    /// Seconds from the first publish to the last answer.
    pub seconds: f64,
}

impl PublishTally {
    fn merge(&mut self, other: PublishTally) {
        self.ack.merge(&other.ack);
        self.accepted += other.accepted;
        self.opened += other.opened;
        self.late_max_ns = self.late_max_ns.max(other.late_max_ns);
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
    }

    /// Counts a refusal and prints the first of each kind.
    fn refuse(&mut self, reason: String, detail: &str) {
        let count = self.refused.entry(reason).or_default();
        *count += 1;
        if *count == 1 {
            eprintln!("drive: {detail}");
        }
    }
}

/// Publishes events to one endpoint.
pub struct Publisher {
    /// The publish request.
    pub endpoint: Endpoint,
    /// The body of each event.
    pub body: BodyTemplate,
}

impl Publisher {
    /// Publishes all events of a plan and waits for all answers.
    pub async fn publish(self: &Arc<Self>, plan: PublishPlan) -> Result<PublishTally, Error> {
        let pace = Arc::new(Pace { next: AtomicU64::new(0), start: Instant::now(), start_ns: now_ns(), plan });
        let mut tasks = Vec::new();
        for _ in 0..plan.connections {
            tasks.push(tokio::spawn(self.clone().publish_on_one_connection(pace.clone())));
        }
        let mut all = PublishTally::default();
        for task in tasks {
            all.merge(task.await??);
        }
        all.seconds = pace.start.elapsed().as_secs_f64();
        Ok(all)
    }

    async fn publish_on_one_connection(self: Arc<Self>, pace: Arc<Pace>) -> Result<PublishTally, Error> {
        let mut tally = PublishTally::default();
        let mut connection = Connection::new(&self.endpoint.uri)?;
        while let Some((seq, sent_ns)) = pace.next(&mut tally.late_max_ns).await {
            let mark = Mark { run: pace.plan.run, seq, sent_ns }.text();
            let body = Bytes::from(self.body.render(&mark, seq));
            match connection.call(&self.endpoint, body).await {
                Ok((status, _)) if status.is_success() => {
                    tally.accepted += 1;
                    tally.ack.record(now_ns().saturating_sub(sent_ns));
                }
                Ok((status, answer)) => {
                    let answer: String = String::from_utf8_lossy(&answer).chars().take(300).collect();
                    tally.refuse(status.as_u16().to_string(), &format!("{status}: {answer}"));
                }
                Err(error) => {
                    tally.refuse("connection".into(), &error.to_string());
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        tally.opened = connection.opened;
        Ok(tally)
    }
}

/// Gives each event its number and its time.
struct Pace {
    next: AtomicU64,
    start: Instant,
    start_ns: u64,
    plan: PublishPlan,
}

impl Pace {
    /// Waits until the next event is due; returns its number and send time, or `None` after the last.
    async fn next(&self, late_max_ns: &mut u64) -> Option<(u64, u64)> {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        if seq >= self.plan.events {
            return None;
        }
        let Some(rate) = self.plan.rate else { return Some((seq, now_ns())) };
        let offset = seq as f64 / rate;
        tokio::time::sleep_until(self.start + Duration::from_secs_f64(offset)).await;
        let due = self.start_ns + (offset * 1e9) as u64;
        let now = now_ns();
        let late = now.saturating_sub(due);
        *late_max_ns = late.max(*late_max_ns);
        Some((seq, if late > TIMER_SLACK_NS { due } else { now }))
    }
}
