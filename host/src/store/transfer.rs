//! The transfer of everything in one database into another, of either kind.
//!
//! Both have the same schema, so a list of the tables drives the transfer. A step copies a few rows in the order of the key
//! and stores its position, in one transaction of the target: a transfer that was interrupted continues from there. After the
//! copy, both databases are read completely and compared.
//!
//! The marks of [`super::transfer_marks`] keep nodes away from both databases meanwhile, and from the source afterwards.

mod endpoint;
mod tables;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::backend::{is_missing, redacted_url};
use super::error::StoreError;
use super::transfer_marks::{MOVED, UNFINISHED};
use crate::domain::plugin::hex;
use endpoint::{ColumnValue, TransferEndpoint, TransferMark, TransferRow};
use tables::{TABLES, TransferTable};

/// The progress of a transfer.
#[derive(Debug, PartialEq, Eq)]
pub enum TransferProgress<'t> {
    /// The transfer continues an earlier run.
    Resumed {
        /// The table that the earlier run had reached.
        table: &'t str,
    },
    /// Rows of a table were copied.
    Copied {
        /// The table.
        table: &'t str,
        /// The number of rows copied in this run.
        rows: u64,
    },
    /// A table is equal in both databases.
    Verified {
        /// The table.
        table: &'t str,
        /// The number of its rows.
        rows: u64,
        /// The sha-256 of all its rows, in hex.
        sha256: &'t str,
    },
}

/// Receives the progress.
type ProgressCallback<'p> = dyn FnMut(TransferProgress<'_>) + Send + 'p;

/// The position of a copy.
#[derive(Serialize, Deserialize)]
struct CopyPosition {
    from: String,
    /// Index in [`TABLES`].
    table: usize,
    /// The key of the last row that was copied.
    key: Option<TransferRow>,
}

impl CopyPosition {
    fn mark(&self) -> Result<TransferMark, StoreError> {
        let text = serde_json::to_string(self).map_err(|error| setup(format!("the position of the copy: {error}")))?;
        Ok(TransferMark { name: UNFINISHED, text })
    }
}

/// Copies everything in the database `from` into the empty database `to`, compares the two, and marks the first as moved.
/// Continues an earlier run that did not finish. Deliveries that a node had in memory are due at `now`, in milliseconds since
/// 1970.
///
/// # Errors
/// [`StoreError::Setup`]: one of the databases is being served, does not exist, or has unsuitable content; the text says how
/// to fix it. The databases' errors.
pub async fn transfer(from: &str, to: &str, now: i64, progress: &mut ProgressCallback<'_>) -> Result<(), StoreError> {
    if from == to {
        return Err(setup("--from and --to are the same database"));
    }
    if is_missing(from).map_err(|error| with_flag("--from", error))? {
        return Err(setup(format!("--from {}: there is no such file", redacted_url(from))));
    }
    let mut source = TransferEndpoint::open(from).await.map_err(|error| with_flag("--from", error))?;
    let mut target = TransferEndpoint::open(to).await.map_err(|error| with_flag("--to", error))?;
    check_not_served(&mut source, from).await?;
    let position = start_position(&mut target, from, to).await?;
    if position.key.is_some() || position.table > 0 {
        let table = TABLES.get(position.table).map_or("the comparison", |table| table.name);
        progress(TransferProgress::Resumed { table });
    }
    source.release_leases(now).await?;
    copy(&mut source, &mut target, position, progress).await?;
    for table in &TABLES {
        compare(table, &mut source, &mut target, progress).await?;
    }
    target.analyze().await?;
    source.mark(TransferMark { name: MOVED, text: redacted_url(to) }).await?;
    if let Err(error) = check_not_served(&mut source, from).await {
        source.unmark(MOVED).await?;
        return Err(error);
    }
    target.unmark(UNFINISHED).await
}

/// Refuses a source to which nodes are connected.
async fn check_not_served(source: &mut TransferEndpoint, from: &str) -> Result<(), StoreError> {
    match source.other_connections().await? {
        0 => Ok(()),
        others => Err(setup(format!(
            "--from {}: other posthaste processes have {others} connections open; stop every node first",
            redacted_url(from)
        ))),
    }
}

/// Returns the position at which to continue; the beginning, if the target is empty.
async fn start_position(target: &mut TransferEndpoint, from: &str, to: &str) -> Result<CopyPosition, StoreError> {
    let (from, to) = (redacted_url(from), redacted_url(to));
    if let Some(mark) = target.mark_text(UNFINISHED).await? {
        let position: CopyPosition = serde_json::from_str(&mark)
            .map_err(|error| setup(format!("--to {to}: the mark of an earlier copy cannot be read: {error}")))?;
        return match position.from == from {
            true => Ok(position),
            false => Err(setup(format!(
                "--to {to}: holds an unfinished copy of {}; continue with that one, or use an empty database",
                position.from
            ))),
        };
    }
    if let Some(table) = target.first_nonempty_table().await? {
        return Err(setup(format!(
            "--to {to}: is not empty (there are rows in `{table}`): it is or was served by posthaste; use an empty \
             database"
        )));
    }
    let position = CopyPosition { from, table: 0, key: None };
    target.mark(position.mark()?).await?;
    Ok(position)
}

async fn copy(
    source: &mut TransferEndpoint,
    target: &mut TransferEndpoint,
    mut position: CopyPosition,
    progress: &mut ProgressCallback<'_>,
) -> Result<(), StoreError> {
    while let Some(table) = TABLES.get(position.table) {
        let mut copied = 0;
        loop {
            let rows = source.rows(table, position.key.as_ref()).await?;
            let Some(last) = rows.last() else { break };
            position.key = Some(last.iter().take(table.key().len()).cloned().collect());
            target.insert(position.table, &rows, position.mark()?).await?;
            copied += rows.len() as u64;
            progress(TransferProgress::Copied { table: table.name, rows: copied });
        }
        position = CopyPosition { table: position.table + 1, key: None, ..position };
        target.mark(position.mark()?).await?;
    }
    Ok(())
}

/// The number of rows of a table, and the sha-256 of them in the order of the key, in hex.
#[derive(PartialEq, Eq)]
struct TableDigest {
    rows: u64,
    sha256: String,
}

async fn compare(
    table: &TransferTable,
    source: &mut TransferEndpoint,
    target: &mut TransferEndpoint,
    progress: &mut ProgressCallback<'_>,
) -> Result<(), StoreError> {
    let (expected, copied) = tokio::try_join!(table_digest(table, source), table_digest(table, target))?;
    if copied != expected {
        return Err(setup(format!(
            "`{}` is not the same in both: {} rows with sha-256 {} in --from, {} rows with sha-256 {} in --to. Was --from \
             served after an earlier run? Start again with an empty database",
            table.name, expected.rows, expected.sha256, copied.rows, copied.sha256
        )));
    }
    progress(TransferProgress::Verified { table: table.name, rows: expected.rows, sha256: &expected.sha256 });
    Ok(())
}

async fn table_digest(table: &TransferTable, endpoint: &mut TransferEndpoint) -> Result<TableDigest, StoreError> {
    let (mut count, mut digest, mut last) = (0, Context::new(&SHA256), None);
    loop {
        let mut rows = endpoint.rows(table, last.as_ref()).await?;
        rows.iter().flatten().for_each(|value| add_value(&mut digest, value));
        count += rows.len() as u64;
        match rows.pop() {
            Some(row) => last = Some(row),
            None => return Ok(TableDigest { rows: count, sha256: hex(digest.finish().as_ref()) }),
        }
    }
}

/// Adds a value, preceded by its type and its length, so that different rows never give the same bytes.
fn add_value(digest: &mut Context, value: &ColumnValue) {
    let (tag, bytes) = match value {
        ColumnValue::Number(Some(number)) => (b'n', &number.to_be_bytes()[..]),
        ColumnValue::Text(Some(text)) => (b't', text.as_bytes()),
        ColumnValue::Bytes(Some(bytes)) => (b'b', &bytes[..]),
        ColumnValue::Number(None) | ColumnValue::Text(None) | ColumnValue::Bytes(None) => (b'-', &[][..]),
    };
    digest.update(&[tag]);
    digest.update(&(bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

/// Puts an error of opening, which names `--database`, under the flag that was used here.
fn with_flag(flag: &str, error: StoreError) -> StoreError {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(values: &[ColumnValue]) -> String {
        let mut digest = Context::new(&SHA256);
        values.iter().for_each(|value| add_value(&mut digest, value));
        hex(digest.finish().as_ref())
    }

    #[test]
    fn different_rows_have_different_digests() {
        let text = |text: &str| ColumnValue::Text(Some(text.into()));
        let rows = [
            vec![text("ab"), text("")],
            vec![text("a"), text("b")],
            vec![text("ab"), ColumnValue::Text(None)],
            vec![ColumnValue::Bytes(Some(b"ab".to_vec())), text("")],
            vec![ColumnValue::Number(Some(1))],
            vec![ColumnValue::Number(Some(256))],
            vec![ColumnValue::Number(None)],
        ];
        let digests: std::collections::BTreeSet<_> = rows.iter().map(|row| sha256(row)).collect();
        assert_eq!(digests.len(), rows.len());
    }

    #[test]
    fn errors_name_the_flag_of_the_database() {
        let opened = with_flag("--from", setup("--database: `x:` is not a database"));
        assert_eq!(opened.to_string(), "--from: `x:` is not a database");
        assert_eq!(with_flag("--to", setup("locked")).to_string(), "--to: locked");
        assert!(matches!(with_flag("--to", StoreError::Full), StoreError::Full));
    }
}
