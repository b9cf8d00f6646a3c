//! The log: lists, look-ups and retention.

use posthaste::domain::delivery::{Status, StatusFilter};
use posthaste::domain::plugin::Digest;
use posthaste::store::{DeliveryFilter, DeliveryUpdate, NewDelivery, PageRequest, PastEvents};

use crate::case::{Case, NOW, attempt, id, row, running, spilled, webhook, with};

pub(crate) async fn list_is_filtered_and_paged(case: Case) {
    let all: Vec<_> = (0..6).map(|number| id(NOW + i64::from(number), number)).collect();
    for (number, id) in all.iter().enumerate() {
        let row = NewDelivery { webhook: Some(format!("wh_{}", number % 2)), ..spilled(id) };
        let row = with(row, |event| event.event_type = if number < 4 { "t" } else { "u" }.into());
        let status = if number == 0 { Status::Failed } else { Status::Delivered };
        case.finished(row, |completion| DeliveryUpdate { status, ..completion }).await;
    }
    let unrouted = NewDelivery { webhook: None, ..row(&id(NOW, 9)) };
    case.stored(unrouted).await;
    let list = async |filter: DeliveryFilter, limit, after: Option<&String>| {
        let page = PageRequest { limit, after: after.cloned() };
        let (found, more) = case.deliveries("acme", &filter, &page).await.unwrap();
        let found = found.iter().map(|one| all.iter().position(|id| *id == one.id).unwrap()).collect::<Vec<_>>();
        (found, more)
    };
    let any = DeliveryFilter::default;
    assert_eq!(list(any(), 4, None).await, (vec![5, 4, 3, 2], true));
    assert_eq!(list(any(), 4, Some(&all[2])).await, (vec![1, 0], false));
    assert_eq!(list(DeliveryFilter { event_type: Some("u".into()), ..any() }, 9, None).await, (vec![5, 4], false));
    assert_eq!(
        list(DeliveryFilter { status: Some(StatusFilter::Is(Status::Failed)), ..any() }, 9, None).await,
        (vec![0], false)
    );
    assert_eq!(
        list(DeliveryFilter { status: Some(StatusFilter::Is(Status::Pending)), ..any() }, 9, None).await,
        (vec![], false)
    );
    assert_eq!(list(DeliveryFilter { webhook: Some("wh_1".into()), ..any() }, 9, None).await, (vec![5, 3, 1], false));
    let between = DeliveryFilter { since: Some(NOW + 1), until: Some(NOW + 3), ..any() };
    assert_eq!(list(between, 9, None).await, (vec![2, 1], false));
    // No stored text contains NUL, so a filter with NUL finds nothing.
    assert_eq!(list(DeliveryFilter { event_type: Some("\0".into()), ..any() }, 9, None).await, (vec![], false));
    assert!(case.deliveries("other", &any(), &PageRequest { limit: 9, after: None }).await.unwrap().0.is_empty());
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
    let (left, _) =
        case.deliveries("acme", &DeliveryFilter::default(), &PageRequest { limit: 100, after: None }).await.unwrap();
    assert_eq!((left.len(), left.last().unwrap().id.as_str()), (10, &*id(NOW + 290, 290)));
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM attempts").await, 10);
    assert!(case.delivery("other", &id(NOW, 1)).await.unwrap().is_some());
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
        let webhook = Some(format!("wh_{}", 1 + number % 3));
        case.stored(NewDelivery { webhook, ..row(&id(NOW, number)) }).await;
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
