//! Plugins and their versions.

use posthaste::domain::plugin::{Digest, PluginVersion, STANDARD_OWNER};
use posthaste::store::{Activation, Follower, NewVersion, PluginChange, PluginUser, StoreError};

use crate::case::{Case, NOW, running, webhook};

fn version(company: &str, name: &str, bytes: &'static str) -> NewVersion {
    NewVersion {
        company: company.into(),
        name: name.into(),
        digest: Digest::of(bytes.as_bytes()),
        exports: vec!["a".into(), "b".into()],
        imports: Vec::new(),
        wasm: bytes.into(),
        now: NOW,
    }
}

fn plugin_version(digest: &Digest) -> PluginVersion {
    PluginVersion { owner: "acme".into(), name: "p".into(), digest: digest.clone() }
}

fn activation(version: &NewVersion, followers: Vec<Follower>) -> Activation {
    let (company, name) = (version.company.clone(), version.name.clone());
    Activation { company, name, digest: version.digest.clone(), followers, now: NOW + 1 }
}

/// Stores a version and makes it active.
async fn active(case: &Case, version: &NewVersion) -> bool {
    let followers = case.followers(&version.company, &version.name).await.unwrap();
    case.put_plugin(version.clone(), Some(activation(version, followers))).await.unwrap().is_change()
}

pub(crate) async fn version_is_stored_activated_and_listed(case: Case) {
    let (one, two) = (version("acme", "p", "one"), NewVersion { now: NOW + 5, ..version("acme", "p", "two") });
    assert_eq!(case.put_plugin(one.clone(), None).await.unwrap(), PluginChange::Stored);
    assert_eq!(case.plugin("acme", "p").await.unwrap().unwrap().active, None);
    assert!(active(&case, &one).await && !active(&case, &one).await, "activating it again changes nothing");
    assert_eq!(case.put_plugin(two.clone(), None).await.unwrap(), PluginChange::Stored);
    let versions = async || -> Vec<_> {
        let versions = case.versions("acme", "p").await.unwrap().into_iter();
        versions.map(|version| (version.digest, version.active)).collect()
    };
    assert_eq!(versions().await, [(two.digest.clone(), false), (one.digest.clone(), true)]);
    let previous = Some(one.digest.clone());
    let activated = case.activate(activation(&two, Vec::new())).await.unwrap();
    assert_eq!(activated, PluginChange::Activated { previous });
    assert_eq!(case.activate(activation(&two, Vec::new())).await.unwrap(), PluginChange::None);
    assert_eq!(versions().await, [(two.digest.clone(), true), (one.digest.clone(), false)]);
    let shown = &case.versions("acme", "p").await.unwrap()[1];
    assert_eq!((&*shown.name, shown.size, shown.created_at), ("p", 3, NOW));
    assert_eq!((&shown.exports, &shown.imports), (&one.exports, &one.imports));
    assert_eq!(case.wasm("acme", "p", &one.digest).await.unwrap().as_deref(), Some(&b"one"[..]));
    assert!(case.wasm("other", "p", &one.digest).await.unwrap().is_none());
    let missing = version("acme", "p", "three");
    assert!(matches!(case.activate(activation(&missing, Vec::new())).await, Err(StoreError::Changed(_))));

    // The company's own plugins, newest first and then by name, followed by the standard ones.
    for name in ["b-2", "b1", "a"] {
        case.put_plugin(version("acme", name, "one"), None).await.unwrap();
    }
    case.put_plugin(NewVersion { now: NOW + 7, ..version("acme", "last", "x") }, None).await.unwrap();
    case.put_plugin(version(STANDARD_OWNER, "std-mask", "std"), None).await.unwrap();
    case.put_plugin(version("other", "q", "one"), None).await.unwrap();
    let (mut after, mut listed) = (None, Vec::new());
    loop {
        let some = case.plugins("acme", after.as_ref(), 2).await.unwrap();
        let Some(last) = some.last() else { break };
        after = Some((last.created_at, last.name.clone()));
        listed.extend(some.into_iter().map(|plugin| plugin.name));
    }
    assert_eq!(listed, ["last", "a", "b-2", "b1", "p", "std-mask"]);
    assert!(case.plugin("acme", "std-mask").await.unwrap().is_some());
}

pub(crate) async fn digest_prefix_finds_versions(case: Case) {
    for (number, bytes) in ["a", "b", "c"].into_iter().enumerate() {
        let digest = Digest::stored(&format!("{}{number}", "f".repeat(63)));
        case.put_plugin(NewVersion { digest, ..version("acme", "p", bytes) }, None).await.unwrap();
    }
    let found = async |prefix: &str| case.versions_by_prefix("acme", "p", prefix).await.unwrap().len();
    assert_eq!(found(&"f".repeat(8)).await, 2, "two show that the prefix is not unique");
    assert_eq!(found(&format!("{}1", "f".repeat(63))).await, 1);
    assert_eq!(found("ffffffff0").await, 0);
}

pub(crate) async fn activation_requires_the_current_followers(case: Case) {
    let (one, two) = (version("acme", "p", "one"), version("acme", "p", "two"));
    active(&case, &one).await;
    let follower = running(webhook("wh_1", "t"), "p", &one.digest, false);
    case.put_webhook(follower.clone()).await.unwrap();
    case.put_webhook(running(webhook("wh_2", "u"), "p", &one.digest, true)).await.unwrap();
    let followers = case.followers("acme", "p").await.unwrap();
    let expected = Follower {
        user: PluginUser::Webhook { id: "wh_1".into(), subscription: "`t`".into() },
        config_digest: follower.config_digest.clone(),
    };
    assert_eq!(followers, [expected]);
    let unasked = case.put_plugin(two.clone(), Some(activation(&two, Vec::new()))).await;
    assert!(matches!(unasked, Err(StoreError::Changed(_))));
    assert_eq!(case.versions("acme", "p").await.unwrap().len(), 1, "nothing of the upload is stored");
    assert!(case.put_plugin(two.clone(), Some(activation(&two, followers))).await.unwrap().is_change());
    // Storing a webhook is checked as well: it would run another version by now.
    assert!(matches!(case.put_webhook(follower).await, Err(StoreError::Changed(_))));
    let running_now = case.webhook_for("acme", "t").await.unwrap().unwrap();
    assert_eq!(running_now.plugin_digest.as_ref(), Some(&two.digest));
    let mut used = case.versions_in_use(10).await.unwrap();
    used.sort();
    let mut expected = [two.digest, one.digest.clone()].map(|digest| plugin_version(&digest));
    expected.sort();
    assert_eq!(used, expected);
    let pinned_to_nothing = running(webhook("wh_3", "v"), "p", &Digest::of(b"three"), true);
    assert!(matches!(case.put_webhook(pinned_to_nothing).await, Err(StoreError::Changed(_))));
}

pub(crate) async fn version_in_use_is_not_removed_and_a_removed_one_stays_for_the_log(case: Case) {
    let (one, two) = (version("acme", "p", "one"), version("acme", "p", "two"));
    active(&case, &one).await;
    case.put_plugin(two.clone(), None).await.unwrap();
    let user = case.put_webhook(running(webhook("wh_1", "t"), "p", &two.digest, true)).await.unwrap().webhook;
    let remove = |digest: &Digest| case.remove_version(plugin_version(digest), NOW + 2);
    let Err(StoreError::InUse(why)) = remove(&one.digest).await else { panic!("the active one") };
    assert!(why.contains("active"), "{why}");
    let Err(StoreError::InUse(why)) = remove(&two.digest).await else { panic!("a pinned one") };
    assert!(why.contains("wh_1 (`t`)"), "{why}");
    let removed = case.remove_plugin("acme".into(), "p".into(), NOW + 2).await;
    assert!(matches!(removed, Err(StoreError::InUse(_))));
    case.delete_webhook(&user).await.unwrap();
    assert!(remove(&two.digest).await.unwrap() && !remove(&two.digest).await.unwrap());
    assert_eq!(case.versions("acme", "p").await.unwrap().len(), 1);
    assert_eq!(case.wasm("acme", "p", &two.digest).await.unwrap().as_deref(), Some(&b"two"[..]));
    // Uploading a removed version again makes it new again.
    assert_eq!(case.put_plugin(two.clone(), None).await.unwrap(), PluginChange::Stored);
    assert!(case.remove_plugin("acme".into(), "p".into(), NOW + 3).await.unwrap());
    assert!(!case.remove_plugin("acme".into(), "p".into(), NOW + 3).await.unwrap());
    assert!(case.plugin("acme", "p").await.unwrap().is_none());
    case.put_plugin(version("other", "p", "two"), None).await.unwrap();
    assert!(!case.delete_removed_versions(NOW + 3).await.unwrap());
    assert!(case.wasm("acme", "p", &one.digest).await.unwrap().is_some());
    assert!(!case.delete_removed_versions(NOW + 4).await.unwrap());
    assert!(case.wasm("acme", "p", &one.digest).await.unwrap().is_none());
    // Bytes that another version shares stay.
    assert_eq!(case.wasm("other", "p", &two.digest).await.unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM plugin_bytes").await, 1);
}
