//! What the companies of an installation have stored.

use posthaste::store::CompanySummary;

use crate::case::{Case, NOW, id, row, several, spilled, unmatched, webhook, with};

pub(crate) async fn companies_are_listed_byte_by_byte_with_what_they_have(case: Case) {
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    case.home.sql("UPDATE webhooks SET failing_since = 1").await;
    case.stored(several(row(&id(NOW, 1)), &["wh_1", "wh_2"])).await;
    case.stored(spilled(&id(NOW, 2))).await;
    case.finished(spilled(&id(NOW, 3)), |completion| completion).await;
    for (number, company) in [(4, "B"), (5, "a")] {
        case.stored(with(unmatched(row(&id(NOW, number))), |event| event.company = company.into())).await;
    }
    let (found, more) = case.companies(9, "").await.unwrap();
    assert_eq!((found.iter().map(|one| &*one.company).collect::<Vec<_>>(), more), (vec!["B", "a", "acme"], false));
    let acme = CompanySummary {
        company: "acme".into(),
        events: 3,
        deliveries: 4,
        waiting: 3,
        failing_webhooks: 1,
        event_bytes: 16,
        removing_since: None,
    };
    assert_eq!(found[2], acme);
    let (found, more) = case.companies(1, "B").await.unwrap();
    assert_eq!((&*found[0].company, found[0].deliveries, found[0].waiting, more), ("a", 0, 0, true));
    assert_eq!(case.companies(1, "a").await.unwrap(), (vec![acme], false));
    assert_eq!(case.companies(1, "acme").await.unwrap(), (Vec::new(), false));
}
