//! Erasing the data of events.

use posthaste::domain::delivery::{Attempt, ERASED_ERROR, Status};
use posthaste::domain::delivery_selection::DeliverySelection;
use posthaste::domain::id::delivery_id;
use posthaste::domain::plugin::Digest;
use posthaste::domain::quota::Quota;
use posthaste::store::{
    DeliveryFilter, DeliveryKey, DeliveryUpdate, ErasedAmount, ErasedEvent, EventFilter, PageRequest, PastEvents,
    Published, Replay, RetryMode, StoreError,
};

use crate::case::{Case, NOW, attempt, id, row, running, several, spilled, unmatched, webhook, with};

/// When the tests erase: milliseconds since 1970.
const THEN: i64 = NOW + 70;

async fn erased(case: &Case, id: &str) -> ErasedAmount {
    let event = case.erase_event("acme", id.into(), THEN).await.unwrap().unwrap();
    assert_eq!(event.erased_at, THEN);
    event.erased.unwrap()
}

/// Returns the completion of an attempt of a delivery that process `me` had in memory.
fn completion(id: &str, status: Status) -> DeliveryUpdate {
    DeliveryUpdate {
        company: "acme".into(),
        id: id.into(),
        lease: Some("me".into()),
        status,
        attempt_count: 1,
        attempt_base: 0,
        due: (status == Status::Pending).then_some(NOW + 99),
        finished_at: (status != Status::Pending).then_some(NOW + 80),
        attempt: Some(attempt(1)),
    }
}

/// Checks that nothing which may quote the data is left of an attempt that had every field.
fn check_emptied(emptied: &Attempt) {
    let kept = (emptied.number, emptied.started_at, emptied.duration_ms, emptied.status_code, emptied.url.as_deref());
    assert_eq!(kept, (1, NOW + 1, 3, Some(503), Some("https://hook.test/?a=b")));
    assert_eq!((emptied.error.as_deref(), &emptied.response_body), (Some(ERASED_ERROR), &None));
    assert!(emptied.request_headers.is_none() && emptied.response_headers.is_none() && emptied.plugin.is_none());
}

pub(crate) async fn erased_event_keeps_its_lines_without_data_and_its_id(case: Case) {
    let (place, other) = (id(NOW, 1), id(NOW, 2));
    let published =
        || with(several(row(&place), &["wh_1", "wh_2"]), |event| event.headers = vec![("x-a".into(), "b".into())]);
    case.stored(published()).await;
    case.ended(completion(&place, Status::Failed)).await;
    case.finished(spilled(&other), |completion| DeliveryUpdate { attempt: Some(attempt(1)), ..completion }).await;
    case.stored(unmatched(row(&id(NOW, 3)))).await;
    let used = async || {
        let all = case.quota_usage("acme").await.unwrap();
        all.into_iter().find(|usage| usage.quota == Quota::EventBytes).unwrap().used
    };
    // The second delivery is in memory.
    assert_eq!(erased(&case, &place).await, ErasedAmount { bytes: 8, cancelled: 1 });
    assert_eq!(used().await, 8, "that of an event without a delivery; that of `finished` is not counted");
    let again = case.erase_event("acme", place.clone(), THEN + 1).await.unwrap();
    assert_eq!(again, Some(ErasedEvent { erased_at: THEN, erased: None }));
    for (company, id) in [("acme", "nobody"), ("other", &place)] {
        assert_eq!(case.erase_event(company, id.into(), THEN).await.unwrap(), None);
    }
    let found = case.event("acme", &place).await.unwrap().unwrap();
    assert_eq!((found.erased_at, found.created_at, found.event.occurred_at), (Some(THEN), NOW, NOW - 7));
    assert!(found.event.data.is_empty() && found.event.headers.is_empty());
    let shown: Vec<_> = found.deliveries.iter().map(|one| (one.status, one.finished_at, one.erased_at)).collect();
    assert_eq!(shown, [(Status::Failed, Some(NOW + 80), Some(THEN)), (Status::Cancelled, Some(THEN), Some(THEN))]);
    let (_, _, attempts) = case.delivery("acme", &place).await.unwrap().unwrap();
    check_emptied(&attempts[0]);
    // Another event is untouched.
    let (delivery, event, attempts) = case.delivery("acme", &other).await.unwrap().unwrap();
    assert_eq!((delivery.erased_at, &*event.data, attempts[0].plugin.is_some()), (None, &b"{\"a\": 1}"[..], true));
    let again = with(published(), |event| event.occurred_at += 1);
    let again = posthaste::store::NewEventRow { place: id(NOW, 9), ..again };
    assert_eq!(case.stored(again).await, Published::IdErased);
    assert_eq!(erased(&case, &id(NOW, 3)).await, ErasedAmount { bytes: 8, cancelled: 0 });
    let all = PageRequest { limit: 9, after: None };
    let listed = case.events("acme", &EventFilter::default(), &all).await.unwrap().entries;
    assert_eq!(listed.iter().map(|one| one.erased_at).collect::<Vec<_>>(), [Some(THEN), None, Some(THEN)]);
    let listed = case.deliveries("acme", &DeliveryFilter::default(), &all).await.unwrap().entries;
    assert_eq!(listed[2].last_attempt.as_ref().unwrap().error.as_deref(), Some(ERASED_ERROR));
}

pub(crate) async fn erased_delivery_is_not_sent_again(case: Case) {
    let digest = Digest::of(b"p");
    case.home
        .sql(&format!(
            "INSERT INTO plugins (company, name, active_digest, created_at, updated_at) \
             VALUES ('acme', 'p', '{digest}', 1, 1)"
        ))
        .await;
    case.put_webhook(running(webhook("wh_1", "t"), "p", &digest, false)).await.unwrap();
    let (kept, gone, without) = (id(NOW, 1), id(NOW, 2), id(NOW, 3));
    for id in [&kept, &gone] {
        case.finished(spilled(id), |completion| completion).await;
    }
    case.stored(unmatched(row(&without))).await;
    for id in [&gone, &without] {
        erased(&case, id).await;
    }
    let key = DeliveryKey { company: "acme".into(), id: gone.clone() };
    let Err(StoreError::InUse(text)) = case.request_retry(key, "wh_1".into(), RetryMode::Spill).await else {
        panic!("it is sent again")
    };
    assert!(text.contains("erased"), "{text}");
    let late = webhook("wh_2", "*");
    case.put_webhook(late).await.unwrap();
    let replay = |number: u32, missing: bool| Replay {
        id: format!("rpl_{number}"),
        company: "acme".into(),
        selection: DeliverySelection { webhook: missing.then(|| "wh_2".into()), ..DeliverySelection::default() },
        event: None,
        missing,
        since: NOW,
        until: NOW + 10,
        now: NOW,
    };
    for (number, missing) in [(1, false), (2, true)] {
        assert_eq!(case.start_replay(replay(number, missing)).await.unwrap(), 1);
        case.replay_step(format!("rpl_{number}")).await.unwrap();
    }
    let waiting: i64 = case.home.value("SELECT COUNT(*) FROM event_deliveries WHERE status = 'pending'").await;
    assert_eq!((waiting, case.one(&gone).await.status), (2, Status::Delivered));
    assert_eq!(case.event_to_send("acme", &gone).await.unwrap(), None);
    assert_eq!(case.newest_event_of_type("acme", "t").await.unwrap().unwrap().id, kept);
    let mut past = PastEvents::new("acme", "p", None);
    let found = case.next_past_events(&mut past).await.unwrap().unwrap();
    assert_eq!(found.iter().map(|one| &*one.id).collect::<Vec<_>>(), [&*kept]);
}

pub(crate) async fn attempt_that_ends_after_the_erasure_records_only_its_outcome(case: Case) {
    let place = id(NOW, 1);
    let ids = [0, 1, 2].map(|number| delivery_id(&place, number));
    case.stored(several(row(&place), &["wh_1", "wh_2", "wh_3"])).await;
    assert_eq!(erased(&case, &place).await.cancelled, 3);
    let outcomes = [Status::Delivered, Status::Failed, Status::Pending];
    for (id, status) in ids.iter().zip(outcomes) {
        let (delivery, attempts) = case.ended(completion(id, status)).await;
        check_emptied(&attempts[0]);
        // It is not retried.
        let (status, finished_at) = match status {
            Status::Pending => (Status::Cancelled, THEN),
            ended => (ended, NOW + 80),
        };
        assert_eq!(
            (delivery.status, delivery.finished_at, delivery.next_attempt_at),
            (status, Some(finished_at), None)
        );
    }
    // One that comes twice changes nothing.
    case.finish(completion(&ids[2], Status::Delivered)).await;
    case.written().await.unwrap();
    assert_eq!(case.one(&ids[2]).await.status, Status::Cancelled);
}
