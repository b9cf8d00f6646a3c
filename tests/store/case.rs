//! A store on its own database, and builders for the rows that the tests put into it.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use posthaste::domain::attempt_timeout::AttemptTimeout;
use posthaste::domain::delivery::{Attempt, DeliveryRecord, Status};
use posthaste::domain::event::Event;
use posthaste::domain::id::delivery_id;
use posthaste::domain::plugin::{Digest, PluginRef};
use posthaste::domain::rate_limit::RateLimit;
use posthaste::domain::tls::TlsSettings;
use posthaste::domain::transform::OnError;
use posthaste::domain::waiting::Waiting;
use posthaste::domain::webhook::{NewWebhook, Recipient, Webhook};
use posthaste::metrics::Metrics;
use posthaste::shares::{ShareTotals, Shares};
use posthaste::store::{
    ClaimedDelivery, DeliveryUpdate, IfTaken, Lease, NewDelivery, NewDeliveryWaits, NewEventRow, Publish, Published,
    Sealer, Store, StoreError, StoredWebhook, WaitingLimits, WriterEnd,
};
use posthaste_tests::{Home, Kind, until};
use tokio::sync::oneshot;

/// The present of all tests: milliseconds since 1970.
pub(crate) const NOW: i64 = 1_790_000_000_000;
/// The end of the leases: milliseconds since 1970.
pub(crate) const LEASED: i64 = NOW + 60_000;

/// A store and its database.
pub(crate) struct Case {
    store: Store,
    end: WriterEnd,
    pub(crate) home: Arc<Home>,
}

impl Deref for Case {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

pub(crate) fn sealer(key: u8) -> Sealer {
    Sealer::new(&[key; 32]).unwrap()
}

/// Opens a store whose secrets are encrypted with this key.
pub(crate) async fn open_store(home: &Home, key: u8) -> Result<(Store, WriterEnd), StoreError> {
    let metrics = Arc::new(Metrics::new(NOW, []));
    let shares =
        Shares::new(ShareTotals { client_connections: 1, idle_connections: 1, dns_lookups: 1, pings: 1 }, &metrics);
    Store::open(home.database(), sealer(key), metrics, &shares).await
}

impl Case {
    /// Opens a store on an empty database of this kind.
    pub(crate) async fn on(kind: Kind) -> Self {
        Self::open(Arc::new(Home::of(kind).await)).await
    }

    /// Opens a store on an existing database.
    pub(crate) async fn open(home: Arc<Home>) -> Self {
        let (store, end) = open_store(&home, 7).await.unwrap();
        Self { store, end, home }
    }

    /// Ends the store after everything handed in is written, and returns the database.
    pub(crate) async fn end(self) -> Arc<Home> {
        drop(self.store);
        self.end.await.unwrap();
        self.home
    }

    /// Ends the store and opens its database again, like the next process.
    pub(crate) async fn restart(self) -> Self {
        Self::open(self.end().await).await
    }

    /// Opens another store on the same database, like another node.
    pub(crate) async fn beside(&self) -> Self {
        Self::open(self.home.clone()).await
    }

    /// Stores a row and returns the result.
    pub(crate) async fn stored(&self, row: NewEventRow) -> Published {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |answer| drop(sender.send(answer)));
        self.publish(Publish { row, done }).await;
        receiver.await.unwrap().unwrap()
    }

    /// Stores the row together with a completion: that of a delivered event, modified by `completion`.
    pub(crate) async fn finished(&self, row: NewEventRow, completion: impl FnOnce(DeliveryUpdate) -> DeliveryUpdate) {
        let delivered = DeliveryUpdate {
            company: row.event.company.clone(),
            id: row.place.clone(),
            lease: row.deliveries[0].waits.lease().map(|lease| lease.node.clone()),
            status: Status::Delivered,
            attempt_count: 1,
            attempt_base: 0,
            due: None,
            finished_at: Some(NOW + 5),
            attempt: None,
        };
        self.insert_completed(row, completion(delivered)).await.unwrap();
    }

    /// Stores a webhook; the one that it overwrites keeps its secret.
    pub(crate) async fn put_webhook(&self, webhook: Webhook) -> Result<StoredWebhook, StoreError> {
        self.store.put_webhook(webhook, IfTaken::Overwrite).await
    }

    /// Returns a delivery of company `acme`, without its event and its attempts.
    pub(crate) async fn one(&self, id: &str) -> DeliveryRecord {
        self.delivery_record("acme", id).await.unwrap().unwrap()
    }

    /// Counts the deliveries that wait in the database.
    pub(crate) async fn waiting(&self) -> Waiting {
        let limits = WaitingLimits { webhooks: 1_000, deliveries: 1_000 };
        self.waiting_page("", limits).await.unwrap().waiting
    }

    /// Hands in a completion and waits until it is written.
    pub(crate) async fn ended(&self, completion: DeliveryUpdate) -> (DeliveryRecord, Vec<Attempt>) {
        let (company, id, count) = (completion.company.clone(), completion.id.clone(), completion.attempt_count);
        self.finish(completion).await;
        until("the completion is written", || async {
            let (delivery, _, attempts) = self.delivery(&company, &id).await.unwrap()?;
            (delivery.attempt_count == count).then_some((delivery, attempts))
        })
        .await
    }
}

/// Returns the id of a delivery created at this millisecond.
pub(crate) fn id(ms: i64, number: u32) -> String {
    format!("dlv_{ms:012x}7000{number:016x}")
}

/// Returns an event of company `acme` and type `t`.
pub(crate) fn event(id: &str) -> Event {
    Event {
        id: id.into(),
        event_type: "t".into(),
        company: "acme".into(),
        occurred_at: NOW - 7,
        headers: Vec::new(),
        data: Bytes::from_static(b"{\"a\": 1}"),
    }
}

/// Returns a row with a delivery to webhook `wh_1` under the lease of process `me`. Its event has the same id.
pub(crate) fn row(id: &str) -> NewEventRow {
    let delivery = NewDelivery::new(id.into(), &webhook("wh_1", "t"), NewDeliveryWaits::InBacklog);
    let row = NewEventRow { place: id.into(), event: Arc::new(event(id)), deliveries: vec![delivery], created_at: NOW };
    leased("me", row)
}

/// Returns the row under the lease of a node.
pub(crate) fn leased(node: &str, mut row: NewEventRow) -> NewEventRow {
    for delivery in &mut row.deliveries {
        delivery.waits = NewDeliveryWaits::InMemory(Lease { until_ms: LEASED, node: node.into() });
    }
    row
}

/// Returns the same row in the backlog.
pub(crate) fn spilled(id: &str) -> NewEventRow {
    let mut row = row(id);
    row.deliveries[0].waits = NewDeliveryWaits::InBacklog;
    row
}

/// Returns the row for another webhook.
pub(crate) fn to(webhook: &str, mut row: NewEventRow) -> NewEventRow {
    row.deliveries[0].webhook = webhook.into();
    row
}

/// Returns the row with a delivery to each of these webhooks.
pub(crate) fn several(mut row: NewEventRow, webhooks: &[&str]) -> NewEventRow {
    let waits = row.deliveries[0].waits.clone();
    let of = |(number, webhook): (usize, &&str)| NewDelivery {
        id: delivery_id(&row.place, number),
        webhook: (*webhook).into(),
        label: (number > 0).then(|| format!("label-{number}")),
        waits: waits.clone(),
        transient: false,
    };
    row.deliveries = webhooks.iter().enumerate().map(of).collect();
    row
}

/// Returns the row of an event to which nobody subscribes.
pub(crate) fn unmatched(row: NewEventRow) -> NewEventRow {
    NewEventRow { deliveries: Vec::new(), ..row }
}

/// Returns the row with a modified event.
pub(crate) fn with(row: NewEventRow, change: impl FnOnce(&mut Event)) -> NewEventRow {
    let mut event = Event::clone(&row.event);
    change(&mut event);
    NewEventRow { event: Arc::new(event), ..row }
}

/// Modifies a completion so that a retry is due at `due`.
pub(crate) fn retry(due: i64) -> impl FnOnce(DeliveryUpdate) -> DeliveryUpdate {
    move |completion| DeliveryUpdate { status: Status::Pending, due: Some(due), finished_at: None, ..completion }
}

/// Returns an attempt with every field set.
pub(crate) fn attempt(number: u32) -> Attempt {
    let json = |text: &str| Some(serde_json::value::RawValue::from_string(text.into()).unwrap());
    Attempt {
        number,
        started_at: NOW + 1,
        duration_ms: 3,
        status_code: Some(503),
        error: Some("the receiver answered 503".into()),
        response_body: Some("nö\u{1f980}\0".into()),
        url: Some("https://hook.test/?a=b".into()),
        request_headers: json(r#"{"a":"\u0000"}"#),
        response_headers: json(r#"{"server": "x"}"#),
        plugin: json(r#"{"name": "p"}"#),
    }
}

/// Returns the webhook of company `acme` for one type.
pub(crate) fn webhook(id: &str, event_type: &str) -> Webhook {
    Webhook {
        challenge: Some("c".into()),
        name: Some("ñame".into()),
        config: r#"{"k": 1}"#.into(),
        config_digest: Digest::of(br#"{"k": 1}"#),
        on_error: OnError::Drop,
        headers: vec![("x-a".into(), "b".into())],
        tls: TlsSettings::new(Some("PEM"), Some("a1")).map(Arc::new),
        max_in_flight: 7,
        rate_limit: RateLimit::parse("90/min").ok(),
        timeout: AttemptTimeout::parse("30s").ok(),
        api_version: Some("2026-10-01".into()),
        ..Webhook::new(NewWebhook {
            id: id.into(),
            company: "acme".into(),
            event_type: event_type.into(),
            recipient: Recipient::Url("https://a.test/".into()),
            signing_secret: [1, 2, 3].as_slice().into(),
            created_at: NOW,
        })
    }
}

/// Returns the webhook with a plugin, or with a pinned version of it.
pub(crate) fn running(webhook: Webhook, plugin: &str, digest: &Digest, pinned: bool) -> Webhook {
    let pin = pinned.then(|| digest.as_str().to_owned());
    let plugin = Some(PluginRef { name: plugin.into(), digest_prefix: pin });
    Webhook { plugin, plugin_digest: Some(digest.clone()), ..webhook }
}

/// Returns the ids of the claimed deliveries.
pub(crate) fn ids(claimed: &[ClaimedDelivery]) -> Vec<&str> {
    claimed.iter().map(|claimed| &*claimed.id).collect()
}
