//! For every template and every data, the result is JSON, or the config is refused.

#![cfg(test)]

use posthaste_plugin::Outcome;
use posthaste_plugin::testing::event;
use posthaste_plugin_template::{Config, check, transform};
use proptest::prelude::*;
use serde_json::{Value, json};

proptest! {
    #[test]
    fn the_message_is_json(
        template in r#"([{}|/a" ~\\é]|\{\{/a\}\}|\{\{data\}\}|\{\{/b\|x\}\}){0,8}"#,
        value in r#"[{}|/<&"\\a]{0,8}"#,
        slack: bool,
    ) {
        let escape = slack.then_some("slack");
        let config = json!({"json": {"t": template, "fixed": 1}, "escape": escape});
        let config: Config = serde_json::from_value(config).unwrap();
        if check(&config).is_ok() {
            let data = json!({"a": value}).to_string();
            let Ok(Outcome::Replace(message)) = transform(event("x", &data), config) else { panic!("no message") };
            let sent: Value = serde_json::from_str(&message.body).unwrap();
            prop_assert_eq!(&sent["fixed"], &json!(1));
            prop_assert!(sent.as_object().unwrap().len() == 2);
            let bare = !template.contains(['<', '&']);
            prop_assert!(!(slack && bare && sent["t"].as_str().is_some_and(|text| text.contains('<'))));
        }
    }
}
