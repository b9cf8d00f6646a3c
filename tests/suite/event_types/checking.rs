//! Events and the schemas of their types.

use http::Method;
use posthaste_tests::{Client, Host, Kind, Receiver, until};
use serde_json::{Value, json};

use super::put;

/// An employee has an id and at most a name.
fn employee() -> Value {
    json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}})
}

async fn publish(client: &Client, event_type: &str, data: &Value) -> posthaste_tests::Answer {
    client.post("/events", &json!({"type": event_type, "data": data})).await
}

/// Whether a metric has a value.
async fn counts(host: &Host, line: &str) -> bool {
    let metrics = host.get("!/metrics").await;
    String::from_utf8_lossy(&metrics.bytes).lines().any(|found| found == line)
}

#[tokio::test]
async fn invalid_event_is_refused_with_its_faults_and_nothing_is_stored() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    put(&host, "t", &json!({"schema": employee(), "validate": "reject"})).await.expect(201);
    let problem = publish(&host, "t", &json!({"name": 7})).await.problem(422);
    assert!(problem.contains("[/data] \"the member `id` is missing\""), "{problem}");
    assert!(problem.contains("[/data/name] \"must be a string, but is a number\""), "{problem}");
    assert_eq!(host.get("/events").await.expect(200)["data"], json!([]));
    let many = publish(&host, "t", &json!({"id": "x", "name": 1})).await;
    many.problem(422);
    let accepted = publish(&host, "t", &json!({"id": 1, "name": "Ada"})).await.expect(202);
    assert_eq!(accepted.get("warnings"), None);
    host.delivery(accepted["delivery_id"].as_str().unwrap(), "delivered").await;
    assert_eq!(receiver.wait_for(1).await.len(), 1);
    assert!(counts(&host, "posthaste_events_invalid_total{validate=\"reject\"} 2").await);
    // Types that nobody has described, and those of others, are not checked.
    publish(&host, "u", &json!(1)).await.expect(202);
    publish(&host.company("other").await, "t", &json!(1)).await.expect(202);
}

#[tokio::test]
async fn invalid_event_is_accepted_with_warnings_if_the_company_wants_that() {
    let host = Host::start().await;
    put(&host, "t", &json!({"schema": employee(), "validate": "warn", "deprecated": true})).await.expect(201);
    let accepted = publish(&host, "t", &json!({"id": 1.5})).await.expect(202);
    let expected = json!([{"pointer": "/data/id", "detail": "must be an integer, but is a number"}]);
    assert_eq!(accepted["warnings"], expected);
    assert!(counts(&host, "posthaste_events_invalid_total{validate=\"warn\"} 1").await);
    assert_eq!(publish(&host, "t", &json!({"id": 1})).await.expect(202).get("warnings"), None);
    let many = publish(&host, "t", &json!({"id": "x"})).await.expect(202);
    assert_eq!(many["warnings"].as_array().unwrap().len(), 1);
    put(&host, "t", &json!({"schema": {"items": {"type": "null"}}, "validate": "warn"})).await.expect(200);
    let many = publish(&host, "t", &json!(vec![0; 100])).await.expect(202);
    assert_eq!(many["warnings"].as_array().unwrap().len(), 20);
    // With a schema, but not checked.
    put(&host, "t", &json!({"schema": employee()})).await.expect(200);
    assert_eq!(publish(&host, "t", &json!({})).await.expect(202).get("warnings"), None);
}

#[tokio::test]
async fn lines_of_a_batch_are_checked_one_by_one() {
    let host = Host::start().await;
    put(&host, "strict", &json!({"schema": employee(), "validate": "reject"})).await.expect(201);
    put(&host, "lenient", &json!({"schema": employee(), "validate": "warn"})).await.expect(201);
    let lines = [("strict", json!({})), ("lenient", json!({})), ("strict", json!({"id": 1})), ("other", json!({}))];
    let body: String = lines.iter().map(|(name, data)| format!("{}\n", json!({"type": name, "data": data}))).collect();
    let headers = [("content-type", "application/x-ndjson")];
    let answer = host.call(Method::POST, "/events/batch", &headers, body).await.expect(202);
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(3), &json!(1)));
    let results = answer["results"].as_array().unwrap();
    assert_eq!((&results[0]["status"], &results[0]["line"]), (&json!("rejected"), &json!(1)));
    assert_eq!(results[0]["error"]["errors"], json!([{"pointer": "/data", "detail": "the member `id` is missing"}]));
    assert_eq!(results[1]["warnings"][0]["pointer"], "/data");
    assert!(results[2].get("warnings").is_none() && results[3].get("warnings").is_none());
}

#[tokio::test]
async fn changed_schema_is_in_force_at_once_and_on_other_nodes_soon() {
    let host = Host::start().await;
    put(&host, "t", &json!({"schema": {"const": 1}, "validate": "reject"})).await.expect(201);
    publish(&host, "t", &json!(2)).await.problem(422);
    for number in 2..20 {
        put(&host, "t", &json!({"schema": {"const": number}, "validate": "reject"})).await.expect(200);
        publish(&host, "t", &json!(number)).await.expect(202);
        publish(&host, "t", &json!(1)).await.problem(422);
    }
    if Kind::chosen() == Kind::Postgres {
        let beside = host.beside(&[]).await;
        publish(&beside, "t", &json!(1)).await.problem(422);
        put(&host, "t", &json!({"schema": {"const": 1}, "validate": "reject"})).await.expect(200);
        until("the other node has the new schema", || async {
            (publish(&beside, "t", &json!(1)).await.status == 202).then_some(())
        })
        .await;
    }
    host.delete("/event-types/t", &Value::Null).await.expect(200);
    publish(&host, "t", &json!(3)).await.expect(202);
}

#[tokio::test]
async fn hostile_schemas_cost_a_bounded_amount_and_delay_nobody_for_long() {
    let host = Host::start().await;
    let branch =
        |level: u32| json!({"anyOf": [{"$ref": format!("#/$defs/{level}")}, {"$ref": format!("#/$defs/{level}")}]});
    let mut definitions: serde_json::Map<_, _> = (0..28).map(|level| (level.to_string(), branch(level + 1))).collect();
    definitions.insert("28".into(), json!({"type": "string"}));
    let doubling = json!({"$defs": definitions, "$ref": "#/$defs/0"});
    put(&host, "doubling", &json!({"schema": doubling, "validate": "reject"})).await.expect(201);
    let own = json!({"properties": {"a": {"$ref": "#"}}});
    put(&host, "twice", &json!({"schema": {"allOf": [own, own]}, "validate": "warn"})).await.expect(201);
    let pattern = json!({"items": {"pattern": "^(a{1,50}b?){50}$"}});
    put(&host, "pattern", &json!({"schema": pattern, "validate": "reject"})).await.expect(201);
    let nested = (0..100).fold(json!(1), |inner, _| json!({"a": inner}));
    let texts = json!(vec!["a".repeat(100); 2_000]);
    let one = json!(1);
    let (doubling, twice, pattern, other) = tokio::join!(
        publish(&host, "doubling", &one),
        publish(&host, "twice", &nested),
        publish(&host, "pattern", &texts),
        publish(&host, "other", &one),
    );
    for refused in [doubling, pattern] {
        assert!(refused.problem(422).contains("more than 2000000 steps"));
    }
    assert!(twice.expect(202)["warnings"][0]["detail"].as_str().unwrap().contains("more than 2000000 steps"));
    other.expect(202);
}

#[tokio::test]
async fn large_events_are_checked_whole() {
    let host = Host::start().await;
    let schema = json!({"items": {"type": "integer"}, "uniqueItems": true});
    put(&host, "t", &json!({"schema": schema, "validate": "reject"})).await.expect(201);
    let mut numbers: Vec<_> = (0..30_000).collect();
    publish(&host, "t", &json!(numbers)).await.expect(202);
    numbers.push(0);
    let problem = publish(&host, "t", &json!(numbers)).await.problem(422);
    assert!(problem.contains("[/data] \"has the same item twice\""), "{problem}");
}

#[tokio::test]
async fn schema_that_cannot_be_used_any_more_refuses_events_or_says_that_they_are_not_checked() {
    let mut host = Host::start().await;
    put(&host, "strict", &json!({"schema": true, "validate": "reject"})).await.expect(201);
    put(&host, "lenient", &json!({"schema": true, "validate": "warn"})).await.expect(201);
    host.stop().await;
    // As another version may have stored it.
    host.home().sql("UPDATE event_types SET schema_text = '{\"type\": \"later\"}'").await;
    host.restart().await;
    let problem = publish(&host, "strict", &json!(1)).await.problem(500);
    assert!(problem.contains("cannot use the schema of event type `strict`") && problem.contains("/type"), "{problem}");
    let accepted = publish(&host, "lenient", &json!(1)).await.expect(202);
    assert!(accepted["warnings"][0]["detail"].as_str().unwrap().contains("was not checked"));
    put(&host, "strict", &json!({"schema": {}, "validate": "reject"})).await.expect(200);
    publish(&host, "strict", &json!(1)).await.expect(202);
}
