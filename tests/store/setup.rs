//! Opening and closing a store.

use std::sync::Arc;

use posthaste::metrics::Metrics;
use posthaste::store::{Published, Store, StoreError};
use posthaste_tests::Kind;

use crate::case::{Case, NOW, id, row, sealer};

pub(crate) async fn wrong_secret_key_is_refused(case: Case) {
    let home = case.end().await;
    let opened = |key| Store::open(home.database(), sealer(key), Arc::new(Metrics::new(NOW, [])));
    let Err(StoreError::Setup(why)) = opened(8).await else { panic!("it opened") };
    assert!(why.contains("--secret-key"), "{why}");
    let (store, end) = opened(7).await.unwrap();
    drop(store);
    end.await.unwrap();
}

pub(crate) async fn stored_delivery_survives_a_restart(case: Case) {
    let id = id(NOW, 1);
    assert_eq!(case.stored(row(&id)).await, Published::Stored);
    let case = case.restart().await;
    assert_eq!(case.one(&id).await.id, id);
    case.ping().await.unwrap();
    case.written().await.unwrap();
    assert_eq!(case.is_shared(), case.home.kind() == Kind::Postgres);
}
