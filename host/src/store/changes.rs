//! What one node changes, told to the others.
//!
//! A change is told in the transaction that makes it, and heard once that is committed (PostgreSQL's NOTIFY and LISTEN). It
//! only makes things quick: who hears nothing, because his connection is lost, finds everything by looking again.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::WebhookCache;
use super::db::{self, Connection, Kind};
use crate::telemetry::Seldom;

const CHANNEL: &str = "posthaste";
/// Changes that were heard and not attended to yet; what is more is dropped, and found by looking.
const HEARD: usize = 1024;
/// Rest before one that hears nothing tries to listen again.
const REST: Duration = Duration::from_millis(200);

/// What another node, or this one, has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The webhook for these events was stored, changed or removed.
    Webhook {
        /// Its company.
        company: String,
        /// Its event type.
        event_type: String,
    },
    /// Something was parked for it, and whoever reads this may be the one who answers for it.
    Parked {
        /// The webhook's company.
        company: String,
        /// The webhook's event type.
        event_type: String,
    },
    /// Another version of a plugin became the active one.
    Plugins,
    /// Anything: nothing could be heard for a while.
    Everything,
}

impl Change {
    pub(super) fn webhook(company: &str, event_type: &str) -> Self {
        Self::Webhook { company: company.into(), event_type: event_type.into() }
    }
}

/// Tells the others of a change when this transaction is committed. A database that one process serves has no others.
pub(super) async fn tell(connection: &mut Connection, change: &Change) -> Result<(), sqlx::Error> {
    if connection.kind() == Kind::Sqlite {
        return Ok(());
    }
    let text = serde_json::to_string(change).map_err(|error| sqlx::Error::Encode(error.into()))?;
    db::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(text).execute(connection).await?;
    Ok(())
}

/// Listens until `stop`, forgets what a change has made old, and hands it on.
pub(super) async fn listen(
    ear: PgPool,
    webhooks: Arc<WebhookCache>,
    heard: mpsc::Sender<Change>,
    stop: CancellationToken,
) {
    let said = Seldom::default();
    while !stop.is_cancelled() {
        let listening = async {
            let mut listener = PgListener::connect_with(&ear).await?;
            listener.listen(CHANNEL).await?;
            // What was told before nobody heard.
            hand_on(&webhooks, &heard, Change::Everything);
            while let Some(told) = listener.try_recv().await? {
                let change = serde_json::from_str(told.payload()).unwrap_or(Change::Everything);
                hand_on(&webhooks, &heard, change);
            }
            Ok::<_, sqlx::Error>(())
        };
        tokio::select! {
            () = stop.cancelled() => return,
            ended = listening => {
                if let Err(error) = ended {
                    said.warn("listening for what other nodes change failed; trying again", &error);
                }
            }
        }
        let _ = timeout(REST, stop.cancelled()).await;
    }
}

fn hand_on(webhooks: &WebhookCache, heard: &mpsc::Sender<Change>, change: Change) {
    match &change {
        Change::Webhook { company, event_type } => webhooks.forget(&(company.clone(), event_type.clone())),
        Change::Plugins | Change::Everything => webhooks.forget_all(),
        Change::Parked { .. } => (),
    }
    let _ = heard.try_send(change);
}

/// The way from the one who listens.
pub(super) fn heard() -> (mpsc::Sender<Change>, mpsc::Receiver<Change>) {
    mpsc::channel(HEARD)
}
