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
use crate::domain::subscription::is_pattern;
use crate::domain::webhook::Webhook;
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
    /// A webhook was stored, changed or removed.
    Webhook {
        /// The webhook's company.
        company: String,
        /// The webhook's event type, without its label.
        event_type: String,
        /// The webhook's id; `None`: a node of the previous version, which does not name it, has changed the webhook.
        #[serde(default)]
        id: Option<String>,
    },
    /// A delivery was added to the webhook's backlog, and a reader of this notification may be its owner.
    #[serde(rename = "parked")]
    Backlog {
        /// The webhook's company.
        company: String,
        /// The webhook's event type, without its label.
        event_type: String,
        /// The webhook's id; `None`: it is the only webhook that a node of the previous version knows for this type.
        #[serde(default)]
        id: Option<String>,
    },
    /// These deliveries were cancelled, and a reader of this notification may have some of them in memory.
    Cancelled(CancelSelection),
    /// Another version of a plugin became the active one.
    Plugins,
    /// No company has these plugin versions any more.
    PluginsRemoved {
        /// Their digests.
        digests: Vec<String>,
    },
    /// A policy of a company was stored or removed.
    Policies {
        /// The company.
        company: String,
    },
    /// Everything with which this company acts was removed.
    Company {
        /// The company.
        company: String,
    },
    /// Possibly anything: no notifications could be received for a while.
    Everything,
}

impl Change {
    pub(super) fn webhook(webhook: &Webhook) -> Self {
        let Webhook { company, event_type, id, .. } = webhook;
        Self::Webhook { company: company.clone(), event_type: event_type.clone(), id: Some(id.clone()) }
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
    outdate(webhooks, &change);
    let _ = changes.try_send(change);
}

/// Drops the cached webhooks that a change outdates, once it is committed.
pub(super) fn outdate(webhooks: &WebhookCache, change: &Change) {
    match change {
        Change::Webhook { company, event_type, id: Some(id) } if !is_pattern(event_type) => {
            webhooks.invalidate(company, event_type, id);
        }
        // It may match any type, or have any id.
        Change::Webhook { company, .. } => webhooks.invalidate_company(company),
        Change::Policies { company } | Change::Company { company } => webhooks.invalidate_company(company),
        Change::Plugins | Change::Everything => webhooks.invalidate_all(),
        Change::Backlog { .. } | Change::Cancelled(_) | Change::PluginsRemoved { .. } => (),
    }
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

    /// Caches two types, each with a webhook, forwards `change`, and returns which types, and which webhooks, are still cached.
    fn cached_after(change: Change) -> [[bool; 2]; 2] {
        let memory = Share::new(Resource::WebhookCacheBytes, 1 << 20, &Metrics::new(0, []));
        let (cache, now) = (WebhookCache::new(Arc::new(memory), Duration::from_secs(9)), Instant::now());
        for (event_type, id) in [("a", "wh_a"), ("b", "wh_b")] {
            let CacheLookup::Miss(mark) = cache.matching("acme", event_type, now) else { panic!("it is cached") };
            let webhook = Arc::new(Webhook::sample("acme", id));
            cache.insert_matching(mark, ("acme", event_type), &Arc::from([webhook]), now);
        }
        let (sender, mut receiver) = channel();
        forward(&cache, &sender, change.clone());
        assert_eq!(receiver.try_recv(), Ok(change));
        let types = ["a", "b"].map(|event_type| matches!(cache.matching("acme", event_type, now), CacheLookup::Hit(_)));
        [types, ["wh_a", "wh_b"].map(|id| matches!(cache.one("acme", id, now), CacheLookup::Hit(_)))]
    }

    fn changed(event_type: &str, label: Option<&str>) -> Change {
        let label = label.map(str::to_owned);
        Change::webhook(&Webhook { event_type: event_type.into(), label, ..Webhook::sample("acme", "wh_a") })
    }

    fn backlog() -> Change {
        Change::Backlog { company: "acme".into(), event_type: "a".into(), id: Some("wh_a".into()) }
    }

    #[test]
    fn change_drops_the_cached_webhooks_that_it_outdates() {
        assert_eq!(cached_after(changed("a", None)), [[false, true], [false, true]]);
        assert_eq!(cached_after(changed("a", Some("x"))), [[false, true], [false, true]]);
        assert_eq!(cached_after(changed("a/*", None)), [[false; 2]; 2]);
        assert_eq!(cached_after(changed("*", Some("x"))), [[false; 2]; 2]);
        assert_eq!(cached_after(Change::Company { company: "acme".into() }), [[false; 2]; 2]);
        assert_eq!(cached_after(Change::Company { company: "other".into() }), [[true; 2]; 2]);
        assert_eq!(cached_after(Change::Policies { company: "acme".into() }), [[false; 2]; 2]);
        assert_eq!(cached_after(Change::Plugins), [[false; 2]; 2]);
        assert_eq!(cached_after(Change::Everything), [[false; 2]; 2]);
        assert_eq!(cached_after(backlog()), [[true; 2]; 2]);
        let by_earlier_version = r#"{"webhook":{"company":"acme","event_type":"a"}}"#;
        assert_eq!(cached_after(serde_json::from_str(by_earlier_version).unwrap()), [[false; 2]; 2]);
    }

    #[test]
    fn payloads_keep_their_form_between_versions() {
        let text = |change: &Change| serde_json::to_string(change).unwrap();
        let webhook = r#"{"webhook":{"company":"acme","event_type":"a","id":"wh_a"}}"#;
        assert_eq!(text(&changed("a", Some("x"))), webhook);
        assert_eq!(text(&backlog()), r#"{"parked":{"company":"acme","event_type":"a","id":"wh_a"}}"#);
        let filter = r#"{"types":[],"statuses":[],"webhook":null,"label":null,"error":null}"#;
        let selection =
            format!(r#"{{"company":"acme","filter":{filter},"state":"pending","first":"dlv_1","end":"dlv_10"}}"#);
        let cancelled = Change::Cancelled(CancelSelection::one("acme", "dlv_1"));
        assert_eq!(text(&cancelled), format!(r#"{{"cancelled":{selection}}}"#));
        assert_eq!(text(&Change::Plugins), r#""plugins""#);
        let removed = Change::PluginsRemoved { digests: vec!["d1".into()] };
        assert_eq!(text(&removed), r#"{"plugins_removed":{"digests":["d1"]}}"#);
        assert_eq!(text(&Change::Company { company: "acme".into() }), r#"{"company":{"company":"acme"}}"#);
        assert_eq!(text(&Change::Policies { company: "acme".into() }), r#"{"policies":{"company":"acme"}}"#);
        assert_eq!(text(&Change::Everything), r#""everything""#);
    }

    #[test]
    fn payloads_of_the_version_before_are_understood() {
        let unnamed = serde_json::from_str(r#"{"parked":{"company":"acme","event_type":"a"}}"#).unwrap();
        assert_eq!(Change::Backlog { company: "acme".into(), event_type: "a".into(), id: None }, unnamed);
        // That version reads ours by these fields, and ignores others.
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum ChangeBefore {
            Webhook { company: String, event_type: String },
        }
        let read: ChangeBefore = serde_json::from_str(&serde_json::to_string(&changed("a", None)).unwrap()).unwrap();
        assert_eq!(read, ChangeBefore::Webhook { company: "acme".into(), event_type: "a".into() });
    }
}
