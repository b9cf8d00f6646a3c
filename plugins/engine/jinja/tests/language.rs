//! The template language: what each template makes of one event.

#![cfg(test)]

use posthaste_jinja::{Escape, Scope, Template};
use posthaste_plugin::testing::event;

const DATA: &str = r#"{
    "name": "Bob", "last name": "Macri", "n/m": "slash", "price": 2.50, "count": 3, "cents": 1999, "id": 12345678901234567890.10,
    "huge": 1e400, "none": null, "empty": "", "yes": true, "no": false, "html": "<b> & \"c\"", "cut": "x\ud83d", "escaped": "\u00e9\n",
    "big": 18446744073709551615, "type": "own type", "event": "own event",
    "author": {"name": "Ana", "age": 40}, "list": [3, 1.5, 20, 1.50], "words": ["b", "a", "C"], "objects": {"b": 1, "a": [2]},
    "lines": [{"sku": "A", "price": 2.50, "n": 2}, {"sku": "B", "price": 10, "n": 1}, {"sku": "C", "price": 0.1, "n": 1, "note": "x"}],
    "at": "2026-11-20T16:03:09.871+02:00", "day": "2026-11-20", "seconds": 1700000000, "twice": 1, "twice": 2
}"#;

fn scope() -> Scope {
    let mut event = event("order_paid", DATA);
    event.headers.push(("X-Tenant".to_owned(), "acme".to_owned()));
    Scope::new(&event, r#"{"colours": {"3": "red", "ok": "green"}, "rate": 1.10}"#)
}

fn text(template: &str) -> String {
    match Template::compile(template).and_then(|template| template.text(&scope(), None)) {
        Ok(text) => text,
        Err(fault) => format!("! {fault}"),
    }
}

fn json(template: &str, escape: Option<Escape>) -> String {
    match Template::compile(template).and_then(|mut template| template.json(&scope(), escape)) {
        Ok(json) => json.unwrap_or_else(|| "(omitted)".to_owned()),
        Err(fault) => format!("! {fault}"),
    }
}

fn check(cases: &[(&str, &str)], result: impl Fn(&str) -> String) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(template, expected)| (template, expected, result(template)))
        .filter(|(_, expected, came)| **expected != came)
        .map(|(template, expected, came)| format!("{template}\n  expected {expected}\n  came     {came}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn variables_are_the_data_and_the_event() {
    check(
        &[
            ("{{ name }}, {{ data.name }}, {{ data[\"last name\"] }}, {{ data[\"n/m\"] }}", "Bob, Bob, Macri, slash"),
            ("{{ author.name }} {{ author[\"age\"] }} {{ list[0] }} {{ list[-1] }}", "Ana 40 3 1.50"),
            (
                "{{ event.type }} {{ event.id }} {{ event.company }} {{ event.occurred_at }}",
                "order_paid event-1 1 2026-01-01T00:00:00.000Z",
            ),
            ("{{ event.headers[\"x-tenant\"] }} {{ type }} {{ data.event }}", "acme own type own event"),
            ("{{ vars.colours.ok }} {{ vars.colours[count] }} {{ vars.rate }}", "green red 1.10"),
            ("{{ twice }} {{ escaped }} {{ cut }}", "2 \u{e9}\n x\u{fffd}"),
            ("{{ yes }} {{ no }} {{ author }}", "true false {\"name\": \"Ana\", \"age\": 40}"),
            ("{{ range(3) | join(\",\") }}", "0,1,2"),
        ],
        text,
    );
}

#[test]
fn numbers_keep_their_spelling_and_are_calculated_exactly() {
    check(
        &[
            ("{{ price }} {{ id }} {{ huge }} {{ big }}", "2.50 12345678901234567890.10 1e400 18446744073709551615"),
            (
                "{{ price * count }} {{ cents / 100 }} {{ price + 0.1 }} {{ 0.1 + price - price }}",
                "7.50 19.99 2.60 0.10",
            ),
            ("{{ cents // 100 }} {{ cents % 100 }} {{ count ** 2 }} {{ -price }}", "19 99 9 -2.50"),
            (
                "{{ (cents / 300) | round(2) }} {{ price | round }} {{ price | decimals(3) }} {{ 5 | decimals }}",
                "6.66 3 2.500 5.00",
            ),
            ("{{ price | int }} {{ \"12.70\" | float }} {{ \"12.70\" | int }} {{ -price | abs }}", "2 12.70 12 2.50"),
            (
                "{{ list | sum }} {{ list | max }} {{ list | min }} {{ lines | sum(attribute=\"price\") }}",
                "26.00 20 1.5 12.60",
            ),
            ("{{ list | sort | join(\" \") }}", "1.5 1.50 3 20"),
            ("{{ [\"a\", 5, price, none, \"B\", 10] | sort }}", "[null,2.50,5,10,\"a\",\"B\"]"),
            ("{{ list | unique | join(\" \") }}", "3 1.5 20"),
            (
                "{{ price == 2.5 }} {{ price > 2.4 }} {{ price < 3 }} {{ big == big - 1 }} {{ 1.5 in list }}",
                "true true true false true",
            ),
            ("{{ lines | selectattr(\"price\", \"gt\", 1) | map(attribute=\"sku\") | join }}", "AB"),
            ("{{ lines | sort(attribute=\"price\", reverse=true) | map(attribute=\"sku\") | join }}", "BAC"),
            ("{{ 1 / 0 }}", "! column 4: division by zero"),
            (
                "{{ name * price }}",
                "! column 4: `*` takes no string and number; convert texts with `| int` or `| float`, and numbers with `| string`",
            ),
        ],
        text,
    );
}

#[test]
fn what_is_missing_or_null_is_an_error_without_a_default() {
    check(
        &[
            (
                "Hi {{ nme }}",
                "! column 7: `nme` is missing; write `nme | default(\"…\")` if events may come without it",
            ),
            (
                "{{ author.nme.first }}",
                "! column 4: `author.nme.first` is missing; write `author.nme.first | default(\"…\")` if events may come without it",
            ),
            (
                "{{ nme | upper }}",
                "! column 10: `nme` is missing; write `nme | default(\"…\")` if events may come without it",
            ),
            (
                "{% for x in nme %}{% endfor %}",
                "! column 13: `nme` is missing; write `nme | default(\"…\")` if events may come without it",
            ),
            (
                "{{ 1 + nme }}",
                "! column 4: `nme` is missing; write `nme | default(\"…\")` if events may come without it",
            ),
            (
                "{{ nme ~ 1 }}",
                "! column 4: `nme` is missing; write `nme | default(\"…\")` if events may come without it",
            ),
            (
                "{{ company }}",
                "! column 4: `company` is missing (the `company` of the event itself is `event.company`); write `company | default(\"…\")` if events may come without it",
            ),
            ("{{ none }}", "! column 4: this value is `null`; write `| default(\"…\")` after it if that is possible"),
            (
                "{{ lines | map(attribute=\"note\") | join }}",
                "! column 12: `lines[0].note` is missing; write `lines[0].note | default(\"…\")` if events may come without it",
            ),
            (
                "{{ nme | default(\"x\") }}{{ author.a.b.c | default(\"y\") }}{{ none | default(0) }}{{ none.a | d(1) }}",
                "xy01",
            ),
            ("{{ empty | default(\"x\") }}{{ empty | default(\"y\", true) }}{{ nme or none or name }}", "yBob"),
            ("{{ lines | map(attribute=\"note\", default=\"-\") | join(\",\") }}", "-,-,x"),
            (
                "{% if nme %}a{% endif %}{{ \"b\" if nme }}{{ \"c\" if none else \"d\" }}{% if nme is defined %}e{% endif %}",
                "d",
            ),
            ("{% for x in none %}{% endfor %}{{ none is none }}", "true"),
            ("{{ words[7] | default(\"x\") }}", "x"),
        ],
        text,
    );
}

#[test]
fn filters_loops_and_conditions_work() {
    check(
        &[
            ("{{ name | upper }} {{ name | lower }} {{ \"a b\" | title }} {{ \" x \" | trim }}|", "BOB bob A B x|"),
            (
                "{{ \"a,b\" | split(\",\") | last }} {{ name | replace(\"B\", \"R\") }} {{ name | first }} {{ name[:2] }}",
                "b Rob B Bo",
            ),
            ("{{ words | sort | join }} {{ words | length }} {{ words | reverse | join }}", "abC 3 Cab"),
            (
                "{% for l in lines %}{{ loop.index }}. {{ l.sku }}: {{ l.n * l.price }}{% if not loop.last %}\n{% endif %}{% endfor %}",
                "1. A: 5.00\n2. B: 10\n3. C: 0.1",
            ),
            ("{% for name, value in objects | items %}{{ name }}={{ value }};{% endfor %}", "b=1;a=[2];"),
            ("{{ objects | keys | join(\",\") }} {{ objects | dictsort | first | first }}", "b,a a"),
            (
                "{% for key, group in lines | groupby(\"n\") %}{{ key }}: {{ group | map(attribute=\"sku\") | join }} {% endfor %}",
                "2: A 1: BC ",
            ),
            (
                "{{ at | datetimeformat }} {{ at | datetimeformat(\"%d.%m.%Y\") }} {{ day | datetimeformat(format=\"%B %-d\") }}",
                "2026-11-20 16:03 20.11.2026 November 20",
            ),
            (
                "{{ at | timestamp }} {{ at | timestamp(\"ms\") }} {{ seconds | rfc3339 }} {{ 1700000000007 | rfc3339 }}",
                "1795183389 1795183389871 2023-11-14T22:13:20Z 2023-11-14T22:13:20.007Z",
            ),
            (
                "{{ at | datetimeformat(\"%H:%M\", offset=\"+00:00\") }} <t:{{ event.occurred_at | timestamp }}:R>",
                "14:03 <t:1767225600:R>",
            ),
            (
                "{{ \"2026-13-01\" | datetimeformat }}",
                "! column 19: `2026-13-01` is no time such as `2026-01-31T12:00:00Z`, no date such as `2026-01-31`, and no seconds since 1970",
            ),
            (
                "{{ \"some longer text\" | truncate(10) }} {{ \"some longer text\" | truncate(10, true, \"..\") }}",
                "some… some lon..",
            ),
            (
                "{{ author | tojson }} {{ [1, price, none] | tojson }} {{ name | tojson }}",
                "{\"name\": \"Ana\", \"age\": 40} [1,2.50,null] \"Bob\"",
            ),
            ("{{ '{\"a\": 2.50}' | fromjson }}", "{\"a\": 2.50}"),
            ("{{ lines | object(\"sku\", \"n\") }}", "{\"A\":2,\"B\":1,\"C\":1}"),
            ("{{ {\"a\": none, \"b\": 1} | compact }} {{ [none, 2] | compact }}", "{\"b\":1} [2]"),
            ("{% set total = price * 2 %}{{ total }}{% raw %}{{ x }}{% endraw %}{# no #}", "5.00{{ x }}"),
            ("{{ words | map(\"upper\") | join }} {{ list | select(\"gt\", 2) | join(\",\") }}", "BAC 3,20"),
            (
                "{{ html | slack }} {{ html | xml }} {{ \"a b\" | url }}",
                "&lt;b&gt; &amp; \"c\" &lt;b&gt; &amp; &quot;c&quot; a%20b",
            ),
        ],
        text,
    );
}

#[test]
fn a_lone_expression_keeps_its_type() {
    check(
        &[
            ("{{ price }}", "2.50"),
            ("{{ none }}", "null"),
            ("{{ author }}", "{\"name\": \"Ana\", \"age\": 40}"),
            ("{{ lines | map(attribute=\"sku\") }}", "[\"A\",\"B\",\"C\"]"),
            ("{{ lines | length > 2 }}", "true"),
            ("{{ nme | default(omit) }}", "(omitted)"),
            ("{{ nme | default(0) }}", "0"),
            ("{{ price }} EUR", "\"2.50 EUR\""),
            ("{% if yes %}{{ price }}{% endif %}", "\"2.50\""),
            ("{{ [1, none, omit] }}", "[1,null]"),
            ("{{ 10 / 4 }}", "2.5"),
            ("{{ nme }}", "! column 1: `nme` is missing; write `nme | default(\"…\")` if events may come without it"),
            ("x{{ omit }}", "! column 5: `omit` must be the whole value of a member or an element in `json`"),
        ],
        |template| json(template, None),
    );
    check(
        &[
            ("{{ html }}", "\"&lt;b&gt; &amp; \\\"c\\\"\""),
            ("a {{ html }}", "\"a &lt;b&gt; &amp; \\\"c\\\"\""),
            ("<{{ html | safe }}>", "\"<<b> & \\\"c\\\">\""),
            (
                "{{ [html, {\"<a>\": html}] }}",
                "[\"&lt;b&gt; &amp; \\\"c\\\"\",{\"<a>\":\"&lt;b&gt; &amp; \\\"c\\\"\"}]",
            ),
            ("{{ html | truncate(5) }}", "\"&lt;b&gt;…\""),
            ("{{ [html, \"x\"] | join(\" \") }}", "\"&lt;b&gt; &amp; \\\"c\\\" x\""),
        ],
        |template| json(template, Some(Escape::Slack)),
    );
}

#[test]
fn a_template_that_cannot_work_is_refused() {
    check(
        &[
            ("{{ name | upcase }}", "! column 11: there is no filter `upcase`; it is called `upper`"),
            ("{% if name is foo %}{% endif %}", "! column 15: there is no test `is foo`"),
            (
                "a\n{{ now() }}",
                "! line 2, column 4: there is no function `now`, because a retry must send the same; `event.occurred_at` is the event's time",
            ),
            (
                "{{ name.upper() }}",
                "! column 8: values have no methods such as `.upper()`; write a filter, as in `| upper`",
            ),
            ("{{ 1 < count < 5 }}", "! column 1: one comparison after another; write `a < b and b < c`"),
            (
                "{{ name",
                "! column 4: this is no valid template: unexpected end of input, expected end of variable block",
            ),
            ("{% include \"x\" %}", "! column 4: this is no valid template: unknown statement include"),
            ("{{/name|nobody}}", "! column 1: `{{/name|nobody}}` is written `{{ name | default(\"nobody\") }}`"),
        ],
        |template| text(template).split("; the tests are").next().unwrap_or_default().to_owned(),
    );
}

#[test]
fn data_may_be_deep_and_is_escaped_to_a_bounded_depth() {
    for (depth, escape, fits) in
        [(100_000, None, true), (60, Some(Escape::Slack), true), (100_000, Some(Escape::Slack), false)]
    {
        let list = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let scope = Scope::new(&event("x", &format!(r#"{{"deep": {list}, "a": 1}}"#)), "{}");
        let sent = Template::compile("{{ deep }}").and_then(|mut template| template.json(&scope, escape));
        match sent {
            Ok(json) => assert!(fits && json.unwrap_or_default() == list),
            Err(fault) => assert!(!fits && fault.to_string().contains("more than 64 deep"), "{fault}"),
        }
        assert_eq!(Template::compile("{{ a }}").and_then(|template| template.text(&scope, escape)), Ok("1".to_owned()));
    }
}
