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
