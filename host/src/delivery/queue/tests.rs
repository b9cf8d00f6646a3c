//! Tests of the webhook queues, and the values and short cuts that they share.

mod backlog;
mod bounds;
mod cancelling;
mod classes;
mod effects;
mod fairness;
mod nodes;
mod ordered;
mod pacing;
mod receiver_health;
mod retry_now;
mod states;
mod throttle;

use std::sync::Arc;

use bytes::Bytes;

use super::memory::BUFFER;
use super::*;
use crate::domain::event::Event;
use crate::domain::rate_limit::RateLimit;
use crate::shares::Resource;

/// Memory of all deliveries, in bytes.
const MEMORY: u64 = 24 << 20;
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Memory for deliveries, so many bytes.
fn memory(bytes: u64) -> Arc<Share> {
    let metrics = crate::metrics::Metrics::new(0, []);
    Arc::new(Share::new(Resource::QueueBytes, bytes, &metrics))
}

fn new_queues(max_attempts: usize) -> WebhookQueues {
    WebhookQueues::new(max_attempts, memory(MEMORY))
}

/// A webhook of the company `c` with so many slots.
fn webhook(id: &str, slots: u32) -> Webhook {
    Webhook { max_in_flight: slots, ..Webhook::sample("c", id) }
}

fn webhook_of(company: &str, id: &str, slots: u32) -> Webhook {
    Webhook { company: company.into(), ..webhook(id, slots) }
}

fn ordered_webhook(id: &str) -> Webhook {
    Webhook { ordered: true, ..webhook(id, 32) }
}

fn rate_limited_webhook(id: &str, per_second: u64) -> Webhook {
    Webhook { rate_limit: RateLimit::per_second(per_second).ok(), ..webhook(id, 32) }
}

fn event_of(company: &str) -> Event {
    Event {
        id: String::new(),
        event_type: "t".into(),
        company: company.into(),
        occurred_at: 0,
        headers: Vec::new(),
        data: Bytes::new(),
    }
}

/// The delivery `{webhook}-{number}`, without data.
fn delivery(company: &str, webhook: &str, number: usize) -> QueuedDelivery {
    QueuedDelivery {
        id: format!("{webhook}-{number}"),
        webhook_id: webhook.into(),
        lease: None,
        attempt_count: 0,
        attempt_base: 0,
        event: HeldEvent::Whole(Arc::new(event_of(company))),
        class: AttemptClass::Unproven,
        attempt: 0,
    }
}

/// Deliveries of the company `c`, numbered from 0.
fn deliveries(webhook: &str, count: usize) -> Vec<QueuedDelivery> {
    deliveries_of("c", webhook, count)
}

/// Deliveries of the company `c` that have failed once, numbered from 0.
fn retries(webhook: &str, count: usize) -> Vec<QueuedDelivery> {
    let failed = |delivery| QueuedDelivery { attempt_count: 1, ..delivery };
    deliveries(webhook, count).into_iter().map(failed).collect()
}

fn deliveries_of(company: &str, webhook: &str, count: usize) -> Vec<QueuedDelivery> {
    (0..count).map(|number| delivery(company, webhook, number)).collect()
}

fn ids(deliveries: impl IntoIterator<Item = QueuedDelivery>) -> Vec<String> {
    deliveries.into_iter().map(|delivery| delivery.id).collect()
}

/// Offers live deliveries. Returns those given back.
fn offer(queues: &WebhookQueues, hook: &Webhook, deliveries: Vec<QueuedDelivery>) -> Vec<QueuedDelivery> {
    queues.offer(hook, deliveries, Origin::Live).give_back
}

/// Returns whether the fetcher is woken.
fn spill(queues: &WebhookQueues, hook: &Webhook) -> bool {
    queues.spilled(hook).wake_fetcher
}

fn take(queues: &WebhookQueues) -> Option<QueuedDelivery> {
    queues.take().map(|(delivery, _)| delivery)
}

/// Takes as long as there is something to take.
fn take_all(queues: &WebhookQueues) -> Vec<QueuedDelivery> {
    std::iter::from_fn(|| take(queues)).collect()
}

/// Ends an attempt. Returns whether the fetcher is woken.
fn end(queues: &WebhookQueues, delivery: &QueuedDelivery, will_retry: bool) -> bool {
    queues.attempt_ended(delivery, will_retry).wake_fetcher
}

fn judge(queues: &WebhookQueues, delivery: &QueuedDelivery, signal: ReceiverSignal) -> Option<FailureStreak> {
    queues.judge(delivery, signal, 0).0
}

/// Has the receiver accept an event.
fn make_healthy(queues: &WebhookQueues, hook: &Webhook) {
    spill(queues, hook);
    judge(queues, &delivery(&hook.company, &hook.id, 0), ReceiverSignal::Accepted);
}

/// Returns the one backlog to fetch.
fn one_fetch(queues: &WebhookQueues) -> BacklogFetch {
    let mut fetches = queues.backlogs_to_fetch();
    assert_eq!(fetches.len(), 1, "{fetches:?}");
    fetches.remove(0)
}

/// Ends a fetch that left nothing. Returns whether a worker is started.
fn end_fetch(queues: &WebhookQueues, fetch: &BacklogFetch, order: OrderAnswer) -> bool {
    queues.fetched(fetch, FetchResult { more: false, order }).start_worker
}

/// Ends a fetch that left rows of its kind.
fn end_fetch_with_more(queues: &WebhookQueues, fetch: &BacklogFetch, order: OrderAnswer) {
    let _ = queues.fetched(fetch, FetchResult { more: true, order });
}

/// Returns whether a timer was brought forward since the last call.
fn timer_was_brought_forward(queues: &WebhookQueues) -> bool {
    let changed = std::pin::pin!(queues.timer_changed());
    Future::poll(changed, &mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
}

/// A clock that stands until it is moved.
#[derive(Clone)]
struct TestClock {
    start: Instant,
    elapsed: Arc<Mutex<Duration>>,
}

impl TestClock {
    /// Returns a clock and queues that read it.
    fn with_queues(max_attempts: usize) -> (Self, Arc<WebhookQueues>) {
        let clock = Self { start: Instant::now(), elapsed: Arc::default() };
        let read = clock.clone();
        (clock, Arc::new(WebhookQueues::with_clock(max_attempts, memory(MEMORY), move || read.now())))
    }

    fn now(&self) -> Instant {
        self.start + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap()
    }

    fn advance(&self, time: Duration) {
        *self.elapsed.lock().unwrap() += time;
    }
}
