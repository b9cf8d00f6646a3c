//! Moving everything into a database of the other kind.

use posthaste::store::{StoreError, transfer};
use posthaste_tests::{Home, Kind};

use crate::case::{Case, NOW, id, retry, row, webhook};

pub(crate) async fn all_of_it_moves_into_a_database_of_the_other_kind(case: Case) {
    let (held, scheduled) = (id(NOW, 1), id(NOW, 2));
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    case.stored(row(&held)).await;
    case.finished(row(&scheduled), retry(NOW + 9)).await;
    let old = case.end().await;
    let new = Home::of(if old.kind() == Kind::Sqlite { Kind::Postgres } else { Kind::Sqlite }).await;
    let mut told = 0;
    transfer(old.database(), new.database(), NOW + 3, &mut |_| told += 1).await.unwrap();
    assert!(told > 0);
    let again = transfer(old.database(), new.database(), NOW + 3, &mut |_| ()).await;
    assert!(matches!(again, Err(StoreError::Setup(_))), "it is not empty any more");
    let case = Case::open(new.into()).await;
    // What was in the memory of a process that has ended is due.
    assert_eq!(case.one(&held).await.next_attempt_at, Some(NOW + 3));
    assert_eq!(case.one(&scheduled).await.next_attempt_at, Some(NOW + 9));
    assert_eq!(*case.webhook_for("acme", "t").await.unwrap().unwrap().signing_secret, [1, 2, 3]);
}
