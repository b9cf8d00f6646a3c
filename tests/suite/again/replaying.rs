//! `POST /deliveries/replay`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use posthaste::domain::time::rfc3339;
use posthaste_tests::{Arrival, Client, Host, MovedClock, PATIENCE, Receiver, until};
use serde_json::{Value, json};

const EVER: &str = "2020-01-01T00:00:00Z";
/// Multiplied by the 15 s between two periodic searches of the backlog, this exceeds [`PATIENCE`] by half.
const ROUNDS: usize = 12;

async fn replay(client: &Client, body: &Value) -> u64 {
    client.post("/deliveries/replay", body).await.expect(202)["count"].as_u64().unwrap()
}

/// Publishes `count` events of a type, waits until all have arrived, and returns their deliveries.
async fn delivered(host: &Host, kind: &str, count: usize) -> Vec<String> {
    let lines = (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, r#"{{"type":"{kind}","data":{number}}}"#).unwrap();
        text
    });
    let headers = [("content-type", "application/x-ndjson")];
    let answer = host.call(Method::POST, "/events/batch", &headers, lines).await.expect(202);
    let ids = answer["results"].as_array().unwrap().iter();
    let ids: Vec<_> = ids.map(|one| one["delivery_id"].as_str().unwrap().to_owned()).collect();
    nothing_waits(host).await;
    ids
}

async fn nothing_waits(host: &Host) {
    until("nothing waits", || async {
        let page = host.get("/deliveries?status=pending&limit=1").await.expect(200);
        page["data"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}

fn ids(arrivals: &[Arrival]) -> Vec<String> {
    let mut ids: Vec<_> = arrivals.iter().map(|arrival| arrival.header("webhook-id").to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn replay_selects_by_type_status_and_time_and_keeps_ids() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=1ms"]).await, Receiver::start().await);
    for kind in ["a", "b"] {
        host.subscribe(&json!({"type": kind, "target_url": receiver.url(&format!("/{kind}"))})).await;
    }
    delivered(&host, "a", 3).await;
    receiver.answer_status(500);
    delivered(&host, "b", 2).await;
    receiver.answer_status(200);
    clock.pass(3_600_000);
    let middle = host.delivery(&delivered(&host, "a", 4).await[0], "delivered").await;
    let middle = middle["created_at"].as_str().unwrap();
    clock.pass(3_600_000);
    let mut seen = receiver.arrivals().len();
    for (ask, path, count) in [
        (json!({"since": EVER}), "", 9),
        (json!({"since": EVER, "type": "a"}), "/a", 7),
        (json!({"since": EVER, "type": "a", "until": middle}), "/a", 3),
        (json!({"since": middle, "status": "delivered", "type": "a"}), "/a", 4),
        (json!({"since": middle, "until": middle}), "", 0),
        (json!({"since": EVER, "type": "c"}), "", 0),
        (json!({"since": EVER, "status": "failed"}), "", 0),
        (json!({"since": "2100-01-01T00:00:00Z"}), "", 0),
    ] {
        assert_eq!(replay(&host, &ask).await, count, "{ask}");
        let expected = seen + usize::try_from(count).unwrap();
        let arrivals = receiver.wait_for(expected).await;
        nothing_waits(&host).await;
        assert_eq!(receiver.arrivals().len(), expected, "{ask}");
        assert!(arrivals[seen..].iter().all(|arrival| arrival.path.starts_with(path)), "{ask}");
        seen = expected;
    }
    let distinct: HashSet<_> = ids(&receiver.arrivals()).into_iter().collect();
    assert_eq!(distinct.len(), 9, "each keeps its id");
    // Failed deliveries only: the typical use.
    receiver.answer_status(500);
    let failed = delivered(&host, "b", 5).await;
    receiver.answer_status(200);
    clock.pass(1000);
    assert_eq!(replay(&host, &json!({"since": EVER, "status": "failed"})).await, 5);
    for id in failed {
        assert_eq!(host.delivery(&id, "delivered").await["attempt_count"], 3);
    }
}

#[tokio::test]
async fn replayed_delivery_has_its_whole_schedule_again() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=2ms,2ms"]).await, Receiver::start().await);
    receiver.answer_status(500);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let id = delivered(&host, "t", 1).await.remove(0);
    for attempts in [6, 9] {
        clock.pass(1000);
        assert_eq!(replay(&host, &json!({"since": EVER})).await, 1);
        host.delivery_when(&id, "failed again", |one| one["attempt_count"] == attempts && one["status"] == "failed")
            .await;
    }
    let whole = host.delivery(&id, "failed").await;
    let numbers: Vec<_> =
        whole["attempts"].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    assert_eq!(receiver.arrivals().len(), 9);
}

#[tokio::test]
async fn new_event_passes_the_rest_of_a_replay() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &[]).await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 2});
    host.subscribe(&hook).await;
    delivered(&host, "t", 300).await;
    clock.pass(1000);
    receiver.hold();
    assert_eq!(replay(&host, &json!({"since": EVER})).await, 300);
    receiver.wait_for(302).await;
    let fresh = host.publish("t", &json!("fresh")).await;
    receiver.release(2);
    let arrivals = receiver.wait_for(304).await;
    assert!(arrivals[302..].iter().any(|arrival| arrival.text() == "\"fresh\""));
    receiver.open();
    host.delivery(&fresh, "delivered").await;
    nothing_waits(&host).await;
    assert_eq!(receiver.arrivals().len(), 601);
}

#[tokio::test]
async fn replay_continues_after_a_restart() {
    let clock = Arc::new(MovedClock::default());
    let (mut host, receiver) = (Host::at(clock.clone(), &[]).await, Receiver::start().await);
    let hook = |rate: Option<u32>| json!({"type": "t", "target_url": receiver.url("/"), "rate_limit": rate});
    host.subscribe(&hook(None)).await;
    delivered(&host, "t", 1000).await;
    delivered(&host, "t", 400).await;
    clock.pass(1000);
    // Slow enough for the restart to fall into the middle of the replay and of its selection.
    host.subscribe(&hook(Some(5))).await;
    assert_eq!(replay(&host, &json!({"since": EVER})).await, 1400);
    receiver.wait_for(1405).await;
    host.restart().await;
    assert!(receiver.arrivals().len() < 2000);
    host.subscribe(&hook(None)).await;
    let arrivals = receiver.wait_for(2800).await;
    nothing_waits(&host).await;
    let distinct: HashSet<_> = ids(&arrivals).into_iter().collect();
    assert_eq!((distinct.len(), receiver.arrivals().len()), (1400, 2800));
}

#[tokio::test]
async fn replay_for_a_disabled_webhook_is_sent_as_soon_as_it_is_enabled() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &[]).await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let ids = delivered(&host, "t", 3).await;
    let rounds = async {
        for round in 1..=ROUNDS {
            clock.pass(1000);
            host.patch(&format!("/webhooks/{id}"), &json!({"enabled": false})).await.expect(200);
            assert_eq!(replay(&host, &json!({"since": EVER})).await, 3);
            for delivery in &ids {
                host.delivery(delivery, "pending").await;
            }
            assert_eq!(receiver.arrivals().len(), 3 * round);
            host.patch(&format!("/webhooks/{id}"), &json!({"enabled": true})).await.expect(200);
            receiver.wait_for(3 * (round + 1)).await;
            nothing_waits(&host).await;
        }
    };
    // If only the periodic search of the backlog found the replay, the rounds would take longer than the safety net.
    tokio::time::timeout(PATIENCE, rounds).await.expect("a replay waits for the periodic search");
}

#[tokio::test]
async fn replay_skips_removed_webhooks_and_other_companies() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &[]).await, Receiver::start().await);
    let other = host.company("other").await;
    other.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let foreign = other.publish("t", &json!(1)).await;
    other.delivery(&foreign, "delivered").await;
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    delivered(&host, "t", 2).await;
    host.delete(&format!("/webhooks/{id}"), &Value::Null).await.expect(200);
    clock.pass(1000);
    assert_eq!(replay(&host, &json!({"since": EVER})).await, 0);
    // A new webhook of the type takes the deliveries over.
    let successor = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/successor")})).await;
    assert_eq!(replay(&host, &json!({"since": EVER})).await, 2);
    receiver.wait_for(5).await;
    nothing_waits(&host).await;
    let page = host.get(&format!("/deliveries?webhook={successor}")).await.expect(200);
    assert_eq!((page["data"].as_array().unwrap().len(), receiver.arrivals().len()), (2, 5));
    assert_eq!(other.get(&format!("/deliveries/{foreign}")).await.expect(200)["attempt_count"], 1);
}

#[tokio::test]
async fn replay_of_a_removed_webhook_goes_to_one_with_a_pattern_of_its_types() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &[]).await, Receiver::start().await);
    let removed = host.subscribe(&json!({"type": "a/b", "target_url": receiver.url("/")})).await;
    let delivery = delivered(&host, "a/b", 1).await;
    host.delete(&format!("/webhooks/{removed}"), &Value::Null).await.expect(200);
    clock.pass(1000);
    for other in [json!({"type": "b/*"}), json!({"type": "*"}), json!({"type": "a/*", "label": "x"})] {
        let mut hook = json!({"target_url": receiver.url("/other")});
        hook.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        host.subscribe(&hook).await;
    }
    let successor = host.subscribe(&json!({"type": "a/*", "target_url": receiver.url("/successor")})).await;
    assert_eq!(replay(&host, &json!({"since": EVER})).await, 1);
    receiver.wait_for(2).await;
    nothing_waits(&host).await;
    assert_eq!(receiver.arrivals()[1].path, "/successor");
    assert_eq!(host.get(&format!("/deliveries/{}", delivery[0])).await.expect(200)["webhook"], json!(successor));
}

#[tokio::test]
async fn invalid_replay_is_refused_with_a_pointer() {
    let host = Host::start().await;
    for (body, status, part) in [
        (json!({}), 422, "[/since]"),
        (json!({"since": "yesterday"}), 422, "[/since]"),
        (json!({"since": 5}), 422, "[/since]"),
        (json!({"since": EVER, "until": "2020-13-01T00:00:00Z"}), 422, "[/until]"),
        (json!({"since": EVER, "until": "2019-01-01T00:00:00Z"}), 422, "[/until]"),
        (json!({"since": EVER, "status": "lost"}), 422, "[/status]"),
        (json!({"since": EVER, "type": "a b"}), 422, "[/type]"),
        (json!({"since": EVER, "colour": "red"}), 422, "colour"),
        (json!([]), 422, ""),
    ] {
        let text = host.post("/deliveries/replay", &body).await.problem(status);
        assert!(text.contains(part), "{body}: {text}");
    }
    host.call(Method::POST, "/deliveries/replay", &[], "{").await.problem(400);
    host.call(Method::POST, "/deliveries/replay", &[], "").await.problem(400);
    assert_eq!(replay(&host, &json!({"since": EVER, "until": null, "type": null, "status": null})).await, 0);
}

/// Fills the log with deliveries to `webhook`, all delivered within this minute.
async fn fill(host: &Host, webhook: &str, now_ms: i64) {
    let (from, home) = (now_ms - 60_000, host.home());
    let id = home.kind().hex(&format!("{from} + i"), 12);
    let rows = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19999) \
        SELECT 'dlv_' || {id} AS id, 'e' || i AS event_id, 't' AS event_type, '{webhook}' AS webhook_id, \
        'delivered' AS status, 1 AS attempt_count, CAST(NULL AS BIGINT) AS due, 0 AS parked, {from} AS created_at, \
        CAST(NULL AS BIGINT) AS finished_at, '1' AS data FROM n"
    );
    home.fill_log(&rows).await;
}

#[tokio::test]
async fn company_is_limited_to_ten_replays_in_progress() {
    use posthaste::clock::{Clock, SystemClock};
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "enabled": false});
    let id = host.subscribe(&hook).await;
    host.stop().await;
    let now = SystemClock.now_ms();
    fill(&host, &id, now).await;
    host.restart().await;
    let ask = json!({"since": rfc3339(now - 3_600_000)});
    // All at once: each replay takes at least twenty steps with a rest after each, and starting it is a part of one commit.
    let asked = futures_util::future::join_all((0..20).map(|_| host.post("/deliveries/replay", &ask))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = asked.iter().partition(|answer| answer.status == 202);
    assert!(accepted.len() >= 10 && !refused.is_empty(), "{} accepted, {} refused", accepted.len(), refused.len());
    for answer in refused {
        assert!(answer.problem(429).contains("10 replays under way"));
        assert_eq!((answer.header("retry-after"), &answer.json()["limit"]), ("1", &json!("replays")));
    }
    let other = host.company("other").await;
    assert_eq!(replay(&other, &ask).await, 0, "the limit is per company");
}

#[tokio::test]
async fn failing_replayed_deliveries_do_not_hold_up_the_others() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h,10h"]).await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    delivered(&host, "t", 90).await;
    clock.pass(1000);
    receiver.answer(|_, arrival| {
        let fails = arrival.json().as_u64().unwrap().is_multiple_of(3);
        if fails { StatusCode::BAD_GATEWAY } else { StatusCode::OK }.into_response()
    });
    assert_eq!(replay(&host, &json!({"since": EVER})).await, 90);
    receiver.wait_for(180).await;
    until("sixty are delivered again", || async {
        let page = host.get("/deliveries?status=delivered").await.expect(200);
        (page["data"].as_array().unwrap().len() == 60).then_some(())
    })
    .await;
    // Deliveries that wait for a retry may be replayed too.
    clock.pass(1000);
    receiver.answer_status(200);
    assert_eq!(replay(&host, &json!({"since": EVER, "status": "pending"})).await, 30);
    receiver.wait_for(210).await;
    nothing_waits(&host).await;
}
