//! Policies.

use std::sync::Arc;

use posthaste::domain::plugin::Digest;
use posthaste::domain::policy::{MAX_POLICIES, Policy};
use posthaste::domain::transform::Transform;
use posthaste::store::{CompanyRemoval, Follower, PluginUser, RemovalStep, StoreError};

use crate::case::{Case, NOW, id, webhook};
use crate::chains::{active, transform};

fn policy(name: &str, types: &[&str], transforms: Vec<Transform>) -> Policy {
    Policy {
        company: "acme".into(),
        name: name.into(),
        types: types.iter().map(|text| (*text).to_owned()).collect(),
        transforms,
        created_at: NOW,
        updated_at: NOW,
    }
}

async fn in_force(case: &Case) -> Vec<String> {
    case.policies_in_force("acme").await.unwrap().iter().map(|policy| policy.name.clone()).collect()
}

pub(crate) async fn policy_is_stored_replaced_listed_and_removed(case: Case) {
    let p = active(&case, "p", "one").await;
    assert_eq!((in_force(&case).await, case.policy("acme", "a").await.unwrap()), (vec![], None));
    let both = vec![transform("p", &p, "1"), transform("p", &p, r#"{"n":2}"#)];
    let first = policy("b-2", &["*", "a/*"], both);
    let stored = case.put_policy(first.clone()).await.unwrap();
    assert!(stored.is_new && stored.policy == first);
    // At once, although it was cached that there are none.
    assert_eq!(in_force(&case).await, ["b-2"]);
    for name in ["b2", "a", "b-1"] {
        case.put_policy(policy(name, &["t"], vec![transform("p", &p, "3")])).await.unwrap();
    }
    // Byte by byte.
    assert_eq!(in_force(&case).await, ["a", "b-1", "b-2", "b2"]);
    let (once, again) = (case.policies_in_force("acme").await.unwrap(), case.policies_in_force("acme").await.unwrap());
    assert!(Arc::ptr_eq(&once, &again), "from memory");
    assert!(once[2] == first && case.policy("acme", "b-2").await.unwrap() == Some(first.clone()));
    assert_eq!(case.policies("other", 9).await.unwrap(), []);
    let replaced =
        Policy { created_at: NOW + 5, updated_at: NOW + 5, ..policy("b-2", &["u"], vec![transform("p", &p, "1")]) };
    let stored = case.put_policy(replaced.clone()).await.unwrap();
    assert!(!stored.is_new && stored.policy == Policy { created_at: NOW, ..replaced });
    assert_eq!(case.policies_in_force("acme").await.unwrap()[2], stored.policy);
    assert!(case.delete_policy("acme", "b-2").await.unwrap() && !case.delete_policy("acme", "b-2").await.unwrap());
    assert!(!case.delete_policy("other", "a").await.unwrap());
    assert_eq!(in_force(&case).await, ["a", "b-1", "b2"]);
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM chain_transforms").await, 3);
}

pub(crate) async fn policy_that_cannot_be_read_whole_is_not_taken_for_none(case: Case) {
    let p = active(&case, "p", "one").await;
    let large = format!("\"{}\"", "x".repeat(100_000));
    case.put_policy(policy("a", &["*"], vec![transform("p", &p, "1"), transform("p", &p, &large)])).await.unwrap();
    let unread = &case.policies_in_force("acme").await.unwrap()[0].transforms[1];
    assert_eq!((unread.config.text(), unread.config.bytes()), (None, large.len()));
    assert_eq!(&*case.config_text(&unread.config, &unread.config_digest).await.unwrap(), &*large);
    // A config is kept as long as a policy has it.
    assert!(!case.release_configs(NOW).await.unwrap());
    let released = "SELECT COUNT(*) FROM company_configs WHERE released_at IS NOT NULL";
    assert_eq!(case.home.value::<i64>(released).await, 0);
    case.home.sql(&format!("DELETE FROM configs WHERE digest = '{}'", Digest::of(b"1"))).await;
    assert!(matches!(case.policies("acme", 9).await, Err(StoreError::Setup(_))));
    case.home.sql("DELETE FROM chain_transforms").await;
    let Err(StoreError::Setup(why)) = case.policies("acme", 9).await else { panic!("its transforms are missing") };
    assert!(why.contains("policy `a` has no transforms"), "{why}");
}

pub(crate) async fn plugin_of_a_policy_is_used_by_it(case: Case) {
    let p = active(&case, "p", "one").await;
    case.put_policy(policy("pii", &["*"], vec![transform("p", &p, "1")])).await.unwrap();
    let follower = Follower { user: PluginUser::Policy("pii".into()), config_digest: Digest::of(b"1") };
    assert_eq!(case.followers("acme", "p").await.unwrap(), [follower]);
    assert_eq!(case.versions_in_use(10).await.unwrap().len(), 1);
    let Err(StoreError::InUse(why)) = case.remove_plugin("acme".into(), "p".into(), NOW).await else { panic!() };
    assert!(why.contains("policy `pii`"), "{why}");
    let two = active(&case, "p", "two").await;
    assert_eq!(case.policies_in_force("acme").await.unwrap()[0].transforms[0].digest.as_ref(), Some(&two));
    let outdated = policy("new", &["*"], vec![transform("p", &p, "1")]);
    assert!(matches!(case.put_policy(outdated).await, Err(StoreError::Changed(_))));
    assert_eq!(in_force(&case).await, ["pii"]);
}

pub(crate) async fn policies_are_few_and_wait_until_every_node_knows_them(case: Case) {
    let p = active(&case, "p", "one").await;
    let one = |name: &str| policy(name, &["*"], vec![transform("p", &p, "1")]);
    for number in 0..MAX_POLICIES {
        case.put_policy(one(&format!("p{number}"))).await.unwrap();
    }
    let Err(StoreError::Limit(limit)) = case.put_policy(one("more")).await else { panic!("one more") };
    assert_eq!(limit.name, "policies");
    assert!(!case.put_policy(one("p0")).await.unwrap().is_new);
    case.put_policy(Policy { company: "other".into(), transforms: Vec::new(), ..one("x") }).await.unwrap();
    case.delete_policy("acme", "p0").await.unwrap();
    case.home.sql("INSERT INTO nodes (id, beat, started_at) VALUES ('old', 0, 0)").await;
    let Err(StoreError::InUse(why)) = case.put_policy(one("p0")).await else { panic!("it would not be applied") };
    assert!(why.contains("earlier version"), "{why}");
    case.home.sql("DELETE FROM nodes WHERE id = 'old'").await;
    case.put_policy(one("p0")).await.unwrap();
}

pub(crate) async fn policies_of_a_removed_company_hold_until_nothing_of_it_is_left(case: Case) {
    let p = active(&case, "p", "one").await;
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    case.put_policy(policy("a", &["*"], vec![transform("p", &p, "1")])).await.unwrap();
    let removal = CompanyRemoval { company: "acme".into(), place: id(NOW + 9, 0), by: "key_1".into(), now: NOW + 9 };
    case.start_removal(removal).await.unwrap().unwrap();
    assert!(case.policies_in_force("acme").await.is_err(), "an attempt that has begun sends nothing");
    // Another company of this name.
    let p = active(&case, "p", "one").await;
    let new = Policy { updated_at: NOW + 50, ..policy("b", &["*"], vec![transform("p", &p, "1")]) };
    case.put_policy(new).await.unwrap();
    for now in [NOW + 10, NOW + 11, NOW + 12, NOW + 2_000, NOW + 3_000] {
        if let Some(RemovalStep::Finished(_)) = case.removal_step("acme".into(), now).await.unwrap() {
            break;
        }
    }
    assert_eq!((in_force(&case).await, case.removals_in_progress().await.unwrap()), (vec!["b".to_owned()], vec![]));
}
