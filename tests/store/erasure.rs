//! Erasing the data of events.

use posthaste::domain::delivery::{Attempt, ERASED_ERROR, Status};
use posthaste::domain::delivery_selection::DeliverySelection;
use posthaste::domain::id::delivery_id;
use posthaste::domain::json_condition::JsonCondition;
use posthaste::domain::plugin::Digest;
use posthaste::domain::quota::Quota;
use posthaste::store::{
    CountedEvents, DeliveryFilter, DeliveryKey, DeliveryUpdate, ErasedAmount, ErasedEvent, Erasure, ErasureSelection,
    EventFilter, FinishedErasure, NewEventRow, PageRequest, PastEvents, Published, Replay, RetryMode, StoreError,
    first_id,
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

/// Selects the events of company `acme` whose `/person` is 7.
fn of_person(event_type: Option<&str>) -> ErasureSelection {
    ErasureSelection {
        company: "acme".into(),
        event_type: event_type.map(Into::into),
        condition: Some(JsonCondition::new("/person", "7").unwrap()),
        first: first_id(NOW),
        end: first_id(NOW + 1_000),
    }
}

fn erasure(number: u32, selection: ErasureSelection) -> Erasure {
    Erasure { id: format!("ers_{number}"), selection, by: "key_1".into(), now: NOW + 3 }
}

pub(crate) async fn events_of_a_selection_are_erased_step_by_step(case: Case) {
    // More than one step examines: every tenth is of the person, some without a delivery, some of another type.
    for number in 0..120_u32 {
        let data = format!("{{\"person\": {}}}", if number % 10 == 0 { "7.0" } else { "8" });
        let row = with(several(row(&id(NOW + i64::from(number), number)), &["wh_1", "wh_2"]), |event| {
            event.data = data.into();
            if number % 20 == 0 {
                event.event_type = "u".into();
            }
        });
        case.stored(if number % 30 == 0 { unmatched(row) } else { row }).await;
    }
    let elsewhere = with(row(&id(NOW, 999)), |event| {
        event.company = "other".into();
        event.data = "{\"person\": 7}".into();
    });
    case.stored(elsewhere).await;
    let counted = |count, examined| CountedEvents { count, examined, next: None };
    assert_eq!(case.count_erasable(of_person(None)).await.unwrap(), counted(12, 120));
    assert_eq!(case.count_erasable(of_person(Some("u"))).await.unwrap(), counted(6, 6));
    let from_the_middle = ErasureSelection { first: first_id(NOW + 60), condition: None, ..of_person(None) };
    assert_eq!(case.count_erasable(from_the_middle).await.unwrap(), counted(60, 60));
    case.start_erasure(erasure(1, of_person(Some("u")))).await.unwrap();
    case.start_erasure(erasure(2, of_person(None))).await.unwrap();
    assert_eq!(case.erasures_in_progress().await.unwrap(), ["ers_1", "ers_2"]);
    let step = case.erasure_step("ers_1".into(), THEN).await.unwrap().unwrap();
    let finished = |events, bytes, cancelled| FinishedErasure {
        company: "acme".into(),
        by: "key_1".into(),
        events,
        bytes,
        cancelled,
    };
    // Two of the six have no delivery.
    assert_eq!((step.cancelled.len(), step.finished), (4, Some(finished(6, 6 * 15, 8))));
    let step = case.erasure_step("ers_2".into(), THEN).await.unwrap().unwrap();
    assert!(step.finished.is_none() && step.cancelled.len() == 1, "{step:?}");
    // A killed process goes on where it was.
    let case = case.restart().await;
    let (shown, more) = case.erasures("acme", 1, None).await.unwrap();
    let facts = (&*shown[0].id, shown[0].examined, shown[0].erased, shown[0].pointer.as_deref(), shown[0].finished_at);
    assert_eq!((facts, more), (("ers_2", 50, 2, Some("/person"), None), true));
    let mut last = None;
    while let Some(step) = case.erasure_step("ers_2".into(), THEN + 1).await.unwrap() {
        last = step.finished;
    }
    let without = "SELECT COUNT(*) FROM events WHERE erased_at IS NOT NULL";
    assert_eq!((last.map(|last| last.events), case.home.value::<i64>(without).await), (Some(6), 12));
    let (shown, _) = case.erasures("acme", 9, Some("ers_2")).await.unwrap();
    assert_eq!((shown.len(), shown[0].since, shown[0].finished_at), (1, Some(NOW), Some(THEN)));
    let kept = "SELECT COUNT(*) FROM event_erasures WHERE equals IS NOT NULL";
    assert_eq!(case.home.value::<i64>(kept).await, 0, "the value may be what was to be erased");
    assert_eq!(case.count_erasable(of_person(None)).await.unwrap(), counted(0, 120));
}

pub(crate) async fn company_has_at_most_ten_erasures_in_progress(case: Case) {
    for number in 10..20 {
        case.start_erasure(erasure(number, of_person(None))).await.unwrap();
    }
    let Err(StoreError::Limit(limit)) = case.start_erasure(erasure(20, of_person(None))).await else {
        panic!("one more")
    };
    assert!(limit.detail.contains("10 erasures"), "{limit}");
    case.start_erasure(erasure(21, ErasureSelection { company: "other".into(), ..of_person(None) })).await.unwrap();
    for number in 10..20 {
        case.erasure_step(format!("ers_{number}"), THEN).await.unwrap();
    }
    case.start_erasure(erasure(22, of_person(None))).await.unwrap();
    // Of those that have ended, a hundred stay with those in progress.
    case.home.sql(
        "INSERT INTO event_erasures (id, company, start_id, next_id, end_id, examined, erased, bytes, cancelled, requested_by, \
         created_at, finished_at) SELECT 'ers_9' || id || n, company, start_id, next_id, end_id, 0, 0, 0, 0, 'x', 1, 1 \
         FROM event_erasures CROSS JOIN (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 \
         UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS numbers WHERE company = 'acme'",
    ).await;
    case.start_erasure(erasure(23, of_person(None))).await.unwrap();
    let (shown, more) = case.erasures("acme", 200, None).await.unwrap();
    // Those in progress stay, however old.
    assert_eq!((shown.len(), more), (101, false));
}

/// Returns the row with transient deliveries.
fn transient(mut row: NewEventRow) -> NewEventRow {
    row.deliveries.iter_mut().for_each(|delivery| delivery.transient = true);
    row
}

pub(crate) async fn transient_deliveries_are_erased_once_they_have_ended(case: Case) {
    let ids: Vec<_> = (1..=5).map(|number| id(NOW, number)).collect();
    let end = async |id: &str, status| case.ended(completion(id, status)).await;
    for (id, status) in ids.iter().zip([Status::Delivered, Status::Filtered, Status::Failed, Status::Pending]) {
        case.stored(transient(row(id))).await;
        end(id, status).await;
    }
    case.stored(row(&ids[4])).await;
    end(&ids[4], Status::Delivered).await;
    assert!(!case.erase_transient(THEN).await.unwrap());
    let found = async |id: &String| case.event("acme", id).await.unwrap().unwrap();
    for (id, erased) in ids.iter().zip([true, true, false, false, false]) {
        let event = found(id).await;
        assert_eq!(event.erased_at, erased.then_some(THEN), "{id}");
        assert_eq!(event.event.data.is_empty(), erased, "{id}");
        assert_eq!(event.deliveries[0].erased_at, erased.then_some(THEN), "{id}");
    }
    let (_, _, attempts) = case.delivery("acme", &ids[0]).await.unwrap().unwrap();
    check_emptied(&attempts[0]);
    // One of several: the data stays until the last has ended.
    let place = id(NOW, 7);
    let other = delivery_id(&place, 1);
    case.stored(transient(several(row(&place), &["wh_1", "wh_2"]))).await;
    end(&other, Status::Delivered).await;
    case.erase_transient(THEN).await.unwrap();
    let event = found(&place).await;
    assert_eq!(event.deliveries.iter().map(|one| one.erased_at).collect::<Vec<_>>(), [None, Some(THEN)]);
    assert_eq!((event.erased_at, event.event.data.is_empty()), (None, false));
    end(&place, Status::Delivered).await;
    case.erase_transient(THEN + 1).await.unwrap();
    assert_eq!(found(&place).await.erased_at, Some(THEN + 1));
    // Published again, the event is known by its type.
    let again = |number| NewEventRow { place: id(NOW, number), ..with(row(&place), |_| ()) };
    assert_eq!(case.stored(again(8)).await, Published::Duplicate(vec![place.clone(), other]));
    let typed = with(again(9), |event| event.event_type = "u".into());
    assert_eq!(case.stored(typed).await, Published::IdTaken);
    // More than one step.
    for number in 0..200 {
        let id = id(NOW + 1, number);
        case.finished(transient(spilled(&id)), |completion| completion).await;
    }
    assert!(case.erase_transient(THEN).await.unwrap());
    assert!(!case.erase_transient(THEN).await.unwrap());
    assert!(!case.erase_transient(THEN).await.unwrap());
    for number in [0, 127, 128, 199] {
        assert_eq!(found(&id(NOW + 1, number)).await.erased_at, Some(THEN), "{number}");
    }
}
