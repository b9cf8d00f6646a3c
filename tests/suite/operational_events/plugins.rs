//! Plugins that are activated, and plugins that fail.

use posthaste_tests::guest;

use super::*;

const ACTIVATED: &str = "posthaste.plugin.activated";
const FAILING: &str = "posthaste.plugin.failing";

#[tokio::test]
async fn activated_version_is_told_with_the_one_before() {
    let (host, subscriber) = (Host::start().await, Receiver::start().await);
    subscribe(&host, &subscriber, ACTIVATED).await;
    let digest = |uploaded: Value| uploaded["digest"].clone();
    let one = digest(host.upload("mask", &guest("pass")).await.expect(201));
    // The same bytes again change nothing, and a candidate is not active.
    host.upload("mask", &guest("pass")).await.expect(200);
    let two = digest(host.upload("mask?activate=false", &guest("drop")).await.expect(201));
    host.post("/plugins/mask/activate", &json!({"digest": two})).await.expect(200);
    host.post("/plugins/mask/activate", &json!({"digest": two})).await.expect(200);
    let three = digest(host.upload("mask", &guest("error")).await.expect(201));
    let arrivals = subscriber.wait_for(3).await;
    let mut told: Vec<_> = arrivals.iter().map(|arrival| arrival.json()["plugin"].clone()).collect();
    told.sort_by_key(|plugin| {
        [&Value::Null, &one, &two].iter().position(|before| **before == plugin["previous_digest"])
    });
    let plugin = |digest: &Value, before: &Value| json!({"name": "mask", "digest": digest, "previous_digest": before});
    assert_eq!(told, [plugin(&one, &Value::Null), plugin(&two, &one), plugin(&three, &two)]);
    assert_eq!(stored(&host, ACTIVATED).await, 3);
}

#[tokio::test]
async fn plugin_that_fails_five_times_in_a_row_is_told_once_until_it_works_whatever_the_policy() {
    let (host, receiver, subscriber) = (Host::start().await, Receiver::start().await, Receiver::start().await);
    let digest = host.upload("broken", &guest("error")).await.expect(201)["digest"].clone();
    subscribe(&host, &subscriber, FAILING).await;
    let hook = |policy: &str, plugin: &str| json!({"type": "t", "target_url": receiver.url("/t"), "plugin": plugin, "on_error": policy, "ordered": true});
    let id = host.subscribe(&hook("drop", "broken")).await;
    let filtered = async || {
        let delivery = host.publish("t", &json!(1)).await;
        host.delivery(&delivery, "filtered").await;
    };
    for _ in 0..7 {
        filtered().await;
    }
    let data = told(&subscriber, FAILING, &id).await;
    assert_eq!(data["plugin"], json!({"name": "broken", "digest": digest}));
    assert_eq!(
        (&data["failures"], data["last_error"].as_str().unwrap().contains("no such employee")),
        (&json!(5), true)
    );
    assert_eq!(stored(&host, FAILING).await, 1);
    host.upload("works", &guest("drop")).await.expect(201);
    host.subscribe(&hook("drop", "works")).await;
    filtered().await;
    host.subscribe(&hook("drop", "broken")).await;
    for _ in 0..5 {
        filtered().await;
    }
    subscriber.wait_for(2).await;
    // Under the other policies as well.
    host.subscribe(&hook("send_original", "works")).await;
    filtered().await;
    host.subscribe(&hook("send_original", "broken")).await;
    for _ in 0..5 {
        host.delivery(&host.publish("t", &json!(1)).await, "delivered").await;
    }
    subscriber.wait_for(3).await;
}
