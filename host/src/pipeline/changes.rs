//! What other nodes change, and what this one makes of it. All of it is found by looking, too, only later.

use tokio::sync::mpsc;

use super::Pipeline;
use crate::store::{Change, StoreError};

impl Pipeline {
    /// Attends to what the store hears, until the pipeline is stopped.
    pub(super) async fn follow(self, mut heard: mpsc::Receiver<Change>) {
        loop {
            let change = tokio::select! {
                () = self.0.stop.cancelled() => return,
                change = heard.recv() => change,
            };
            let Some(change) = change else { return };
            if let Err(error) = self.attend_to(change).await {
                self.0.said.warn("looking at what another node has changed failed", &error);
                self.reconcile_at_once();
            }
        }
    }

    async fn attend_to(&self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::Webhook { company, event_type } => {
                self.changed_elsewhere(&company, &event_type).await?;
            }
            Change::Parked { company, event_type } => {
                let webhook = self.0.store.webhook_for(&company, &event_type).await?;
                if webhook.is_some_and(|webhook| self.0.lanes.told(&webhook)) {
                    self.0.wake_sweep.notify_one();
                }
            }
            Change::Plugins => self.0.wake_warm.notify_one(),
            Change::Everything => {
                self.reconcile_at_once();
                self.0.wake_warm.notify_one();
            }
        }
        Ok(())
    }

    /// A webhook was stored, changed or removed, here or elsewhere.
    async fn changed_elsewhere(&self, company: &str, event_type: &str) -> Result<(), StoreError> {
        let webhook = self.0.store.webhook_for(company, event_type).await?;
        for lane in self.0.lanes.of_type(company, event_type) {
            if webhook.as_ref().is_none_or(|webhook| *webhook.id != *lane) {
                self.cancel_all(&lane).await?;
            }
        }
        let Some(webhook) = webhook else { return Ok(()) };
        let runs = webhook.plugin_digest.as_ref().filter(|_| webhook.enabled);
        if runs.is_some_and(|digest| !self.0.plugins.keeps(digest)) {
            self.0.wake_warm.notify_one();
        }
        if self.0.lanes.is_behind(&webhook) {
            self.webhook_changed(&webhook);
        }
        Ok(())
    }
}
