//! Reads of the delivery log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use posthaste_tests::{Home, Host, Receiver, until};
use serde_json::json;

/// Twice what one request examines.
const ROWS: usize = 20_000;
/// More than may wait.
const LISTS: usize = 200;

async fn fill(home: &Home) {
    let id = home.kind().hex("1780000000000 + i", 12);
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS} - 1) \
         SELECT 'dlv_' || {id} AS id, 'e' || i AS event_id, 'many' AS event_type, 'wh_1' AS webhook_id, \
         'delivered' AS status, 0 AS attempt_count, CAST(NULL AS BIGINT) AS due, 0 AS parked, 0 AS created_at, \
         1 AS finished_at, '1' AS data FROM n"
    );
    home.fill_log(&fill).await;
}

#[tokio::test]
async fn company_that_lists_its_log_without_pause_delays_no_neighbour() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let neighbour = host.company("neighbour").await;
    neighbour.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
    fill(host.home()).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let lists = (0..LISTS).map(|_| {
        let (client, answered) = (host.client.clone(), answered.clone());
        tokio::spawn(async move {
            // All these rows are examined, and none is found.
            let answer = client.get("/deliveries?type=many&webhook=wh_2").await;
            if answer.status == 200 {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            answer
        })
    });
    let lists: Vec<_> = lists.collect();
    until("a list is answered, while others wait", || async { (answered.load(Ordering::Relaxed) > 0).then_some(()) })
        .await;
    let before = answered.load(Ordering::Relaxed);
    neighbour.get("/deliveries").await.expect(200);
    let meanwhile = answered.load(Ordering::Relaxed) - before;
    // A key that is not in memory yet.
    let fresh = host.company("neighbour").await;
    let id = fresh.publish("t", &json!(1)).await;
    assert_eq!(fresh.get("!/readyz").await.status, 200);
    fresh.delivery(&id, "delivered").await;
    let answers: Vec<_> = join_all(lists).await.into_iter().map(Result::unwrap).collect();
    let (ended, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(meanwhile < ended.len() / 2, "{meanwhile} of {} lists were answered before the neighbour's", ended.len());
    assert!(!refused.is_empty(), "no more than 64 wait");
    for answer in refused {
        assert_eq!((answer.status, &answer.json()["limit"]), (429, &json!("log-reads")));
        assert!(!answer.header("retry-after").is_empty());
    }
}
