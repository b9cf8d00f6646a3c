//! What a consumer fetches: each event as its POST would have been, transformed and signed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::attempt::{Outgoing, Prepared, Transformer, request_headers};
use super::delivery_clock::DeliveryClock;
use super::waiting_consumers::WaitingConsumers;
use crate::domain::company_limit::CompanyLimit;
use crate::domain::webhook::Webhook;
use crate::shares::Share;
use crate::store::{PullEntry, PullPage, PullRead, PullRequest, Store, StoreError, WebhookKey};

/// How often a consumer that waits looks for events that other nodes have stored.
const POLL: Duration = Duration::from_secs(1);
/// Most bytes of the bodies of one answer, besides a single larger one.
const MOST_BYTES: usize = 4 << 20;
/// After this time an answer has what is there: each run of a plugin may take its whole deadline.
const BUDGET: Duration = Duration::from_secs(10);

/// What a consumer asks for.
#[derive(Debug, Clone, Copy)]
pub struct PullQuery {
    /// As [`PullRequest::after`].
    pub after: Option<i64>,
    /// The most events.
    pub limit: usize,
    /// How long to wait for the first.
    pub wait: Duration,
}

/// An event as its POST would have been.
#[derive(Debug)]
pub struct PulledMessage {
    /// The delivery's id.
    pub delivery: String,
    /// The headers and the body; an error if the plugin fails.
    pub request: Result<(Vec<(String, String)>, Bytes), String>,
}

/// Events in their order.
#[derive(Debug)]
pub struct PullResult {
    /// Those that are not left out.
    pub messages: Vec<PulledMessage>,
    /// The position after which to go on.
    pub next: i64,
}

/// Reads the events of webhooks for their consumers.
pub struct Puller {
    pub(super) store: Arc<Store>,
    pub(super) transformer: Arc<Transformer>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) consumers: Arc<WaitingConsumers>,
    /// Consumers that wait.
    pub(super) waits: Arc<Share>,
    pub(super) stop: CancellationToken,
}

impl Puller {
    /// Returns the next entries of a webhook. If there are none, it waits for the first.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: too many consumers of the company wait, or read the log. The store's.
    pub async fn page(&self, webhook: &Webhook, query: PullQuery) -> Result<PullRead, StoreError> {
        let until = Instant::now() + query.wait;
        let key = WebhookKey { company: &webhook.company, id: &webhook.id };
        let request = PullRequest { after: query.after, limit: query.limit, bytes: MOST_BYTES };
        let mut part = None;
        let consumer = self.consumers.wait(&webhook.id);
        loop {
            let mut event = std::pin::pin!(consumer.event.notified());
            // From here on no event is missed.
            event.as_mut().enable();
            let read = self.store.pull_page(key, request).await?;
            let left = until.saturating_duration_since(Instant::now());
            let is_empty = matches!(&read, PullRead::Page(page) if !page.examined);
            if !is_empty || left.is_zero() || self.stop.is_cancelled() {
                return Ok(read);
            }
            if part.is_none() {
                part = Some(self.waits.try_take(&webhook.company, 1).map_err(CompanyLimit::from)?);
            }
            tokio::select! {
                () = self.stop.cancelled() => (),
                _ = timeout(left.min(POLL), event) => (),
            }
        }
    }

    /// Transforms and signs the entries of a page. Those whose plugin drops them end as filtered.
    ///
    /// # Errors
    /// The store's.
    pub async fn messages(&self, webhook: &Webhook, page: PullPage) -> Result<PullResult, StoreError> {
        let until = Instant::now() + BUDGET;
        let PullPage { entries, next, .. } = page;
        let mut result = PullResult { messages: Vec::with_capacity(entries.len()), next };
        let (mut bytes, mut dropped) = (0, Vec::new());
        let mut last = None;
        for entry in entries {
            let position = entry.position;
            let prepared = self.transformer.prepare(&entry.event, webhook).await.0;
            if let Prepared::Send(outgoing) = &prepared {
                bytes += outgoing.body.len();
            }
            let is_full = bytes > MOST_BYTES && !result.messages.is_empty();
            if let (true, Some(last)) = (is_full, last) {
                result.next = last;
                break;
            }
            match prepared {
                Prepared::Filtered => dropped.push(entry.delivery),
                Prepared::Send(outgoing) => result.messages.push(self.message(webhook, entry, outgoing)),
                Prepared::PluginFailed(why) | Prepared::HostFailed(why) => {
                    result.messages.push(PulledMessage { delivery: entry.delivery, request: Err(why) });
                }
            }
            last = Some(position);
            if Instant::now() >= until {
                result.next = position;
                break;
            }
        }
        if !dropped.is_empty() {
            self.store.filter_pulled(&webhook.company, dropped, self.clock.wall_ms()).await?;
        }
        Ok(result)
    }

    fn message(&self, webhook: &Webhook, entry: PullEntry, outgoing: Outgoing) -> PulledMessage {
        let headers = request_headers(
            &entry.event,
            webhook,
            &outgoing,
            self.clock.wall_ms() / 1000,
            self.transformer.challenge_header(),
        );
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let request = headers.map(|headers| {
            let headers = headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
            (headers.collect(), outgoing.body)
        });
        PulledMessage { delivery: entry.delivery, request }
    }
}
