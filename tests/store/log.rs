//! The log: lists, look-ups and retention.

use posthaste::domain::delivery::{Attempt, Status, StatusFilter};
use posthaste::domain::delivery_selection::DeliverySelection;
use posthaste::domain::plugin::Digest;
use posthaste::store::{DeliveryFilter, DeliveryUpdate, PageRequest, PastEvents};

use crate::case::{Case, NOW, attempt, id, retry, row, running, several, spilled, to, unmatched, webhook, with};

fn of(selection: DeliverySelection) -> DeliveryFilter {
    DeliveryFilter { selection, ..DeliveryFilter::default() }
}

pub(crate) async fn list_has_several_types_statuses_labels_and_errors(case: Case) {
    let ids: Vec<_> = (0..6).map(|number| id(NOW + i64::from(number), number)).collect();
    for (number, id) in ids.iter().enumerate() {
        let row = with(spilled(id), |event| event.event_type = ["t", "u", "v"][number % 3].into());
        let status = if number < 3 { Status::Failed } else { Status::Delivered };
        let error = (number < 3).then(|| format!("Connection REFUSED: 50%_{number}"));
        let attempt = Attempt { error, ..attempt(1) };
        case.finished(row, |completion| DeliveryUpdate { status, attempt: Some(attempt), ..completion }).await;
    }
    let of_event = several(spilled(&id(NOW + 9, 9)), &["wh_1", "wh_2", "wh_3"]);
    case.stored(of_event).await;
    let list = async |filter: DeliveryFilter| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = case.deliveries("acme", &filter, &PageRequest { limit: 2, after }).await.unwrap();
            found.extend(page.entries.into_iter().map(|one| one.id));
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    let any = DeliverySelection::default;
    let named = |numbers: &[usize]| numbers.iter().map(|number| ids[*number].clone()).collect::<Vec<_>>();
    let types = vec!["t".to_owned(), "v".to_owned(), "nobody".to_owned()];
    let until = Some(NOW + 9);
    assert_eq!(
        list(DeliveryFilter { until, ..of(DeliverySelection { types: types.clone(), ..any() }) }).await,
        named(&[5, 3, 2, 0])
    );
    let statuses = vec![StatusFilter::Is(Status::Failed), StatusFilter::Is(Status::Delivered)];
    assert_eq!(list(of(DeliverySelection { statuses: statuses.clone(), ..any() })).await, named(&[5, 4, 3, 2, 1, 0]));
    assert_eq!(list(of(DeliverySelection { statuses, types, ..any() })).await, named(&[5, 3, 2, 0]));
    let with_error = |text: &str| of(DeliverySelection { error: Some(text.into()), ..any() });
    assert_eq!(list(with_error("refused")).await, named(&[2, 1, 0]));
    assert_eq!(list(with_error("50%_1")).await, named(&[1]));
    assert_eq!(list(with_error("5_%")).await, named(&[]));
    let event = DeliveryFilter { event: Some(id(NOW + 9, 9)), ..DeliveryFilter::default() };
    assert_eq!(list(event.clone()).await.len(), 3);
    let labelled = DeliverySelection { label: Some("label-1".into()), ..any() };
    assert_eq!(list(DeliveryFilter { selection: labelled, ..event }).await, [format!("{}_001", id(NOW + 9, 9))]);
    let unknown = DeliveryFilter { event: Some("nobody".into()), ..DeliveryFilter::default() };
    assert_eq!(list(unknown).await, named(&[]));
}

pub(crate) async fn list_is_filtered_and_paged(case: Case) {
    let all: Vec<_> = (0..6).map(|number| id(NOW + i64::from(number), number)).collect();
    for (number, id) in all.iter().enumerate() {
        let row = to(&format!("wh_{}", number % 2), spilled(id));
        let row = with(row, |event| event.event_type = if number < 4 { "t" } else { "u" }.into());
        let status = if number == 0 { Status::Failed } else { Status::Delivered };
        case.finished(row, |completion| DeliveryUpdate { status, ..completion }).await;
    }
    let unrouted = unmatched(row(&id(NOW, 9)));
    case.stored(unrouted).await;
    let list = async |filter: DeliveryFilter, limit, after: Option<&String>| {
        let page = PageRequest { limit, after: after.cloned() };
        let page = case.deliveries("acme", &filter, &page).await.unwrap();
        let more = page.next.is_some();
        let found = page.entries.iter().map(|one| all.iter().position(|id| *id == one.id).unwrap()).collect::<Vec<_>>();
        (found, more)
    };
    let any = DeliveryFilter::default;
    assert_eq!(list(any(), 4, None).await, (vec![5, 4, 3, 2], true));
    assert_eq!(list(any(), 4, Some(&all[2])).await, (vec![1, 0], false));
    assert_eq!(
        list(of(DeliverySelection { types: vec!["u".into()], ..DeliverySelection::default() }), 9, None).await,
        (vec![5, 4], false)
    );
    assert_eq!(
        list(
            of(DeliverySelection { statuses: vec![StatusFilter::Is(Status::Failed)], ..DeliverySelection::default() }),
            9,
            None
        )
        .await,
        (vec![0], false)
    );
    assert_eq!(
        list(
            of(DeliverySelection { statuses: vec![StatusFilter::Is(Status::Pending)], ..DeliverySelection::default() }),
            9,
            None
        )
        .await,
        (vec![], false)
    );
    assert_eq!(
        list(of(DeliverySelection { webhook: Some("wh_1".into()), ..DeliverySelection::default() }), 9, None).await,
        (vec![5, 3, 1], false)
    );
    let between = DeliveryFilter { since: Some(NOW + 1), until: Some(NOW + 3), ..any() };
    assert_eq!(list(between, 9, None).await, (vec![2, 1], false));
    // No stored text contains NUL, so a filter with NUL finds nothing.
    assert_eq!(
        list(of(DeliverySelection { types: vec!["\0".into()], ..DeliverySelection::default() }), 9, None).await,
        (vec![], false)
    );
    assert!(case.deliveries("other", &any(), &PageRequest { limit: 9, after: None }).await.unwrap().entries.is_empty());
}

pub(crate) async fn every_status_is_a_filter_wherever_its_rows_are(case: Case) {
    let ids: Vec<_> = (0..9).map(|number| id(NOW + i64::from(number), number)).collect();
    for (id, status) in ids.iter().zip([Status::Delivered, Status::Filtered, Status::Failed, Status::Cancelled]) {
        case.finished(spilled(id), |completion| DeliveryUpdate { status, ..completion }).await;
    }
    // In memory for its first attempt, and for a later one; in the backlog; and waiting for a retry.
    case.stored(row(&ids[4])).await;
    case.stored(row(&ids[5])).await;
    case.home.sql(&format!("UPDATE event_deliveries SET attempt_count = 1 WHERE id = '{}'", ids[5])).await;
    case.stored(spilled(&ids[6])).await;
    case.finished(spilled(&ids[7]), retry(NOW + 50)).await;
    case.stored(unmatched(row(&ids[8]))).await;
    let list = async |filter: DeliveryFilter, limit| {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = case.deliveries("acme", &filter, &PageRequest { limit, after }).await.unwrap();
            found.extend(page.entries.iter().map(|one| ids.iter().position(|id| *id == one.id).unwrap()));
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    let expected: [(StatusFilter, &[usize]); 6] = [
        (StatusFilter::Is(Status::Delivered), &[0]),
        (StatusFilter::Is(Status::Filtered), &[1]),
        (StatusFilter::Is(Status::Failed), &[2]),
        (StatusFilter::Is(Status::Cancelled), &[3]),
        (StatusFilter::Is(Status::Pending), &[7, 6, 5, 4]),
        (StatusFilter::Retrying, &[7, 5]),
    ];
    for (status, found) in expected {
        for limit in [1, 9] {
            let filter = DeliverySelection { statuses: vec![status], ..DeliverySelection::default() };
            assert_eq!(list(of(filter.clone()), limit).await, found, "{status:?}");
            let of_type = DeliverySelection { types: vec!["t".into()], ..filter.clone() };
            assert_eq!(list(of(of_type), limit).await, found, "{status:?}");
            let of_other = DeliverySelection { types: vec!["u".into()], ..filter.clone() };
            assert_eq!(list(of(of_other), limit).await, [0; 0], "{status:?}");
            let of_webhook = DeliverySelection { webhook: Some("wh_1".into()), ..filter };
            assert_eq!(list(of(of_webhook), limit).await, found, "{status:?}");
        }
    }
}

/// Stores more events of the type `t` than one request examines, like the only one that is stored, but newer.
async fn many(case: &Case, webhook: &str, status: &str) {
    let sql = format!(
        "INSERT INTO event_deliveries (company, id, event_id, event_type, webhook_id, status, attempt_count, attempt_base, \
         parked, created_at) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10500) \
         SELECT 'acme', '{}' || CAST(100000 + i AS TEXT), 'e' || CAST(i AS TEXT), 't', '{webhook}', '{status}', 0, 0, 0, \
         {NOW} FROM n",
        &id(NOW + 1, 0)[..30]
    );
    case.home.sql(&sql).await;
}

pub(crate) async fn rare_type_is_found_behind_any_number_of_others(case: Case) {
    let oldest = id(NOW, 1);
    let row = with(spilled(&oldest), |event| event.event_type = "rare".into());
    case.finished(row, |completion| DeliveryUpdate { status: Status::Failed, ..completion }).await;
    many(&case, "wh_1", "failed").await;
    let statuses = vec![StatusFilter::Is(Status::Failed)];
    let rare = DeliverySelection { types: vec!["rare".into()], statuses, ..DeliverySelection::default() };
    let page = case.deliveries("acme", &of(rare.clone()), &PageRequest { limit: 5, after: None }).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (1, None));
    let common = DeliverySelection { types: vec!["t".into()], ..rare };
    let page = case.deliveries("acme", &of(common), &PageRequest { limit: 5, after: None }).await.unwrap();
    assert!(page.entries.len() == 5 && page.next.is_some());
}

pub(crate) async fn one_request_examines_a_bounded_number_of_rows(case: Case) {
    let oldest = id(NOW, 1);
    case.finished(spilled(&oldest), |completion| completion).await;
    // Those of another webhook behind it.
    many(&case, "wh_2", "delivered").await;
    let of_webhook = || DeliverySelection { webhook: Some("wh_1".into()), ..DeliverySelection::default() };
    for selection in [of_webhook(), DeliverySelection { types: vec!["t".into()], ..of_webhook() }] {
        let filter = of(selection);
        let first = case.deliveries("acme", &filter, &PageRequest { limit: 5, after: None }).await.unwrap();
        assert!(first.entries.is_empty() && first.next.is_some(), "{first:?}");
        let second = case.deliveries("acme", &filter, &PageRequest { limit: 5, after: first.next }).await.unwrap();
        assert_eq!((&*second.entries[0].id, second.next), (&*oldest, None));
    }
}

pub(crate) async fn companies_are_ordered_byte_by_byte(case: Case) {
    assert_eq!(case.newest_delivery().await.unwrap(), None);
    // The collation of a language would order these differently.
    let names = ["A-b", "Z", "_", "a", "a-c", "aB", "a_b", "b"];
    for (number, name) in names.iter().enumerate() {
        let row = row(&id(NOW + number as i64, 1));
        case.stored(with(row, |event| event.company = (*name).into())).await;
    }
    let (mut after, mut found) = (String::new(), Vec::new());
    while let Some(company) = case.company_after(&after).await.unwrap() {
        after.clone_from(&company);
        found.push(company);
    }
    assert_eq!(found, names);
    assert_eq!(case.newest_delivery().await.unwrap(), Some(NOW + 7));
}

pub(crate) async fn old_deliveries_are_removed_in_steps(case: Case) {
    for number in 0..300 {
        let row = spilled(&id(NOW + i64::from(number), number));
        case.finished(row, |completion| DeliveryUpdate { attempt: Some(attempt(1)), ..completion }).await;
    }
    let other = with(spilled(&id(NOW, 1)), |event| event.company = "other".into());
    case.stored(other).await;
    assert!(case.expire("acme".into(), NOW + 290).await.unwrap());
    assert!(!case.expire("acme".into(), NOW + 290).await.unwrap());
    let all = PageRequest { limit: 100, after: None };
    let left = case.deliveries("acme", &DeliveryFilter::default(), &all).await.unwrap().entries;
    assert_eq!((left.len(), left.last().unwrap().id.as_str()), (10, &*id(NOW + 290, 290)));
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM attempts").await, 10);
    assert!(case.delivery("other", &id(NOW, 1)).await.unwrap().is_some());
}

pub(crate) async fn event_is_removed_with_its_last_delivery(case: Case) {
    let (old, unmatched_event) = (id(NOW, 1), id(NOW, 2));
    case.stored(several(spilled(&old), &["wh_1", "wh_2", "wh_3"])).await;
    case.stored(unmatched(spilled(&unmatched_event))).await;
    case.update_event_usage().await.unwrap();
    let young = id(NOW + 10, 3);
    case.stored(several(spilled(&young), &["wh_1", "wh_2"])).await;
    // As if a step had ended between the deliveries of one event.
    case.home.sql(&format!("DELETE FROM event_deliveries WHERE id = '{old}'")).await;
    assert_eq!(case.event("acme", &old).await.unwrap().unwrap().deliveries.len(), 2);
    assert!(!case.expire("acme".into(), NOW + 10).await.unwrap());
    for event in [&old, &unmatched_event] {
        assert!(case.event("acme", event).await.unwrap().is_none());
    }
    assert_eq!(case.event("acme", &young).await.unwrap().unwrap().deliveries.len(), 2);
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM event_deliveries").await, 2);
}

pub(crate) async fn newest_event_of_a_type_is_found(case: Case) {
    let of_type = |number, event_type: &str| with(row(&id(NOW, number)), |event| event.event_type = event_type.into());
    for row in [of_type(1, "a"), of_type(2, "a"), of_type(3, "b")] {
        case.stored(row).await;
    }
    case.stored(with(of_type(4, "a"), |event| event.company = "other".into())).await;
    let newest = async |event_type| case.newest_event_of_type("acme", event_type).await.unwrap();
    assert_eq!(newest("a").await.unwrap(), *of_type(2, "a").event);
    assert!(newest("c").await.is_none());
    case.stored(unmatched(of_type(5, "a"))).await;
    assert_eq!(newest("a").await.unwrap().id, id(NOW, 5), "one without a delivery");
}

pub(crate) async fn event_of_a_delivery_is_read_for_its_attempt(case: Case) {
    case.stored(row(&id(NOW, 1))).await;
    let event = case.event_to_send("acme", &id(NOW, 1)).await.unwrap();
    assert_eq!(event, Some((*row(&id(NOW, 1)).event).clone()));
    assert_eq!(case.event_to_send("other", &id(NOW, 1)).await.unwrap(), None);
}

pub(crate) async fn past_events_of_a_plugin_are_read_newest_first(case: Case) {
    let digest = Digest::of(b"p");
    case.home
        .sql(&format!(
            "INSERT INTO plugins (company, name, active_digest, created_at, updated_at) VALUES ('acme', 'p', '{digest}', 1, 1)"
        ))
        .await;
    case.put_webhook(running(webhook("wh_1", "t"), "p", &digest, false)).await.unwrap();
    case.put_webhook(running(webhook("wh_2", "u"), "p", &digest, false)).await.unwrap();
    case.put_webhook(webhook("wh_3", "v")).await.unwrap();
    for number in 0..60 {
        case.stored(to(&format!("wh_{}", 1 + number % 3), row(&id(NOW, number)))).await;
    }
    for (webhook, expected) in [(None, 40), (Some("wh_2".to_owned()), 20)] {
        let (mut recorded, mut found) = (PastEvents::new("acme", "p", webhook.clone()), Vec::new());
        while let Some(some) = case.next_past_events(&mut recorded).await.unwrap() {
            found.extend(some);
        }
        assert_eq!(found.len(), expected);
        assert!(found.windows(2).all(|pair| pair[0].id > pair[1].id));
        assert!(found.iter().all(|one| one.webhook != "wh_3" && webhook.as_ref().is_none_or(|id| one.webhook == *id)));
    }
}
