//! Notifications of the changes that one node makes, for the others.
//!
//! A notification is sent in the transaction that makes the change, and arrives once that is committed (PostgreSQL's NOTIFY
//! and LISTEN). Notifications only shorten the delay: a node whose listening connection is lost finds every change when it
//! next reads the database.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cancel_selection::CancelSelection;
use super::db::{self, DatabaseConnection, DatabaseKind};
use super::webhook_cache::WebhookCache;
use crate::telemetry::ThrottledLog;

const CHANNEL: &str = "posthaste";
/// Most changes that were received and not handled yet. Any more are dropped; the next regular read finds them.
const CHANGE_QUEUE: usize = 1024;
/// Pause before the listener connects again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// A change that another node, or this one, has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The webhook for these events was stored, changed or removed.
    Webhook {
        /// The webhook's company.
        company: String,
        /// The webhook's event type.
        event_type: String,
    },
    /// A delivery was added to the webhook's backlog, and a reader of this notification may be its owner.
    #[serde(rename = "parked")]
    Backlog {
        /// The webhook's company.
        company: String,
        /// The webhook's event type.
        event_type: String,
    },
    /// These deliveries were cancelled, and a reader of this notification may have some of them in memory.
    Cancelled(CancelSelection),
    /// Another version of a plugin became the active one.
    Plugins,
    /// Possibly anything: no notifications could be received for a while.
    Everything,
}

impl Change {
    pub(super) fn webhook(company: &str, event_type: &str) -> Self {
        Self::Webhook { company: company.into(), event_type: event_type.into() }
    }
}

/// Sends a notification that goes out when this transaction commits. Does nothing on SQLite: one process serves it.
pub(super) async fn notify(connection: &mut DatabaseConnection, change: &Change) -> Result<(), sqlx::Error> {
    if connection.kind() == DatabaseKind::Sqlite {
        return Ok(());
    }
    let payload = serde_json::to_string(change).map_err(|error| sqlx::Error::Encode(error.into()))?;
    db::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(connection).await?;
    Ok(())
}

/// Listens until `stop`, drops the cached webhooks that a change outdates, and forwards the change to `changes`.
pub(super) async fn listen(
    pool: PgPool,
    webhooks: Arc<WebhookCache>,
    changes: mpsc::Sender<Change>,
    stop: CancellationToken,
) {
    let throttled_log = ThrottledLog::default();
    while !stop.is_cancelled() {
        let listening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            // Earlier notifications were not received.
            forward(&webhooks, &changes, Change::Everything);
            while let Some(notification) = listener.try_recv().await? {
                let change = serde_json::from_str(notification.payload()).unwrap_or(Change::Everything);
                forward(&webhooks, &changes, change);
            }
            Ok::<_, sqlx::Error>(())
        };
        tokio::select! {
            () = stop.cancelled() => return,
            ended = listening => {
                if let Err(error) = ended {
                    throttled_log.warn("listening for changes of other nodes failed; trying again", &error);
                }
            }
        }
        let _ = timeout(RECONNECT_PAUSE, stop.cancelled()).await;
    }
}

fn forward(webhooks: &WebhookCache, changes: &mpsc::Sender<Change>, change: Change) {
    match &change {
        Change::Webhook { company, event_type } => webhooks.invalidate(company, event_type),
        Change::Plugins | Change::Everything => webhooks.invalidate_all(),
        Change::Backlog { .. } | Change::Cancelled(_) => (),
    }
    let _ = changes.try_send(change);
}

/// Returns the bounded channel from the listener to [`super::Store::changes`].
pub(super) fn channel() -> (mpsc::Sender<Change>, mpsc::Receiver<Change>) {
    mpsc::channel(CHANGE_QUEUE)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::metrics::Metrics;
    use crate::shares::{Resource, Share};
    use crate::store::webhook_cache::CacheLookup;

    /// Caches two types, forwards `change`, and returns which of them are still cached.
    fn cached_after(change: Change) -> [bool; 2] {
        let memory = Share::new(Resource::WebhookCacheBytes, 1 << 20, &Metrics::new(0, []));
        let (cache, now) = (WebhookCache::new(Arc::new(memory), Duration::from_secs(9)), Instant::now());
        for event_type in ["a", "b"] {
            let CacheLookup::Miss(mark) = cache.get("acme", event_type, now) else { panic!("it is cached") };
            cache.insert(mark, ("acme", event_type), None, now);
        }
        let (sender, mut receiver) = channel();
        forward(&cache, &sender, change.clone());
        assert_eq!(receiver.try_recv(), Ok(change));
        ["a", "b"].map(|event_type| matches!(cache.get("acme", event_type, now), CacheLookup::Hit(None)))
    }

    #[test]
    fn change_drops_the_cached_webhooks_that_it_outdates() {
        assert_eq!(cached_after(Change::webhook("acme", "a")), [false, true]);
        assert_eq!(cached_after(Change::Plugins), [false, false]);
        assert_eq!(cached_after(Change::Everything), [false, false]);
        let backlog = Change::Backlog { company: "acme".into(), event_type: "a".into() };
        assert_eq!(cached_after(backlog), [true, true]);
    }

    #[test]
    fn payloads_keep_their_form_between_versions() {
        let webhook = serde_json::to_string(&Change::webhook("acme", "a")).unwrap();
        assert_eq!(webhook, r#"{"webhook":{"company":"acme","event_type":"a"}}"#);
        let backlog = Change::Backlog { company: "acme".into(), event_type: "a".into() };
        assert_eq!(serde_json::to_string(&backlog).unwrap(), r#"{"parked":{"company":"acme","event_type":"a"}}"#);
        let cancelled = serde_json::to_string(&Change::Cancelled(CancelSelection::one("acme", "dlv_1"))).unwrap();
        let selection = r#"{"company":"acme","event_type":null,"state":"pending","first":"dlv_1","end":"dlv_10"}"#;
        assert_eq!(cancelled, format!(r#"{{"cancelled":{selection}}}"#));
        assert_eq!(serde_json::to_string(&Change::Plugins).unwrap(), r#""plugins""#);
        assert_eq!(serde_json::to_string(&Change::Everything).unwrap(), r#""everything""#);
    }
}
