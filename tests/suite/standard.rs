//! The standard transforms, which ship with Posthaste.

use http::Method;
use posthaste_tests::{Client, Host, Receiver, guest, shipped};
use serde_json::{Value, json};

async fn names(host: &Client, query: &str) -> (Vec<String>, Value) {
    let list = host.get(&format!("/plugins{query}")).await.expect(200);
    let names = list["data"].as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap().to_owned());
    (names.collect(), list["next_cursor"].clone())
}

#[tokio::test]
async fn every_company_lists_standard_transforms_after_its_own_plugins() {
    let host = Host::start().await;
    let other = host.company("other").await;
    host.upload("zebra", &guest("pass")).await.expect(201);
    host.upload("ant", &guest("pass")).await.expect(201);
    let (standard, _) = names(&other, "").await;
    for name in ["std-mask", "std-filter", "std-envelope", "std-map", "std-template", "std-slack", "std-jira"] {
        assert!(standard.contains(&name.to_owned()), "{standard:?}");
    }
    let (all, _) = names(&host, "").await;
    assert_eq!(all[2..], standard);
    let (mut paged, mut query) = (Vec::new(), String::from("?limit=1"));
    loop {
        let (page, cursor) = names(&host, &query).await;
        paged.extend(page);
        match cursor.as_str() {
            Some(cursor) => query = format!("?limit=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn standard_transform_is_used_like_any_plugin() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let plugin = host.get("/plugins/std-mask").await.expect(200);
    assert_eq!((&plugin["standard"], &plugin["data"][0]["active"]), (&json!(true), &json!(true)));
    let digest = plugin["digest"].as_str().unwrap();
    let path = format!("/plugins/std-mask/versions/{}", &digest[..8]);
    assert_eq!(host.get(&path).await.expect(200), plugin["data"][0]);
    let bytes = host.call(Method::GET, &path, &[("accept", "application/wasm")], "").await.bytes;
    assert!(bytes.starts_with(b"\0asm"));
    for (kind, name) in [("a", "std-mask".to_owned()), ("b", format!("std-mask@{digest}"))] {
        let hook =
            |config: Value| json!({"type": kind, "target_url": receiver.url("/"), "plugin": name, "config": config});
        assert!(host.post("/webhooks", &hook(json!({"fields": 1}))).await.problem(422).contains("std-mask"));
        let hook = host.post("/webhooks", &hook(json!({"fields": ["/a"]}))).await.expect(201);
        assert_eq!(hook["plugin"], json!({"name": "std-mask", "digest": digest}));
        let id = host.publish(kind, &json!({"a": 1, "b": 2.50})).await;
        let delivery = host.delivery(&id, "delivered").await;
        assert_eq!(delivery["attempts"][0]["plugin"]["digest"], digest);
    }
    assert!(receiver.wait_for(2).await.iter().all(|arrival| arrival.text() == r#"{"a":"***","b":2.5}"#));
    let ask = json!({"event": {"type": "t", "data": {"a": 1}}, "config": {"fields": ["/a"]}});
    assert_eq!(host.post("/plugins/std-mask/dry-run", &ask).await.expect(200)["body"], r#"{"a":"***"}"#);
    let answer = host.post("/plugins/std-mask/compare", &json!({"digest": digest})).await.expect(200);
    assert_eq!((&answer["same"], &answer["compared"]), (&json!(2), &json!(2)));
    let other = host.company("other").await;
    assert_eq!(other.post("/plugins/std-mask/compare", &json!({"digest": digest})).await.expect(200)["compared"], 0);
    let none = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-none"});
    assert!(host.post("/webhooks", &none).await.problem(422).contains("ship with Posthaste"));
}

#[tokio::test]
async fn standard_transforms_change_only_with_posthaste_itself() {
    let host = Host::start().await;
    let digest = host.get("/plugins/std-mask").await.expect(200)["digest"].as_str().unwrap().to_owned();
    for answer in [
        host.upload("std-mask", &shipped("mask")).await,
        host.upload("std-new", &shipped("mask")).await,
        host.delete("/plugins/std-mask", &Value::Null).await,
        host.delete(&format!("/plugins/std-mask/versions/{digest}"), &Value::Null).await,
        host.post("/plugins/std-mask/activate", &json!({"digest": digest})).await,
    ] {
        assert!(answer.problem(422).contains("ship with Posthaste"));
    }
}

#[tokio::test]
async fn upgrade_keeps_the_earlier_standard_version_for_pins() {
    let mut host = Host::start().await;
    let new = host.get("/plugins/std-mask").await.expect(200)["digest"].clone();
    host.stop().await;
    let old = "0".repeat(64);
    for sql in [
        format!("UPDATE plugin_versions SET digest = '{old}' WHERE name = 'std-mask'"),
        format!("UPDATE plugins SET active_digest = '{old}' WHERE name = 'std-mask'"),
    ] {
        host.home().sql(&sql).await;
    }
    for _ in 0..2 {
        host.restart().await;
        let plugin = host.get("/plugins/std-mask").await.expect(200);
        assert_eq!((&plugin["digest"], plugin["data"].as_array().unwrap().len()), (&new, 2));
        assert_eq!(host.get(&format!("/plugins/std-mask/versions/{old}")).await.expect(200)["active"], false);
    }
}

/// Publishes an event whose data is this text, and returns the id of its delivery.
async fn publish_text(host: &Client, kind: &str, data: &str) -> String {
    let body = format!(r#"{{"type": "{kind}", "data": {data}}}"#);
    let answer = host.call(Method::POST, "/events", &[("content-type", "application/json")], body).await.expect(202);
    answer["delivery_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn fields_that_a_standard_transform_does_not_read_may_be_any_json() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let deep = 100_000;
    let odd = [
        r#""cut \ud83d""#.to_owned(),
        "1e400".to_owned(),
        format!("{}{}", "[".repeat(200), "]".repeat(200)),
        format!("{}{}", "[".repeat(deep), "]".repeat(deep)),
        format!(r#"{}0{}"#, r#"{"a":"#.repeat(deep / 5), "}".repeat(deep / 5)),
        r#"{"\ud83d": 1}"#.to_owned(),
    ];
    for (plugin, config) in [
        ("std-filter", json!({"keep": [{"field": "/kind", "is": "hire"}]})),
        ("std-mask", json!({"fields": ["/kind"]})),
        ("std-map", json!({"remove": ["/kind"]})),
        ("std-template", json!({"json": {"kind": "{{ kind }}"}})),
        ("std-envelope", Value::Null),
    ] {
        let hook = json!({"type": plugin, "target_url": receiver.url("/"), "plugin": plugin, "config": config, "ordered": true});
        host.subscribe(&hook).await;
        for odd in &odd {
            publish_text(&host, plugin, &format!(r#"{{"kind":"hire","odd":{odd}}}"#)).await;
        }
        // The webhook is ordered: this event comes only after all of the others.
        let last = host.publish(plugin, &json!({"kind": "hire"})).await;
        assert_eq!(host.delivery(&last, "delivered").await["attempt_count"], 1, "{plugin}");
    }
    let arrivals = receiver.wait_for(5 * (odd.len() + 1)).await;
    assert_eq!(arrivals.len(), 5 * (odd.len() + 1), "no attempt has failed");
    let sent = |text: &str| arrivals.iter().filter(|arrival| arrival.text() == text).count();
    assert_eq!(sent(r#"{"kind":"hire","odd":"cut \ud83d"}"#), 1);
    assert_eq!(sent(r#"{"kind":"***","odd":1e400}"#), 1);
    assert_eq!(sent(r#"{"odd":{"\ud83d": 1}}"#), 1);
}

#[tokio::test]
async fn a_filter_compares_numbers_exactly() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = format!(
        r#"{{"type": "t", "target_url": "{}", "ordered": true, "plugin": "std-filter", "config": {{"keep": [{{"field": "/id", "one_of":
        [18446744073709551614, 1.0, 1e400]}}], "drop": [{{"field": "/tags", "contains": 1.0}}]}}}}"#,
        receiver.url("/")
    );
    host.call(Method::POST, "/webhooks", &[("content-type", "application/json")], hook).await.expect(201);
    for (data, status) in [
        (r#"{"id": 18446744073709551615}"#, "filtered"),
        (r#"{"id": 18446744073709551614.00}"#, "delivered"),
        (r#"{"id": 1}"#, "delivered"),
        (r#"{"id": 1.00000000000000000000001}"#, "filtered"),
        (r#"{"id": 1, "tags": ["1", 2, 1]}"#, "filtered"),
    ] {
        let id = publish_text(&host, "t", data).await;
        assert_eq!(host.delivery(&id, status).await["attempt_count"], 1, "{data}");
    }
    // The client of this test cannot read such numbers.
    let huge = r#"{"id": 10e399, "total": 1e999999999999}"#;
    publish_text(&host, "t", r#"{"id": 10e399, "tags": [100e-2]}"#).await;
    publish_text(&host, "t", huge).await;
    let arrivals = receiver.wait_for(3).await;
    assert_eq!(arrivals.last().unwrap().text(), huge);
}

#[tokio::test]
async fn a_filter_has_alternatives_patterns_and_any_element() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-filter", "config": {
        "keep": [
            {"any": [{"field": "/country", "is": "es", "ignore_case": true}, {"field": "/city", "is": "Lisbon"}]},
            {"not": {"field": "/emails/*", "matches": "@example\\.com$"}}
        ],
        "drop": [{"field": "/lines/*/days", "at_least": 3, "at_most": 5}]
    }});
    host.subscribe(&hook).await;
    for (data, status) in [
        (json!({"country": "ES"}), "delivered"),
        (json!({"country": "PT", "city": "Lisbon", "emails": ["ana@example.org", 1]}), "delivered"),
        (json!({"country": "PT", "city": "Porto"}), "filtered"),
        (json!({"country": "ES", "emails": ["ana@acme.com", "mar@example.com"]}), "filtered"),
        (json!({"country": "ES", "lines": [{"days": 2}, {"days": 5.5}]}), "delivered"),
        (json!({"country": "ES", "lines": [{"days": 2}, {"days": 5}]}), "filtered"),
    ] {
        let delivery = host.delivery(&host.publish("t", &data).await, status).await;
        assert_eq!(delivery["attempt_count"], 1, "{data}");
    }
    let delivery = host.delivery(&host.publish("t", &json!({"country": "FR"})).await, "filtered").await;
    let reason = r#"keep: {"any":[{"field":"/country","ignore_case":true,"is":"es"},{"field":"/city","is":"Lisbon"}]} does not hold"#;
    assert_eq!(delivery["attempts"][0]["plugin"]["reason"], reason);
}

#[tokio::test]
async fn a_field_or_test_that_cannot_hold_is_refused() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let test = |test: Value| {
        let mut condition = test;
        condition["field"] = json!("/a");
        json!({"drop": [condition]})
    };
    for (plugin, config, reason) in [
        (
            "std-mask",
            json!({"fields": ["/data/*_token"]}),
            "only if it is the whole name, and `*_token` has it as a part",
        ),
        ("std-mask", json!({"keys": ["a", "/a/b"]}), "keys[1]: `/a/b` is a JSON Pointer, and not the name of a member"),
        ("std-mask", json!({"with": "-"}), "none of `fields`, `keys` and `matches` names anything"),
        (
            "std-mask",
            json!({"keys": ["a"], "missing": "warn"}),
            "missing: unknown variant `warn`, expected `ignore` or `fail`",
        ),
        ("std-mask", json!({"matches": ["[a"]}), "matches[0]: unclosed character class, at character 1 of `[a`"),
        ("std-mask", json!({"keys": ["a"], "keep_last": 20}), "keep_last: 1 to 8 characters can be kept"),
        ("std-mask", json!({"fields": ["/employees/-/iban"]}), "names the element after the last one of a list"),
        ("std-mask", json!({"fields": ["/employees[0]/iban"]}), "an element is named as in `/employees/0/iban`"),
        ("std-mask", json!({"fields": ["/a", "/a~2"]}), "fields[1]: `/a~2` is not a JSON Pointer"),
        ("std-map", json!({"remove": ["/employees/*_token"]}), "remove[0]: `/employees/*_token`: `*` stands for any"),
        ("std-map", json!({"defaults": {"/l/-": 1}}), "names the element after the last one of a list"),
        ("std-map", json!({"move": {"/a/*/x": "/x"}}), "both are the same up to the last `*`"),
        ("std-map", json!({"convert": {"/a": "int"}}), "convert `/a`: `int` is unknown; it is one of string, number"),
        ("std-map", json!({"set": {"/a": "{{type}} {{/b}}"}}), "`/set/~1a`, column 10: `{{/b}}` is written `{{ b }}`"),
        ("std-map", json!({"pick": ["/a~2"]}), "`/a~2` is not a JSON Pointer"),
        (
            "std-template",
            json!({"json": {"a": ["Hi {{/first_name}}"]}}),
            "config: `/json/a/0`, column 4: `{{/first_name}}` is written `{{ first_name }}`",
        ),
        (
            "std-template",
            json!({"text": "a\n{{ b | upcase }}"}),
            "`/text`, line 2, column 8: there is no filter `upcase`",
        ),
        (
            "std-template",
            json!({"text": "a={{ a }}", "content_type": "application/x-www-form-urlencoded"}),
            "use `form` in place of `text`",
        ),
        (
            "std-filter",
            json!({"keep": [{"field": "/a/*_id", "is": 1}]}),
            "keep[0].field: `/a/*_id`: `*` stands for any",
        ),
        ("std-filter", json!({"keep": [{"field": "/a~2", "is": 1}]}), "keep[0].field: `/a~2` is not a JSON Pointer"),
        ("std-filter", test(json!({"is": [1]})), "drop[0].is: a list or an object cannot be compared"),
        ("std-filter", test(json!({"is_not": {"b": 1}})), "drop[0].is_not: a list or an object cannot be compared"),
        ("std-filter", test(json!({"one_of": []})), "drop[0].one_of: the list is empty"),
        ("std-filter", test(json!({"contains": [1]})), "drop[0].contains: a list or an object cannot be compared"),
        ("std-filter", test(json!({"at_least": true})), "drop[0].at_least: `true` has no order"),
        ("std-filter", test(json!({"exists": 1})), "drop[0].exists: "),
        ("std-filter", test(json!({})), "the tests are `above`, `at_least`, `at_most`, `below`, `contains`, `exists`"),
        ("std-filter", test(json!({"at_least": 2, "at_most": 1})), "never holds: its tests exclude each other"),
        ("std-filter", test(json!({"above": 2, "below": "3"})), "never holds: its tests exclude each other"),
        ("std-filter", test(json!({"is": 1, "ignore_case": true})), "`ignore_case` needs"),
        ("std-filter", test(json!({"matches": "a(b"})), "drop[0]: `matches`: unclosed group, at character 2 of `a(b`"),
        ("std-filter", test(json!({"matches": "(?=a)"})), "look-around, including look-ahead and look-behind, is not"),
        ("std-filter", test(json!({"matches": "(a{999}){999}"})), "the expression is too large"),
        (
            "std-filter",
            test(json!({"any": [{"field": "/b", "is": 1}]})),
            "a condition is either a `field` with tests, or one of",
        ),
        ("std-filter", json!({"drop": [{"any": []}]}), "drop[0]: the list of `any` is empty, so that it never holds"),
        ("std-filter", json!({"drop": [{"not": {"field": "/a", "is": []}}]}), "drop[0].not.is: a list or an object"),
        ("std-filter", json!({"keep": vec![json!({"field": "/a", "is": 1}); 1_001]}), "1001 conditions; at most 1000"),
    ] {
        let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": plugin, "config": config});
        let text = host.post("/webhooks", &hook).await.problem(422);
        assert!(text.contains("[/config]") && text.contains(reason), "{config}: {text}");
    }
    assert_eq!(host.get("/webhooks").await.expect(200), json!([]));
}

#[tokio::test]
async fn a_template_says_where_it_cannot_be_filled() {
    let (host, receiver) = (Host::with(&["--retry-schedule=5ms"]).await, Receiver::start().await);
    let config = json!({"json": {"text": "{{ name }}:\n{{ note }}"}});
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-template", "config": config});
    host.subscribe(&hook).await;
    let delivery = host.delivery(&host.publish("t", &json!({"name": "Ana"})).await, "failed").await;
    let reason = delivery["attempts"][0]["plugin"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("`/json/text`, line 2, column 4: `note` is missing; write `note | default("), "{reason}");
    host.delivery(&host.publish("t", &json!({"name": "Ana", "note": "new"})).await, "delivered").await;
    assert_eq!(receiver.wait_for(1).await[0].text(), r#"{"text":"Ana:\nnew"}"#);
}

#[tokio::test]
async fn a_template_makes_a_form_headers_and_json_for_each_element() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    for (kind, config) in [
        ("form", json!({"form": {"ref": "{{ ref }}"}, "headers": {"x-type": "{{ event.type }}"}})),
        ("json", json!({"json": [{"$for": "line in lines", "$each": {"total": "{{ line.price * line.n }}"}}]})),
    ] {
        host.subscribe(
            &json!({"type": kind, "target_url": receiver.url("/"), "plugin": "std-template", "config": config}),
        )
        .await;
    }
    publish_text(&host, "form", r#"{"ref": "x&admin=1"}"#).await;
    let form = receiver.wait_for_one(|arrival| arrival.text() == "ref=x%26admin%3D1").await;
    assert_eq!(form.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(form.header("x-type"), "form");
    publish_text(&host, "json", r#"{"lines": [{"price": 2.50, "n": 3}, {"price": 0.1, "n": 1}]}"#).await;
    receiver.wait_for_one(|arrival| arrival.text() == r#"[{"total":7.50},{"total":0.1}]"#).await;
}

#[tokio::test]
async fn a_preset_makes_the_message_of_its_service_and_shows_its_own_config() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-slack"});
    let id = host.subscribe(&hook).await;
    let message = |text: &str| {
        json!({"text": "t", "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "t"}},
            {"type": "section", "fields": [{"type": "mrkdwn", "text": text}]},
        ]})
    };
    host.delivery(&host.publish("t", &json!({"who": "<!channel>"})).await, "delivered").await;
    let sent = |arrival: &posthaste_tests::Arrival| serde_json::from_str::<Value>(&arrival.text()).unwrap();
    assert_eq!(sent(&receiver.wait_for(1).await[0]), message("*who*\n&lt;!channel&gt;"));
    let config = json!({"fields": {"Who": "{{ who }}"}});
    let webhook = host.patch(&format!("/webhooks/{id}"), &json!({"config": config})).await.expect(200);
    assert_eq!((&webhook["config"], &webhook["plugin"]["name"]), (&config, &json!("std-slack")));
    host.delivery(&host.publish("t", &json!({"who": "Ana"})).await, "delivered").await;
    assert_eq!(sent(&receiver.wait_for(2).await[1]), message("*Who*\nAna"));
    let refused =
        host.patch(&format!("/webhooks/{id}"), &json!({"config": {"text": "{{ a | upcase }}"}})).await.problem(422);
    assert!(refused.contains("`/text`, column 8: there is no filter `upcase`"), "{refused}");
    let refused =
        host.post("/webhooks", &json!({"type": "u", "target_url": receiver.url("/"), "plugin": "std-jira"})).await;
    assert!(refused.problem(422).contains("missing field `project`"));
    let ask = json!({"event": {"type": "t", "data": {"who": "Ana"}}, "config": config});
    let answer = host.post("/plugins/std-slack/dry-run", &ask).await.expect(200);
    assert_eq!(serde_json::from_str::<Value>(answer["body"].as_str().unwrap()).unwrap(), message("*Who*\nAna"));
    assert!(answer["fuel"].as_u64() > Some(0), "{answer}");
    let digest = host.get("/plugins/std-template").await.expect(200)["digest"].clone();
    assert_eq!(host.get("/plugins/std-slack").await.expect(200)["digest"], digest);
    let compared = host.post("/plugins/std-slack/compare", &json!({"digest": digest})).await.expect(200);
    assert_eq!((&compared["same"], &compared["compared"]), (&json!(2), &json!(2)), "{compared}");
}

#[tokio::test]
async fn a_map_changes_every_element_and_computes_fields() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let config = json!({
        "remove": ["/lines/*/iban"], "move": {"/lines/*/sku": "/lines/*/article"}, "defaults": {"/note": []},
        "convert": {"/id": "string"}, "lookup": {"/status": {"table": {"1": "paid"}}}, "drop_nulls": true,
        "set": {"/lines/*/total": "{{ item.price * item.n }}", "/type": "{{ event.type }}", "/tags/-": "new"}
    });
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-map", "config": config})).await;
    let data = r#"{"id":7,"status":1,"none":null,"tags":["a"],"lines":[{"sku":"A","iban":1,"price":2.50,"n":3},{"sku":"B","price":1,"n":1}]}"#;
    publish_text(&host, "t", data).await;
    let lines = r#"[{"price":2.50,"n":3,"article":"A","total":7.50},{"price":1,"n":1,"article":"B","total":1}]"#;
    let sent = format!(r#"{{"id":"7","status":"paid","tags":["a","new"],"lines":{lines},"note":[],"type":"t"}}"#);
    assert_eq!(receiver.wait_for(1).await[0].text(), sent);
}

#[tokio::test]
async fn a_mask_reaches_every_element_of_a_list_and_a_key_at_any_depth() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let data =
        json!({"employees": [{"iban": "ES91"}, {"iban": "FR76"}], "log": [[{"api_token": {"a": 1}, "iban": "DE02"}]]});
    let every = r#"{"employees":[{"iban":"***"},{"iban":"***"}],"log":[[{"api_token":{"a":1},"iban":"DE02"}]]}"#;
    let anywhere = r#"{"employees":[{"iban":"-"},{"iban":"-"}],"log":[[{"api_token":"-","iban":"-"}]]}"#;
    for (kind, config, sent) in [
        ("every", json!({"fields": ["/employees/*/iban"]}), every),
        ("anywhere", json!({"keys": ["iban", "*_token"], "with": "-"}), anywhere),
    ] {
        let hook = json!({"type": kind, "target_url": receiver.url("/"), "plugin": "std-mask", "config": config});
        host.subscribe(&hook).await;
        let delivery = host.delivery(&host.publish(kind, &data).await, "delivered").await;
        assert_eq!(receiver.wait_for_one(|arrival| arrival.text() == sent).await.text(), sent);
        assert_eq!(delivery["attempts"][0]["plugin"]["logs"], json!([]));
    }
}

#[tokio::test]
async fn a_mask_that_must_not_miss_sends_nothing_without_its_field() {
    let (host, receiver) = (Host::with(&["--retry-schedule=5ms"]).await, Receiver::start().await);
    let config = json!({"fields": ["/employees/*/iban"], "missing": "fail"});
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-mask", "config": config});
    host.subscribe(&hook).await;
    let delivery = host.delivery(&host.publish("t", &json!({"staff": [{"iban": "ES91"}]})).await, "failed").await;
    let reason = &delivery["attempts"][0]["plugin"]["reason"];
    assert!(reason.as_str().unwrap().contains("so nothing is sent: `/employees/*/iban`"), "{delivery}");
    host.delivery(&host.publish("t", &json!({"employees": [{"iban": "ES91"}]})).await, "delivered").await;
    assert_eq!(receiver.wait_for(1).await[0].text(), r#"{"employees":[{"iban":"***"}]}"#);
}

#[tokio::test]
async fn an_attempt_says_which_fields_the_mask_did_not_find() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "plugin": "std-mask",
        "config": {"fields": ["/iban", "/employee/iban"]}});
    host.subscribe(&hook).await;
    for (data, sent, logs) in [
        (json!({"iban": "ES91"}), r#"{"iban":"***"}"#, vec!["`/employee/iban`"]),
        (json!({"ibans": []}), r#"{"ibans":[]}"#, vec!["`/iban`, `/employee/iban`"]),
        (json!({"employee": {"iban": 1}, "iban": 2}), r#"{"employee":{"iban":"***"},"iban":"***"}"#, vec![]),
    ] {
        let delivery = host.delivery(&host.publish("t", &data).await, "delivered").await;
        assert_eq!(receiver.wait_for_one(|arrival| arrival.text() == sent).await.text(), sent);
        let logs = logs
            .into_iter()
            .map(|fields| json!({"level": "warn", "message": format!("not in the data, so not masked: {fields}")}));
        assert_eq!(delivery["attempts"][0]["plugin"]["logs"], logs.collect::<Value>());
    }
}
