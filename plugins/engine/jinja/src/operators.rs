//! The operators of the template language on numbers that keep their spelling, and on missing values.
//!
//! The engine's own operators know doubles and integers only, so each of their instructions is replaced by the call of one of these
//! functions.

use std::cmp::Ordering;

use minijinja::machinery::Instruction;
use minijinja::value::{Rest, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use crate::number::{Numeric, Operation};
use crate::output::{refuse_absent, text};

/// Characters of a text that an operator makes.
const MAX_TEXT: usize = 1 << 20;

/// An operator: the name of its function, which is no identifier, and the function.
pub(crate) type Operator = (&'static str, u16, fn(&[Value]) -> Result<Value, Error>);

/// Returns the operator that an instruction applies.
pub(crate) fn of(instruction: &Instruction) -> Option<Operator> {
    Some(match instruction {
        Instruction::Add => ("+", 2, add),
        Instruction::Sub => ("-", 2, |args| numeric(args, "-", Operation::Subtract)),
        Instruction::Mul => ("*", 2, multiply),
        Instruction::Div => ("/", 2, |args| numeric(args, "/", Operation::Divide)),
        Instruction::IntDiv => ("//", 2, |args| numeric(args, "//", Operation::DivideDown)),
        Instruction::Rem => ("%", 2, |args| numeric(args, "%", Operation::Remainder)),
        Instruction::Pow => ("**", 2, |args| numeric(args, "**", Operation::Power)),
        Instruction::Neg => ("-x", 1, |args| numeric(&[&[Value::from(0)], args].concat(), "-", Operation::Subtract)),
        Instruction::Eq => ("==", 2, |args| pair(args).map(|(one, two)| equal(one, two).into())),
        Instruction::Ne => ("!=", 2, |args| pair(args).map(|(one, two)| (!equal(one, two)).into())),
        Instruction::Lt => ("<", 2, |args| order(args, "<").map(|order| order.is_lt().into())),
        Instruction::Lte => ("<=", 2, |args| order(args, "<=").map(|order| order.is_le().into())),
        Instruction::Gt => (">", 2, |args| order(args, ">").map(|order| order.is_gt().into())),
        Instruction::Gte => (">=", 2, |args| order(args, ">=").map(|order| order.is_ge().into())),
        Instruction::In => ("<in>", 2, |args| pair(args).and_then(|(one, two)| contains(two, one).map(Value::from))),
        Instruction::StringConcat => ("~", 2, concatenate),
        _ => return None,
    })
}

/// Makes a function of the engine from an operator.
pub(crate) fn function(
    operator: fn(&[Value]) -> Result<Value, Error>,
) -> impl Fn(&mut State<'_, '_>, Rest<Value>) -> Result<Value, Error> + Send + Sync + 'static {
    move |_: &mut State<'_, '_>, args: Rest<Value>| operator(&args)
}

fn pair(args: &[Value]) -> Result<(&Value, &Value), Error> {
    match args {
        // A missing value equals nothing, and `null` only `none`; both would hide a misspelt name.
        [one, two] => {
            for value in [one, two].into_iter().filter(|value| !value.is_none()) {
                refuse_absent(value)?;
            }
            Ok((one, two))
        }
        _ => Err(Error::new(ErrorKind::MissingArgument, "an operator has two operands")),
    }
}

fn impossible(operator: &str, one: &Value, two: &Value) -> Error {
    let kind =
        |value: &Value| if Numeric::of(value).is_some() { "number".to_owned() } else { value.kind().to_string() };
    let mend = "convert texts with `| int` or `| float`, and numbers with `| string`";
    let why = format!("`{operator}` takes no {} and {}; {mend}", kind(one), kind(two));
    Error::new(ErrorKind::InvalidOperation, why)
}

fn numeric(args: &[Value], operator: &str, operation: Operation) -> Result<Value, Error> {
    let (one, two) = pair(args)?;
    match (Numeric::of(one), Numeric::of(two)) {
        (Some(one), Some(two)) => one.calculate(operation, two),
        _ => Err(impossible(operator, one, two)),
    }
}

fn add(args: &[Value]) -> Result<Value, Error> {
    let (one, two) = pair(args)?;
    match (one.kind(), two.kind()) {
        (ValueKind::String, ValueKind::String) => concatenate(args),
        (ValueKind::Seq | ValueKind::Iterable, ValueKind::Seq | ValueKind::Iterable) => {
            let elements: Result<Vec<_>, _> = one.try_iter()?.checked().chain(two.try_iter()?.checked()).collect();
            Ok(Value::from(elements?))
        }
        _ => numeric(args, "+", Operation::Add),
    }
}

fn multiply(args: &[Value]) -> Result<Value, Error> {
    let (one, two) = pair(args)?;
    match (one.as_str(), two.as_usize()) {
        (Some(text), Some(times)) if text.len().saturating_mul(times) <= MAX_TEXT => Ok(text.repeat(times).into()),
        (Some(_), Some(_)) => Err(too_long()),
        _ => numeric(args, "*", Operation::Multiply),
    }
}

fn concatenate(args: &[Value]) -> Result<Value, Error> {
    let (one, two) = pair(args)?;
    let joined = format!("{}{}", text(one)?, text(two)?);
    if joined.len() > MAX_TEXT {
        return Err(too_long());
    }
    Ok(if one.is_safe() && two.is_safe() { Value::from_safe_string(joined) } else { Value::from(joined) })
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("the text has more than {MAX_TEXT} bytes"))
}

/// Returns whether two values are equal: numbers by value, however they are spelt.
pub(crate) fn equal(one: &Value, two: &Value) -> bool {
    match (Numeric::of(one), Numeric::of(two)) {
        (Some(one), Some(two)) => one.compare(&two) == Ordering::Equal,
        _ => one == two,
    }
}

/// Compares two numbers, two texts or two values of another one kind.
pub(crate) fn compare(one: &Value, two: &Value) -> Option<Ordering> {
    match (Numeric::of(one), Numeric::of(two)) {
        (Some(one), Some(two)) => Some(one.compare(&two)),
        (None, None) if one.kind() == two.kind() => Some(one.cmp(two)),
        _ => None,
    }
}

fn order(args: &[Value], operator: &str) -> Result<Ordering, Error> {
    let (one, two) = pair(args)?;
    compare(one, two).ok_or_else(|| impossible(operator, one, two))
}

/// Returns whether a list has an element, an object a member, or a text a part.
pub(crate) fn contains(container: &Value, value: &Value) -> Result<bool, Error> {
    if let Some(whole) = container.as_str() {
        return Ok(whole.contains(&*text(value)?));
    }
    match container.kind() {
        ValueKind::None => Ok(false),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => {
            for element in container.try_iter()?.checked() {
                if equal(&element?, value) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Err(impossible("in", value, container)),
    }
}
