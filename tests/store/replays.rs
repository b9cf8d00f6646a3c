//! Retries on request, and replays.

use posthaste::domain::delivery::Status;
use posthaste::store::{DeliveryKey, DeliveryUpdate, Lease, Replay, RetryMode, RetryRequest, StoreError};

use crate::case::{Case, LEASED, NOW, id, retry, row, spilled, webhook, with};

fn replay(number: u32, event_type: Option<&str>, status: Option<Status>) -> Replay {
    Replay {
        id: format!("rpl_{number}"),
        company: "acme".into(),
        event_type: event_type.map(Into::into),
        status,
        since: NOW,
        until: NOW + 10,
        now: NOW,
    }
}

pub(crate) async fn requested_delivery_is_claimed_whatever_its_status(case: Case) {
    let (ended, waits, held) = (id(NOW, 1), id(NOW, 2), id(NOW, 3));
    case.finished(spilled(&ended), |completion| completion).await;
    case.stored(spilled(&waits)).await;
    case.stored(row(&held)).await;
    let urge = async |company: &str, id: &str, how: RetryMode| {
        case.request_retry(DeliveryKey { company: company.into(), id: id.into() }, "wh_9".into(), how).await.unwrap()
    };
    let take = || RetryMode::Claim(Lease { until_ms: LEASED, node: "me".into() });
    let RetryRequest::Claimed(taken) = urge("acme", &ended, take()).await else { panic!("not taken") };
    assert_eq!(taken.lease.as_deref(), Some("me"));
    assert_eq!((&*taken.id, &*taken.webhook, taken.attempt_count), (&*ended, "wh_9", 1));
    let delivery = case.one(&ended).await;
    assert_eq!((delivery.status, delivery.finished_at), (Status::Pending, None));
    assert!(matches!(urge("acme", &waits, RetryMode::Due(NOW + 9)).await, RetryRequest::Waiting));
    assert_eq!(case.one(&waits).await.next_attempt_at, Some(NOW + 9));
    assert!(matches!(urge("acme", &waits, RetryMode::Spill).await, RetryRequest::Waiting));
    assert_eq!(case.waiting(NOW).await.unwrap().parked, 1);
    assert!(matches!(urge("acme", &held, take()).await, RetryRequest::InMemory));
    assert!(matches!(urge("acme", "dlv_nobody", RetryMode::Spill).await, RetryRequest::Missing));
    assert!(matches!(urge("other", &ended, RetryMode::Spill).await, RetryRequest::Missing));
}

pub(crate) async fn replay_marks_its_deliveries_step_by_step(case: Case) {
    case.put_webhook(webhook("wh_2", "t")).await.unwrap();
    let (early, ended, failed, waits) = (id(NOW - 1, 1), id(NOW, 2), id(NOW, 3), id(NOW, 4));
    let (held, unrouted) = (id(NOW, 5), id(NOW, 6));
    for id in [&early, &ended] {
        case.finished(spilled(id), |completion| completion).await;
    }
    case.finished(spilled(&failed), |completion| DeliveryUpdate { status: Status::Failed, ..completion }).await;
    case.finished(spilled(&waits), retry(NOW + 50)).await;
    case.stored(row(&held)).await;
    let another = with(spilled(&unrouted), |event| event.event_type = "nobody".into());
    case.finished(another, |completion| completion).await;
    assert_eq!(case.start_replay(replay(1, Some("nobody"), None)).await.unwrap(), 0);
    assert_eq!(case.start_replay(replay(2, Some("t"), Some(Status::Failed))).await.unwrap(), 1);
    assert_eq!(case.start_replay(replay(3, None, None)).await.unwrap(), 3);
    assert_eq!(case.replays_in_progress().await.unwrap(), ["rpl_2", "rpl_3"]);
    let step = case.replay_step("rpl_2".into()).await.unwrap();
    assert_eq!((&*step.company, &step.event_types[..]), ("acme", &["t".to_owned()][..]));
    assert_eq!(case.waiting(NOW).await.unwrap().replayed, 1);
    case.replay_step("rpl_3".into()).await.unwrap();
    let waiting = case.waiting(NOW).await.unwrap();
    assert_eq!((waiting.replayed, waiting.leased, waiting.scheduled), (3, 1, 0));
    let backlogged = case.backlogged_webhooks("me").await.unwrap();
    assert!(backlogged.len() == 1 && backlogged[0].has_replay && !backlogged[0].has_backlog, "{backlogged:?}");
    assert_eq!(case.one(&ended).await.webhook, "wh_2", "it goes to the webhook as it stands");
    for replay in ["rpl_2", "rpl_3"] {
        assert!(case.replay_step(replay.into()).await.unwrap().event_types.is_empty());
    }
    assert!(case.replays_in_progress().await.unwrap().is_empty());
    assert!(case.replay_step("rpl_2".into()).await.unwrap().event_types.is_empty());
    assert_eq!(case.one(&early).await.status, Status::Delivered);
}

pub(crate) async fn company_has_at_most_ten_replays_in_progress(case: Case) {
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    case.finished(spilled(&id(NOW, 1)), |completion| completion).await;
    for number in 0..10 {
        assert_eq!(case.start_replay(replay(number, None, None)).await.unwrap(), 1);
    }
    let Err(StoreError::Limit(why)) = case.start_replay(replay(10, None, None)).await else { panic!("an eleventh") };
    assert!(why.contains("10 replays"), "{why}");
}
