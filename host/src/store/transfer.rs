//! Moving everything from one database into another, of either kind.
//!
//! Both have one schema, so a list of the tables drives it. A step copies a few rows in the order of the key and writes
//! down how far it came, in one transaction of the target: whoever runs it again goes on there. When all is copied both
//! sides are read through and compared.
//!
//! Two marks in `meta` keep nodes away: from a target that is not whole, and from a source that was moved, whose waiting
//! deliveries would be delivered once more.

mod side;
mod tables;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::backend::{is_missing, shown};
use super::db::{self, Pool};
use crate::domain::plugin::hex;
use side::{Row, Side, Value};
use tables::{TABLES, Table};

/// In a target that is not whole: how far the copy has come.
const UNFINISHED: &str = "unfinished_copy";
/// In a source: where everything is now.
const MOVED: &str = "moved_to";

/// What happens on the way, for whoever watches.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<'t> {
    /// An earlier run came as far as into this table.
    GoingOn(&'t str),
    /// So many rows of a table were copied in this run.
    Copied(&'t str, u64),
    /// A table is the same on both sides: its rows, and the sha-256 of them all.
    Same(&'t str, u64, &'t str),
}

/// How far a copy has come.
#[derive(Serialize, Deserialize)]
struct Position {
    from: String,
    table: usize,
    key: Option<Row>,
}

/// Copies everything in the database `from` into the empty database `to`, compares the two, and marks the first as moved.
/// After a run that did not come to its end, another one goes on where that stopped. What a node had in memory is due `now`,
/// in milliseconds since 1970.
///
/// # Errors
/// [`StoreError::Setup`] where one of them is served, is not there, or is not what it should be; the text says how to
/// mend it. The databases' own.
pub async fn transfer(
    from: &str,
    to: &str,
    now: i64,
    tell: &mut (dyn FnMut(Told<'_>) + Send),
) -> Result<(), StoreError> {
    if from == to {
        return Err(setup("--from and --to are the same database"));
    }
    if is_missing(from).map_err(|error| of_flag("--from", error))? {
        return Err(setup(format!("--from {}: there is no such file", shown(from))));
    }
    let mut source = Side::open(from).await.map_err(|error| of_flag("--from", error))?;
    let mut target = Side::open(to).await.map_err(|error| of_flag("--to", error))?;
    alone(&mut source, from).await?;
    let position = position(&mut target, (from, to)).await?;
    if position.key.is_some() || position.table > 0 {
        tell(Told::GoingOn(TABLES.get(position.table).map_or("the comparison", |table| table.name)));
    }
    source.release(now).await?;
    copy(&mut source, &mut target, position, tell).await?;
    for table in &TABLES {
        compare(table, &mut source, &mut target, tell).await?;
    }
    target.settle().await?;
    source.mark(MOVED, shown(to)).await?;
    if let Err(error) = alone(&mut source, from).await {
        source.unmark(MOVED).await?;
        return Err(error);
    }
    target.unmark(UNFINISHED).await
}

/// Refuses a source that nodes serve.
async fn alone(source: &mut Side, from: &str) -> Result<(), StoreError> {
    match source.others().await? {
        0 => Ok(()),
        others => Err(setup(format!(
            "--from {}: {others} connections of other processes of posthaste are open; stop every node first",
            shown(from)
        ))),
    }
}

/// Where to go on; the beginning, in a target that is empty.
async fn position(target: &mut Side, (from, to): (&str, &str)) -> Result<Position, StoreError> {
    let (from, to) = (shown(from), shown(to));
    if let Some(mark) = target.marked(UNFINISHED).await? {
        let position: Position = serde_json::from_str(&mark)
            .map_err(|error| setup(format!("--to {to}: the mark of an earlier copy is not readable: {error}")))?;
        return match position.from == from {
            true => Ok(position),
            false => Err(setup(format!(
                "--to {to}: holds an unfinished copy of {}; go on with that one, or name an empty database",
                position.from
            ))),
        };
    }
    if let Some(table) = target.not_empty().await? {
        return Err(setup(format!(
            "--to {to}: is not empty (there are rows in `{table}`): it is served already, or was; name an empty database"
        )));
    }
    let position = Position { from, table: 0, key: None };
    target.mark(UNFINISHED, text(&position)?).await?;
    Ok(position)
}

fn text(position: &Position) -> Result<String, StoreError> {
    serde_json::to_string(position).map_err(|error| setup(format!("the position of the copy: {error}")))
}

async fn copy(
    source: &mut Side,
    target: &mut Side,
    mut position: Position,
    tell: &mut (dyn FnMut(Told<'_>) + Send),
) -> Result<(), StoreError> {
    while let Some(table) = TABLES.get(position.table) {
        let mut copied = 0;
        loop {
            let rows = source.rows(table, position.key.as_ref()).await?;
            let Some(last) = rows.last() else { break };
            position.key = Some(last.iter().take(table.key().len()).cloned().collect());
            target.insert(position.table, &rows, (UNFINISHED, text(&position)?)).await?;
            copied += rows.len() as u64;
            tell(Told::Copied(table.name, copied));
        }
        position = Position { table: position.table + 1, key: None, ..position };
        target.mark(UNFINISHED, text(&position)?).await?;
    }
    Ok(())
}

async fn compare(
    table: &Table,
    source: &mut Side,
    target: &mut Side,
    tell: &mut (dyn FnMut(Told<'_>) + Send),
) -> Result<(), StoreError> {
    let ((count, digest), there) = tokio::try_join!(digest(table, source), digest(table, target))?;
    if there != (count, digest.clone()) {
        return Err(setup(format!(
            "`{}` is not the same in both: {count} rows with the sha-256 {digest} were to be copied, {} with {} are \
             there. Was --from served after an earlier run? Begin again with an empty database",
            table.name, there.0, there.1
        )));
    }
    tell(Told::Same(table.name, count, &digest));
    Ok(())
}

/// How many rows a table has, and the sha-256 of them in the order of the key.
async fn digest(table: &Table, side: &mut Side) -> Result<(u64, String), StoreError> {
    let (mut count, mut digest, mut last) = (0, Context::new(&SHA256), None);
    loop {
        let mut rows = side.rows(table, last.as_ref()).await?;
        rows.iter().flatten().for_each(|value| add(&mut digest, value));
        count += rows.len() as u64;
        match rows.pop() {
            Some(row) => last = Some(row),
            None => return Ok((count, hex(digest.finish().as_ref()))),
        }
    }
}

/// Each value with its kind and length before it, so that no two rows read alike.
fn add(digest: &mut Context, value: &Value) {
    let (kind, bytes) = match value {
        Value::Number(Some(number)) => (b'n', &number.to_be_bytes()[..]),
        Value::Text(Some(text)) => (b't', text.as_bytes()),
        Value::Bytes(Some(bytes)) => (b'b', &bytes[..]),
        Value::Number(None) | Value::Text(None) | Value::Bytes(None) => (b'-', &[][..]),
    };
    digest.update(&[kind]);
    digest.update(&(bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

/// Refuses a database that bears one of the marks.
pub(super) async fn check_marks(pool: &Pool) -> Result<(), StoreError> {
    let query = db::query("SELECT name, value FROM meta WHERE name IN ($1, $2)").bind(UNFINISHED).bind(MOVED);
    let Some(row) = query.fetch_optional(pool).await? else {
        return Ok(());
    };
    if row.try_get::<String>("name")? == UNFINISHED {
        return Err(setup("a copy into this database has not come to its end: run the same `posthaste migrate` again"));
    }
    let to = String::from_utf8_lossy(&row.try_get::<Vec<u8>>("value")?).into_owned();
    Err(setup(format!(
        "this database was moved to {to}: served again, it would deliver once more what waited then. Where that is what \
         you want, run on it: DELETE FROM meta WHERE name = '{MOVED}'"
    )))
}

/// An error of opening, which speaks of `--database`, under the flag that it is about here.
fn of_flag(flag: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Setup(text) => match text.strip_prefix("--database") {
            Some(rest) => setup(format!("{flag}{rest}")),
            None => setup(format!("{flag}: {text}")),
        },
        other => other,
    }
}

fn setup(text: impl Into<String>) -> StoreError {
    StoreError::Setup(text.into())
}
