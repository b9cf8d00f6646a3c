//! For every template and all data: the message is valid, or the config or the attempt is refused in words.

#![cfg(test)]

use posthaste_plugin::testing::event;
use posthaste_plugin::{Message, Outcome};
use posthaste_plugin_template::{Config, check, transform};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Returns the message; `None` if the config or the attempt is refused, which must have a text.
fn sent(config: Value, data: &Value) -> Option<Message> {
    let config: Config = serde_json::from_value(config).ok()?;
    if let Err(refusal) = check(&config) {
        assert!(refusal.to_string().starts_with("config: "), "{refusal}");
        return None;
    }
    match transform(event("x", &data.to_string()), config) {
        Ok(Outcome::Replace(message)) => Some(message),
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            assert!(error.to_string().starts_with('`'), "{error}");
            None
        }
    }
}

/// Parts of templates, in any order.
fn template() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        Just("{{ a }}"),
        Just("{{ data }}"),
        Just("{{ b | default(a) }}"),
        Just("{{ l | join('&') }}"),
        Just("{{ a | upper | truncate(3) }}"),
        Just("{% for x in l %}"),
        Just("{% endfor %}"),
        Just("{% if a %}"),
        Just("{% else %}"),
        Just("{% endif %}"),
        Just("{{ x"),
        Just("{{ a | tojson }}"),
        Just("{{ l }}"),
        Just("{{"),
        Just("}}"),
        Just("{%"),
        Just("\""),
        Just("<&é\\ "),
        Just("omit"),
        Just("| safe }}"),
    ];
    prop::collection::vec(parts, 0..6).prop_map(|parts| parts.concat())
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        r#"[{}%|/<&"'\\a=; +é]{0,8}"#.prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!({"a": [1]})),
    ]
}

proptest! {
    #[test]
    fn json_is_json(template in template(), name in template(), a in value(), l in prop::collection::vec(value(), 0..3), slack: bool) {
        let escape = slack.then_some("slack");
        let config = json!({"json": {"t": template, "fixed": 1, "l": [template, {name: 1}]}, "escape": escape});
        if let Some(message) = sent(config, &json!({"a": a, "l": l})) {
            let sent: Value = serde_json::from_str(&message.body).unwrap();
            prop_assert_eq!(&sent["fixed"], &json!(1));
            prop_assert!(sent.as_object().unwrap().len() == 3);
            prop_assert_eq!(message.content_type, None);
        }
    }

    #[test]
    fn slack_gets_no_bracket_that_the_author_did_not_write(a in value(), l in prop::collection::vec(value(), 0..3)) {
        let config = json!({
            "json": ["{{ a }}", "x{{ a }}", "{{ l }}", "{{ data }}", "{{ l | compact | join }}", "{{ a ~ l }}", "{{ [a] | tojson }}"],
            "escape": "slack",
        });
        if let Some(message) = sent(config, &json!({"a": a, "l": l})) {
            prop_assert!(!message.body.contains('<'), "{}", message.body);
        }
    }

    #[test]
    fn a_value_stays_in_its_field_of_a_form(template in template(), a in value(), l in prop::collection::vec(value(), 0..3)) {
        let config = json!({"form": {"first": template, "last": "1"}});
        if let Some(message) = sent(config, &json!({"a": a, "l": l})) {
            let fields: Vec<_> = message.body.split('&').map(|field| field.split('=').collect::<Vec<_>>()).collect();
            prop_assert!(fields.len() == 2 && fields.iter().all(|field| field.len() == 2), "{}", message.body);
            prop_assert!(message.body.is_ascii() && message.body.starts_with("first=") && message.body.ends_with("&last=1"));
        }
    }

    #[test]
    fn a_value_stays_in_its_element_of_xml(a in value()) {
        if let Some(message) = sent(json!({"xml": "<a b=\"{{ a }}\">{{ a }}</a>"}), &json!({"a": a})) {
            let inside = message.body.strip_prefix("<a b=\"").and_then(|rest| rest.strip_suffix("</a>")).unwrap();
            let parts: Vec<_> = inside.split("\">").collect();
            prop_assert!(parts.len() == 2 && !inside.replace("\">", "").contains(['<', '>', '"']), "{}", message.body);
        }
    }

    #[test]
    fn no_text_panics(template in ".{0,40}", tag in "[a-z0-9|.()'\\[\\]{}+*/ -]{0,24}", a in value()) {
        let _ = sent(json!({"text": template}), &json!({"a": a}));
        let _ = sent(json!({"text": format!("{{{{ {tag} }}}}{{% {tag} %}}")}), &json!({"a": a}));
        let _ = sent(json!({"text": format!("{{{{ a | {tag} }}}}")}), &json!({"a": a}));
        let _ = sent(json!({"json": format!("{{{{ {tag} }}}}")}), &json!({"a": a}));
    }
}

/// Returns the preset's message for data, with this config.
fn preset(name: &str, config: &Value, data: &Value) -> Option<Value> {
    let message = sent(json!({"preset": name, "config": config}), data)?;
    Some(serde_json::from_str(&message.body).unwrap())
}

fn length(text: &Value) -> usize {
    text.as_str().unwrap().encode_utf16().count()
}

/// Asserts that a text of a message is there, and within the limit of its service.
fn assert_fits(text: &Value, limit: usize) {
    assert!((1..=limit).contains(&length(text)), "{text}");
}

fn texts() -> impl Strategy<Value = Value> {
    let long = (r#"[a<&>*\\_ é😀\n"]{1,4}"#, 0..2_000_usize).prop_map(|(part, times)| Value::from(part.repeat(times)));
    prop_oneof![long, value()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_keeps_the_limits_of_its_service(
        data in prop::collection::btree_map("[a-z_<&* ]{0,6}", texts(), 0..30),
        title in texts(),
        has_texts: bool,
    ) {
        let mut data = serde_json::to_value(data).unwrap();
        data["title"] = title;
        let fields: serde_json::Map<_, _> = (0..60).map(|n| (format!("{n}"), json!("{{ title }}"))).collect();
        let texts = json!({"title": "{{ title }}", "text": "{{ title }}", "fields": fields, "link": "https://example.com/{{ title | url }}"});
        let config = if has_texts { texts } else { json!({}) };
        if let Some(slack) = preset("slack", &config, &data) {
            assert_fits(&slack["text"], 40_000);
            let blocks = slack["blocks"].as_array().unwrap();
            prop_assert!(blocks.len() <= 50);
            for block in blocks {
                let is_header = block["type"] == "header";
                block.get("text").into_iter().for_each(|text| assert_fits(&text["text"], if is_header { 150 } else { 3_000 }));
                let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
                prop_assert!(fields.len() <= 10 && (block.get("text").is_some() || !fields.is_empty()));
                fields.iter().for_each(|field| assert_fits(&field["text"], 2_000));
                prop_assert!(is_header || block["text"]["text"].as_str().is_some_and(|text| text.starts_with("<https://")) || !block.to_string().contains('<'));
            }
        }
        if let Some(discord) = preset("discord", &config, &data) {
            let embed = &discord["embeds"][0];
            assert_fits(&embed["title"], 256);
            embed.get("description").into_iter().for_each(|text| assert_fits(text, 4_096));
            let fields = embed["fields"].as_array().map_or(&[][..], Vec::as_slice);
            let mut total = length(&embed["title"]) + embed.get("description").map_or(0, length);
            for field in fields {
                assert_fits(&field["name"], 256);
                assert_fits(&field["value"], 1_024);
                total += length(&field["name"]) + length(&field["value"]);
            }
            prop_assert!(fields.len() <= 25 && total <= 6_000);
        }
        if let Some(teams) = preset("teams", &config, &data) {
            prop_assert!(teams.to_string().len() <= 28_000, "{}", teams.to_string().len());
        }
        if let Some(chat) = preset("google-chat", &config, &data) {
            assert_fits(&chat["text"], 4_096);
        }
        if let Some(alert) = preset("pagerduty", &json!({"routing_key": "K", "summary": "{{ title }}", "dedup_key": "{{ title }}"}), &data) {
            assert_fits(&alert["payload"]["summary"], 1_024);
            assert_fits(&alert["dedup_key"], 255);
        }
        if let Some(issue) = preset("jira", &json!({"project": "OPS", "summary": "{{ title }}"}), &data) {
            assert_fits(&issue["fields"]["summary"], 255);
            prop_assert!(!issue["fields"]["summary"].as_str().unwrap().contains('\n'));
        }
    }
}
