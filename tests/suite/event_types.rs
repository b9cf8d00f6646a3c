//! Event types: describing them, and checking events against their schemas.

mod checking;
mod importing;

use http::Method;
use posthaste::domain::credential::Scopes;
use posthaste_tests::{Answer, Client, Host};
use serde_json::{Value, json};

/// Describes an event type; `name` is written as a path.
async fn put(client: &Client, name: &str, body: &Value) -> Answer {
    client.call(Method::PUT, &format!("/event-types/{name}"), &[], body.to_string()).await
}

async fn names(client: &Client, query: &str) -> (Vec<String>, Option<String>) {
    let page = client.get(&format!("/event-types{query}")).await.expect(200);
    let data = page["data"].as_array().unwrap().iter();
    let names = data.map(|entry| entry["type"].as_str().unwrap().to_owned()).collect();
    (names, page["next_cursor"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn event_type_is_described_shown_replaced_and_removed() {
    let host = Host::start().await;
    let full = json!({
        "description": "Somebody\nwas hired", "group": "Employees", "schema": {"type": "object"}, "example": {"id": 1},
        "deprecated": true, "validate": "warn",
    });
    let made = put(&host, "employee_created", &full).await.expect(201);
    for (field, value) in full.as_object().unwrap() {
        assert_eq!(made[field], *value, "{field}");
    }
    assert_eq!((&made["type"], &made["created_at"]), (&json!("employee_created"), &made["updated_at"]));
    assert_eq!(host.get("/event-types/employee_created").await.expect(200), made);
    let replaced = put(&host, "employee_created", &json!({"group": "Staff"})).await.expect(200);
    let expected = json!({
        "type": "employee_created", "description": null, "group": "Staff", "schema": null, "example": null,
        "deprecated": false, "validate": "off", "created_at": made["created_at"], "updated_at": replaced["updated_at"],
    });
    assert_eq!(replaced, expected, "a field that is not sent has its default");
    let neighbour = host.company("other").await;
    neighbour.get("/event-types/employee_created").await.problem(404);
    neighbour.delete("/event-types/employee_created", &Value::Null).await.problem(404);
    assert_eq!(host.delete("/event-types/employee_created", &Value::Null).await.expect(200), expected);
    host.delete("/event-types/employee_created", &Value::Null).await.problem(404);
    host.get("/event-types/employee_created").await.problem(404);
}

#[tokio::test]
async fn types_with_slashes_and_colons_are_found_encoded_or_not() {
    let host = Host::start().await;
    for (path, other, name) in [
        ("employees/employee/update", "employees%2Femployee%2Fupdate", "employees/employee/update"),
        ("Employees::Events::Update", "Employees%3A%3AEvents%3A%3AUpdate", "Employees::Events::Update"),
        ("a%23b%3Fc%25d", "%61%23b%3fc%25d", "a#b?c%d"),
    ] {
        assert_eq!(put(&host, path, &json!({})).await.expect(201)["type"], name);
        put(&host, other, &json!({})).await.expect(200);
        assert_eq!(host.get(&format!("/event-types/{other}")).await.expect(200)["type"], name);
    }
    let event = json!({"type": "employees/employee/update", "data": 1});
    host.post("/events", &event).await.expect(202);
}

#[tokio::test]
async fn event_types_are_listed_by_name_in_pages_and_by_group() {
    let host = Host::start().await;
    for (name, group) in [("b", "x"), ("B", "y"), ("a/b", "x"), ("c", "x")] {
        put(&host, name, &json!({"group": group})).await.expect(201);
    }
    assert_eq!(names(&host, "").await, (vec!["B".into(), "a/b".into(), "b".into(), "c".into()], None));
    let (first, next) = names(&host, "?group=x&limit=2").await;
    assert_eq!(first, ["a/b", "b"]);
    assert_eq!(names(&host, &format!("?group=x&limit=2&cursor={}", next.unwrap())).await, (vec!["c".into()], None));
    assert_eq!(names(&host, "?group=z").await, (vec![], None));
    for bad in ["?limit=0", "?cursor=!", "?group=", "?type=a"] {
        host.get(&format!("/event-types{bad}")).await.problem(422);
    }
    // Each has about 1 MiB of texts in all: a page has 4 MiB at most.
    let large = json!({"example": "x".repeat(65_000), "schema": {"description": "x".repeat(65_000)}});
    for number in 0..40 {
        put(&host, &format!("large/{number:02}"), &large).await.expect(201);
    }
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let (page, next) = names(&host, &format!("?cursor={cursor}")).await;
        assert!(page.len() < 40);
        count += page.len();
        let Some(next) = next else { break };
        cursor = next;
    }
    assert_eq!(count, 44);
}

#[tokio::test]
async fn broken_rules_of_an_event_type_have_pointers() {
    let host = Host::start().await;
    for (body, expected) in [
        (json!({"descripton": "x"}), "[/descripton]"),
        (json!({"group": "", "description": 7}), "[/group]"),
        (json!({"validate": "always"}), "[/validate]"),
        (json!({"validate": "reject"}), "[/validate] \"events can be checked only against a `schema`"),
        (json!({"schema": {"properties": {"a": {"type": "text"}}}}), "[/schema/properties/a/type]"),
        (
            json!({"schema": {"$ref": "https://example.com/s.json"}}),
            "[/schema/$ref] \"a schema can refer only to itself",
        ),
        (json!({"schema": {"$ref": "file:///etc/passwd"}}), "[/schema/$ref]"),
        (json!({"schema": {"anyOf": [{"$ref": "#"}]}}), "leads back to itself"),
        (json!({"schema": {"pattern": "(a)\\1"}}), "[/schema/pattern]"),
        (json!({"schema": {"properties": {"a": {"type": "string"}}}, "example": {"a": 1}}), "[/example/a]"),
        (json!({"example": "x".repeat(70_000)}), "[/example]"),
    ] {
        let problem = put(&host, "t", &body).await.problem(422);
        assert!(problem.contains(expected), "{problem}");
    }
    for bad in ["ping", "posthaste.webhook.disabled", "a*", "a%20b", &"x".repeat(129)] {
        put(&host, bad, &json!({})).await.problem(422);
    }
    host.call(Method::PUT, "/event-types/t", &[], "[").await.problem(400);
    assert_eq!(names(&host, "").await.0, [""; 0]);
}

#[tokio::test]
async fn event_types_need_the_scope_for_events_and_count_towards_a_quota() {
    let host = Host::with(&["--quota-event-types=1"]).await;
    put(&host, "a", &json!({})).await.expect(201);
    let looking = host.with_key(host.new_key(Some("acme"), Scopes::parse("events:read").unwrap()).await);
    assert_eq!(names(&looking, "").await.0, ["a"]);
    looking.get("/event-types/a").await.expect(200);
    put(&looking, "a", &json!({})).await.problem(403);
    looking.delete("/event-types/a", &Value::Null).await.problem(403);
    let blind = host.with_key(host.new_key(Some("acme"), Scopes::parse("webhooks").unwrap()).await);
    blind.get("/event-types").await.problem(403);
    let refused = put(&host, "b", &json!({})).await;
    assert!(refused.problem(429).contains("1 event types") && refused.json()["limit"] == "event-types");
    assert_eq!(refused.header("retry-after"), "60");
    put(&host, "a", &json!({"group": "g"})).await.expect(200);
    let limits = host.get("/limits").await.expect(200);
    assert_eq!(limits["quotas"]["event-types"], json!({"used": 1, "limit": 1, "unit": "count"}));
}
