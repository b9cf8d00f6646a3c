//! Erasing the data of events.

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Answer, Client, Host, Kind, Process, Receiver, until};
use serde_json::{Value, json};

/// What is searched for once it is erased.
pub(crate) const MARKER: &str = "marker-5f1c7e0b9a";

async fn erase(client: &Client, event: &str) -> Answer {
    client.delete(&format!("/events/{event}"), &Value::Null).await
}

pub(crate) fn marked(id: &str) -> Value {
    // Longer than a page of the database.
    let data = json!({"name": MARKER, "long": format!("{MARKER} ").repeat(1_000)});
    json!({"type": "t", "id": id, "data": data, "headers": {"x-person": MARKER}})
}

/// A receiver that answers with what it got.
pub(crate) async fn echoing() -> Receiver {
    let receiver = Receiver::start().await;
    receiver.answer(|_, arrival| (StatusCode::OK, [("x-echo", MARKER)], arrival.body.clone()).into_response());
    receiver
}

/// Returns where the marker is found in the files of a database.
pub(crate) fn files_with_marker(folder: &std::path::Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let has = |path: &std::path::Path| {
        path.is_file() && std::fs::read(path).unwrap().windows(MARKER.len()).any(|part| part == MARKER.as_bytes())
    };
    files.filter(|file| has(&file.path())).map(|file| file.file_name().into_string().unwrap()).collect()
}

/// Checks that no table of the log has the marker.
pub(crate) async fn check_gone(host: &Host) {
    let as_text = |column: &str| match host.home().kind() {
        Kind::Sqlite => format!("CAST({column} AS TEXT)"),
        Kind::Postgres => format!("CONVERT_FROM({column}, 'UTF8')"),
    };
    let columns = "COALESCE(error, '') || COALESCE(response_body, '') || COALESCE(request_headers, '') || \
                   COALESCE(response_headers, '') || COALESCE(plugin, '')";
    for (table, text) in [("events", format!("headers || {}", as_text("data"))), ("attempts", columns.to_owned())] {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE {text} LIKE '%{MARKER}%'");
        assert_eq!(host.home().value::<i64>(&sql).await, 0, "{table}");
    }
}

#[tokio::test]
async fn erased_event_shows_its_lines_without_payload() {
    let (host, receiver) = (Host::start().await, echoing().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let answer = host.post("/events", &marked("e1")).await.expect(202);
    let delivery = answer["delivery_id"].as_str().unwrap();
    let before = host.delivery(delivery, "delivered").await;
    assert!(before["attempts"][0]["response_body"].as_str().unwrap().contains(MARKER));
    let used = async || host.get("/limits").await.expect(200)["quotas"]["event-bytes"]["used"].clone();
    assert_ne!(used().await, json!(0));
    let erased = erase(&host, "e1").await.expect(200);
    let event = host.get("/events/e1").await.expect(200);
    assert_eq!(
        (&event["payload"], &event["erased_at"], &event["id"]),
        (&Value::Null, &erased["erased_at"], &json!("e1"))
    );
    assert_eq!((&event["type"], &event["deliveries"][0]["status"]), (&json!("t"), &json!("delivered")));
    let shown = host.get(&format!("/deliveries/{delivery}")).await.expect(200);
    assert_eq!((&shown["payload"], &shown["erased_at"]), (&Value::Null, &erased["erased_at"]));
    let attempt = &shown["attempts"][0];
    assert_eq!((&attempt["status_code"], &attempt["error"]), (&json!(200), &Value::Null));
    for field in ["response_body", "request_headers", "response_headers", "plugin"] {
        assert_eq!(attempt[field], Value::Null, "{field}");
    }
    assert_eq!(host.get("/events").await.expect(200)["data"][0]["erased_at"], erased["erased_at"]);
    assert_eq!(used().await, json!(0));
    check_gone(&host).await;
    // Again, and what cannot be done with it any more.
    assert_eq!(erase(&host, "e1").await.expect(200), erased);
    for refused in [
        host.post("/events", &marked("e1")).await,
        host.post(&format!("/deliveries/{delivery}/retry"), &json!({})).await,
        host.get(&format!("/deliveries/{delivery}/transformed")).await,
    ] {
        let text = refused.problem(409);
        assert!(text.contains("erased"), "{text}");
    }
    let replay = host.post("/deliveries/replay", &json!({"event": "e1"})).await.expect(202);
    assert_eq!(replay["count"], 0);
    assert_eq!(receiver.arrivals().len(), 1);
}

#[tokio::test]
async fn only_who_may_publish_for_the_company_erases_its_events() {
    let host = Host::start().await;
    host.post("/events", &marked("e1")).await.expect(202);
    let neighbour = host.company("neighbour").await;
    assert!(erase(&neighbour, "e1").await.problem(404).contains("no event"));
    let scopes = posthaste::domain::credential::Scopes::parse("events:read,deliveries").unwrap();
    let reader = host.client.with_key(host.new_key(Some("acme"), scopes).await);
    erase(&reader, "e1").await.problem(403);
    erase(&host, "nobody").await.problem(404);
    assert_eq!(host.get("/events/e1").await.expect(200)["payload"]["name"], MARKER);
}

#[tokio::test]
async fn erasure_cancels_what_waits_and_keeps_nothing_of_the_attempt_in_flight() {
    let (mut host, receiver) = (Host::with(&["--retry-schedule=1h,1h"]).await, Receiver::start().await);
    let hook = |label: &str, more: Value| {
        let mut hook = json!({"type": "t", "label": label, "target_url": receiver.url(&format!("/{label}"))});
        hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        hook
    };
    receiver.answer(|_, arrival| match arrival.path.as_str() {
        "/fails" => (StatusCode::INTERNAL_SERVER_ERROR, arrival.body.clone()).into_response(),
        _ => (StatusCode::OK, arrival.body.clone()).into_response(),
    });
    host.subscribe(&hook("fails", json!({}))).await;
    host.subscribe(&hook("off", json!({"enabled": false}))).await;
    host.subscribe(&hook("slow", json!({"max_in_flight": 1}))).await;
    receiver.hold();
    host.post("/events", &json!({"type": "t", "id": "first", "data": 1})).await.expect(202);
    receiver.wait_for(2).await;
    let answer = host.post("/events", &marked("e1")).await.expect(202);
    let ids: Vec<_> = answer["delivery_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    // One is in flight, one waits for its webhook, and one for its turn in memory.
    receiver.wait_for(3).await;
    erase(&host, "e1").await.expect(200);
    for id in &ids {
        assert_eq!(host.get(&format!("/deliveries/{id}")).await.expect(200)["status"], "cancelled", "{id}");
    }
    receiver.open();
    let ended = host.delivery_when(ids[0], "its attempt is recorded", |one| one["attempt_count"] == 1).await;
    assert_eq!((&ended["status"], &ended["next_attempt_at"]), (&json!("cancelled"), &Value::Null));
    let attempt = &ended["attempts"][0];
    assert_eq!((&attempt["status_code"], &attempt["response_body"]), (&json!(500), &Value::Null));
    // What comes after it is delivered.
    let slow = hook("slow", json!({"max_in_flight": 1}));
    host.subscribe(&slow).await;
    host.post("/events", &json!({"type": "t", "id": "last", "data": 2})).await.expect(202);
    receiver.wait_for_one(|arrival| arrival.path == "/slow" && arrival.text() == "2").await;
    assert!(!receiver.arrivals().iter().any(|arrival| arrival.path == "/slow" && arrival.text().contains(MARKER)));
    check_gone(&host).await;
    if host.home().kind() == Kind::Sqlite {
        host.stop().await;
        assert_eq!(files_with_marker(host.home().path()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn files_of_sqlite_keep_nothing_of_an_erased_event() {
    if posthaste_tests::sqlite_only("the database file") {
        return;
    }
    let (mut host, receiver) = (Host::start().await, echoing().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    for id in ["e1", "e2"] {
        let answer = host.post("/events", &marked(id)).await.expect(202);
        host.delivery(answer["delivery_id"].as_str().unwrap(), "delivered").await;
    }
    // Into the file, out of the write-ahead log.
    host.restart().await;
    assert!(!files_with_marker(host.home().path()).is_empty());
    for id in ["e1", "e2"] {
        erase(&host, id).await.expect(200);
    }
    host.stop().await;
    assert_eq!(files_with_marker(host.home().path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn erasure_through_one_node_reaches_the_memory_of_another() {
    let home = posthaste_tests::Home::new().await;
    if home.kind() == Kind::Sqlite {
        return;
    }
    let (first, receiver) = (Process::serve(&home, &["--retry-schedule=1h"]).await, Receiver::start().await);
    let second = Process::start(&home, first.client.key.clone(), |command| {
        command.arg("--retry-schedule=1h");
    });
    let second = second.await.unwrap_or_else(|log| panic!("serve ended: {log}"));
    first.client.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 1})).await;
    receiver.hold();
    first.client.publish("t", &json!("blocks")).await;
    receiver.wait_for(1).await;
    let answer = first.client.post("/events", &marked("e1")).await.expect(202);
    erase(&second.client, "e1").await.expect(200);
    let delivery = format!("/deliveries/{}", answer["delivery_id"].as_str().unwrap());
    assert_eq!(second.client.get(&delivery).await.expect(200)["status"], "cancelled");
    // The notification comes in its order: that of a later cancellation is behind it.
    let later = first.client.publish("t", &json!("later")).await;
    second.client.post(&format!("/deliveries/{later}/cancel"), &json!({})).await;
    until("the other node has cancelled it", async || {
        let status = first.client.get(&format!("/deliveries/{later}")).await.expect(200)["status"].clone();
        (status == "cancelled").then_some(())
    })
    .await;
    receiver.open();
    first.client.delivery(&first.client.publish("t", &json!("last")).await, "delivered").await;
    assert!(!receiver.arrivals().iter().any(|arrival| arrival.text().contains(MARKER)));
}

/// Waits until an erasure has ended, and returns it.
async fn finished(client: &Client, id: &Value) -> Value {
    until("the erasure ends", async || {
        let all = client.get("/events/erasures").await.expect(200)["data"].clone();
        let found = all.as_array().unwrap().iter().find(|one| one["id"] == *id).cloned().unwrap();
        (found["state"] == "finished").then_some(found)
    })
    .await
}

#[tokio::test]
async fn events_of_one_person_are_erased_in_the_background() {
    let (mut host, receiver) = (Host::start().await, Receiver::start().await);
    receiver.answer(|_, arrival| (StatusCode::OK, arrival.body.clone()).into_response());
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let neighbour = host.company("neighbour").await;
    let of = |id: String, event_type: &str, person: &str| json!({"type": event_type, "id": id, "data": {"employees": [{"mail": "x"}, {"mail": person}]}});
    for number in 0..60 {
        let person = if number % 6 == 0 { MARKER } else { "another" };
        let event_type = if number % 4 == 0 { "nobody" } else { "t" };
        host.post("/events", &of(format!("e{number}"), event_type, person)).await.expect(202);
    }
    neighbour.post("/events", &of("e0".into(), "t", "marker-of-neighbour")).await.expect(202);
    receiver.wait_for(45).await;
    let selection = json!({"pointer": "/employees/1/mail", "equals": MARKER});
    let mut dry = selection.clone();
    dry["dry_run"] = json!(true);
    let counted = host.post("/events/erase", &dry).await.expect(200);
    assert_eq!(counted, json!({"count": 10, "examined": 60, "next_cursor": null}));
    let id = host.post("/events/erase", &selection).await.expect(202)["id"].clone();
    let done = finished(&host, &id).await;
    assert_eq!((&done["erased"], &done["examined"], &done["pointer"]), (&json!(10), &json!(60), &selection["pointer"]));
    for number in 0..60 {
        let payload = host.get(&format!("/events/e{number}")).await.expect(200)["payload"].clone();
        assert_eq!(payload.is_null(), number % 6 == 0, "{number}");
    }
    check_gone(&host).await;
    // By type and time, whatever the data.
    let created = host.get("/events/e8").await.expect(200)["created_at"].clone();
    let id = host.post("/events/erase", &json!({"type": "nobody", "since": created})).await.expect(202)["id"].clone();
    let done = finished(&host, &id).await;
    assert_eq!((&done["type"], &done["since"]), (&json!("nobody"), &created));
    assert_eq!(host.get("/events/e8").await.expect(200)["payload"], Value::Null);
    assert_ne!(host.get("/events/e9").await.expect(200)["payload"], Value::Null);
    assert_ne!(neighbour.get("/events/e0").await.expect(200)["payload"], Value::Null);
    assert_eq!(neighbour.get("/events/erasures").await.expect(200)["data"], json!([]));
    if host.home().kind() == Kind::Sqlite {
        host.stop().await;
        assert_eq!(files_with_marker(host.home().path()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn erasure_without_a_condition_or_with_a_broken_one_is_refused() {
    let host = Host::start().await;
    host.post("/events", &marked("e1")).await.expect(202);
    for (body, named) in [
        (json!({}), "at least one of"),
        (json!({"dry_run": true}), "at least one of"),
        (json!({"pointer": "/name"}), "/equals"),
        (json!({"equals": 1}), "/pointer"),
        (json!({"pointer": "name", "equals": 1}), "/pointer"),
        (json!({"pointer": "/name", "equals": {}}), "/equals"),
        (json!({"type": "a b"}), "/type"),
        (json!({"since": "yesterday"}), "/since"),
        (json!({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}), "/until"),
        (json!({"type": "t", "cursor": "dlv_1"}), "/cursor"),
        (json!({"type": "t", "dry_run": true, "cursor": "x"}), "/cursor"),
    ] {
        let text = host.post("/events/erase", &body).await.problem(422);
        assert!(text.contains(named), "{body}: {text}");
    }
    let reader = posthaste::domain::credential::Scopes::parse("events:read").unwrap();
    let reader = host.client.with_key(host.new_key(Some("acme"), reader).await);
    reader.post("/events/erase", &json!({"type": "t"})).await.problem(403);
    reader.get("/events/erasures").await.expect(200);
    assert_eq!(host.get("/events/e1").await.expect(200)["payload"]["name"], MARKER);
}
