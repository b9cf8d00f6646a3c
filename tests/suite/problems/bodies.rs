//! The answer to a bad body says what is wrong, where and how to mend it: every fault at once, in the API's own words.

use http::Method;
use posthaste_tests::{Answer, Host};
use serde_json::{Value, json};

/// Words of the libraries that read bodies and queries.
const INTERNALS: [&str; 9] = [
    "deserialize",
    "invalid type",
    "invalid value",
    "missing field",
    "unknown field",
    "EOF",
    "u32",
    "usize",
    "sequence",
];

#[track_caller]
fn problem(answer: &Answer, status: u16) -> String {
    let text = answer.problem(status);
    assert!(!INTERNALS.iter().any(|word| text.contains(word)), "{text}");
    text
}

fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn body_that_is_no_json_object_is_described() {
    let host = Host::start().await;
    let multipart = "--b1\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\nt\r\n--b1--\r\n";
    for (body, status, part) in [
        (&b""[..], 400, "it is empty; send a JSON object"),
        (b" \n", 400, "it is empty; send a JSON object"),
        (b"type=t&data=1", 400, "a form; send a JSON object"),
        (multipart.as_bytes(), 400, "a form; send a JSON object"),
        (b"{\"type\": \"t\"", 400, "it ends too early (column 12)"),
        (b"{\n\"type\": t}", 400, "(line 2, column 10)"),
        (b"{\"type\": \"t\", \"colour\": \"\xff\"}", 400, "it is not UTF-8"),
        (b"[{\"type\": \"t\", \"data\": 1}]", 422, "not a JSON object"),
        (b"null", 422, "not a JSON object"),
    ] {
        for path in ["/events", "/webhooks", "/deliveries/replay", "/plugins/std-mask/dry-run"] {
            let answer = host.call(Method::POST, path, &[], body).await;
            let text = problem(&answer, status);
            assert!(text.contains(part), "{path} {}: {text}", String::from_utf8_lossy(body));
        }
    }
}

#[tokio::test]
async fn every_fault_of_a_body_is_listed() {
    let host = Host::start().await;
    let webhook = json!({"type": "t", "target_url": "https://receiver.test/"});
    let id = host.post("/webhooks", &webhook).await.expect(201)["id"].as_str().unwrap().to_owned();
    let event = json!({
        "type": "ping", "id": "a b", "occurred_at": "noon", "colour": 1, "headers": {"host": "x", "x-n": 7, "x-ok": "1"},
    });
    let event_faults = ["/colour", "/type", "/data", "/id", "/occurred_at", "/headers/x-n", "/headers/host"];
    let sample = json!({"type": "a b", "data": 1, "id": 7, "occurred_at": "noon", "headers": {"host": "x"}});
    let fields = json!({
        "type": "a b", "target_url": "ftp://x", "max_in_flight": 0, "rate_limit": 1.5, "ordered": "yes", "on_error": "stop",
        "headers": {"x-a": 1, "host": "x"}, "name": 5,
    });
    let change = json!({"target_url": "ftp://x", "type": "other", "max_in_flight": "5", "colour": 1});
    let selection = json!({"type": "a b", "status": "lost", "since": "noon", "until": "later", "colour": 1});
    let posts = [
        ("/events", &event, &event_faults[..]),
        (
            "/webhooks",
            &fields,
            &[
                "/name",
                "/ordered",
                "/type",
                "/target_url",
                "/on_error",
                "/max_in_flight",
                "/rate_limit",
                "/headers/x-a",
                "/headers/host",
            ],
        ),
        ("/webhooks", &json!({"enabled": 1}), &["/enabled", "/type", "/target_url"]),
        ("/deliveries/replay", &selection, &["/colour", "/type", "/status", "/since", "/until"]),
        (
            "/plugins/std-mask/dry-run",
            &json!({"event": sample, "digest": "x", "colour": 1}),
            &["/colour", "/event/id", "/event/type", "/event/occurred_at", "/event/headers/host", "/digest"],
        ),
        (
            "/plugins/std-mask/compare",
            &json!({"digest": "x", "last": 0, "colour": 1}),
            &["/colour", "/digest", "/last"],
        ),
        (&*format!("/webhooks/{id}/secret/rotate"), &json!({"overlap": "soon", "colour": 1}), &["/colour", "/overlap"]),
    ];
    for (path, body, expected) in posts {
        let answer = host.post(path, body).await;
        let text = problem(&answer, 422);
        assert_eq!(pointers(&answer.json()), expected, "{path}: {text}");
    }
    let answer = host.patch(&format!("/webhooks/{id}"), &change).await;
    let text = problem(&answer, 422);
    assert_eq!(pointers(&answer.json()), ["/colour", "/target_url", "/max_in_flight", "/type"], "{text}");
    assert!(text.contains("a whole number from 1 to 1024"), "{text}");
    // A line of a batch is an event like any other.
    let lines = format!("{{\"type\": \"t\", \"data\": 1}}\n{event}\n{{\"type\": \"t\"");
    let batch = host.call(Method::POST, "/events/batch", &[("content-type", "application/x-ndjson")], lines).await;
    let results = batch.expect(202)["results"].clone();
    assert_eq!((&results[1]["line"], pointers(&results[1]["error"])), (&json!(2), event_faults.to_vec()));
    assert_eq!(results[2]["line"], 3);
    assert!(results[2]["error"]["detail"].as_str().unwrap().ends_with("it ends too early (column 12)"), "{results}");
}

#[tokio::test]
async fn too_large_body_names_the_limit_and_its_flag() {
    let host = Host::with(&["--max-event-bytes=1000", "--max-plugin-bytes=2000"]).await;
    let large = |bytes: usize| json!({"type": "t", "data": "x".repeat(bytes)}).to_string();
    let wasm = [("content-type", "application/wasm")];
    let ndjson = [("content-type", "application/x-ndjson")];
    let sample = format!("{{\"event\": {}}}", large(1_000));
    for (method, path, headers, body, parts) in [
        (Method::POST, "/events", &[][..], large(1_000), ["1000 bytes", "`--max-event-bytes`"]),
        (Method::POST, "/events", &[], large(100_000), ["may have 1000", "`--max-event-bytes`"]),
        (Method::POST, "/events/batch", &ndjson, "\n".repeat(17 << 20), ["16777216 bytes", "every batch"]),
        (Method::PUT, "/plugins/p", &wasm, "x".repeat(2_001), ["2000 bytes", "`--max-plugin-bytes`"]),
        (Method::POST, "/webhooks", &[], "x".repeat(300_000), ["262144 bytes", "every JSON body"]),
        (Method::POST, "/plugins/std-mask/dry-run", &[], sample, ["1000 bytes", "`--max-event-bytes`"]),
        (Method::POST, "/plugins/std-mask/dry-run", &[], large(300_000), ["may have 1000", "`--max-event-bytes`"]),
    ] {
        let text = problem(&host.call(method, path, headers, body).await, 413);
        assert!(parts.iter().all(|part| text.contains(part)), "{path}: {text}");
    }
}
