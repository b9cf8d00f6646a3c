//! What companies may keep.

use bytes::Bytes;
use posthaste::domain::plugin::Digest;
use posthaste::domain::quota::{Quota, QuotaUsage, Quotas};
use posthaste::domain::webhook::Webhook;
use posthaste::store::{NewEventRow, NewVersion, QuotaChange, StoreError};

use crate::case::{Case, NOW, id, spilled, webhook, with};

fn with_config(id: &str, event_type: &str, config: &str) -> Webhook {
    Webhook { config: config.into(), config_digest: Digest::of(config.as_bytes()), ..webhook(id, event_type) }
}

fn version(name: &str, wasm: &'static [u8]) -> NewVersion {
    NewVersion {
        company: "acme".into(),
        name: name.into(),
        digest: Digest::of(wasm),
        exports: Vec::new(),
        imports: Vec::new(),
        wasm: Bytes::from_static(wasm),
        now: NOW,
    }
}

/// Returns what `acme` uses and may use.
async fn usage(case: &Case, quota: Quota) -> (u64, u64) {
    let all = case.quota_usage("acme").await.unwrap();
    let QuotaUsage { used, limit, .. } = all.into_iter().find(|usage| usage.quota == quota).unwrap();
    (used, limit)
}

async fn set(case: &Case, quota: Quota, limit: impl Into<Option<u64>>) {
    case.change_quotas("acme".into(), vec![QuotaChange { quota, limit: limit.into() }]).await.unwrap();
}

fn limit_of<T>(result: Result<T, StoreError>) -> &'static str {
    match result {
        Err(StoreError::Limit(limit)) => limit.name,
        _ => panic!("it was stored"),
    }
}

pub(crate) async fn company_has_its_own_quotas(case: Case) {
    assert_eq!(usage(&case, Quota::Webhooks).await, (0, Quotas::default().webhooks));
    set(&case, Quota::Webhooks, 1).await;
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    assert_eq!(usage(&case, Quota::Webhooks).await, (1, 1));
    assert_eq!(limit_of(case.put_webhook(webhook("wh_2", "u")).await), "webhooks");
    let other = Webhook { company: "other".into(), ..webhook("wh_3", "t") };
    case.put_webhook(other).await.unwrap();
    set(&case, Quota::Webhooks, 2).await;
    set(&case, Quota::Webhooks, None).await;
    case.put_webhook(webhook("wh_2", "u")).await.unwrap();
}

pub(crate) async fn configs_are_bounded_in_bytes_with_those_that_wait_for_retention(case: Case) {
    set(&case, Quota::ConfigBytes, 3 * 1024 + 100).await;
    let put = async |config: &str| case.put_webhook(with_config("wh_1", "t", config)).await;
    for config in ["\"a\"", "\"b\"", "\"c\""] {
        put(config).await.unwrap();
    }
    assert_eq!(usage(&case, Quota::ConfigBytes).await, (3 * 1027, 3172));
    assert_eq!(limit_of(put("\"d\"").await), "config-bytes");
    assert!(case.config(&Digest::of(b"\"d\"")).await.unwrap().is_none());
    // One that the company has already costs nothing.
    put("\"a\"").await.unwrap();
    set(&case, Quota::ConfigBytes, 0).await;
    put("\"b\"").await.unwrap();
}

pub(crate) async fn plugins_are_bounded_in_number_and_bytes(case: Case) {
    set(&case, Quota::PluginBytes, 5).await;
    case.put_plugin(version("a", b"12"), None).await.unwrap();
    case.put_plugin(version("a", b"345"), None).await.unwrap();
    assert_eq!(limit_of(case.put_plugin(version("a", b"6"), None).await), "plugin-bytes");
    // A removed version counts until it is deleted.
    assert!(case.remove_plugin("acme".into(), "a".into(), NOW).await.unwrap());
    assert_eq!(limit_of(case.put_plugin(version("b", b"6"), None).await), "plugin-bytes");
    set(&case, Quota::PluginBytes, 50).await;
    set(&case, Quota::PluginVersions, 1).await;
    case.put_plugin(version("b", b"7"), None).await.unwrap();
    assert_eq!(limit_of(case.put_plugin(version("b", b"8"), None).await), "plugin-versions");
    set(&case, Quota::Plugins, 1).await;
    assert_eq!(limit_of(case.put_plugin(version("c", b"9"), None).await), "plugins");
    assert_eq!(usage(&case, Quota::Plugins).await, (1, 1));
    assert_eq!(usage(&case, Quota::PluginVersions).await, (1, 1));
}

pub(crate) async fn events_are_counted_in_bytes(case: Case) {
    let (first, second) = (id(NOW, 1), id(NOW + 1, 2));
    let data = |id: &str, bytes: usize| with(spilled(id), |event| event.data = Bytes::from(vec![b'1'; bytes]));
    case.stored(data(&first, 700)).await;
    case.stored(data(&second, 300)).await;
    case.stored(NewEventRow { place: id(NOW + 2, 3), ..data(&second, 300) }).await;
    assert_eq!(usage(&case, Quota::EventBytes).await.0, 1000, "the same event again is not stored");
    case.update_event_usage().await.unwrap();
    assert_eq!(usage(&case, Quota::EventBytes).await.0, 1000);
    assert!(case.check_event_quota("acme").is_ok());
    set(&case, Quota::EventBytes, 900).await;
    assert_eq!(limit_of(case.check_event_quota("acme")), "event-bytes");
    assert!(case.check_event_quota("other").is_ok());
    assert!(!case.expire("acme".into(), NOW + 1).await.unwrap());
    assert_eq!(usage(&case, Quota::EventBytes).await, (300, 900));
    case.update_event_usage().await.unwrap();
    assert!(case.check_event_quota("acme").is_ok());
    // The count survives the process.
    let case = case.restart().await;
    assert_eq!(usage(&case, Quota::EventBytes).await, (300, 900));
}
