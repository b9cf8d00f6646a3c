//! Event types.

use posthaste::domain::event_type::{EventType, SchemaText, Validation};
use posthaste::domain::json_schema::Steps;
use posthaste::domain::quota::Quota;
use posthaste::store::{EventTypeSelection, QuotaChange, StoreError};

use crate::case::{Case, NOW};

const ALL: EventTypeSelection<'static> = EventTypeSelection { group: None, after: None, limit: 100 };

fn event_type(name: &str) -> EventType {
    EventType {
        company: "acme".into(),
        name: name.into(),
        description: Some("a\nñ".into()),
        group: Some("g".into()),
        schema: Some(SchemaText::new(r#"{"type": "object"}"#)),
        example: Some(r#"{"a": "\u0000"}"#.into()),
        deprecated: true,
        validation: Validation::Warn,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn bare(name: &str) -> EventType {
    let (description, group, schema, example) = (None, None, None, None);
    let (deprecated, validation) = (false, Validation::Off);
    EventType { description, group, schema, example, deprecated, validation, ..event_type(name) }
}

async fn names(case: &Case, selection: EventTypeSelection<'_>) -> Vec<String> {
    let page = case.event_types("acme", selection).await.unwrap();
    page.types.into_iter().map(|found| found.name).collect()
}

pub(crate) async fn event_type_is_stored_overwritten_listed_and_removed(case: Case) {
    let stored = case.put_event_type(event_type("a/b")).await.unwrap();
    assert!(stored.is_new && stored.event_type == event_type("a/b"));
    assert_eq!(case.event_type("acme", "a/b").await.unwrap(), Some(event_type("a/b")));
    assert_eq!(case.event_type("other", "a/b").await.unwrap(), None);
    let later = EventType { created_at: NOW + 1, updated_at: NOW + 1, ..bare("a/b") };
    let overwritten = case.put_event_type(later.clone()).await.unwrap();
    let expected = EventType { created_at: NOW, ..later };
    assert!(!overwritten.is_new && overwritten.event_type == expected);
    assert_eq!(case.event_type("acme", "a/b").await.unwrap().as_ref(), Some(&expected));
    assert_eq!(case.delete_event_type("acme", "a/b").await.unwrap(), Some(expected));
    assert_eq!(case.delete_event_type("acme", "a/b").await.unwrap(), None);
}

pub(crate) async fn event_types_are_listed_byte_by_byte_in_pages_and_by_group(case: Case) {
    for name in ["b", "B", "a::b"] {
        case.put_event_type(event_type(name)).await.unwrap();
    }
    case.put_event_type(bare("c")).await.unwrap();
    case.put_event_type(EventType { company: "other".into(), ..bare("d") }).await.unwrap();
    assert_eq!(names(&case, ALL).await, ["B", "a::b", "b", "c"]);
    let page = case.event_types("acme", EventTypeSelection { limit: 2, ..ALL }).await.unwrap();
    assert!(page.more && page.types.len() == 2 && page.bytes > 0);
    assert_eq!(names(&case, EventTypeSelection { after: Some("a::b"), ..ALL }).await, ["b", "c"]);
    let grouped = EventTypeSelection { group: Some("g"), after: Some("B"), limit: 2 };
    assert_eq!(names(&case, grouped).await, ["a::b", "b"]);
    assert!(!case.event_types("acme", grouped).await.unwrap().more);
    assert!(names(&case, EventTypeSelection { group: Some("h"), ..ALL }).await.is_empty());
}

pub(crate) async fn company_has_its_own_number_of_event_types(case: Case) {
    let limit = QuotaChange { quota: Quota::EventTypes, limit: Some(1) };
    case.change_quotas("acme".into(), vec![limit]).await.unwrap();
    case.put_event_type(bare("a")).await.unwrap();
    let refused = case.put_event_type(bare("b")).await.err();
    assert!(matches!(refused, Some(StoreError::Limit(limit)) if limit.name == "event-types"));
    assert_eq!(names(&case, ALL).await, ["a"]);
    case.put_event_type(event_type("a")).await.unwrap();
    case.put_event_type(EventType { company: "other".into(), ..bare("b") }).await.unwrap();
}

pub(crate) async fn rule_of_a_type_is_read_with_its_schema_and_changes_at_once(case: Case) {
    let rule = |name: &'static str| case.event_rule("acme", name);
    assert!(rule("a").await.unwrap().is_none());
    case.put_event_type(event_type("a")).await.unwrap();
    case.put_event_type(EventType { validation: Validation::Off, ..event_type("off") }).await.unwrap();
    assert!(rule("off").await.unwrap().is_none() && rule("other").await.unwrap().is_none());
    let found = rule("a").await.unwrap().unwrap();
    assert!(found.validation == Validation::Warn && found.schema.is_none());
    let schema = case.read_schema("acme", "a", &found).await.unwrap();
    let faults = schema.as_ref().as_ref().unwrap().check("1", Steps::QUICK).unwrap();
    assert_eq!(faults.len(), 1);
    assert!(rule("a").await.unwrap().unwrap().schema.is_some());
    let other =
        EventType { schema: Some(SchemaText::new("{\"type\": 1}")), validation: Validation::Reject, ..event_type("a") };
    case.put_event_type(other).await.unwrap();
    assert!(matches!(case.read_schema("acme", "a", &found).await, Err(StoreError::Changed(_))));
    let found = rule("a").await.unwrap().unwrap();
    assert!(found.validation == Validation::Reject && found.schema.is_none());
    assert!(
        case.read_schema("acme", "a", &found).await.unwrap().as_ref().as_ref().is_err_and(|why| why.contains("/type"))
    );
    case.delete_event_type("acme", "a").await.unwrap();
    assert!(rule("a").await.unwrap().is_none());
}
