//! Storing events and the results of their deliveries.

use futures_util::future::join_all;
use posthaste::domain::delivery::{Attempt, Status};
use posthaste::domain::id::delivery_id;
use posthaste::store::{
    DeliveryFilter, DeliveryUpdate, EarlierRows, EventFilter, Lease, LeaseHorizon, NewEventRow, PageRequest, Published,
};
use posthaste_tests::Kind;

use crate::case::{Case, LEASED, NOW, attempt, id, row, several, spilled, unmatched, with};

pub(crate) async fn event_id_is_stored_once_per_company(case: Case) {
    let (first, second) = (id(NOW, 1), id(NOW, 2));
    let again = with(row(&second), |event| event.id = first.clone());
    assert_eq!(case.stored(row(&first)).await, Published::Stored);
    assert_eq!(case.stored(again.clone()).await, Published::Duplicate(vec![first.clone()]));
    let other_data = with(again.clone(), |event| event.data = b"\"other\"".as_slice().into());
    let other_type = with(again.clone(), |event| event.event_type = "other".into());
    for other in [other_data, other_type] {
        assert_eq!(case.stored(other).await, Published::IdTaken);
    }
    let elsewhere = with(again, |event| event.company = "other".into());
    assert_eq!(case.stored(elsewhere).await, Published::Stored);
    // An event without a webhook has no delivery, even if the company adds a webhook later.
    let third = id(NOW, 3);
    assert_eq!(case.stored(unmatched(row(&third))).await, Published::Stored);
    let later = with(row(&id(NOW, 4)), |event| event.id = third.clone());
    assert_eq!(case.stored(later).await, Published::Duplicate(Vec::new()));
    assert!(case.delivery("acme", &third).await.unwrap().is_none());
}

pub(crate) async fn event_is_stored_once_with_a_delivery_for_each_webhook(case: Case) {
    let (place, later) = (id(NOW, 1), id(NOW, 2));
    let ids = [0, 1, 2].map(|number| delivery_id(&place, number));
    let row = || several(row(&place), &["wh_1", "wh_2", "wh_3"]);
    assert_eq!(case.stored(row()).await, Published::Stored);
    let again = NewEventRow { place: later.clone(), ..row() };
    assert_eq!(case.stored(again).await, Published::Duplicate(ids.to_vec()));
    let found = case.event("acme", &place).await.unwrap().unwrap();
    let shown: Vec<_> = found.deliveries.iter().map(|one| (&*one.id, &*one.webhook, one.label.as_deref())).collect();
    let expected = [(&*ids[0], "wh_1", None), (&*ids[1], "wh_2", Some("label-1")), (&*ids[2], "wh_3", Some("label-2"))];
    assert_eq!(shown, expected);
    for id in &ids {
        let (delivery, event, _) = case.delivery("acme", id).await.unwrap().unwrap();
        assert_eq!((delivery.id, event), (id.clone(), (*row().event).clone()));
    }
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM events").await, 1);
    // A list of events shows it once, and one of deliveries each of them.
    let all = PageRequest { limit: 9, after: None };
    let events = case.events("acme", &EventFilter::default(), &all).await.unwrap().entries;
    assert_eq!(events.iter().map(|one| one.delivery_id.as_deref()).collect::<Vec<_>>(), [Some(&*place)]);
    let listed = case.deliveries("acme", &DeliveryFilter::default(), &all).await.unwrap().entries;
    assert_eq!(listed.iter().map(|one| &*one.id).collect::<Vec<_>>(), [&*ids[2], &*ids[1], &*ids[0]]);
    // Each ends by itself, and all of one claim share the event in memory.
    case.release_leases(LeaseHorizon { now_ms: NOW, latest_end_ms: LEASED }).await.unwrap();
    let claimed = case.claim_due(NOW, Lease { until_ms: LEASED, node: "me".into() }, 9).await.unwrap();
    assert_eq!(claimed.iter().map(|one| &*one.id).collect::<Vec<_>>(), ids.each_ref().map(|id| &**id));
    assert!(claimed.iter().all(|one| std::sync::Arc::ptr_eq(&one.event, &claimed[0].event)));
}

/// Stores a row in the table of the version before.
async fn earlier(case: &Case, id: &str, columns: &str) {
    case.home
        .sql(&format!(
            "INSERT INTO deliveries (company, id, event_id, event_type, attempt_base, created_at, occurred_at, \
             webhook_id, status, attempt_count, due, lease, parked, finished_at, headers, data) \
             VALUES ('acme', '{id}', '{id}', 't', 0, {NOW}, {NOW} - 7, {columns}, '[[\"x-a\",\"b\"]]', \
             CAST('{{\"a\": 1}}' AS {}))",
            if case.home.kind() == Kind::Sqlite { "BLOB" } else { "BYTEA" }
        ))
        .await;
}

pub(crate) async fn log_of_the_version_before_is_moved(case: Case) {
    case.join("they".into(), NOW).await.unwrap();
    let ids: Vec<_> = (0..6).map(|number| id(NOW, number)).collect();
    let columns = [
        "'wh_1', 'delivered', 1, NULL, NULL, 0, 5".to_owned(),
        "NULL, 'unrouted', 0, NULL, NULL, 0, NULL".to_owned(),
        "'wh_1', 'pending', 2, NULL, NULL, 1, NULL".to_owned(),
        format!("'wh_1', 'pending', 1, {}, NULL, 0, NULL", NOW + 9),
        format!("'wh_1', 'pending', 0, {LEASED}, 'gone', 0, NULL"),
        format!("'wh_1', 'pending', 0, {LEASED}, 'they', 0, NULL"),
    ];
    for (id, columns) in ids.iter().zip(&columns) {
        earlier(&case, id, columns).await;
    }
    assert_eq!(case.newest_delivery().await.unwrap(), Some(NOW));
    // An id is accepted once, also before the rest is moved.
    let same = with(row(&id(NOW, 9)), |event| {
        event.id = ids[0].clone();
        event.headers = vec![("x-a".into(), "b".into())];
    });
    assert_eq!(case.stored(same).await, Published::Duplicate(vec![ids[0].clone()]));
    let moved = async |rows| case.move_earlier_log(rows).await.unwrap();
    assert_eq!([moved(EarlierRows::Abandoned).await, moved(EarlierRows::Waiting).await], [1, 2]);
    assert_eq!([moved(EarlierRows::All).await, moved(EarlierRows::All).await], [1, 0]);
    let case = case.restart().await;
    let (delivery, event, _) = case.delivery("acme", &ids[0]).await.unwrap().unwrap();
    assert_eq!((delivery.status, delivery.finished_at, delivery.attempt_count), (Status::Delivered, Some(5), 1));
    assert_eq!((event.occurred_at, event.headers), (NOW - 7, vec![("x-a".to_owned(), "b".to_owned())]));
    assert_eq!(&*event.data, b"{\"a\": 1}");
    assert!(case.event("acme", &ids[1]).await.unwrap().unwrap().deliveries.is_empty());
    let waiting = case.waiting().await;
    assert_eq!((waiting.scheduled.count, waiting.backlog.count), (2, 1));
    assert_eq!(case.one(&ids[4]).await.next_attempt_at, Some(LEASED), "what an ended process had in memory");
    assert_eq!(case.one(&ids[3]).await.next_attempt_at, Some(NOW + 9));
    assert!(case.delivery_record("acme", &ids[5]).await.unwrap().is_none(), "a living node has it");
    assert_eq!(case.home.value::<String>("SELECT id FROM deliveries").await, ids[5]);
}

pub(crate) async fn many_concurrent_events_are_stored(case: Case) {
    // More rows than fit into one statement, one of them twice.
    let rows = (0..150).map(|number| with(row(&id(NOW, number)), |event| event.id = format!("e{}", number.max(1))));
    let published = join_all(rows.map(|row| case.stored(row))).await;
    assert_eq!(published.iter().filter(|answer| **answer == Published::Stored).count(), 149);
    assert_eq!(published[1], Published::Duplicate(vec![id(NOW, 0)]));
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM event_deliveries WHERE lease IS NOT NULL").await, 149);
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
    case.finished(spilled(&id), completion).await;
    let (delivery, _, attempts) = case.delivery("acme", &id).await.unwrap().unwrap();
    assert_eq!((delivery.status, delivery.attempt_count, attempts.len()), (Status::Delivered, 1, 1));
}

pub(crate) async fn events_are_listed_and_found_by_their_own_id(case: Case) {
    let all: Vec<_> = (0..4).map(|number| id(NOW + i64::from(number), number)).collect();
    for (number, id) in all.iter().enumerate() {
        let row = if number % 2 == 0 { spilled(id) } else { unmatched(spilled(id)) };
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
    assert_eq!(found.deliveries[0].id, all[2]);
    assert!(case.event("acme", "e1").await.unwrap().unwrap().deliveries.is_empty());
    assert!(case.event("other", "e2").await.unwrap().is_none());
}
