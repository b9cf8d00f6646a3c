//! Storing events and the results of their deliveries.

use std::sync::Arc;

use futures_util::future::join_all;
use posthaste::domain::delivery::{Attempt, Status};
use posthaste::store::{DeliveryUpdate, EventFilter, NewDelivery, PageRequest, Published};

use crate::case::{Case, NOW, attempt, id, row, spilled, with};

pub(crate) async fn event_id_is_stored_once_per_company(case: Case) {
    let (first, second) = (id(NOW, 1), id(NOW, 2));
    let again = with(row(&second), |event| event.id = first.clone());
    assert_eq!(case.stored(row(&first)).await, Published::Stored);
    assert_eq!(case.stored(again.clone()).await, Published::Duplicate(Some(first.clone())));
    let other_data = with(again.clone(), |event| event.data = b"\"other\"".as_slice().into());
    let other_type = with(again.clone(), |event| event.event_type = "other".into());
    for other in [other_data, other_type] {
        assert_eq!(case.stored(other).await, Published::IdTaken);
    }
    let elsewhere = with(again, |event| event.company = "other".into());
    assert_eq!(case.stored(elsewhere).await, Published::Stored);
    // An event without a webhook has no delivery, even if the company adds a webhook later.
    let third = id(NOW, 3);
    assert_eq!(case.stored(NewDelivery { webhook: None, ..row(&third) }).await, Published::Stored);
    let later = with(row(&id(NOW, 4)), |event| event.id = third.clone());
    assert_eq!(case.stored(later).await, Published::Duplicate(None));
    assert!(case.delivery("acme", &third).await.unwrap().is_none());
}

pub(crate) async fn many_concurrent_events_are_stored(case: Case) {
    // More rows than fit into one statement, one of them twice.
    let rows = (0..150).map(|number| with(row(&id(NOW, number)), |event| event.id = format!("e{}", number.max(1))));
    let published = join_all(rows.map(|row| case.stored(row))).await;
    assert_eq!(published.iter().filter(|answer| **answer == Published::Stored).count(), 149);
    assert_eq!(published[1], Published::Duplicate(Some(id(NOW, 0))));
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM deliveries WHERE lease IS NOT NULL").await, 149);
    assert_eq!(case.writer_queue(), 0);
}

pub(crate) async fn event_is_read_as_published(case: Case) {
    let id = id(NOW, 1);
    let data = "{\"z\":\"\\u0000\\ud83e\\udd80 é\",  \"a\":1e400}";
    let row = with(row(&id), |event| {
        event.headers = vec![("x-a".into(), "b\"c".into())];
        event.data = data.into();
        event.event_type = "employees/employee/update".into();
    });
    case.stored(row.clone()).await;
    let (delivery, event, attempts) = case.delivery("acme", &id).await.unwrap().unwrap();
    assert_eq!(event, *row.event);
    assert_eq!((delivery.event_id, delivery.webhook, delivery.status), (id.clone(), "wh_1".into(), Status::Pending));
    assert_eq!((delivery.created_at, delivery.finished_at, delivery.next_attempt_at), (NOW, None, None));
    assert!(attempts.is_empty());
    assert!(case.delivery("other", &id).await.unwrap().is_none());
}

pub(crate) async fn completion_ends_a_delivery_once_and_stores_its_attempt(case: Case) {
    let id = id(NOW, 1);
    case.stored(row(&id)).await;
    let failed = DeliveryUpdate {
        company: "acme".into(),
        id: id.clone(),
        lease: Some("me".into()),
        status: Status::Failed,
        attempt_count: 1,
        attempt_base: 0,
        due: None,
        finished_at: Some(NOW + 5),
        attempt: Some(attempt(1)),
    };
    let (delivery, attempts) = case.ended(failed.clone()).await;
    assert_eq!((delivery.status, delivery.finished_at), (Status::Failed, Some(NOW + 5)));
    // PostgreSQL's text cannot hold NUL; another character replaces it.
    let shown = |attempt: &Attempt| format!("{attempt:?}").replace("\\0", "\u{fffd}");
    assert_eq!(shown(&attempts[0]), shown(&attempt(1)));
    // A late completion changes neither an ended delivery nor its attempts.
    let late = DeliveryUpdate { status: Status::Delivered, finished_at: Some(NOW + 9), ..failed };
    let other = DeliveryUpdate { attempt: Some(attempt(2)), ..late.clone() };
    case.finish(late).await;
    case.finish(other).await;
    let case = case.restart().await;
    let (delivery, _, attempts) = case.delivery("acme", &id).await.unwrap().unwrap();
    assert_eq!((delivery.status, delivery.finished_at), (Status::Failed, Some(NOW + 5)));
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1]);
}

pub(crate) async fn completion_schedules_a_retry_or_spills_to_the_backlog(case: Case) {
    let (scheduled, waits) = (id(NOW, 1), id(NOW, 2));
    for id in [&scheduled, &waits] {
        case.stored(row(id)).await;
    }
    let pending = |id: &str, due| DeliveryUpdate {
        company: "acme".into(),
        id: id.into(),
        lease: Some("me".into()),
        status: Status::Pending,
        attempt_count: 1,
        attempt_base: 0,
        due,
        finished_at: None,
        attempt: None,
    };
    let (delivery, _) = case.ended(pending(&scheduled, Some(NOW + 100))).await;
    assert_eq!((delivery.status, delivery.next_attempt_at), (Status::Pending, Some(NOW + 100)));
    let (delivery, _) = case.ended(pending(&waits, None)).await;
    assert_eq!((delivery.status, delivery.next_attempt_at), (Status::Pending, None));
    let waiting = case.waiting().await;
    assert_eq!((waiting.scheduled.count, waiting.backlog.count), (1, 1));
    assert_eq!(case.oldest_due(NOW + 200).await.unwrap(), Some(NOW + 100));
}

pub(crate) async fn finished_delivery_is_stored_with_its_attempt(case: Case) {
    let id = id(NOW, 1);
    let completion = |completion| DeliveryUpdate { attempt: Some(attempt(1)), ..completion };
    case.finished(NewDelivery { event: Arc::clone(&row(&id).event), ..spilled(&id) }, completion).await;
    let (delivery, _, attempts) = case.delivery("acme", &id).await.unwrap().unwrap();
    assert_eq!((delivery.status, delivery.attempt_count, attempts.len()), (Status::Delivered, 1, 1));
}

pub(crate) async fn events_are_listed_and_found_by_their_own_id(case: Case) {
    let all: Vec<_> = (0..4).map(|number| id(NOW + i64::from(number), number)).collect();
    for (number, id) in all.iter().enumerate() {
        let webhook = (number % 2 == 0).then(|| "wh_1".to_owned());
        let row = NewDelivery { webhook, ..spilled(id) };
        case.stored(with(row, |event| event.id = format!("e{number}"))).await;
    }
    let list = async |filter: EventFilter, limit| {
        let page = case.events("acme", &filter, &PageRequest { limit, after: None }).await.unwrap();
        let more = page.next.is_some();
        let found = page.entries.into_iter().map(|event| (event.id, event.delivery_id.is_some())).collect::<Vec<_>>();
        (found, more)
    };
    let named = |names: &[(&str, bool)]| names.iter().map(|(name, routed)| ((*name).to_owned(), *routed)).collect();
    let any = EventFilter::default;
    assert_eq!(list(any(), 3).await, (named(&[("e3", false), ("e2", true), ("e1", false)]), true));
    assert_eq!(
        list(EventFilter { unmatched: true, ..any() }, 9).await,
        (named(&[("e3", false), ("e1", false)]), false)
    );
    let between = EventFilter { since: Some(NOW + 1), until: Some(NOW + 2), ..any() };
    assert_eq!(list(between, 9).await, (named(&[("e1", false)]), false));
    assert_eq!(list(EventFilter { event_type: Some("other".into()), ..any() }, 9).await, (Vec::new(), false));
    let found = case.event("acme", "e2").await.unwrap().unwrap();
    assert_eq!((found.event.id.as_str(), found.created_at), ("e2", NOW));
    assert_eq!(found.delivery.unwrap().id, all[2]);
    assert!(case.event("acme", "e1").await.unwrap().unwrap().delivery.is_none());
    assert!(case.event("other", "e2").await.unwrap().is_none());
}
