//! The suite of the standard (json-schema-org/JSON-Schema-Test-Suite) is run by hand: it is large, and this is the part of it
//! that would break first, and what it does not know: pointers, bounds and hostile input.

use serde_json::{Value, json};

use super::*;

fn compiled(schema: &Value) -> Schema {
    Schema::compile(&schema.to_string()).unwrap_or_else(|faults| panic!("{schema}: {faults:?}"))
}

fn faults(schema: &Value, data: &Value) -> Vec<String> {
    let faults = compiled(schema).check(&data.to_string(), Steps::MOST).unwrap();
    faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect()
}

fn refusals(schema: &Value) -> Vec<String> {
    let refused = Schema::compile(&schema.to_string()).expect_err(&schema.to_string());
    refused.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect()
}

#[test]
fn each_keyword_accepts_and_refuses() {
    let nested = json!({"$defs": {"a": {"$anchor": "x", "properties": {"b": true}}}, "$ref": "#x", "unevaluatedProperties": false});
    for (schema, good, bad) in [
        (json!(true), json!(1), None),
        (json!({"type": ["string", "integer"]}), json!(1.0), Some(json!(1.5))),
        (json!({"enum": [1, {"a": [2]}]}), json!({"a": [2.0]}), Some(json!({"a": 2}))),
        (json!({"const": "a"}), json!("a"), Some(json!("b"))),
        (json!({"multipleOf": 0.1}), json!(0.3), Some(json!(0.35))),
        (json!({"minimum": 1, "maximum": 2}), json!(1), Some(json!(2.1))),
        (json!({"exclusiveMinimum": 1, "exclusiveMaximum": 2}), json!(1.5), Some(json!(1))),
        (json!({"minLength": 2, "maxLength": 2}), json!("éa"), Some(json!("é"))),
        (json!({"pattern": "^a"}), json!("ab"), Some(json!("ba"))),
        (json!({"minItems": 1, "maxItems": 1}), json!([1]), Some(json!([]))),
        (json!({"uniqueItems": true}), json!([1, true, "1"]), Some(json!([1, 1.0]))),
        (json!({"prefixItems": [true], "items": false}), json!([1]), Some(json!([1, 2]))),
        (json!({"contains": {"const": 1}, "minContains": 2, "maxContains": 2}), json!([1, 0, 1]), Some(json!([1]))),
        (json!({"required": ["a"]}), json!({"a": null}), Some(json!({}))),
        (json!({"dependentRequired": {"a": ["b"]}}), json!({"b": 1}), Some(json!({"a": 1}))),
        (json!({"dependentSchemas": {"a": {"required": ["b"]}}}), json!({"a": 1, "b": 1}), Some(json!({"a": 1}))),
        (json!({"minProperties": 1, "maxProperties": 1}), json!({"a": 1}), Some(json!({}))),
        (json!({"propertyNames": {"maxLength": 1}}), json!({"a": 1}), Some(json!({"ab": 1}))),
        (
            json!({"patternProperties": {"^a": true}, "additionalProperties": false}),
            json!({"ab": 1}),
            Some(json!({"b": 1})),
        ),
        (json!({"allOf": [{"type": "string"}, {"minLength": 1}]}), json!("a"), Some(json!(""))),
        (json!({"anyOf": [{"type": "string"}, {"minimum": 1}]}), json!(1), Some(json!(0))),
        (json!({"oneOf": [{"type": "number"}, {"minimum": 1}]}), json!(0), Some(json!(1))),
        (json!({"not": {"type": "null"}}), json!(1), Some(json!(null))),
        (json!({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"const": 1}}), json!("a"), Some(json!(2))),
        (
            json!({"properties": {"a": {"$ref": "#"}}, "additionalProperties": false}),
            json!({"a": {}}),
            Some(json!({"a": {"b": 1}})),
        ),
        (
            json!({"$ref": "#/definitions/a~1b%25", "definitions": {"a/b%": {"type": "null"}}}),
            json!(null),
            Some(json!(1)),
        ),
        (nested, json!({"b": 1}), Some(json!({"b": 1, "c": 1}))),
        (
            json!({"anyOf": [{"prefixItems": [true]}, {"contains": {"const": 2}}], "unevaluatedItems": false}),
            json!([1, 2]),
            Some(json!([1, 2, 3])),
        ),
        (json!({"format": "email", "title": 1, "nullable": true}), json!("not an address"), None),
    ] {
        assert_eq!(faults(&schema, &good), [""; 0], "{schema}");
        if let Some(bad) = bad {
            assert_eq!(faults(&schema, &bad).len(), 1, "{schema} {bad}");
        }
    }
}

#[test]
fn faults_of_data_have_their_places_and_say_what_is_wrong() {
    let schema = json!({
        "required": ["id"],
        "properties": {"a/b": {"type": "string"}, "list": {"items": {"maximum": 1}}},
        "additionalProperties": false,
    });
    assert_eq!(
        faults(&schema, &json!({"a/b": 1, "list": [0, 2], "other": 1})),
        [
            " the member `id` is missing",
            "/a~1b must be a string, but is a number",
            "/list/1 must be at most 1",
            "/other nothing may be here",
        ]
    );
    let many = faults(&json!({"items": {"type": "string"}}), &json!(vec![0; 100]));
    assert_eq!(many.len(), MAX_FAULTS);
    let choice =
        faults(&json!({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}), &json!({"a": 1}));
    assert_eq!(choice, ["/a satisfies none of the schemas of `anyOf`"]);
}

#[test]
fn data_beyond_what_can_be_read_break_every_schema() {
    let schema = compiled(&json!(true));
    for data in ["1e999", &format!("{}{}", "[".repeat(200), "]".repeat(200)), r#""\ud800""#] {
        let faults = schema.check(data, Steps::MOST).unwrap();
        assert!(faults.len() == 1 && faults[0].detail.contains("cannot be checked"), "{faults:?}");
    }
}

#[test]
fn faults_of_a_schema_have_their_places() {
    for (schema, expected) in [
        (json!(1), " a schema is an object, `true` or `false`"),
        (json!({"properties": {"a": {"type": "text"}}}), "/properties/a/type a type is one of null, boolean, object"),
        (json!({"items": [{}]}), "/items in JSON Schema 2020-12, an array of schemas is written `prefixItems`"),
        (json!({"allOf": []}), "/allOf this is an array of at least one schema"),
        (json!({"$defs": {"a": {"minLength": -1}}}), "/$defs/a/minLength this is a whole number, at least 0"),
        (json!({"patternProperties": {"(": {}}}), "/patternProperties `(`: this is not a regular expression"),
        (json!({"$ref": "#/$defs/x"}), "/$ref there is nothing at `#/$defs/x` in this schema"),
        (json!({"$ref": "https://example.com/schema"}), "/$ref a schema can refer only to itself"),
        (json!({"items": {"$ref": "other.json#/a"}}), "/items/$ref a schema can refer only to itself"),
        (json!({"$dynamicRef": "#a"}), "/$dynamicRef dynamic references are not supported"),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
            "/$schema only JSON Schema 2020-12 is supported",
        ),
        (json!({"items": {"$id": "https://example.com/"}}), "/items/$id only the whole schema may have an `$id`"),
        (json!({"required": "a"}), "/required this is an array of names"),
        (json!({"x": {"type": 1}, "$ref": "#/x"}), "/x/type a type is one of"),
    ] {
        let refused = refusals(&schema);
        assert!(refused.len() == 1 && refused[0].starts_with(expected), "{schema}: {refused:?}");
    }
}

/// `levels` times a choice between the same two.
fn doubling(levels: usize) -> Value {
    let mut definitions = serde_json::Map::new();
    for level in 0..levels {
        let next = format!("#/$defs/{}", level + 1);
        definitions.insert(level.to_string(), json!({"anyOf": [{"$ref": next}, {"$ref": next}]}));
    }
    definitions.insert(levels.to_string(), json!({"type": "string"}));
    json!({"$defs": definitions, "$ref": "#/$defs/0"})
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"anyOf": [{"type": "null"}, {"$ref": "#"}]}),
        json!({"$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"if": {"$ref": "#/$defs/a"}}}}),
        doubling(40),
    ] {
        assert!(refusals(&schema)[0].contains("leads back to itself"), "{schema}");
    }
    let linked = json!({"properties": {"next": {"$ref": "#"}}, "required": ["value"]});
    assert_eq!(faults(&linked, &json!({"value": 1, "next": {}})), ["/next the member `value` is missing"]);
}

#[test]
fn hostile_schemas_and_data_end_within_their_steps() {
    let mut nested = json!(1);
    for _ in 0..120 {
        nested = json!({"a": nested});
    }
    let own = json!({"properties": {"a": {"$ref": "#"}}});
    let doubled = json!({"allOf": [own, own]});
    let unique = json!({"allOf": vec![json!({"uniqueItems": true}); 2_000]});
    let mut doubled_enum = doubling(20);
    doubled_enum["$defs"]["20"] = json!({"enum": [1, {"a": 1}]});
    let same = json!({"items": {"pattern": "^(a{1,50}b?){50}$"}});
    for (schema, data) in [
        (doubling(30), json!(1)),
        (doubled, nested.clone()),
        (unique, json!((0..10_000).map(|number| json!({"a": number})).collect::<Vec<_>>())),
        (same, json!(vec!["a".repeat(100); 2_000])),
        (doubled_enum, json!((0..15_000).map(|n| (n.to_string(), json!(n))).collect::<serde_json::Map<_, _>>())),
    ] {
        let checked = compiled(&schema).check(&data.to_string(), Steps::MOST);
        assert_eq!(checked, Err(Unfinished::Steps), "{:.100}", schema.to_string());
    }
    assert!(compiled(&own).check(&nested.to_string(), Steps::MOST).unwrap().is_empty());
    let mut deep = own;
    for _ in 0..40 {
        deep = json!({"allOf": [deep]});
    }
    assert_eq!(compiled(&deep).check(&nested.to_string(), Steps::MOST), Err(Unfinished::Depth));
    let large = json!({"anyOf": vec![json!(1); MAX_NODES + 1]});
    assert!(refusals(&large).iter().any(|refused| refused.contains("at most 5000 subschemas")));
    let patterns =
        json!({"allOf": (0..2_000).map(|n| json!({"pattern": format!("^[a-z]{{{}}}$", 100 + n)})).collect::<Vec<_>>()});
    assert!(refusals(&patterns)[0].contains("too large together"), "{:?}", refusals(&patterns));
}

#[test]
fn long_names_are_cut_off_in_what_is_said() {
    let name = "x".repeat(100_000);
    let said = faults(&json!({"additionalProperties": false}), &json!({name.as_str(): 1}));
    assert!(said[0].len() < 600, "{}", said[0].len());
    let said = faults(&json!({"required": [name]}), &json!({}));
    assert!(said[0].len() < 200, "{}", said[0].len());
}
