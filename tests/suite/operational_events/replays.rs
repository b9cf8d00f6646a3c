//! Replays whose deliveries were all sent.

use posthaste_tests::until;

use super::*;

const FINISHED: &str = "posthaste.replay.finished";
/// Selects every delivery.
const SINCE: &str = "2020-01-01T00:00:00.000Z";

/// Makes the host look at once which replays are finished: asking for any replay does that.
async fn look(host: &Host) {
    host.post("/deliveries/replay", &json!({"type": "nobody", "since": SINCE})).await.expect(202);
}

#[tokio::test]
async fn replay_is_told_once_all_of_its_deliveries_were_sent() {
    let (host, receiver, subscriber) = (Host::start().await, Receiver::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/t")})).await;
    subscribe(&host, &subscriber, FINISHED).await;
    for number in 0..3 {
        host.delivery(&host.publish("t", &json!(number)).await, "delivered").await;
    }
    receiver.hold();
    let replay = json!({"type": "t", "status": "delivered", "since": SINCE});
    let id = host.post("/deliveries/replay", &replay).await.expect(202)["id"].clone();
    receiver.wait_for(6).await;
    look(&host).await;
    assert_eq!(stored(&host, FINISHED).await, 0, "its attempts are in flight");
    receiver.open();
    until("it is told", || async {
        look(&host).await;
        (stored(&host, FINISHED).await == 1).then_some(())
    })
    .await;
    let data = subscriber.first().await.json();
    let replay = &data["replay"];
    assert_eq!((&data["type"], &replay["id"], &replay["type"]), (&json!(FINISHED), &id, &json!("t")));
    assert_eq!((&replay["status"], &replay["since"]), (&json!("delivered"), &json!(SINCE)));
    assert!(replay["until"].is_string(), "{data}");
}

#[tokio::test]
async fn replay_that_is_stopped_is_not_told() {
    let (mut host, receiver, subscriber) = (Host::start().await, Receiver::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/t")})).await;
    subscribe(&host, &subscriber, FINISHED).await;
    host.delivery(&host.publish("t", &json!(1)).await, "delivered").await;
    receiver.hold();
    let id = host.post("/deliveries/replay", &json!({"since": SINCE})).await.expect(202)["id"].clone();
    receiver.wait_for(2).await;
    host.delete(&format!("/deliveries/replays/{}", id.as_str().unwrap()), &Value::Null).await.expect(200);
    receiver.open();
    look(&host).await;
    host.restart().await;
    assert_eq!(stored(&host, FINISHED).await, 0);
}
