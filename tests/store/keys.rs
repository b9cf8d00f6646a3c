//! API keys.

use posthaste::domain::credential::{Key, Owner, Scopes};
use posthaste::store::KeyStore;

use crate::case::{Case, NOW};

pub(crate) async fn key_is_found_by_its_text_until_revoked(case: Case) {
    let keys = KeyStore::open(case.home.database()).await.unwrap();
    let key = |id: &str, owner| {
        let scopes = Scopes::parse("events,webhooks:read").unwrap();
        Key { id: id.into(), owner, scopes, created_at: NOW, revoked_at: None }
    };
    let text = keys.create(&key("key_1", Owner::Company("acme".into())), [1; 32]).await.unwrap();
    let platform = keys.create(&key("key_2", Owner::Platform), [2; 32]).await.unwrap();
    let found = case.key(&text).await.unwrap().unwrap();
    assert_eq!((&*found.id, &found.owner), ("key_1", &Owner::Company("acme".into())));
    assert_eq!(found.scopes.to_string(), key("", Owner::Platform).scopes.to_string());
    assert_eq!(case.key(&platform).await.unwrap().unwrap().owner, Owner::Platform);
    assert!(case.key("phk_wrong").await.unwrap().is_none());
    assert!(keys.revoke("key_1", NOW + 1).await.unwrap() && !keys.revoke("key_3", NOW).await.unwrap());
    // Revoking it again changes nothing.
    assert!(keys.revoke("key_1", NOW + 2).await.unwrap());
    let listed: Vec<_> = keys.list().await.unwrap().into_iter().map(|key| (key.id, key.revoked_at)).collect();
    assert_eq!(listed, [("key_2".into(), None), ("key_1".into(), Some(NOW + 1))]);
    // The next process has an empty cache.
    assert!(case.restart().await.key(&text).await.unwrap().is_none());
}
