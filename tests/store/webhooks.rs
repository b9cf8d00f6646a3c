//! Webhooks.

use std::sync::Arc;

use posthaste::domain::company_limit::CompanyLimit;
use posthaste::domain::plugin::Digest;
use posthaste::domain::rate_limit::RateLimit;
use posthaste::domain::transform::OnError;
use posthaste::domain::webhook::{Recipient, Webhook, WebhookHealth};
use posthaste::store::{
    DeliveryUpdate, DisableReason, FailureNote, IfTaken, Rotation, StoreError, StoredWebhook, WebhookKey,
};

use crate::case::{Case, NOW, attempt, id, retry, row, spilled, to, webhook};

pub(crate) async fn webhook_is_stored_overwritten_changed_and_removed(case: Case) {
    assert!(case.webhook_for("acme", "t").await.unwrap().is_none());
    let first = webhook("wh_1", "t");
    let StoredWebhook { webhook: stored, before } = case.put_webhook(first.clone()).await.unwrap();
    let created = before.is_none();
    assert!(created && stored == first);
    assert!(*case.webhook_for("acme", "t").await.unwrap().unwrap() == first);
    case.put_webhook(Webhook { company: "other".into(), ..webhook("wh_9", "t") }).await.unwrap();
    // Another webhook for the same type replaces all but the id, the time of creation and the secret.
    let second = Webhook {
        recipient: Recipient::Url("https://b.test/".into()),
        challenge: None,
        name: None,
        enabled: false,
        disabled_reason: Some("gone".into()),
        config: "null".into(),
        on_error: OnError::Retry,
        headers: Vec::new(),
        tls: None,
        rate_limit: RateLimit::per_second(20).ok(),
        timeout: None,
        ordered: true,
        max_in_flight: 1024,
        created_at: NOW + 9,
        updated_at: NOW + 9,
        signing_secret: [9].as_slice().into(),
        ..webhook("wh_2", "t")
    };
    let StoredWebhook { webhook: stored, before } = case.put_webhook(second.clone()).await.unwrap();
    let created = before.is_none();
    let (kept, config_digest) = (first.clone(), stored.config_digest.clone());
    let expected = Webhook {
        id: kept.id,
        created_at: kept.created_at,
        signing_secret: kept.signing_secret,
        config_digest,
        ..second
    };
    assert!(!created && stored == expected);
    assert!(*case.webhook_for("acme", "t").await.unwrap().unwrap() == expected);
    assert_eq!(&case.config(&first.config_digest).await.unwrap().unwrap(), first.config.text().unwrap());

    let changed = case.change_webhook(WebhookKey { company: "acme", id: "wh_1" }, |webhook| {
        webhook.name = Some("n".into());
        webhook.updated_at = NOW + 10;
        Ok(())
    });
    assert_eq!(changed.await.unwrap().unwrap().name.as_deref(), Some("n"));
    let refused = case.change_webhook(WebhookKey { company: "acme", id: "wh_1" }, |webhook| {
        webhook.name = None;
        Err(CompanyLimit::stored("webhooks", "no".into()).into())
    });
    assert!(matches!(refused.await, Err(StoreError::Limit(_))));
    assert_eq!(case.webhook("acme", "wh_1").await.unwrap().unwrap().name.as_deref(), Some("n"));
    assert!(case.change_webhook(WebhookKey { company: "other", id: "wh_1" }, |_| Ok(())).await.unwrap().is_none());

    case.put_webhook(webhook("wh_3", "u")).await.unwrap();
    let listed = async |after, limit| {
        let page = case.webhooks("acme", after, limit).await.unwrap();
        (page.webhooks.into_iter().map(|listed| listed.id).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(listed(None, 9).await, (vec!["wh_3".into(), "wh_1".into()], None));
    assert_eq!(listed(None, 1).await, (vec!["wh_3".into()], Some("wh_3".into())));
    assert_eq!(listed(Some("wh_3"), 1).await, (vec!["wh_1".into()], None));
    assert_eq!(listed(Some("wh_1"), 1).await, (vec![], None));
    assert!(case.delete_webhook(&stored).await.unwrap() && !case.delete_webhook(&stored).await.unwrap());
    assert!(case.webhook("acme", "wh_1").await.unwrap().is_none());
    assert!(case.webhook_for("acme", "t").await.unwrap().is_none());
    assert!(case.webhook_for("other", "t").await.unwrap().is_some());
}

pub(crate) async fn signing_secret_is_replaced(case: Case) {
    let key = WebhookKey { company: "acme", id: "wh_1" };
    let with_secret = |byte| Webhook { signing_secret: [byte; 24].as_slice().into(), ..webhook("wh_1", "t") };
    let keys = |webhook: &Webhook| webhook.signing_secrets(NOW / 1000).map(|secret| secret[0]).collect::<Vec<_>>();
    let put = async |byte| {
        let stored = posthaste::store::Store::put_webhook(&case, with_secret(byte), IfTaken::OverwriteWithSecret).await;
        keys(&stored.unwrap().webhook)
    };
    let rotate = async |byte| {
        let rotation = Rotation { secret: [byte; 24].as_slice().into(), now: NOW, until: NOW + 100_000 };
        keys(&case.rotate_secret(key, rotation).await.unwrap().unwrap())
    };
    assert_eq!(put(1).await, [1]);
    assert_eq!(rotate(2).await, [2, 1]);
    assert_eq!(put(3).await, [3]);
    assert_eq!(keys(&case.webhook_for("acme", "t").await.unwrap().unwrap()), [3]);
    assert_eq!(rotate(4).await, [4, 3]);
    let change = async |secret: Option<u8>| {
        let changed = case.change_webhook(key, move |webhook| {
            if let Some(byte) = secret {
                (webhook.signing_secret, webhook.previous_secret) = ([byte; 24].as_slice().into(), None);
            }
            Ok(())
        });
        keys(&changed.await.unwrap().unwrap())
    };
    assert_eq!(change(None).await, [4, 3]);
    assert_eq!(change(Some(4)).await, [4], "the same secret again ends the overlap too");
    assert_eq!(change(Some(5)).await, [5]);
    assert_eq!(keys(&case.webhook_for("acme", "t").await.unwrap().unwrap()), [5]);
}

pub(crate) async fn signing_secret_is_rotated(case: Case) {
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    let secret: Arc<[u8]> = [4; 24].as_slice().into();
    let rotate = |until| {
        case.rotate_secret(
            WebhookKey { company: "acme", id: "wh_1" },
            Rotation { secret: secret.clone(), now: NOW + 1, until },
        )
    };
    let rotated = rotate(NOW + 100).await.unwrap().unwrap();
    assert_eq!((&rotated.signing_secret, rotated.updated_at), (&secret, NOW + 1));
    let previous = rotated.previous_secret.unwrap();
    assert_eq!((&*previous.secret, previous.until), (&[1, 2, 3][..], NOW + 100));
    assert!(
        rotate(NOW + 1).await.unwrap().unwrap().previous_secret.is_none(),
        "without an overlap there is no previous secret"
    );
    let nobody = Rotation { secret: secret.clone(), now: NOW, until: NOW };
    assert!(case.rotate_secret(WebhookKey { company: "acme", id: "wh_2" }, nobody).await.unwrap().is_none());
}

pub(crate) async fn failing_webhook_is_recorded_and_disabled(case: Case) {
    let webhook = case.put_webhook(webhook("wh_1", "t")).await.unwrap().webhook;
    let noted = async || {
        let webhook = case.webhook_for("acme", "t").await.unwrap().unwrap();
        (webhook.failing_since, webhook.proven)
    };
    assert_eq!(noted().await, (None, false));
    let failing = |announced| FailureNote::Failing { since_ms: NOW, announced };
    assert!(!case.record_failing(&webhook, failing(0), None).await.unwrap());
    assert_eq!(noted().await, (Some(NOW), false));
    assert!(!case.record_failing(&webhook, FailureNote::Succeeded, Some(row(&id(NOW, 3)))).await.unwrap());
    assert_eq!(noted().await, (None, true));
    // Each threshold, and the success after it, has its notice once.
    for (number, note, due) in [
        (4, failing(1), true),
        (5, failing(1), false),
        (6, failing(3), true),
        (7, failing(2), false),
        (8, FailureNote::Succeeded, true),
        (9, FailureNote::Succeeded, false),
    ] {
        let notice = id(NOW, number);
        assert_eq!(case.record_failing(&webhook, note, Some(row(&notice))).await.unwrap(), due, "{note:?}");
        assert_eq!(case.delivery("acme", &notice).await.unwrap().is_some(), due, "{note:?}");
    }
    let (notice, late) = (id(NOW, 1), id(NOW, 2));
    let disable = |notice: &str| {
        case.disable_webhook(&webhook, DisableReason { text: "it is gone".into(), at_ms: NOW + 3 }, Some(row(notice)))
    };
    assert!(disable(&notice).await.unwrap());
    let disabled = case.webhook_for("acme", "t").await.unwrap().unwrap();
    assert_eq!((disabled.enabled, disabled.disabled_reason.as_deref()), (false, Some("it is gone")));
    assert_eq!(disabled.updated_at, NOW + 3);
    assert_eq!(case.one(&notice).await.id, notice);
    // The webhook was changed since it was read.
    assert!(!disable(&late).await.unwrap());
    assert!(case.delivery("acme", &late).await.unwrap().is_none());
}

pub(crate) async fn company_has_at_most_a_thousand_webhooks(case: Case) {
    case.put_webhook(webhook("wh_0", "t0")).await.unwrap();
    case.home
        .sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999) \
             INSERT INTO webhooks (id, company, event_type, target_url, enabled, config, on_error, headers, max_in_flight, \
             ordered, signing_secret, created_at, updated_at) SELECT 'wh_' || i, company, 't' || i, target_url, enabled, \
             config, on_error, headers, max_in_flight, ordered, signing_secret, created_at, updated_at FROM webhooks, n",
        )
        .await;
    let Err(StoreError::Limit(why)) = case.put_webhook(webhook("wh_x", "x")).await else { panic!("one more") };
    assert!(why.name == "webhooks" && why.detail.contains("1000 webhooks"), "{why}");
    assert!(case.webhook_for("acme", "x").await.unwrap().is_none());
    assert!(case.put_webhook(webhook("wh_x", "t0")).await.unwrap().before.is_some());
    let copied = case.webhook_for("acme", "t5").await;
    assert!(matches!(copied, Err(StoreError::Setup(_))), "a secret opens for its own webhook only");
}

pub(crate) async fn config_is_kept_until_no_attempt_can_name_it(case: Case) {
    // Released a minute before the attempts of that time have left the log, and long enough before.
    let (recent, expired) = (NOW + 60_000, NOW + 600_001);
    let with_config = |id: &str, event_type: &str, config: &str| Webhook {
        config: config.into(),
        config_digest: Digest::of(config.as_bytes()),
        ..webhook(id, event_type)
    };
    let kept = async |config: &str| case.config(&Digest::of(config.as_bytes())).await.unwrap().is_some();
    let clean = async |now, before| {
        (case.release_configs(now).await.unwrap(), case.remove_released_configs(before).await.unwrap())
    };
    case.put_webhook(with_config("wh_1", "t", "1")).await.unwrap();
    case.put_webhook(with_config("wh_2", "u", "1")).await.unwrap();
    let elsewhere = Webhook { company: "other".into(), ..with_config("wh_3", "t", "3") };
    case.put_webhook(elsewhere).await.unwrap();
    // Another webhook still has the first one; the second is taken again, and the third another company has.
    for config in ["2", "3", "2"] {
        case.put_webhook(with_config("wh_1", "t", config)).await.unwrap();
        assert_eq!(clean(NOW, recent).await, (false, false));
    }
    assert!(!case.remove_released_configs(expired).await.unwrap());
    assert_eq!((kept("1").await, kept("2").await, kept("3").await), (true, true, true));
    let owned = "SELECT COUNT(*) FROM company_configs";
    assert_eq!(case.home.value::<i64>(owned).await, 3, "this company does not have the third any more");
    case.delete_webhook(&webhook("wh_1", "t")).await.unwrap();
    case.delete_webhook(&webhook("wh_2", "u")).await.unwrap();
    assert_eq!(clean(NOW, recent).await, (false, false));
    assert_eq!((kept("1").await, kept("2").await), (true, true));
    case.put_webhook(with_config("wh_4", "t", "2")).await.unwrap();
    assert_eq!(clean(NOW, expired).await, (false, false));
    assert_eq!((kept("1").await, kept("2").await, kept("3").await), (false, true, true));
}

pub(crate) async fn headers_in_clear_are_read_and_encrypted(case: Case) {
    let headers = vec![("x-api-key".to_owned(), "k y \"1\"".to_owned())];
    let new = Webhook { headers: headers.clone(), ..webhook("wh_1", "t") };
    let stored = case.put_webhook(new).await.unwrap().webhook;
    assert_eq!(stored.headers, headers);
    let clear = "SELECT COUNT(*) FROM webhooks WHERE headers <> '[]' OR sealed_headers IS NULL";
    assert_eq!(case.home.value::<i64>(clear).await, 0);
    let earlier = r#"UPDATE webhooks SET sealed_headers = NULL, headers = '[["x-a","1"]]'"#;
    case.home.sql(earlier).await;
    let read = async || case.webhook("acme", "wh_1").await.unwrap().unwrap().headers;
    let expected = [("x-a".to_owned(), "1".to_owned())];
    assert_eq!((read().await.as_slice(), case.home.value::<i64>(clear).await), (&expected[..], 1));
    assert!(!case.seal_plain_headers().await.unwrap());
    assert_eq!((read().await.as_slice(), case.home.value::<i64>(clear).await), (&expected[..], 0));
}

pub(crate) async fn health_is_read_from_the_recent_deliveries(case: Case) {
    let hook = webhook("wh_1", "t");
    case.put_webhook(hook.clone()).await.unwrap();
    let stored = case.webhook("acme", "wh_1").await.unwrap().unwrap();
    let health = async |webhook: &Webhook| {
        let one = case.webhook_health(webhook).await.unwrap();
        let all = case.health_of_webhooks("acme", "wh_1", &webhook.id).await.unwrap();
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [(webhook.id.clone(), one.clone())]);
        one
    };
    assert_eq!(health(&stored).await, WebhookHealth::default());
    case.finished(spilled(&id(NOW, 1)), |completion| completion).await;
    case.finished(spilled(&id(NOW + 1, 2)), |completion| DeliveryUpdate {
        attempt: Some(attempt(1)),
        ..retry(NOW + 50)(completion)
    })
    .await;
    case.stored(spilled(&id(NOW + 2, 3))).await;
    case.stored(row(&id(NOW + 3, 4))).await;
    let other = to("wh_9", spilled(&id(NOW - 1, 5)));
    case.stored(other).await;
    let found = health(&stored).await;
    assert_eq!((found.last_success_at, found.waiting, found.oldest_waiting), (Some(NOW + 5), 3, Some(NOW + 1)));
    // An attempt of the test data has an error, and began when it says.
    let attempt = attempt(1);
    assert_eq!((found.last_error_at, found.last_error.is_some()), (Some(attempt.started_at), true));
    // A success from before the failures is found behind any number of them.
    let failing = FailureNote::Failing { since_ms: NOW + 1, announced: 0 };
    case.record_failing(&stored, failing, None).await.unwrap();
    for number in 10..40 {
        case.finished(spilled(&id(NOW + 9, number)), retry(NOW + 99)).await;
    }
    let brief = case.health_of_webhooks("acme", "wh_1", "wh_1").await.unwrap();
    assert_eq!((brief["wh_1"].last_success_at, brief["wh_1"].failing_since), (Some(NOW + 5), Some(NOW + 1)));
}
