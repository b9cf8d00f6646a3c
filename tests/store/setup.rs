//! Opening and closing a store.

use posthaste::domain::clock_doubt::ClockDoubt;
use posthaste::domain::webhook::Webhook;
use posthaste::store::{Published, StoreError, holds_secrets, reset_secrets};
use posthaste_tests::{Home, Kind};

use crate::case::{Case, NOW, id, open_store, row, sealer, webhook};

pub(crate) async fn wrong_secret_key_is_refused(case: Case) {
    let home = case.end().await;
    let opened = |key| open_store(&home, key);
    let Err(StoreError::Setup(why)) = opened(8).await else { panic!("it opened") };
    assert!(why.contains("--secret-key"), "{why}");
    let (store, end) = opened(7).await.unwrap();
    drop(store);
    end.await.unwrap();
}

pub(crate) async fn lost_secret_key_is_replaced(case: Case) {
    let headers = vec![("x-api-key".to_owned(), "s3cret".to_owned())];
    let before = case.put_webhook(Webhook { headers, ..webhook("wh_1", "t") }).await.unwrap().webhook;
    case.put_webhook(Webhook { headers: Vec::new(), ..webhook("wh_2", "u") }).await.unwrap();
    let home = case.end().await;
    assert!(holds_secrets(home.database()).await.unwrap());
    let fresh = Home::of(home.kind()).await;
    assert!(!holds_secrets(fresh.database()).await.unwrap());
    let random = || Ok(vec![9; 32]);
    let refused = reset_secrets(home.database(), &sealer(7), random).await;
    assert!(matches!(refused, Err(StoreError::InUse(_))), "the key is the right one");
    let reset = reset_secrets(home.database(), &sealer(8), random).await.unwrap();
    assert_eq!(reset.webhooks, 2);
    assert_eq!(reset.without_headers, ["acme  wh_1  t"]);
    let (store, end) = open_store(&home, 8).await.unwrap();
    let after = store.webhook("acme", "wh_1").await.unwrap().unwrap();
    assert_eq!((&*after.signing_secret, after.headers.len()), (&[9_u8; 32][..], 0));
    assert_eq!(after.created_at, before.created_at);
    drop(store);
    end.await.unwrap();
}

pub(crate) async fn clock_doubt_is_kept(case: Case) {
    for doubt in [
        None,
        Some(ClockDoubt { ahead_ms: 9, remaining_ms: 5 }),
        Some(ClockDoubt { ahead_ms: 9, remaining_ms: 4 }),
        None,
    ] {
        case.keep_clock_doubt(doubt).await.unwrap();
        assert_eq!(case.clock_doubt().await.unwrap(), doubt);
    }
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
