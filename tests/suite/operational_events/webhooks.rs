//! Webhooks that users make, change, disable, enable and remove.

use super::*;

#[tokio::test]
async fn each_change_of_a_webhook_by_its_owner_is_told() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for event in ["created", "updated", "deleted", "enabled", "disabled"] {
        subscribe(&host, &receiver, &format!("posthaste.webhook.{event}")).await;
    }
    let body =
        json!({"type": "t", "target_url": receiver.url("/t?key=s3cret"), "name": "Payroll", "challenge": "s3cret"});
    let id = host.subscribe(&body).await;
    let path = format!("/webhooks/{id}");
    let created = told(&receiver, "posthaste.webhook.created", &id).await;
    let shown = json!({"id": id, "type": "t", "label": null, "target_url": receiver.url("/t?***"), "name": "Payroll"});
    assert_eq!(created["webhook"], shown);
    host.patch(&path, &json!({"name": "Wages"})).await.expect(200);
    assert_eq!(told(&receiver, "posthaste.webhook.updated", &id).await["webhook"]["name"], "Wages");
    host.patch(&path, &json!({"enabled": false})).await.expect(200);
    let disabled = told(&receiver, "posthaste.webhook.disabled", &id).await;
    assert_eq!(
        (&disabled["reason"], &disabled["failing_since"]),
        (&json!("a request set `enabled` to false"), &Value::Null)
    );
    assert_eq!(disabled["disabled_at"], disabled["occurred_at"]);
    // Overwriting enables it again.
    host.subscribe(&body).await;
    told(&receiver, "posthaste.webhook.enabled", &id).await;
    host.post(&format!("{path}/secret/rotate"), &json!({})).await.expect(200);
    host.delete(&path, &Value::Null).await.expect(200);
    told(&receiver, "posthaste.webhook.deleted", &id).await;
    for (event, count) in [("created", 1), ("enabled", 1), ("disabled", 1), ("deleted", 1)] {
        assert_eq!(stored_about(&host, event, &id).await, count, "{event}");
    }
    // The two changes of `enabled`, the one of the name, and the rotation.
    assert_eq!(stored_about(&host, "updated", &id).await, 4);
    assert!(receiver.arrivals().iter().all(|arrival| !arrival.text().contains("s3cret")));
}

/// Returns how many events about this webhook are stored.
async fn stored_about(client: &Client, event: &str, webhook: &str) -> usize {
    let found = client.get(&format!("/deliveries?type=posthaste.webhook.{event}")).await.expect(200);
    let mut count = 0;
    for delivery in found["data"].as_array().unwrap() {
        let delivery = client.get(&format!("/deliveries/{}", delivery["id"].as_str().unwrap())).await.expect(200);
        count += usize::from(delivery["payload"]["webhook"]["id"] == webhook);
    }
    count
}

#[tokio::test]
async fn webhook_gets_no_event_about_itself_and_other_companies_get_none() {
    let (host, receiver, foreign) = (Host::start().await, Receiver::start().await, Receiver::start().await);
    let other = host.company("other").await;
    subscribe(&other, &foreign, "posthaste.webhook.updated").await;
    let own = subscribe(&host, &receiver, "posthaste.webhook.updated").await;
    host.patch(&format!("/webhooks/{own}"), &json!({"name": "n"})).await.expect(200);
    let second = subscribe(&host, &receiver, "posthaste.webhook.created").await;
    host.patch(&format!("/webhooks/{second}"), &json!({"name": "n"})).await.expect(200);
    told(&receiver, "posthaste.webhook.updated", &second).await;
    assert_eq!((stored(&host, "posthaste.webhook.updated").await, receiver.arrivals().len()), (1, 1));
    assert!(foreign.arrivals().is_empty() && stored(&other, "posthaste.webhook.updated").await == 0);
}

#[tokio::test]
async fn event_that_nobody_subscribes_to_is_not_stored() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/t")})).await;
    host.delete(&format!("/webhooks/{id}"), &Value::Null).await.expect(200);
    // Written after them.
    host.publish("unmatched", &json!(1)).await;
    for path in ["/events", "/events?unmatched=true"] {
        let events = host.get(path).await.expect(200)["data"].as_array().unwrap().clone();
        assert!(events.len() == 1 && events[0]["type"] == "unmatched", "{events:?}");
    }
}

#[tokio::test]
async fn event_is_told_to_every_webhook_that_matches_it() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for (event_type, label, path) in [("posthaste.webhook.created", None, "/one"), ("posthaste.*", Some("ops"), "/all")]
    {
        host.subscribe(&json!({"type": event_type, "label": label, "target_url": receiver.url(path)})).await;
    }
    // The first one was told of the second.
    receiver.wait_for(1).await;
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/t")})).await;
    let told = receiver.wait_for(3).await.split_off(1);
    let paths: std::collections::BTreeSet<_> = told.iter().map(|arrival| &*arrival.path).collect();
    assert_eq!(paths, ["/all", "/one"].into());
    assert!(told.iter().all(|arrival| arrival.json()["webhook"]["id"] == id), "{told:?}");
    assert_eq!(told[0].header("webhook-id"), told[1].header("webhook-id"), "it is one event");
}
