//! API keys.

use posthaste::domain::credential::{Key, Owner, Scopes};
use posthaste::store::KeyStore;

use crate::case::{Case, NOW};

pub(crate) async fn key_is_found_by_its_text_until_revoked(case: Case) {
    let keys = KeyStore::open(case.home.database()).await.unwrap();
    let key = |id: &str, owner| {
        let scopes = Scopes::parse("events,webhooks:read").unwrap();
        Key::new(id.into(), owner, scopes, NOW)
    };
    let text = keys.create(&key("key_1", Owner::Company("acme".into())), [1; 32]).await.unwrap();
    let ends =
        Key { name: Some("Ñandú".into()), expires_at: Some(NOW + 5), ..key("key_0", Owner::Company("acme".into())) };
    let ending = keys.create(&ends, [3; 32]).await.unwrap();
    assert_eq!(*case.key(&ending, NOW + 4).await.unwrap().unwrap(), ends);
    assert!(case.key(&ending, NOW + 5).await.unwrap().is_none(), "it is in the cache");
    let platform = keys.create(&key("key_2", Owner::Platform), [2; 32]).await.unwrap();
    let found = case.key(&text, NOW).await.unwrap().unwrap();
    assert_eq!((&*found.id, &found.owner), ("key_1", &Owner::Company("acme".into())));
    assert_eq!(found.scopes.to_string(), key("", Owner::Platform).scopes.to_string());
    assert_eq!(case.key(&platform, NOW).await.unwrap().unwrap().owner, Owner::Platform);
    assert!(case.key("phk_wrong", NOW).await.unwrap().is_none());
    assert!(keys.revoke("key_1", NOW + 1).await.unwrap() && !keys.revoke("key_3", NOW).await.unwrap());
    // Revoking it again changes nothing.
    assert!(keys.revoke("key_1", NOW + 2).await.unwrap());
    let mut listed = keys.list().await.unwrap();
    assert_eq!(listed.pop(), Some(ends));
    let listed: Vec<_> = listed.into_iter().map(|key| (key.id, key.revoked_at)).collect();
    assert_eq!(listed, [("key_2".into(), None), ("key_1".into(), Some(NOW + 1))]);
    // The next process has an empty cache.
    let case = case.restart().await;
    assert!(case.key(&text, NOW).await.unwrap().is_none());
    assert!(case.key(&ending, NOW + 5).await.unwrap().is_none());
}
