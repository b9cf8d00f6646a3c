//! The tests of the template language: `is defined`, `is string`.

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, Value, tests};

use crate::node::Missing;
use crate::number::{Number, Numeric};
use crate::operators::{compare, contains, equal};
use crate::output::refuse_absent;

/// The names of the tests.
pub(crate) const NAMES: [&str; 36] = [
    "defined",
    "undefined",
    "none",
    "true",
    "false",
    "boolean",
    "number",
    "integer",
    "int",
    "float",
    "string",
    "mapping",
    "sequence",
    "iterable",
    "odd",
    "even",
    "divisibleby",
    "startingwith",
    "endingwith",
    "lower",
    "upper",
    "in",
    "eq",
    "equalto",
    "==",
    "ne",
    "!=",
    "gt",
    "greaterthan",
    ">",
    "ge",
    ">=",
    "lt",
    "lessthan",
    "<",
    "le",
];

/// Adds a test to the engine.
pub(crate) fn add(environment: &mut Environment, name: &'static str) {
    let wrapped = |test: fn(&Value, &[Value]) -> Result<bool, Error>| {
        move |value: &Value, args: Rest<Value>| {
            refuse_absent_operand(value)?;
            test(value, &args)
        }
    };
    match name {
        "defined" => environment.add_test(name, |value: &Value| !is_missing(value)),
        "undefined" => environment.add_test(name, is_missing),
        "none" => environment.add_test(name, Value::is_none),
        "true" => environment.add_test(name, |value: &Value| value.kind() == ValueKind::Bool && value.is_true()),
        "false" => environment.add_test(name, |value: &Value| value.kind() == ValueKind::Bool && !value.is_true()),
        "boolean" => environment.add_test(name, |value: &Value| value.kind() == ValueKind::Bool),
        "number" => environment.add_test(name, |value: &Value| Numeric::of(value).is_some()),
        "integer" | "int" => environment.add_test(name, Value::is_integer),
        "float" => environment.add_test(name, |value: &Value| {
            value.downcast_object_ref::<Number>().is_some() || (value.is_number() && !value.is_integer())
        }),
        "string" => environment.add_test(name, tests::is_string),
        "mapping" => environment.add_test(name, tests::is_mapping),
        "sequence" => environment.add_test(name, tests::is_sequence),
        "iterable" => environment.add_test(name, |value: &Value| !is_missing(value) && tests::is_iterable(value)),
        "odd" => environment.add_test(name, tests::is_odd),
        "even" => environment.add_test(name, tests::is_even),
        "divisibleby" => environment.add_test(name, tests::is_divisibleby),
        "startingwith" => environment.add_test(name, tests::is_startingwith),
        "endingwith" => environment.add_test(name, tests::is_endingwith),
        "lower" => environment.add_test(name, tests::is_lower),
        "upper" => environment.add_test(name, tests::is_upper),
        "in" => environment.add_test(name, wrapped(|value, args| contains(operand(args), value))),
        "eq" | "equalto" | "==" => environment.add_test(name, wrapped(|value, args| Ok(equal(value, operand(args))))),
        "ne" | "!=" => environment.add_test(name, wrapped(|value, args| Ok(!equal(value, operand(args))))),
        "gt" | "greaterthan" | ">" => {
            environment.add_test(name, wrapped(|value, args| Ok(order(value, args, 1, false))))
        }
        "ge" | ">=" => environment.add_test(name, wrapped(|value, args| Ok(order(value, args, 1, true)))),
        "lt" | "lessthan" | "<" => environment.add_test(name, wrapped(|value, args| Ok(order(value, args, -1, false)))),
        _ => environment.add_test(name, wrapped(|value, args| Ok(order(value, args, -1, true)))),
    }
}

fn is_missing(value: &Value) -> bool {
    value.is_undefined() || value.downcast_object_ref::<Missing>().is_some()
}

fn refuse_absent_operand(value: &Value) -> Result<(), Error> {
    if value.is_none() { Ok(()) } else { refuse_absent(value) }
}

fn operand(args: &[Value]) -> &Value {
    const NONE: &Value = &Value::UNDEFINED;
    args.first().unwrap_or(NONE)
}

/// Values that have no order with each other are neither less nor greater.
fn order(value: &Value, args: &[Value], sign: i8, or_equal: bool) -> bool {
    compare(value, operand(args)).is_some_and(|order| if order.is_eq() { or_equal } else { order as i8 == sign })
}
