//! The filters for dates and times. There is no clock: a retry must send the same.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

use crate::number::{Numeric, Operation};
use crate::output::text;

/// Numbers from here on are milliseconds: as seconds it is the year 5138.
const FIRST_MILLISECONDS: f64 = 1e11;

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

pub(super) fn function(name: &str) -> Value {
    match name {
        "datetimeformat" => Value::from_function(format),
        "rfc3339" => Value::from_function(rfc3339),
        _ => Value::from_function(timestamp),
    }
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}

/// A time on the clock of an offset. Not a `jiff::Timestamp`, whose last instant is before the end of the year 9999, which people
/// write for "never".
struct Moment {
    local: DateTime,
    offset: Offset,
}

impl Moment {
    /// Returns the milliseconds since 1970.
    fn milliseconds(&self) -> i64 {
        let since =
            self.local.duration_since(EPOCH).saturating_sub(SignedDuration::from_secs(self.offset.seconds().into()));
        i64::try_from(since.as_millis()).unwrap_or_default()
    }

    fn from_milliseconds(milliseconds: i64, offset: Offset) -> Option<Self> {
        let since = SignedDuration::from_millis(milliseconds)
            .checked_add(SignedDuration::from_secs(offset.seconds().into()))?;
        Some(Self { local: EPOCH.checked_add(since).ok()?, offset })
    }
}

/// Reads a time: RFC 3339, a date (its midnight in UTC), or the seconds or milliseconds since 1970.
fn moment(value: &Value) -> Result<Moment, Error> {
    let parsed = value.as_str().and_then(Numeric::parse);
    if let Some(number) = Numeric::of(parsed.as_ref().unwrap_or(value)) {
        let factor = if number.double().abs() >= FIRST_MILLISECONDS { 1 } else { 1000 };
        let milliseconds =
            number.calculate(Operation::Multiply, Numeric::of(&Value::from(factor)).unwrap_or(number))?;
        let milliseconds = Numeric::of(&milliseconds).map_or(f64::NAN, Numeric::double).floor();
        let moment = format!("{milliseconds}").parse().ok().and_then(|ms| Moment::from_milliseconds(ms, Offset::UTC));
        return moment.ok_or_else(|| no_time(value));
    }
    let text = text(value)?;
    let pieces = Pieces::parse(text.trim()).map_err(|_| no_time(value))?;
    let local = DateTime::from_parts(pieces.date(), pieces.time().unwrap_or_default());
    Ok(Moment { local, offset: pieces.to_numeric_offset().unwrap_or(Offset::UTC) })
}

/// Returns the time in UTC as RFC 3339, with the fraction of a second that it has.
pub(crate) fn rfc3339(value: &Value) -> Result<String, Error> {
    let utc = Moment::from_milliseconds(moment(value)?.milliseconds(), Offset::UTC).ok_or_else(|| no_time(value))?;
    Ok(utc.local.strftime("%Y-%m-%dT%H:%M:%S%.fZ").to_string())
}

fn no_time(value: &Value) -> Error {
    let shown: String = text(value).map(|text| text.chars().take(40).collect()).unwrap_or_default();
    wrong(format!(
        "`{shown}` is no time such as `2026-01-31T12:00:00Z`, no date such as `2026-01-31`, and no seconds since 1970"
    ))
}

/// `datetimeformat(format, offset)`: by default `%Y-%m-%d %H:%M`, in the offset that the value has.
fn format(value: &Value, format: Option<String>, kwargs: Kwargs) -> Result<Value, Error> {
    let format = kwargs.get::<Option<String>>("format")?.or(format).unwrap_or_else(|| "%Y-%m-%d %H:%M".to_owned());
    let offset = kwargs.get::<Option<String>>("offset")?;
    kwargs.assert_all_used()?;
    let mut moment = moment(value)?;
    if let Some(offset) = offset {
        let pieces = format!("2000-01-01T00:00:00{offset}");
        let zone = Pieces::parse(&pieces).ok().and_then(|pieces| pieces.to_numeric_offset());
        let zone = zone.ok_or_else(|| wrong(format!("`{offset}` is no offset such as `+02:00`")))?;
        moment = Moment::from_milliseconds(moment.milliseconds(), zone).ok_or_else(|| no_time(value))?;
    }
    let mut time = BrokenDownTime::from(moment.local);
    time.set_offset(Some(moment.offset));
    let formatted = time.to_string(&format);
    formatted.map(Value::from).map_err(|error| wrong(format!("the format `{format}`: {error}")))
}

/// `timestamp(unit)`: the seconds since 1970, or with `"ms"` the milliseconds.
pub(crate) fn timestamp(value: &Value, unit: Option<&str>) -> Result<Value, Error> {
    let milliseconds = moment(value)?.milliseconds();
    match unit {
        None | Some("s") => Ok(Value::from(milliseconds.div_euclid(1000))),
        Some("ms") => Ok(Value::from(milliseconds)),
        Some(_) => Err(wrong("the unit of `timestamp` is \"s\" or \"ms\"")),
    }
}
