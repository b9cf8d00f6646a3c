//! Webhooks with several transforms.

use posthaste::domain::plugin::{Digest, PluginRef, PluginVersion};
use posthaste::domain::transform::{OnError, Transform};
use posthaste::domain::webhook::Webhook;
use posthaste::store::{Activation, Follower, NewVersion, PluginUser, StoreError, WebhookFilter, WebhookKey};

use crate::case::{Case, NOW, webhook};

/// A version of a plugin of `acme`.
fn version(name: &str, bytes: &'static str) -> NewVersion {
    NewVersion {
        company: "acme".into(),
        name: name.into(),
        digest: Digest::of(bytes.as_bytes()),
        exports: Vec::new(),
        imports: Vec::new(),
        wasm: bytes.into(),
        now: NOW,
    }
}

/// Uploads a version and makes it the active one. Returns its digest.
pub(crate) async fn active(case: &Case, name: &str, bytes: &'static str) -> Digest {
    let new = version(name, bytes);
    let activation = Activation {
        company: "acme".into(),
        name: name.into(),
        digest: new.digest.clone(),
        followers: case.followers("acme", name).await.unwrap(),
        now: NOW,
    };
    case.put_plugin(new.clone(), Some(activation)).await.unwrap();
    new.digest
}

pub(crate) fn transform(plugin: &str, digest: &Digest, config: &str) -> Transform {
    Transform {
        plugin: PluginRef { name: plugin.into(), digest_prefix: None },
        digest: Some(digest.clone()),
        config: config.into(),
        config_digest: Digest::of(config.as_bytes()),
        on_error: OnError::Retry,
    }
}

fn chained(id: &str, event_type: &str, chain: Vec<Transform>) -> Webhook {
    let mut webhook = webhook(id, event_type);
    webhook.set_transforms(chain);
    webhook
}

fn names(webhook: &Webhook) -> Vec<&str> {
    webhook.transforms().map(|transform| transform.plugin.name.as_str()).collect()
}

pub(crate) async fn chain_is_stored_in_its_order_and_read_wherever_its_webhook_is(case: Case) {
    let [p, q] = [active(&case, "p", "one").await, active(&case, "q", "two").await];
    let mut pinned = transform("q", &q, r#"{"n":1}"#);
    (pinned.plugin.digest_prefix, pinned.on_error) = (Some(q.to_string()), OnError::Drop);
    let chain = vec![transform("q", &q, "null"), transform("p", &p, r#"{"n":1}"#), pinned];
    let stored = case.put_webhook(chained("wh_1", "t", chain.clone())).await.unwrap().webhook;
    assert!(stored == chained("wh_1", "t", chain.clone()));
    case.put_webhook(webhook("wh_2", "u")).await.unwrap();
    let key = WebhookKey { company: "acme", id: "wh_1" };
    for found in [
        (*case.webhook_for("acme", "t").await.unwrap().unwrap()).clone(),
        (*case.webhook_of("acme", "wh_1").await.unwrap().unwrap()).clone(),
        case.webhook("acme", "wh_1").await.unwrap().unwrap(),
        case.subscribed("acme", stored.subscription()).await.unwrap().unwrap(),
        case.change_webhook(key, |_| Ok(())).await.unwrap().unwrap(),
        case.webhooks("acme", None, 9).await.unwrap().webhooks.pop().unwrap(),
    ] {
        assert!(found.chain == chain && found.plugin.is_none() && found.config.text().unwrap() == &"null".into());
    }
    // A node that does not know the table finds no plugin of this name.
    let name = case.home.value::<String>("SELECT plugin_name FROM webhooks WHERE id = 'wh_1'").await;
    assert!(posthaste::domain::plugin::check_name(&name).is_err());
    let shorter = move |webhook: &mut Webhook| {
        webhook.set_transforms(vec![webhook.chain[1].clone()]);
        Ok(())
    };
    let changed = case.change_webhook(key, shorter).await.unwrap().unwrap();
    assert_eq!((names(&changed), changed.plugin_digest.as_ref()), (vec!["p"], Some(&p)));
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM chain_transforms").await, 0);
    case.put_webhook(chained("wh_1", "t", chain)).await.unwrap();
    let again = case.put_webhook(chained("wh_9", "t", Vec::new())).await.unwrap();
    assert_eq!((names(&again.before.unwrap()).len(), names(&again.webhook).len()), (3, 0));
}

pub(crate) async fn large_config_of_a_chain_is_read_when_it_is_needed(case: Case) {
    let p = active(&case, "p", "one").await;
    let large = format!("\"{}\"", "x".repeat(100_000));
    let chain = vec![transform("p", &p, "null"), transform("p", &p, &large)];
    case.put_webhook(chained("wh_1", "t", chain)).await.unwrap();
    let found = case.webhook_for("acme", "t").await.unwrap().unwrap();
    let unread = &found.chain[1];
    assert_eq!((unread.config.text(), unread.config.bytes()), (None, large.len()));
    assert_eq!(&*case.config_text(&unread.config, &unread.config_digest).await.unwrap(), &*large);
    assert!(case.webhook("acme", "wh_1").await.unwrap().unwrap().chain[1].config.text().is_some());
    let page = case.filtered_webhooks("acme", &WebhookFilter::default(), None, 9).await.unwrap();
    assert!(page.webhooks[0].chain[1].config.text().is_none() && page.bytes > 64 * 1024);
    // A config is kept as long as a transform has it.
    assert!(!case.release_configs(NOW).await.unwrap());
    let released = "SELECT COUNT(*) FROM company_configs WHERE released_at IS NOT NULL";
    let before: i64 = case.home.value(released).await;
    case.delete_webhook(&found).await.unwrap();
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM chain_transforms").await, 0);
    assert!(!case.release_configs(NOW).await.unwrap());
    assert_eq!((before, case.home.value::<i64>(released).await), (0, 2));
    assert!(!case.remove_released_configs(NOW + 700_000).await.unwrap());
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM configs").await, 0);
}

pub(crate) async fn chain_whose_transforms_cannot_be_read_is_not_taken_for_none(case: Case) {
    let p = active(&case, "p", "one").await;
    let chain = vec![transform("p", &p, "1"), transform("p", &p, "2")];
    case.put_webhook(chained("wh_1", "t", chain)).await.unwrap();
    case.home.sql(&format!("DELETE FROM configs WHERE digest = '{}'", Digest::of(b"2"))).await;
    let Err(StoreError::Setup(why)) = case.webhook_for("acme", "t").await else { panic!("a config is missing") };
    assert!(why.contains("is not stored"), "{why}");
    case.home.sql("DELETE FROM chain_transforms").await;
    assert!(matches!(case.webhook_of("acme", "wh_1").await, Err(StoreError::Changed(_))));
    assert!(matches!(case.webhook("acme", "wh_1").await, Err(StoreError::Changed(_))));
}

pub(crate) async fn plugin_of_a_chain_is_used_by_its_webhook(case: Case) {
    let [p, q] = [active(&case, "p", "one").await, active(&case, "q", "two").await];
    let mut pinned = transform("q", &q, "7");
    pinned.plugin.digest_prefix = Some(q.to_string());
    let chain = vec![transform("p", &p, "2"), transform("p", &p, "1"), transform("p", &p, "1"), pinned];
    case.put_webhook(chained("wh_1", "t", chain.clone())).await.unwrap();
    let follower = |config: &str| Follower {
        user: PluginUser::Webhook { id: "wh_1".into(), subscription: "`t`".into() },
        config_digest: Digest::of(config.as_bytes()),
    };
    let mut followers = case.followers("acme", "p").await.unwrap();
    followers.sort_by_key(|follower| follower.config_digest != Digest::of(b"1"));
    assert_eq!(followers, [follower("1"), follower("2")]);
    assert_eq!(case.followers("acme", "q").await.unwrap(), []);
    let mut used: Vec<_> = case.versions_in_use(10).await.unwrap().into_iter().map(|version| version.name).collect();
    used.sort();
    assert_eq!(used, ["p", "q"]);
    for name in ["p", "q"] {
        let Err(StoreError::InUse(why)) = case.remove_plugin("acme".into(), name.into(), NOW).await else { panic!() };
        assert_eq!(why.matches("wh_1 (`t`)").count(), 1, "{why}");
    }
    active(&case, "q", "three").await;
    let old = PluginVersion { owner: "acme".into(), name: "q".into(), digest: q.clone() };
    assert!(matches!(case.remove_version(old, NOW).await, Err(StoreError::InUse(_))));
    // It would run another version than the one that checked its config.
    active(&case, "p", "four").await;
    assert!(matches!(case.put_webhook(chained("wh_2", "u", chain)).await, Err(StoreError::Changed(_))));
    let disabled = |webhook: &mut Webhook| {
        webhook.enabled = false;
        Ok(())
    };
    case.change_webhook(WebhookKey { company: "acme", id: "wh_1" }, disabled).await.unwrap();
    assert_eq!(case.versions_in_use(10).await.unwrap(), []);
}

pub(crate) async fn chain_is_refused_while_a_node_of_an_earlier_version_runs(case: Case) {
    let p = active(&case, "p", "one").await;
    let chain = vec![transform("p", &p, "1"), transform("p", &p, "2")];
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    case.home.sql("INSERT INTO nodes (id, beat, started_at) VALUES ('node_before', 0, 0)").await;
    let refused = case.put_webhook(chained("wh_2", "t", chain.clone())).await;
    let Err(StoreError::InUse(why)) = refused else { panic!("an earlier node would send nothing") };
    assert!(why.contains("several transforms"), "{why}");
    assert_eq!(names(&case.webhook("acme", "wh_1").await.unwrap().unwrap()).len(), 0);
    case.home.sql("DELETE FROM nodes WHERE id = 'node_before'").await;
    case.put_webhook(chained("wh_2", "t", chain)).await.unwrap();
}
