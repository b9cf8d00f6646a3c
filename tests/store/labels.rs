//! Webhooks with labels, and for patterns of types.

use std::sync::Arc;

use posthaste::domain::payload_retention::PayloadRetention;
use posthaste::domain::subscription::Subscription;
use posthaste::domain::webhook::{HealthState, Recipient, Webhook, WebhookHealth};
use posthaste::store::{DeliveryUpdate, FailureNote, Rotation, StoreError, WebhookKey, reset_secrets};

use crate::case::{Case, NOW, attempt, id, open_store, retry, sealer, several, spilled, to, webhook, with};

fn labelled(id: &str, event_type: &str, label: &str) -> Webhook {
    Webhook { label: Some(label.into()), ..webhook(id, event_type) }
}

async fn found(case: &Case, event_type: &str) -> Vec<String> {
    case.webhooks_for("acme", event_type).await.unwrap().iter().map(|webhook| webhook.id.clone()).collect()
}

pub(crate) async fn event_matches_webhooks_by_type_label_and_pattern(case: Case) {
    for webhook in [
        labelled("wh_2", "a/b", "x"),
        webhook("wh_1", "a/b"),
        labelled("wh_5", "*", "x"),
        webhook("wh_4", "a/*"),
        labelled("wh_3", "a/b/*", "z"),
        webhook("wh_6", "posthaste.*"),
        webhook("wh_7", "posthaste.webhook.disabled"),
        webhook("wh_8", "a/b!"),
        Webhook { company: "other".into(), ..webhook("wh_9", "*") },
    ] {
        assert!(case.put_webhook(webhook.clone()).await.unwrap().webhook == webhook);
    }
    for (event_type, expected) in [
        ("a/b", &["wh_1", "wh_2", "wh_4", "wh_5"][..]),
        ("a/b/c", &["wh_3", "wh_4", "wh_5"]),
        ("a/b!", &["wh_8", "wh_4", "wh_5"]),
        ("b", &["wh_5"]),
        ("ping", &[]),
        ("posthaste.webhook.disabled", &["wh_7", "wh_6"]),
        ("posthaste.x/y", &["wh_6"]),
    ] {
        assert_eq!(found(&case, event_type).await, expected, "{event_type}");
        // From memory.
        let (once, again) = (case.webhooks_for("acme", event_type).await, case.webhooks_for("acme", event_type).await);
        assert!(Arc::ptr_eq(&once.unwrap(), &again.unwrap()));
    }
    // A type with more patterns above it than one statement takes.
    let deep = "a/".repeat(64);
    case.put_webhook(webhook("wh_a", &format!("{}*", &deep[..126]))).await.unwrap();
    assert_eq!(found(&case, &deep).await, ["wh_a", "wh_4", "wh_5"]);
    let successor = async |label| case.successor("acme", "a/b", label).await.unwrap().map(|webhook| webhook.id.clone());
    assert_eq!(successor(None).await.as_deref(), Some("wh_1"));
    assert_eq!(successor(Some("x")).await.as_deref(), Some("wh_2"));
    assert_eq!(successor(Some("y")).await, None);
}

pub(crate) async fn webhook_is_stored_once_for_each_type_and_label(case: Case) {
    let plain = case.put_webhook(webhook("wh_1", "t")).await.unwrap().webhook;
    assert_eq!(found(&case, "t").await, ["wh_1"]);
    let other = case.put_webhook(labelled("wh_2", "t", "x")).await.unwrap();
    assert!(other.before.is_none());
    assert_eq!(found(&case, "t").await, ["wh_1", "wh_2"], "it is read again");
    assert!(*case.webhook_of("acme", "wh_2").await.unwrap().unwrap() == other.webhook);
    let again = case
        .put_webhook(Webhook { recipient: Recipient::Url("https://b.test/".into()), ..labelled("wh_3", "t", "x") })
        .await;
    let again = again.unwrap();
    assert!(again.before.as_ref() == Some(&other.webhook) && again.webhook.id == "wh_2");
    assert_eq!(case.webhook_of("acme", "wh_2").await.unwrap().unwrap().recipient.url(), Some("https://b.test/"));
    let by = async |event_type, label| {
        let subscription = Subscription { event_type, label };
        case.subscribed("acme", subscription).await.unwrap().map(|webhook| webhook.id)
    };
    assert_eq!((by("t", None).await.as_deref(), by("t", Some("x")).await.as_deref()), (Some("wh_1"), Some("wh_2")));
    assert_eq!((by("t x", None).await, by("t", Some("y")).await, by("u", None).await), (None, None, None));
    // The version before finds none with a label by its type.
    let before = "SELECT COUNT(*) FROM webhooks WHERE company = 'acme' AND event_type = 't'";
    assert_eq!(case.home.value::<i64>(before).await, 1);

    let key = WebhookKey { company: "acme", id: "wh_2" };
    let rotation = Rotation { secret: [4; 24].as_slice().into(), now: NOW + 1, until: NOW + 9 };
    let rotated = case.rotate_secret(key, rotation).await.unwrap().unwrap();
    assert_eq!((&*rotated.signing_secret, rotated.label.as_deref()), (&[4; 24][..], Some("x")));
    let changed = case.change_webhook(key, |webhook| {
        webhook.name = Some("n".into());
        Ok(())
    });
    assert_eq!(changed.await.unwrap().unwrap().name.as_deref(), Some("n"));
    assert_eq!(case.webhook_of("acme", "wh_2").await.unwrap().unwrap().name.as_deref(), Some("n"));
    assert!(case.delete_webhook(&plain).await.unwrap());
    assert_eq!(found(&case, "t").await, ["wh_2"]);
    assert!(case.webhook_of("acme", "wh_1").await.unwrap().is_none());

    case.put_webhook(webhook("wh_4", "u")).await.unwrap();
    let reset = reset_secrets_of(case).await;
    assert_eq!(reset, ["acme  wh_2  t  x", "acme  wh_4  u"]);
}

/// Ends the store and replaces its secret key. Returns the webhooks that lose their headers.
async fn reset_secrets_of(case: Case) -> Vec<String> {
    let home = case.end().await;
    let reset = reset_secrets(home.database(), &sealer(8), || Ok(vec![9; 32])).await.unwrap();
    let (store, end) = open_store(&home, 8).await.unwrap();
    let webhook = store.webhook("acme", "wh_2").await.unwrap().unwrap();
    assert_eq!((&*webhook.signing_secret, webhook.label.as_deref()), (&[9; 32][..], Some("x")));
    drop(store);
    end.await.unwrap();
    reset.without_headers
}

pub(crate) async fn pattern_that_is_stored_or_removed_concerns_every_type(case: Case) {
    assert!(found(&case, "a/b").await.is_empty() && found(&case, "c").await.is_empty());
    let pattern = case.put_webhook(webhook("wh_1", "*")).await.unwrap().webhook;
    assert_eq!((found(&case, "a/b").await, found(&case, "c").await), (vec!["wh_1".into()], vec!["wh_1".into()]));
    case.record_failing(&pattern, FailureNote::Failing { since_ms: NOW, announced: 0 }, None).await.unwrap();
    assert_eq!(case.webhook_for("acme", "c").await.unwrap().unwrap().failing_since, Some(NOW));
    assert!(case.delete_webhook(&pattern).await.unwrap());
    assert!(found(&case, "a/b").await.is_empty() && found(&case, "c").await.is_empty());
}

pub(crate) async fn event_matches_at_most_a_hundred_webhooks(case: Case) {
    case.put_webhook(webhook("wh_p", "a/*")).await.unwrap();
    for number in 0..99 {
        case.put_webhook(labelled(&format!("wh_{number}"), "a/b", &format!("x{number}"))).await.unwrap();
    }
    for refused in [webhook("wh_x", "*"), webhook("wh_x", "a/b"), labelled("wh_x", "a/*", "y")] {
        let Err(StoreError::Rule(why)) = case.put_webhook(refused).await else { panic!("one more") };
        assert!(why.pointer == "/type" && why.detail.contains("101 webhooks"), "{}", why.detail);
        assert!(why.detail.contains("events of type `a/b`"), "{}", why.detail);
    }
    assert!(case.webhook("acme", "wh_x").await.unwrap().is_none());
    assert_eq!(found(&case, "a/b").await.len(), 100);
    // What is there already may be overwritten, and other types have room.
    assert!(case.put_webhook(labelled("wh_x", "a/b", "x0")).await.unwrap().before.is_some());
    case.put_webhook(webhook("wh_y", "a/c")).await.unwrap();
}

pub(crate) async fn labels_and_patterns_wait_until_every_node_knows_them(case: Case) {
    case.join("new".into(), NOW).await.unwrap();
    case.put_webhook(labelled("wh_1", "t", "x")).await.unwrap();
    case.home.sql("INSERT INTO nodes (id, beat, started_at) VALUES ('old', 0, 0)").await;
    for refused in [labelled("wh_2", "t", "y"), webhook("wh_2", "a/*")] {
        let Err(StoreError::InUse(why)) = case.put_webhook(refused).await else { panic!("it would lose deliveries") };
        assert!(why.contains("earlier version"), "{why}");
    }
    let transient = Webhook { keep_payload: PayloadRetention::UntilDelivered, ..webhook("wh_5", "u") };
    let Err(StoreError::InUse(_)) = case.put_webhook(transient.clone()).await else { panic!("it would keep payloads") };
    case.put_webhook(labelled("wh_3", "t", "x")).await.unwrap();
    case.put_webhook(webhook("wh_4", "t")).await.unwrap();
    case.home.sql("DELETE FROM nodes WHERE id = 'old'").await;
    case.put_webhook(webhook("wh_2", "a/*")).await.unwrap();
    case.put_webhook(transient).await.unwrap();
}

pub(crate) async fn quiet_webhook_of_a_busy_company_is_as_healthy_as_it_was(case: Case) {
    case.put_webhook(webhook("wh_1", "*")).await.unwrap();
    let stored = case.webhook("acme", "wh_1").await.unwrap().unwrap();
    case.finished(spilled(&id(NOW, 1)), |update| update).await;
    for number in 2..6 {
        case.stored(several(spilled(&id(NOW + 1, number)), &["wh_9"; 60])).await;
    }
    let state = async || case.webhook_health(&stored).await.unwrap().state();
    assert_eq!(state().await, HealthState::Unknown);
    case.record_failing(&stored, FailureNote::Succeeded, None).await.unwrap();
    assert_eq!(state().await, HealthState::Healthy);
    case.record_failing(&stored, FailureNote::Failing { since_ms: NOW, announced: 0 }, None).await.unwrap();
    assert_eq!(state().await, HealthState::Failing(NOW));
}

pub(crate) async fn health_is_read_for_labels_and_patterns(case: Case) {
    for webhook in [labelled("wh_2", "t", "x"), webhook("wh_3", "a/*"), webhook("wh_4", "*")] {
        case.put_webhook(webhook).await.unwrap();
    }
    let row = |number: u32, webhook: &str, event_type: &str| {
        let row = with(spilled(&id(NOW + i64::from(number), number)), |event| event.event_type = event_type.into());
        to(webhook, row)
    };
    for (number, webhook, event_type) in [(1, "wh_2", "t"), (2, "wh_3", "a/b"), (3, "wh_4", "c")] {
        let finished_at = Some(NOW + i64::from(number));
        case.finished(row(number, webhook, event_type), |update| DeliveryUpdate { finished_at, ..update }).await;
    }
    case.finished(row(4, "wh_3", "a/c"), |update| DeliveryUpdate { attempt: Some(attempt(1)), ..retry(NOW)(update) })
        .await;
    let brief = case.health_of_webhooks("acme", "wh_2", "wh_4").await.unwrap();
    let mut seen = Vec::new();
    for id in ["wh_2", "wh_3", "wh_4"] {
        let webhook = case.webhook("acme", id).await.unwrap().unwrap();
        let whole = case.webhook_health(&webhook).await.unwrap();
        assert_eq!(brief[id], whole);
        let WebhookHealth { last_success_at, waiting, last_error, .. } = whole;
        seen.push((last_success_at, waiting, last_error.is_some()));
    }
    assert_eq!(seen, [(Some(NOW + 1), 0, false), (Some(NOW + 2), 1, true), (Some(NOW + 3), 0, false)]);
}
