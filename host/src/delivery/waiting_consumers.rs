//! The consumers that wait for events of their webhooks at this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Who waits, by webhook. Bounded by [`Resource::PullWaits`](crate::shares::Resource::PullWaits): a webhook is listed only while one
/// waits.
#[derive(Debug, Default)]
pub(super) struct WaitingConsumers {
    webhooks: Mutex<HashMap<String, Waiters>>,
}

#[derive(Debug, Default)]
struct Waiters {
    count: usize,
    event: Arc<Notify>,
}

/// A consumer that waits, until this is dropped.
pub(super) struct WaitingConsumer<'c> {
    consumers: &'c WaitingConsumers,
    webhook: &'c str,
    pub(super) event: Arc<Notify>,
}

impl WaitingConsumers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiters>> {
        self.webhooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a consumer of a webhook.
    pub(super) fn wait<'c>(&'c self, webhook: &'c str) -> WaitingConsumer<'c> {
        let mut webhooks = self.lock();
        let waiters = webhooks.entry(webhook.to_owned()).or_default();
        waiters.count += 1;
        WaitingConsumer { consumers: self, webhook, event: waiters.event.clone() }
    }

    /// An event for a webhook was committed.
    pub(super) fn wake(&self, webhook: &str) {
        if let Some(waiters) = self.lock().get(webhook) {
            waiters.event.notify_waiters();
        }
    }
}

impl Drop for WaitingConsumer<'_> {
    fn drop(&mut self) {
        let mut webhooks = self.consumers.lock();
        if let Some(waiters) = webhooks.get_mut(self.webhook) {
            waiters.count -= 1;
            if waiters.count == 0 {
                webhooks.remove(self.webhook);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn every_consumer_of_the_webhook_wakes_and_none_is_listed_afterwards() {
        let consumers = WaitingConsumers::default();
        consumers.wake("wh_1");
        let (first, second, other) = (consumers.wait("wh_1"), consumers.wait("wh_1"), consumers.wait("wh_2"));
        let mut waits = [&first, &second, &other].map(|consumer| Box::pin(consumer.event.notified()));
        for wait in &mut waits {
            wait.as_mut().enable();
        }
        consumers.wake("wh_1");
        assert_eq!(waits.map(|wait| wait.now_or_never().is_some()), [true, true, false]);
        drop((first, other));
        assert_eq!(consumers.lock().len(), 1);
        drop(second);
        assert!(consumers.lock().is_empty());
    }
}
