//! Transferring everything into a database of the other kind.

use posthaste::store::{StoreError, transfer};
use posthaste_tests::{Home, Kind};

use crate::case::{Case, NOW, id, retry, row, webhook};

pub(crate) async fn everything_is_transferred_to_a_database_of_the_other_kind(case: Case) {
    let (held, scheduled) = (id(NOW, 1), id(NOW, 2));
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    case.stored(row(&held)).await;
    case.finished(row(&scheduled), retry(NOW + 9)).await;
    let old = case.end().await;
    let new = Home::of(if old.kind() == Kind::Sqlite { Kind::Postgres } else { Kind::Sqlite }).await;
    let mut steps = 0;
    transfer(old.database(), new.database(), NOW + 3, &mut |_| steps += 1).await.unwrap();
    assert!(steps > 0);
    let again = transfer(old.database(), new.database(), NOW + 3, &mut |_| ()).await;
    assert!(matches!(again, Err(StoreError::Setup(_))), "the target is no longer empty");
    let case = Case::open(new.into()).await;
    // A delivery that an ended process had in memory is due.
    assert_eq!(case.one(&held).await.next_attempt_at, Some(NOW + 3));
    assert_eq!(case.one(&scheduled).await.next_attempt_at, Some(NOW + 9));
    assert_eq!(*case.webhook_for("acme", "t").await.unwrap().unwrap().signing_secret, [1, 2, 3]);
}
